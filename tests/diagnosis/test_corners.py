"""What a diagnosis says of the rarer answers: probes that a policy denies, logs nobody asked for, half an answer."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rollout.diagnosis.authorization import of_namespace
from rollout.diagnosis.patterns import logs
from rollout.diagnosis.telling import NOT_ASKED, ask_proxies
from rollout.errors import RolloutError
from rollout.mesh.secrets import Summary
from rollout.model.diagnosis import Layer, LayerResult
from rollout.model.finding import Status
from rollout.model.kubernetes import Condition, Pod, Ref
from rollout.ports import InboundChain
from tests.diagnosis.answers import MESH
from tests.diagnosis.makers import pod, policy, world
from tests.diagnosis.pki import certs

PROBE = {"httpGet": {"port": 8080}}
DENY = policy("DENY", {})


def ready(made: Pod) -> Pod:
    """The same, in its Service."""
    status = msgspec.structs.replace(made.status, conditions=(Condition(type="Ready", status="True"),))
    return msgspec.structs.replace(made, status=status)


def denied(*pods: Pod) -> tuple[Status, list[str]]:
    """Layer 5 of payments, in which nobody may call: its status and what was measured."""
    result = of_namespace(world(*pods, DENY), "payments", pods, MESH, ())
    return result.status, [finding.measured for finding in result.findings]


def test_probes_that_a_policy_denies_explain_pods_that_are_not_ready() -> None:
    """Said once for a workload; a pod that is Ready passed them, and one without probes has another reason."""
    said = "denies spec.containers[app].readinessProbe.httpGet"
    assert (Status.FAILED, [said]) == denied(pod(probe=PROBE), pod("ledger-2", probe=PROBE))
    assert denied() == denied(ready(pod(probe=PROBE))) == denied(pod()) == denied(pod(namespace="shop", probe=PROBE))


def test_logs_that_nobody_asked_for_are_skipped() -> None:
    """Not unknown: reading them costs time, and the flag is said."""
    pods = [pod(), pod("ledger-2")]
    expected = LayerResult(layer=Layer.LOGS, status=Status.SKIPPED, reason="needs --logs TIME, such as 60s")
    assert expected == logs(dict.fromkeys((each.ref for each in pods), NOT_ASKED), pods)


class Half:
    """`ports.Proxies` that lose the connection behind the certificates."""

    def certs(self, pod: Ref) -> bytes:
        return certs()

    def config_dump(self, pod: Ref) -> bytes:
        return b"junk"

    def inbound(self, pod: Ref) -> tuple[InboundChain, ...]:
        raise RolloutError("the connection broke")

    def logs(self, pod: Ref, since: float) -> Iterable[str]:
        return ()


def test_a_proxy_that_tells_half_is_heard() -> None:
    """Its certificates came; that its listener did not is the sentence in the place of its modes."""
    ref = pod().ref
    seen = ask_proxies([pod()], Half())
    assert isinstance(seen.certificates[ref], Summary)
    assert {ref: "the connection broke"} == seen.modes
