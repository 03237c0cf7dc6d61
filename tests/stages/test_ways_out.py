"""The ways out of a state that a quiet run never takes: each answer of the world, and the step that follows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from rollout.errors import Outcome
from rollout.model.finding import CheckResult, Finding, Status
from rollout.model.istio import Mode, Mtls, PeerAuthentication, PeerAuthenticationSpec, WorkloadSelector
from rollout.model.judgement import Baseline, Observation
from rollout.model.kubernetes import ContainerPort, LabelRequirement, LabelSelector, ManagedField, Metadata, Object, Ref
from rollout.model.traffic import Evidence, EvidenceVerdict, Sight
from rollout.ports import Right
from rollout.record.change import Change, Permit, Policy
from rollout.record.events import Failed, FailureKind, ProofKind, Proven, Requested, RequestKind
from rollout.record.run import Run, Watch, Write
from rollout.record.spec import Exemption, OnStop, Spec, Task
from rollout.record.state import State
from rollout.stages.decide import decide
from rollout.stages.owners import owner
from rollout.stages.ownership import disowned
from rollout.stages.proof import SETTLED, proven_by_proxies
from rollout.stages.step import End, Learn, Move, Read, Step, Wait
from rollout.world import reads as r
from rollout.world.world import Needs, Reading, Unreadable, World
from tests.world.mesh_fakes import NOW, deployment, pod

REF = Ref("PeerAuthentication", "production", "default")
FLIP = Change(ref=REF, before=Policy(Mode.PERMISSIVE), after=Policy(Mode.STRICT), uid="u")
PERMIT = Permit(at=NOW, resource_version="1", oldest_read=NOW, evidence="", evidence_end=NOW, checks="", undo_proof="")
SPEC = Spec(run="r", namespace="production", started=NOW, tasks=(Task(name="flip", keyword="strict"),))
WRITTEN = NOW - timedelta(minutes=1)
DONE = Write(seq=5, change=FLIP, permit=PERMIT, intended=WRITTEN, done=WRITTEN)
SIGHT = Sight((), (), newest=NOW)
EVIDENCE = Evidence(
    namespace="production", verdict=EvidenceVerdict.CLEAN, start=NOW - timedelta(days=8), end=NOW, sight=SIGHT
)
AWAY = Unreadable("Prometheus is away")
USUAL: dict[type, Any] = {
    r.Rights: (), r.DryRun: "", r.Analysis: (), r.Traffic: EVIDENCE, r.Beside: r.BesideAnswer(),
    r.Before: Baseline(at=NOW, window=3600, sight=SIGHT), r.Observed: Observation(at=NOW, window=120, sight=SIGHT),
    r.Propagation: r.PropagationAnswer(updated=("orders-7d9-abc",)), r.Ownership: r.OwnershipAnswer(),
    r.ReferencedConfigMaps: (),
}  # fmt: skip


def policy(mode: Mode, manager: str = "") -> PeerAuthentication:
    """The namespace's own."""
    field = ManagedField(manager=manager, operation="Update", fields={"f:spec": {"f:mtls": {}}}, time=NOW)
    fields = (field,) if manager else ()
    metadata = Metadata(name="default", namespace="production", uid="u", managed_fields=fields)
    return PeerAuthentication(metadata=metadata, spec=PeerAuthenticationSpec(mtls=Mtls(mode)))


def run(state: State, spec: Mapping[str, Any] | None = None, **fields: Any) -> Run:
    """In that state since a minute."""
    began = NOW - timedelta(minutes=2)
    made = Run(spec=msgspec.structs.replace(SPEC, **(spec or {})), state=state, entered=began, updated=began, seq=9)
    return msgspec.structs.replace(made, **fields)


def settled(made: Run, *objects: Object, answers: Mapping[Any, Any] | None = None) -> Step:
    """Answer reads until there is another step; `answers` are by kind of object or of question."""
    known = USUAL | dict(answers or {})

    def answer(read: r.Read) -> Any:
        if isinstance(read, r.Objects):
            return known.get(read.kind, tuple(o for o in objects if isinstance(o, read.kind)))
        return known[type(read)]

    world = World()
    for _ in range(20):
        step = decide(made, world, NOW)
        if not isinstance(step, Read):
            return step
        world = world.plus({read: Reading(NOW, answer(read)) for read in step.reads})
    raise AssertionError("it reads for ever")


PERMISSIVE = policy(Mode.PERMISSIVE)
VERIFYING = State.VERIFYING
PATCH = Right("patch", PeerAuthentication.RESOURCE, "production")
OWN = [pod(), deployment()]
ARGO_OWNED = msgspec.structs.replace(
    PERMISSIVE, metadata=msgspec.structs.replace(PERMISSIVE.metadata, labels={"argocd.argoproj.io/instance": "shop"})
)
HELM_OWNED = msgspec.structs.replace(
    PERMISSIVE, metadata=msgspec.structs.replace(PERMISSIVE.metadata, labels={"app.kubernetes.io/managed-by": "Helm"})
)


@pytest.mark.parametrize(
    ("spec", "objects", "answers", "outcome", "why"),
    [
        ({"namespace": "istio-system"}, [], {}, Outcome.BLOCKED, "would flip the whole mesh"),
        ({"namespace": "kube-system"}, [], {}, Outcome.BLOCKED, "a system namespace; --allow-system"),
        ({}, [], {PeerAuthentication: Unreadable("x", absent=True)}, Outcome.BLOCKED, "Istio is not installed"),
        ({}, [], {PeerAuthentication: Unreadable("forbidden")}, Outcome.CANNOT_SEE, "forbidden"),
        ({}, [PERMISSIVE], {r.Rights: Unreadable("no reviews")}, Outcome.CANNOT_SEE, "no reviews"),
        ({}, [PERMISSIVE], {r.Rights: (PATCH,)}, Outcome.BLOCKED, "a right is missing: "),
        ({"require_guard": True}, [PERMISSIVE], {}, Outcome.BLOCKED, "nobody would pick this run up"),
        ({}, [policy(Mode.STRICT, "rollout")], {}, Outcome.BLOCKED, "no record says that it was watched to the end"),
        ({}, [ARGO_OWNED], {}, Outcome.BLOCKED, "Argo CD puts its own state back, so --override-owner is refused"),
        ({"override_owner": True}, [ARGO_OWNED], {}, Outcome.BLOCKED, "so --override-owner is refused"),
        ({}, [HELM_OWNED], {}, Outcome.BLOCKED, "or --override-owner"),
        ({}, [], {r.DryRun: "denied by kyverno"}, Outcome.BLOCKED, "the server refuses the first write"),
    ],
)
def test_verifying_refuses_before_the_first_write(
    spec: dict[str, Any], objects: list[Object], answers: dict[Any, Any], outcome: Outcome, why: str
) -> None:
    """Blocked, with the reason."""
    step = settled(run(VERIFYING, spec), *objects, answers=answers)
    assert isinstance(step, Move), step
    assert (step.to, step.outcome, why in step.why) == (State.BLOCKED, outcome, True), step.why


OPEN = Exemption(object="production/orders:8080", workload="production/orders", port=8080, reason="a probe")
REFUSED = Write(seq=4, change=FLIP.inverse, intended=WRITTEN, failed=FailureKind.REFUSED, reason="no")


@pytest.mark.parametrize(
    ("state", "fields", "objects", "answers", "to", "why"),
    [
        (State.PERMISSIVE, {}, OWN, {r.DryRun: "denied by kyverno"}, State.BLOCKED, "the server refuses"),
        (State.PERMISSIVE, {"writes": (REFUSED,)}, OWN, {}, State.BLOCKED, "the server refused"),
        (State.ENFORCING, {}, [policy(Mode.DISABLE)], {}, State.BLOCKED, "is not PERMISSIVE any more"),
        (State.ENFORCING, {}, [PERMISSIVE, *OWN], {r.DryRun: "denied"}, State.BLOCKED, "the server refuses the flip"),
        (State.ENFORCING, {}, [PERMISSIVE], {r.Before: AWAY}, State.BLOCKED, "Prometheus is away"),
        (State.CONFIRMING, {}, [], {PeerAuthentication: Unreadable("forbidden")}, State.BLOCKED, "forbidden"),
        (
            State.CHECKING,
            {"writes": (msgspec.structs.replace(REFUSED, failed=FailureKind.FOREIGN, reason="it is gone"),)},
            [],
            {},
            State.OVERRIDDEN,
            "it is gone",
        ),
    ],
)
def test_before_the_flip_a_refusal_blocks(
    state: State, fields: dict[str, Any], objects: list[Object], answers: dict[Any, Any], to: State, why: str
) -> None:
    """Nothing was written by then but PERMISSIVE."""
    step = settled(run(state, **fields), *objects, answers=answers)
    assert isinstance(step, Move), step
    assert (step.to, why in step.why) == (to, True), step.why


@pytest.mark.parametrize(
    ("spec", "objects", "writes", "answers", "why"),
    [
        ({"exemptions": (OPEN,)}, [PERMISSIVE], (), {}, "there is no Deployment, StatefulSet or DaemonSet"),
        (
            {"exemptions": (msgspec.structs.replace(OPEN, port=1),)},
            [PERMISSIVE, *OWN],
            (),
            {},
            "no such port; production/orders has container ports none",
        ),
    ],
)
def test_an_exemption_that_cannot_be_made_blocks(
    spec: dict[str, Any], objects: list[Object], writes: tuple[Write, ...], answers: dict[Any, Any], why: str
) -> None:
    """Before the flip, since the port would be cut by it."""
    step = settled(run(State.PERMISSIVE, spec, writes=writes), *objects, answers=answers)
    assert isinstance(step, Move), step
    assert (step.to, why in step.why) == (State.BLOCKED, True), step.why


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"max_duration": timedelta(minutes=10)}, "and --max-duration leaves 0:10:00"),
        ({"require_guard": True}, "nobody would pick this run up"),
    ],
)
def test_no_flip_that_nobody_could_take_back(spec: dict[str, Any], why: str) -> None:
    """Asked again at the gate: an approval may have taken days."""
    step = settled(run(State.ENFORCING, spec), PERMISSIVE)
    assert isinstance(step, Move), step
    assert (step.to, why in step.why) == (State.BLOCKED, True), step.why


@pytest.mark.parametrize("spec", [{"max_duration": timedelta(days=1)}, {"require_guard": True, "terminal": True}])
def test_a_flip_with_time_and_a_human_beside_it_goes_through_the_gate(spec: dict[str, Any]) -> None:
    """The baseline is recorded first."""
    step = settled(run(State.ENFORCING, spec | {"allow_idle": True}), PERMISSIVE)
    assert isinstance(step, Learn), step


def test_a_cluster_that_cannot_be_read_after_the_flip_is_waited_for() -> None:
    """Before it, it blocks; the flip is never forgotten for want of an answer."""
    step = settled(
        run(State.ENFORCED, writes=(DONE,), roll_back=Requested(t=NOW, kind=RequestKind.ROLL_BACK)),
        answers={PeerAuthentication: Unreadable("forbidden")},
    )
    assert isinstance(step, Move)
    assert step.to is State.ROLLING_BACK
    done = msgspec.structs.replace(DONE, done=None)
    step = settled(run(State.ENFORCING, writes=(done,)), answers={PeerAuthentication: Unreadable("forbidden")})
    assert isinstance(step, Wait), step
    assert "forbidden" in step.why


def test_a_way_back_without_a_flip_has_nothing_to_take_back() -> None:
    """Said, with what goes on; as is that nobody watches what a stop left STRICT."""
    asked = Requested(t=NOW, kind=RequestKind.ROLL_BACK)
    step = settled(run(State.CHECKING, roll_back=asked))
    assert isinstance(step, End)
    assert (step.outcome, "nothing to take back" in step.sentence) == (Outcome.PAUSED, True)
    stop = Requested(t=NOW, kind=RequestKind.STOP)
    step = settled(run(State.WATCHING, {"on_stop": OnStop.LEAVE}, writes=(DONE,), stop=stop))
    assert isinstance(step, End)
    assert "nobody watches it" in step.sentence


def test_a_playbook_without_strict_stops_before_the_flip() -> None:
    """As it was written."""
    step = settled(run(State.CHECKING, {"tasks": (), "allow_idle": True}), PERMISSIVE)
    assert isinstance(step, End), step
    assert (step.outcome, step.sentence) == (Outcome.PAUSED, "the playbook has no strict task")


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
    step = settled(run(VERIFYING), PERMISSIVE, *OWN)
    assert isinstance(step, Move), step
    assert (step.to, step.why, step.outcome) == (State.BLOCKED, "injection", Outcome.BLOCKED)


EXEMPT = CheckResult(
    check="effective-mode", state="permissive", title="", status=Status.FAILED, findings=(Finding(ref=REF, measured="", waived="exempt: x"),)
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
