"""The ways out that need a write before them: proofs, exemptions, commits, and the end of a watch."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from rollout.errors import Outcome
from rollout.model.finding import CheckResult, Finding, Status
from rollout.model.istio import Mode, Mtls, PeerAuthentication, PeerAuthenticationSpec, WorkloadSelector
from rollout.model.judgement import Baseline
from rollout.model.kubernetes import ContainerPort, LabelRequirement, LabelSelector, Metadata, Object, Service
from rollout.record.change import Change, Policy
from rollout.record.events import Failed, FailureKind, ProofKind, Proven, Requested, RequestKind
from rollout.record.run import Watch, Write
from rollout.record.spec import Task
from rollout.record.state import State
from rollout.stages.owners import owner
from rollout.stages.ownership import disowned
from rollout.stages.proof import SETTLED, proven_by_proxies
from rollout.stages.step import End, Learn, Move, Undo, Wait
from rollout.stages.step import Write as WriteStep
from rollout.world import reads as r
from rollout.world.world import Needs, Reading, World
from tests.stages.hand_made import (
    ARGO_OWNED,
    AWAY,
    BARE,
    DONE,
    FLIP,
    HELM_OWNED,
    OPEN,
    OWN,
    PERMISSIVE,
    REF,
    REFUSED,
    SIGHT,
    USUAL,
    VERIFYING,
    WRITTEN,
    policy,
    run,
    settled,
)
from tests.world.mesh_fakes import NOW, deployment, pod


def prove(answer: Any, minutes: float, untouched: bool = False, later: Any = None) -> Proven | Wait:
    """The proof of a flip that was written so long ago; one pod is concerned."""
    written = NOW - timedelta(minutes=minutes)
    since = written - timedelta(minutes=5)
    world = World().plus({
        r.Objects(PeerAuthentication): Reading(NOW, (policy(Mode.STRICT),)),
        r.Objects(type(pod())): Reading(NOW, (pod(),)),
        r.Propagation("production", written): Reading(NOW, answer),
    })  # fmt: skip
    budget, kind = timedelta(minutes=5), ProofKind.UNDO_PROPAGATION
    overtaken = since if untouched else None
    made = run(State.ROLLING_BACK)
    if untouched:
        if later is not None:
            world = world.plus({r.Propagation("production", since): Reading(NOW, later)})
        return proven_by_proxies(made, world, written, NOW, budget, FLIP, kind, untouched_since=overtaken)
    return proven_by_proxies(made, world, written, NOW, budget, FLIP, kind)


NONE = r.PropagationAnswer()
SETTLED_MINUTES = SETTLED.total_seconds() / 60


@pytest.mark.parametrize(
    ("answer", "minutes", "ok", "detail"),
    [
        (r.PropagationAnswer(updated=("orders-7d9-abc",)), 1, True, "1/1 proxies prove it (60s)"),
        (r.PropagationAnswer(rejected=("orders-7d9-abc",)), 1, False, "1 proxies rejected the config: orders-7d9-abc"),
        (NONE, 6, False, "0/1 proxies after 360s; missing orders-7d9-abc; limit 0:05:00"),
        (AWAY, 6, False, "no proxy can be asked: Prometheus is away; limit 0:05:00"),
    ],
)
def test_a_proof_is_good_or_bad(answer: Any, minutes: float, ok: bool, detail: str) -> None:
    """Rejected at once, silent at the end of its budget."""
    found = prove(answer, minutes)
    assert isinstance(found, Proven), found
    assert (found.ok, found.detail) == (ok, detail)


@pytest.mark.parametrize(
    ("later", "proven"),
    [(NONE, True), (AWAY, False), (r.PropagationAnswer(updated=("orders-7d9-abc",)), False)],
)
def test_a_proxy_that_never_took_the_flip_need_not_take_its_undo(later: Any, proven: bool) -> None:
    """Known once no push of the flip can be under way; not where it cannot be seen."""
    found = prove(NONE, SETTLED_MINUTES, untouched=True, later=later)
    assert isinstance(found, Proven) is proven, found
    assert isinstance(prove(NONE, SETTLED_MINUTES - 0.1, untouched=True), Wait)
    with pytest.raises(Needs):
        prove(NONE, SETTLED_MINUTES, untouched=True)


def test_an_unproven_flip_is_taken_back_and_an_unproven_undo_is_loud() -> None:
    """Nobody says that a namespace is safe on a guess."""
    undo = Proven(t=NOW, of=ProofKind.UNDO, ok=True)
    sight = Baseline(at=NOW, window=3600, sight=msgspec.structs.replace(SIGHT, interval=60.0))
    rejected = {r.Propagation: r.PropagationAnswer(rejected=("orders-7d9-abc",))}
    flipped = run(State.ENFORCING, writes=(DONE,), proofs={ProofKind.UNDO: undo}, baseline=sight, watch=Watch(due=NOW))
    step = settled(flipped, policy(Mode.STRICT), *OWN, answers=rejected)
    assert isinstance(step, Move), step
    assert (step.to, step.why.partition(":")[0]) == (State.ROLLING_BACK, "the flip is not proven")
    undone = msgspec.structs.replace(DONE, undone=WRITTEN)
    step = settled(run(State.ROLLING_BACK, writes=(undone,)), PERMISSIVE, *OWN, answers=rejected)
    assert isinstance(step, Move), step
    assert (step.to, step.outcome) == (State.ROLLBACK_FAILED, Outcome.ROLLBACK_FAILED)


@pytest.mark.parametrize(
    ("metadata", "name", "heals"),
    [
        (PERMISSIVE.metadata, None, None),
        (policy(Mode.STRICT, "kubectl").metadata, None, None),
        (policy(Mode.STRICT, "argocd-controller").metadata, "Argo CD", True),
        (policy(Mode.STRICT, "kustomize-controller").metadata, "Flux", True),
        (ARGO_OWNED.metadata, "Argo CD", True),
        (HELM_OWNED.metadata, "Helm", False),
    ],
)
def test_who_owns_a_policy(metadata: Metadata, name: str | None, heals: bool | None) -> None:
    """Helm alone overwrites only at its next upgrade."""
    found = owner(metadata)
    assert (found and found.name, found and found.heals) == (name, heals)


@pytest.mark.parametrize(
    ("answer", "match", "why"),
    [
        (AWAY, "", ""),
        (r.OwnershipAnswer(expected=1), 'cluster="us"', "is it the right Prometheus"),
        (r.OwnershipAnswer(expected=1, ours='cluster="eu"'), 'cluster="us"', "without it Prometheus shows them with"),
        (
            r.OwnershipAnswer(expected=1, seen=1, clusters=('cluster="a"', 'cluster="b"')),
            "",
            "The label cluster tells them apart: --metrics-match 'cluster=\"a\"' or --metrics-match 'cluster=\"b\"'",
        ),
    ],
)
def test_metrics_of_another_cluster_block(answer: Any, match: str, why: str) -> None:
    """With the matcher that tells them apart, where there is one."""
    made = run(VERIFYING, {"metrics_match": match, "terminal": True})
    step = settled(made, PERMISSIVE, answers={r.Ownership: answer})
    assert isinstance(step, Move), step
    assert (step.to, why in step.why) == (State.BLOCKED if why else State.PERMISSIVE, True), step.why


def test_a_second_look_that_sees_nothing_is_no_evidence_against_the_metrics() -> None:
    """`confirming` needs sight anyway, and blocks without it."""
    first, now = r.Ownership("production"), NOW + timedelta(minutes=10)
    second = r.Ownership("production", again=True)
    looked = Reading(NOW, r.OwnershipAnswer(expected=1, seen=1, foreign=("stranger",)))
    assert isinstance(disowned(run(VERIFYING), World({first: looked}), NOW), Wait)
    assert disowned(run(VERIFYING), World({first: looked, second: Reading(now, AWAY)}), now) is None
    later = Reading(now, r.OwnershipAnswer(foreign=("stranger",)))
    assert isinstance(disowned(run(VERIFYING), World({first: looked, second: later}), now), Move)


def selecting(name: str, ports: Mapping[str, Mode], **labels: str) -> PeerAuthentication:
    """A policy of the pods with these labels."""
    modes = {port: Mtls(mode) for port, mode in ports.items()}
    spec = PeerAuthenticationSpec(selector=WorkloadSelector(labels), port_level_mtls=modes)
    return PeerAuthentication(metadata=Metadata(name=name, namespace="production", uid=name), spec=spec)


def owned(made: PeerAuthentication) -> PeerAuthentication:
    """The same, kept by Argo CD."""
    metadata = msgspec.structs.replace(made.metadata, labels=ARGO_OWNED.metadata.labels)
    return msgspec.structs.replace(made, metadata=metadata)


def orders(**spec: Any) -> list[Object]:
    """A Deployment with one pod that declares port 8080; keywords change the Deployment's spec."""
    made = msgspec.structs.replace(deployment(), spec=msgspec.structs.replace(deployment().spec, **spec))
    one = pod(labels={"version": "1"})
    app = msgspec.structs.replace(one.spec.containers[0], ports=(ContainerPort(container_port=8080),))
    containers = (app, *one.spec.containers[1:])
    return [msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, containers=containers)), made]


EXPRESSION = LabelSelector(match_expressions=(LabelRequirement(key="app", operator="Exists"),))
SECOND = pod("orders-7d9-two", labels={"version": "2"})


@pytest.mark.parametrize(
    ("objects", "answers", "writes", "why"),
    [
        ([PERMISSIVE, *orders(), selecting("a", {"8080": Mode.STRICT}, app="orders")], {}, (), "that would lower it"),
        ([PERMISSIVE, *orders(), owned(selecting("a", {}, app="orders"))], {}, (), "is owned by Argo CD"),
        ([PERMISSIVE, *orders(selector=EXPRESSION)], {}, (), "its selector is no plain list of labels"),
        (
            [PERMISSIVE, *orders(), SECOND, selecting("a", {}, version="1"), selecting("b", {}, version="2")],
            {},
            (),
            "its pods have different policies: PeerAuthentication production/a, PeerAuthentication production/b",
        ),
        ([PERMISSIVE, *orders()], {}, (REFUSED,), "the server refused"),
        ([PERMISSIVE, *orders()], {r.DryRun: "denied by kyverno"}, (), "the server refuses"),
        ([policy(Mode.STRICT), *orders()], {}, (), "would change a mode before the flip"),
    ],
)
def test_a_port_is_kept_open_only_where_nothing_else_changes(
    objects: list[Object], answers: dict[Any, Any], writes: tuple[Write, ...], why: str
) -> None:
    """Each reason blocks before the flip."""
    step = settled(run(State.PERMISSIVE, {"exemptions": (OPEN,)}, writes=writes), *objects, answers=answers)
    assert isinstance(step, Move), step
    assert (step.to, why in step.why) == (State.BLOCKED, True), step.why


COMMIT = {"tasks": (Task(name="flip", keyword="strict", args={"via": "commit"}),)}
PROPOSED = msgspec.structs.replace(DONE, done=None)


def test_a_flip_by_commit_begins_at_permissive_and_may_be_stopped() -> None:
    """What is proposed stays proposed; what became of the object meanwhile is nobody's success."""
    step = settled(run(VERIFYING, COMMIT))
    assert isinstance(step, Move), step
    assert (step.to, "commit spec.mtls.mode: PERMISSIVE" in step.why) == (State.BLOCKED, True)
    stop = Requested(t=NOW, kind=RequestKind.STOP)
    step = settled(run(State.ENFORCING, COMMIT, writes=(PROPOSED,), stop=stop), PERMISSIVE)
    assert isinstance(step, End)
    assert (step.outcome, "is proposed and not applied" in step.sentence) == (Outcome.INTERRUPTED, True)
    step = settled(run(State.ENFORCING, COMMIT, writes=(PROPOSED,)), policy(Mode.DISABLE))
    assert isinstance(step, Learn)
    (fact,) = step.facts
    assert isinstance(fact, Failed)
    assert (fact.kind, fact.reason) == (FailureKind.FOREIGN, "it is DISABLE")


def test_an_undo_that_nobody_recorded_is_taken_up() -> None:
    """PERMISSIVE by ourselves is our way back; by anybody else it is theirs."""
    baseline = USUAL[r.Before]
    watching = run(State.WATCHING, writes=(DONE,), baseline=baseline)
    step = settled(watching, policy(Mode.PERMISSIVE, "rollout"))
    assert isinstance(step, Move), step
    assert (step.to, step.why) == (State.ROLLING_BACK, "the undo was written, but not recorded")
    step = settled(watching, policy(Mode.PERMISSIVE, "kubectl"))
    assert isinstance(step, Move), step
    assert (step.to, step.why) == (State.OVERRIDDEN, f"{REF} is PERMISSIVE, by kubectl")


def test_an_unproven_raise_is_taken_back() -> None:
    """To DISABLE, as a flip is to PERMISSIVE."""
    change = Change(ref=REF, before=Policy(Mode.DISABLE), after=Policy(Mode.PERMISSIVE), uid="u")
    raised = msgspec.structs.replace(DONE, change=change, permit=None)
    made = run(State.PERMISSIVE, writes=(raised,), baseline=USUAL[r.Before], watch=Watch(due=NOW))
    rejected = {r.Propagation: r.PropagationAnswer(rejected=("orders-7d9-abc",))}
    step = settled(made, PERMISSIVE, *OWN, answers=rejected)
    assert isinstance(step, Move), step
    assert (step.to, step.why.partition(":")[0]) == (State.ROLLING_BACK, "the raise is not proven")


def test_a_check_that_says_no_blocks_in_verifying() -> None:
    """By its name."""
    step = settled(run(VERIFYING), PERMISSIVE, *BARE)
    assert isinstance(step, Move), step
    assert (step.to, step.why, step.outcome) == (State.BLOCKED, "injection", Outcome.BLOCKED)


WAIVED = Finding(ref=REF, measured="", waived="exempt: x")
EXEMPT = CheckResult(
    check="effective-mode", state="permissive", title="", status=Status.FAILED, findings=(WAIVED,)
)  # fmt: skip


@pytest.mark.parametrize(
    ("objects", "fields", "traffic", "outcome"),
    [
        ([], {}, True, Outcome.ENFORCED),
        ([], {}, False, Outcome.UNOBSERVED),
        ([], {"checks": (EXEMPT,)}, True, Outcome.EXCEPTIONS),
        ([*orders(), selecting("a", {"8080": Mode.PERMISSIVE}, app="orders")], {}, True, Outcome.OVERRIDDEN),
        (
            [*orders(), selecting("a", {"8080": Mode.PERMISSIVE}, app="orders")],
            {"checks": (EXEMPT,)},
            True,
            Outcome.EXCEPTIONS,
        ),
    ],
)
def test_how_a_watch_ends(objects: list[Object], fields: dict[str, Any], traffic: bool, outcome: Outcome) -> None:
    """A port that somebody opened meanwhile is an override, one that was exempt is an exception."""
    watch = Watch(due=NOW, sight=1e6, traffic=traffic)
    made = run(State.WATCHING, writes=(DONE,), watch=watch, **fields)
    step = settled(made, policy(Mode.STRICT), *objects)
    assert isinstance(step, Move), step
    assert step.outcome is outcome


def test_a_port_that_only_a_service_names_is_kept_open_and_given_back() -> None:
    """A container need not declare its ports: naming one changes no mode, and neither does forgetting it."""
    raw = {"metadata": {"name": "orders", "namespace": "production"},
           "spec": {"selector": {"app": "orders"}, "ports": [{"port": 80, "targetPort": 8080}]}}  # fmt: skip
    objects = [PERMISSIVE, *OWN, msgspec.convert(raw, Service)]
    step = settled(run(State.PERMISSIVE, {"exemptions": (OPEN,)}), *objects)
    assert isinstance(step, WriteStep), step
    assert step.change.after == Policy(None, {"8080": Mode.PERMISSIVE})
    made = Write(seq=4, change=step.change, intended=WRITTEN, done=WRITTEN)
    whole = Requested(t=NOW, kind=RequestKind.ROLL_BACK, to_start=True)
    there = selecting(step.change.ref.name, {"8080": Mode.PERMISSIVE}, **dict(step.change.selector))
    back = settled(run(State.ROLLING_BACK, writes=(made,), roll_back=whole), *objects, there)
    assert back == Undo(step.change.inverse)
