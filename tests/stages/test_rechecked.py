"""What came after the flip: pods past their sidecar, probes that STRICT refuses, and ports that somebody opened."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from rollout.errors import Outcome
from rollout.judge.signals import PROBES
from rollout.model.finding import CheckResult, Finding, Severity, Status
from rollout.model.istio import Mode, Mtls, PeerAuthentication, PeerAuthenticationSpec, WorkloadSelector
from rollout.model.judgement import EdgeBaseline, Verdict
from rollout.model.kubernetes import ContainerPort, Metadata, Object, Pod, Ref
from rollout.model.traffic import Family, Party
from rollout.record.events import Checked, ProofKind, Proven, Ticks
from rollout.record.run import Run, Watch
from rollout.record.spec import Waiver
from rollout.record.state import State
from rollout.stages.step import Learn, Move, Step, Wait
from rollout.world import reads as r
from rollout.world.world import Unreadable
from tests.stages.hand_made import DONE, OWN, REF, USUAL, VERIFYING, policy, run, settled
from tests.world.mesh_fakes import NOW, deployment, pod

STRICT = policy(Mode.STRICT, "rollout")
UNDO = {ProofKind.UNDO: Proven(t=NOW, of=ProofKind.UNDO, ok=True)}
HOUR_AGO = NOW - timedelta(hours=1)
UNCAPTURED = {"traffic.sidecar.istio.io/includeInboundPorts": ""}
HTTP = {"httpGet": {"path": "/", "port": 8080}}
TCP = {"tcpSocket": {"port": 8080}}


def fresh(**changes: Any) -> Pod:
    """A pod of another Deployment, ten minutes old."""
    usual: dict[str, Any] = {"workload": "fresh", "created": NOW - timedelta(minutes=10), "ip": "10.0.0.7"}
    return pod("fresh-1", **usual | changes)


def watched(*objects: Object, traffic: bool = True, **fields: Any) -> Move:
    """How the watch ends with these objects beside orders."""
    seen = Watch(began=HOUR_AGO, due=NOW, sight=1e6, traffic=traffic)
    made = run(State.WATCHING, writes=(DONE,), watch=seen, proofs=UNDO, baseline=USUAL[r.Before], **fields)
    step = settled(made, STRICT, *OWN, *objects)
    assert isinstance(step, Move), step
    return step


def watching(due: timedelta, *objects: Object, answers: Any = None, **fields: Any) -> Step:
    """The step of a run in mid watch whose next sample was due so long ago (a minute from the last one on)."""
    seen = Watch(began=NOW - timedelta(minutes=6), due=NOW - due, sight=60.0, traffic=True)
    made = run(State.WATCHING, writes=(DONE,), watch=seen, proofs=UNDO, baseline=USUAL[r.Before], **fields)
    return settled(made, STRICT, *OWN, *objects, answers=answers)


@pytest.mark.parametrize(
    "came", [fresh(sidecar=False), fresh(annotations=UNCAPTURED)], ids=["no sidecar", "not captured"]
)
def test_pods_that_came_past_their_sidecar_are_an_exception(came: Pod) -> None:
    """They accept plaintext whatever the policy says: the namespace is STRICT but for them."""
    end = watched(came)
    assert (State.ENFORCED, Outcome.EXCEPTIONS) == (end.to, end.outcome)
    said = "watched to the end; past the sidecar, and accepting plaintext: 1 pod, Pod production/fresh-1: "
    assert end.why.startswith(said), end.why


def test_a_port_that_passes_the_sidecar_by_is_an_exception() -> None:
    """What listens there takes plaintext, and nobody may be told that the namespace refuses it."""
    excluded = {"traffic.sidecar.istio.io/excludeInboundPorts": "8080"}
    came = fresh(annotations=excluded)
    ports = msgspec.structs.replace(came.spec.containers[0], ports=(ContainerPort(container_port=8080),))
    spec = msgspec.structs.replace(came.spec, containers=(ports, *came.spec.containers[1:]))
    end = watched(msgspec.structs.replace(came, spec=spec))
    assert Outcome.EXCEPTIONS is end.outcome
    assert "1 pod, Pod production/fresh-1: port 8080 passes the sidecar by" in end.why


def test_a_nameless_caller_of_a_port_that_is_kept_open_may_stop() -> None:
    """It was not cut; where modes cannot be read the judge is told of no open port."""
    known = EdgeBaseline(Party("unknown", "unknown"), Party("production", "orders"), "orders", Family.HTTP, arrived=1.0)
    baseline = msgspec.structs.replace(USUAL[r.Before], edges=(msgspec.structs.replace(known, at_source=False),))
    seen = Watch(began=NOW - timedelta(minutes=3), due=NOW - timedelta(minutes=1), sight=60.0, traffic=True)
    exempt = Finding(ref=REF, measured="", waived="exempt: x")
    shown = CheckResult(check="effective-mode", state="permissive", title="", status=Status.FAILED, findings=(exempt,))
    made = run(State.WATCHING, writes=(DONE,), watch=seen, proofs=UNDO, baseline=baseline, checks=(shown,))
    own = PeerAuthenticationSpec(selector=WorkloadSelector({"app": "orders"}), mtls=Mtls(Mode.PERMISSIVE))
    kept = PeerAuthentication(metadata=Metadata(name="own", namespace="production", uid="own"), spec=own)
    for objects, answers, breached in (
        ((STRICT, kept), None, 0), ((STRICT,), None, 1), ((STRICT, kept), {PeerAuthentication: Unreadable("away")}, 1),
    ):  # fmt: skip
        step = settled(made, *objects, *OWN, answers=answers)
        assert isinstance(step, Learn), step
        assert breached == sum(len(fact.breached) for fact in step.facts if isinstance(fact, Ticks))


def test_they_are_named_where_there_was_no_traffic_either() -> None:
    """Both are true, and nobody looks for open pods in a namespace that is said to be quiet."""
    end = watched(fresh(sidecar=False), traffic=False)
    assert (State.ENFORCED, Outcome.UNOBSERVED) == (end.to, end.outcome)
    assert (
        "watched to the end; there was no traffic to judge; past the sidecar, and accepting plaintext: 1 pod, "
        "Pod production/fresh-1: no istio-proxy container"
    ) == end.why


def test_a_pod_that_clients_would_not_address_is_no_open_one() -> None:
    """STRICT holds there; what its check says against a flip is told beside the end."""
    made = fresh()
    labels = {key: value for key, value in made.labels.items() if key != "security.istio.io/tlsMode"}
    odd = msgspec.structs.replace(made, metadata=msgspec.structs.replace(made.metadata, labels=labels))
    end = watched(odd)
    assert Outcome.ENFORCED is end.outcome
    said = "watched to the end; injection would refuse the flip now: Pod production/fresh-1, absent"
    assert said == end.why


def test_a_pod_that_was_waived_is_no_news() -> None:
    """It was decided upon before the flip."""
    waiver = Waiver(check="injection", object="Pod production/fresh-1", reason="it goes next week")
    assert "watched to the end" == watched(fresh(sidecar=False), spec={"waivers": (waiver,)}).why


@pytest.mark.parametrize("minutes", [2, None], ids=["older than its start", "of unknown age"])
def test_a_deployment_that_stands_still_on_its_probes_is_taken_back(minutes: int | None) -> None:
    """The kubelet has no certificate, so the new pods never become Ready: STRICT did that."""
    born = None if minutes is None else NOW - timedelta(minutes=minutes)
    end = watched(fresh(probe=HTTP, ready=False, created=born), deployment("fresh"))
    assert State.ROLLING_BACK is end.to, end
    (signal,) = end.signals
    assert (PROBES, "Deployment production/fresh", Verdict.REGRESSED, True) == (
        signal.name, signal.where, signal.verdict, signal.breached,
    )  # fmt: skip
    assert signal.measured.endswith("; 1 not Ready, fresh-1 first"), signal.measured
    assert "httpGet to port 8080 is not rewritten, 1 pod" in signal.measured


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"probe": HTTP, "created": NOW - timedelta(minutes=1)}, True),
        ({"probe": HTTP, "ready": True}, True),
        ({"probe": TCP}, False),
        ({}, False),
    ],
    ids=["starting", "Ready all the same", "a probe that always succeeds", "no probe"],
)
def test_what_does_not_wait_for_its_probes_is_no_harm(changes: dict[str, Any], *, told: bool) -> None:
    """Nothing is taken back for it; a probe that STRICT refuses is told beside the end."""
    end = watched(fresh(**{"ready": False} | changes), deployment("fresh"))
    assert (State.ENFORCED, Outcome.ENFORCED) == (end.to, end.outcome), end.why
    assert told is ("probes would refuse the flip now: Deployment production/fresh, " in end.why), end.why


def test_probes_are_asked_again_between_two_samples() -> None:
    """As of the fifth minute, which was a minute ago: a pod is starting until two minutes before that."""
    soon = timedelta(seconds=20)
    still = fresh(probe=HTTP, ready=False, created=NOW - timedelta(minutes=3))
    step = watching(soon, still, deployment("fresh"))
    assert isinstance(step, Move), step
    assert (State.ROLLING_BACK, [PROBES]) == (step.to, [signal.name for signal in step.signals])
    started = fresh(probe=HTTP, ready=False, created=NOW - timedelta(minutes=2, seconds=30))
    assert Wait(NOW + timedelta(seconds=10), "next sample") == watching(soon, started, deployment("fresh"))


OPENED = PeerAuthentication(
    metadata=Metadata(name="open", namespace="production", uid="o"),
    spec=PeerAuthenticationSpec(selector=WorkloadSelector({"app": "orders"}), mtls=Mtls(Mode.PERMISSIVE)),
)


def verdicts(step: Step) -> list[Verdict]:
    """What the sample was judged to be."""
    assert isinstance(step, (Learn, Move)), step
    return [fact.verdict for fact in step.facts if isinstance(fact, Ticks)]


def test_a_port_that_somebody_opens_in_the_watch_overrides_the_flip() -> None:
    """Found with the next sample, which is recorded with it; what was exempt before the flip is none."""
    minute = timedelta(minutes=1)
    step = watching(minute, OPENED)
    assert isinstance(step, Move), step
    why = "not STRICT any more, by another policy: 1 pod, orders-7d9-abc"
    assert (State.OVERRIDDEN, Outcome.OVERRIDDEN, why) == (step.to, step.outcome, step.why)
    assert [Verdict.NO_TRAFFIC] == verdicts(step)
    finding = Finding(ref=REF, measured="", waived="exempt: a probe")
    exempt = CheckResult(
        check="effective-mode", state=State.CHECKING, title="", status=Status.FAILED, findings=(finding,)
    )
    assert isinstance(watching(minute, OPENED, checks=(exempt,)), Learn)


def test_modes_that_cannot_be_read_are_no_override() -> None:
    """Nothing is known of them: the sample is blind, and its limit decides."""
    step = watching(timedelta(minutes=1), OPENED, answers={Pod: Unreadable("timed out")})
    assert isinstance(step, Learn), step
    assert [Verdict.CANNOT_SEE] == verdicts(step)


def test_strict_already_is_no_success_where_a_pod_is_past_its_sidecar() -> None:
    """Nothing is written; the pod is named, and what its check refuses is a warning."""
    made: Run = run(VERIFYING, {"enforced_before": True})
    step = settled(made, STRICT, *OWN, fresh(sidecar=False), deployment("fresh"))
    assert isinstance(step, Move), step
    why = "STRICT already; past the sidecar, and accepting plaintext: 1 pod, Pod production/fresh-1"
    assert (State.ENFORCED, Outcome.EXCEPTIONS, why) == (step.to, step.outcome, step.why)
    (checked,) = step.facts
    assert isinstance(checked, Checked)
    found = [(f.ref, f.severity) for r in checked.results if r.check == "injection" for f in r.findings]
    assert [(Ref("Pod", "production", "fresh-1"), Severity.WARNING)] == found
    assert Outcome.UNCHANGED is getattr(settled(made, STRICT, *OWN), "outcome", None)
