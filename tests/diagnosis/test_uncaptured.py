"""A port that the sidecar leaves to the app: who is refused there, and what names the cause."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rollout.diagnosis import uncaptured
from rollout.diagnosis.conclusion import outcome
from rollout.errors import Outcome
from rollout.mesh.peer_authentication import Policies
from rollout.model.diagnosis import Layer
from rollout.model.finding import Severity
from rollout.model.istio import DestinationRule
from rollout.model.kubernetes import Object, Pod, Service
from tests.diagnosis.answers import EXCLUDE, MESH, layer, of_pair, of_pod
from tests.diagnosis.makers import peers, pod, rule, service, space, world
from tests.diagnosis.test_namespace import in_namespace

INCLUDE = "traffic.sidecar.istio.io/includeInboundPorts"
OUTBOUND = "traffic.sidecar.istio.io/excludeOutboundPorts"
PLACE = "StatefulSet payments/ledger spec.template.metadata.annotations"


def past(**annotations: str) -> Pod:
    """A server that leaves out its port."""
    return pod(annotations={EXCLUDE: "8080", **annotations})


def test_a_namespace_whose_port_is_left_out_does_not_work() -> None:
    """The cause, once, with the annotation and the command; the check's warning about it goes."""
    diagnosis = in_namespace(past(), pod("ledger-2", annotations={EXCLUDE: "8080"}), service(), peers("STRICT"))
    assert diagnosis.sentence == (
        f"{PLACE}: port 8080 is not captured, 2 pods: calls of the mesh are refused ({EXCLUDE}: 8080)"
    )
    assert outcome(diagnosis) is Outcome.BLOCKED
    assert diagnosis.fix.startswith("kubectl patch statefulset ledger -n payments")
    assert [Severity.BLOCKING] == [
        finding.severity for finding in layer(diagnosis, Layer.POLICY).findings if finding.check == "excluded-ports"
    ]


def test_a_pod_whose_port_is_left_out_does_not_work() -> None:
    """The same of one pod."""
    sentence = of_pod(service(), server=past()).sentence
    assert f"{PLACE}: port 8080 is not captured, 1 pod: calls of the mesh are refused ({EXCLUDE}: 8080)" == sentence


def test_a_pair_names_what_leaves_the_port_out() -> None:
    """The server's workload, the annotation, and the command."""
    diagnosis = of_pair(peers("STRICT"), servers=[past()])
    assert diagnosis.sentence == (
        f"{PLACE}: the client sends mutual TLS to port 8080, which is not captured ({EXCLUDE}: 8080)"
    )
    assert diagnosis.fix.startswith("kubectl patch statefulset ledger -n payments")
    assert any(f"{EXCLUDE}: 8080; no PeerAuthentication" in line for line in layer(diagnosis, Layer.POLICY).lines)


@pytest.mark.parametrize(
    ("server", "objects"),
    [
        (past(), []),
        (past(), [service(), rule("DISABLE")]),
        (past(), [service(), rule("DISABLE", namespace="payments")]),
        (past(), [service(), peers("DISABLE")]),
        (past(**{OUTBOUND: "8080"}), [service()]),
        (past(**{"sidecar.istio.io/interceptionMode": "NONE"}), [service()]),
        (pod(), [service()]),
        (pod(labels={"security.istio.io/tlsMode": "disabled"}, annotations={EXCLUDE: "8080"}), [service()]),
    ],
    ids=["no Service", "told so in shop", "told so", "DISABLE", "peers", "nothing captured", "captured", "no label"],
)
def test_where_nobody_is_refused(server: Pod, objects: list[Object]) -> None:
    """No call of the mesh arrives there as mutual TLS, or another finding is about it."""
    made = world(space("shop"), space("payments"), server, *objects)
    policies = Policies([each for each in objects if type(each).__name__ == "PeerAuthentication"], MESH.root_namespace)  # type: ignore[misc]
    assert [] == list(uncaptured.refused(made, [server], policies, MESH))


def test_a_rule_of_mutual_tls_changes_nothing() -> None:
    """Clients are told to send what the app cannot read."""
    made = world(space("shop"), past(), service(), rule("ISTIO_MUTUAL"))
    assert 1 == len(list(uncaptured.refused(made, [past()], Policies([], MESH.root_namespace), MESH)))


def test_without_auto_mutual_tls_clients_send_plaintext() -> None:
    """The app reads it."""
    off = msgspec.structs.replace(MESH, enable_auto_mtls=False)
    made = world(past(), service())
    assert [] == list(uncaptured.refused(made, [past()], Policies([], MESH.root_namespace), off))


@pytest.mark.parametrize("kind", [Service, DestinationRule])
def test_what_cannot_be_read_is_no_finding(kind: Any) -> None:
    """The checks say so."""
    made = world(past(), unreadable={kind: "not permitted"})
    assert [] == list(uncaptured.refused(made, [past()], Policies([], MESH.root_namespace), MESH))


@pytest.mark.parametrize(
    ("annotations", "why"),
    [
        ({EXCLUDE: "18080, 8080"}, f"{EXCLUDE}: 18080, 8080"),
        ({INCLUDE: "9999", EXCLUDE: "8080"}, f"{INCLUDE}: 9999"),
        ({EXCLUDE: "18080"}, "the mesh's defaults leave it out (global.proxy)"),
        ({"sidecar.istio.io/interceptionMode": "NONE"}, "sidecar.istio.io/interceptionMode: NONE"),
    ],
)
def test_what_leaves_a_port_out(annotations: dict[str, str], why: str) -> None:
    """By its name and value."""
    assert why == uncaptured.because(pod(annotations=annotations), 8080)
