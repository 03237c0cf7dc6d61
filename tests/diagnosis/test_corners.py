"""What a diagnosis says of the rarer answers: probes that a policy denies, logs nobody asked for, half an answer."""

from __future__ import annotations

import msgspec

from rollout.diagnosis.patterns import logs
from rollout.diagnosis.telling import NOT_ASKED, ask_proxies
from rollout.errors import RolloutError
from rollout.mesh.secrets import Summary
from rollout.model.diagnosis import Layer, LayerResult
from rollout.model.finding import Status
from rollout.model.kubernetes import Condition, Pod
from tests.diagnosis.answers import layer
from tests.diagnosis.makers import pod, policy
from tests.diagnosis.pki import certs
from tests.diagnosis.test_certificates import Telling
from tests.diagnosis.test_namespace import in_namespace

PROBE = {"httpGet": {"port": 8080}}


def ready(made: Pod) -> Pod:
    """The same, in its Service."""
    status = msgspec.structs.replace(made.status, conditions=(Condition(type="Ready", status="True"),))
    return msgspec.structs.replace(made, status=status)


def test_probes_that_a_policy_denies_explain_pods_that_are_not_ready() -> None:
    """Said once for a workload; a pod that is Ready passed them, and a policy without probes keeps nobody out."""
    deny, said = policy("DENY", {}), "denies spec.containers[app].readinessProbe.httpGet"
    denied = layer(in_namespace(pod(probe=PROBE), pod("ledger-2", probe=PROBE), deny), Layer.AUTHORIZATION)
    assert (Status.FAILED, [said]) == (denied.status, [f.measured for f in denied.findings if f.measured == said])
    for other in (ready(pod(probe=PROBE)), pod()):
        spared = layer(in_namespace(other, deny), Layer.AUTHORIZATION)
        assert (Status.FAILED, said) not in [(spared.status, f.measured) for f in spared.findings]


def test_logs_that_nobody_asked_for_are_skipped() -> None:
    """Not unknown: reading them costs time, and the flag is said."""
    pods = [pod(), pod("ledger-2")]
    expected = LayerResult(layer=Layer.LOGS, status=Status.SKIPPED, reason="needs --logs TIME, such as 60s")
    assert expected == logs(dict.fromkeys((each.ref for each in pods), NOT_ASKED), pods)


def test_a_proxy_that_tells_half_is_heard() -> None:
    """Its certificates came; that its listener did not is the sentence in the place of its modes."""
    server = pod()
    telling = Telling(b"junk", certs())
    telling.answers["inbound"] = RolloutError("the connection broke")
    seen = ask_proxies([server], telling)
    assert isinstance(seen.certificates[server.ref], Summary)
    assert {server.ref: "the connection broke"} == seen.modes
