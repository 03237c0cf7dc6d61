"""Layer 6: istioctl's messages about just these objects, and what is said without one."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from rollout.diagnosis.analyzing import WITHOUT
from rollout.diagnosis.diagnose import of_call, of_namespace
from rollout.diagnosis.question import OfNamespace, OfPod
from rollout.diagnosis.telling import Seen
from rollout.model.diagnosis import Diagnosis, Layer
from rollout.model.finding import Status
from rollout.model.kubernetes import Pod, Service
from rollout.model.kubernetes.meta import OwnerReference
from rollout.ports import AnalyzerMessage
from rollout.world.world import Unreadable
from tests.diagnosis.answers import MESH, NO_ISTIOCTL, layer, ledger_name, of_pair
from tests.diagnosis.makers import NOW, found, peers, pod, service, space
from tests.diagnosis.test_namespace import namespace_world

ORIGINS = [
    "Pod payments/ledger-1",
    "Pod ledger-1.payments",
    "Pod payments/other-1",
    "Pod elsewhere/ledger-1",
    "Deployment payments/ledger",
    "ReplicaSet payments/ledger-7d9",
    "Deployment payments/other",
    "Service payments/ledger",
    "Service payments/other",
    "Pod shop/web-1",
    "DestinationRule shop/rule",
    "AuthorizationPolicy payments/deny",
    "Namespace payments",
    "Namespace shop",
    "Namespace elsewhere",
    "CustomResourceDefinition a.b.io",
    "?",
]
MESSAGES = tuple(AnalyzerMessage("IST0101", "Warning", origin, "what is wrong", "https://page") for origin in ORIGINS)
RULES = ["DestinationRule shop/rule", "AuthorizationPolicy payments/deny"]
SERVER = ["Pod payments/ledger-1", "Pod ledger-1.payments", "Deployment payments/ledger",
          "ReplicaSet payments/ledger-7d9", "Service payments/ledger"]  # fmt: skip
REST = ["CustomResourceDefinition a.b.io", "?"]


def server() -> Pod:
    """Of a Deployment."""
    made = pod(labels={"pod-template-hash": "7d9"})
    owners = (OwnerReference(kind="ReplicaSet", name="ledger-7d9", controller=True),)
    return replace(made, metadata=replace(made.metadata, owner_references=owners))


def origins(diagnosis: Diagnosis) -> set[str]:
    return {finding.where[0] for finding in layer(diagnosis, Layer.ANALYZE).findings}


def test_of_a_pair() -> None:
    """Its pods with what owns them, its Service, its namespaces, and rules and policies, which may concern it."""
    ours = {*SERVER, "Pod shop/web-1", *RULES, "Namespace payments", "Namespace shop", *REST}
    diagnosis = of_pair(peers("STRICT"), servers=[server()], analysis=MESSAGES)
    assert ours == origins(diagnosis)
    one = layer(diagnosis, Layer.ANALYZE).findings[0]
    assert ("IST0101", "see https://page", "Pod payments/ledger-1") == (one.field, one.fix, str(one.ref))


def test_of_a_pod() -> None:
    """With the Services that select it, where they can be listed."""
    asked = OfPod(ledger_name())
    objects = found(service(), service("other", selector={"app": "other"}), servers=[server()])
    ours = {*SERVER, *RULES, "Namespace payments", *REST}
    assert ours == origins(of_call(asked, objects, Seen(), MESH, MESSAGES, NOW))
    blind = found(servers=[server()], unreadable={Service: "not permitted"})
    assert ours - {"Service payments/ledger"} == origins(of_call(asked, blind, Seen(), MESH, MESSAGES, NOW))


def test_an_error_is_a_cause() -> None:
    """When nothing before it is."""
    message = AnalyzerMessage(
        "IST0106", "Error", "DestinationRule shop/rule", "Schema validation error", "https://page"
    )
    diagnosis = of_pair(peers("STRICT"), analysis=(message,))
    assert (Layer.ANALYZE, "see https://page") == (diagnosis.cause, diagnosis.fix)


@pytest.mark.parametrize(
    ("analysis", "status"),
    [(NO_ISTIOCTL, Status.SKIPPED), (Unreadable("istioctl failed with exit status 1: no"), Status.UNKNOWN)],
)
@pytest.mark.parametrize("asked", ["pair", "namespace"])
def test_without_it(analysis: Unreadable, status: Status, asked: str) -> None:
    """Skipped where there is none, unknown where it failed: never passed; and what of it is known all the same."""
    if asked == "pair":
        diagnosis = of_pair(peers("STRICT"), analysis=analysis)
    else:
        diagnosis = of_namespace(
            OfNamespace("payments"), namespace_world(space("payments"), pod()), Seen(), MESH, analysis, NOW
        )
    result = layer(diagnosis, Layer.ANALYZE)
    assert (status, analysis.reason, WITHOUT, ()) == (result.status, result.reason, result.lines, result.findings)
    assert any("IST0103" in line for line in result.lines)


def test_nobody_answers() -> None:
    """The Service's namespace is asked about."""
    diagnosis = of_pair(peers("STRICT"), servers=[], analysis=MESSAGES)
    assert {"Service payments/ledger", "Namespace payments"} <= origins(diagnosis)
