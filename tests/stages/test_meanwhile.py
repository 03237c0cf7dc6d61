"""What became of a write, a commit, a raise or a way back while nobody looked, and what is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from rollout.errors import Outcome
from rollout.model.istio import (
    DestinationRule,
    Mode,
    Mtls,
    PeerAuthentication,
    PeerAuthenticationSpec,
    WorkloadSelector,
)
from rollout.model.judgement import Verdict
from rollout.model.kubernetes import Metadata, Object, Pod, Service
from rollout.record.change import Change, Policy
from rollout.record.events import Done, Failed, FailureKind, ProofKind, Proven, Requested, RequestKind, Ticks
from rollout.record.run import Watch, Write
from rollout.record.spec import Task
from rollout.record.state import State
from rollout.stages.step import End, Flip, Learn, Move, Step, Wait
from rollout.stages.step import Write as WriteStep
from rollout.world import reads as r
from rollout.world.world import Unreadable
from tests.stages import paper
from tests.stages.hand_made import (
    ARGO_OWNED,
    AWAY,
    BARE,
    DONE,
    FLIP,
    OPEN,
    OWN,
    PERMISSIVE,
    REF,
    USUAL,
    VERIFYING,
    WRITTEN,
    policy,
    run,
    settled,
)
from tests.stages.paper import Paper
from tests.world.mesh_fakes import NOW

STRICT = policy(Mode.STRICT, "rollout")
DISABLE = policy(Mode.DISABLE)
INTENT = msgspec.structs.replace(DONE, done=None)
COMMIT = {"tasks": (Task(name="flip", keyword="strict", args={"via": "commit"}),)}
SLOW = {**COMMIT, "accept_slow_rollback": True}
BASELINE = USUAL[r.Before]
UNDO = {ProofKind.UNDO: Proven(t=NOW, of=ProofKind.UNDO, ok=True)}
UNPROVEN = {r.Propagation: r.PropagationAnswer()}
RAISE = Change(ref=REF, before=Policy(Mode.DISABLE), after=Policy(Mode.PERMISSIVE), uid="u")
RAISED = msgspec.structs.replace(DONE, change=RAISE, permit=None)
REFUSED_FOR_GOOD = Unreadable("Unauthorized", permanent=True)


def moved(step: Step) -> tuple[State, Outcome | None, str]:
    """Where to, how, and why."""
    assert isinstance(step, Move), step
    return step.to, step.outcome, step.why


def learnt(step: Step) -> Any:
    """The one fact."""
    assert isinstance(step, Learn), step
    (fact,) = step.facts
    return fact


@pytest.mark.parametrize("spec", [{}, COMMIT])
def test_a_flip_that_arrived_is_done(spec: dict[str, Any]) -> None:
    """Whoever wrote it: since the intent at the earliest, or since the controller that applied the commit says so."""
    fact = learnt(settled(run(State.ENFORCING, spec, writes=(INTENT,)), STRICT))
    since = NOW if spec else WRITTEN
    assert Done(t=NOW, of=5, change=FLIP, resource_version="", since=since) == fact


@pytest.mark.parametrize(
    ("objects", "kind", "reason"),
    [
        ([PERMISSIVE], FailureKind.VOID, "it was not written"),
        ([DISABLE], FailureKind.FOREIGN, "it is DISABLE"),
        ([], FailureKind.FOREIGN, "it is gone"),
    ],
)
def test_a_flip_that_did_not_arrive_has_failed(objects: list[Object], kind: FailureKind, reason: str) -> None:
    """What stands there instead tells whether it may be tried again."""
    fact = learnt(settled(run(State.ENFORCING, writes=(INTENT,)), *objects))
    assert Failed(t=NOW, of=5, kind=kind, reason=reason) == fact


def test_a_commit_is_waited_for_and_then_left_alone() -> None:
    """Nobody watches a flip that comes after the wait: that is said, with the command that does."""
    made = run(State.ENFORCING, COMMIT, writes=(INTENT,))
    waiting = settled(made, PERMISSIVE)
    assert Wait(NOW + timedelta(seconds=15), f"waiting for the commit of {FLIP} to be applied") == waiting
    early = msgspec.structs.replace(INTENT, intended=NOW - timedelta(hours=1))
    over = settled(msgspec.structs.replace(made, writes=(early,)), PERMISSIVE)
    said = "the commit that makes production STRICT was not applied within 1:00:00; "
    said += "when it is, nobody watches until resume"
    assert End(Outcome.PAUSED, said, "rollout resume r") == over


@pytest.mark.parametrize(
    ("objects", "why"),
    [
        ([PERMISSIVE], "the policy is kept in a repository, so the way back is a commit, too"),
        ([ARGO_OWNED], "Argo CD puts its own state back, so the way back is a commit, too"),
    ],
)
def test_a_way_back_by_commit_must_be_accepted(objects: list[Object], why: str) -> None:
    """A revert that nobody applies in time is the loudest end."""
    to, outcome, said = moved(settled(run(VERIFYING, COMMIT), *objects))
    assert (State.BLOCKED, Outcome.BLOCKED, True) == (to, outcome, said.startswith(why)), said
    assert State.PERMISSIVE is moved(settled(run(VERIFYING, SLOW), *objects))[0]


def test_a_stop_before_the_flip_ends_where_it_is() -> None:
    """Nothing is to be taken back."""
    stop = Requested(t=NOW, kind=RequestKind.STOP, reason="SIGTERM")
    step = settled(run(State.CHECKING, stop=stop))
    assert End(Outcome.TERMINATED, "production was not flipped", "rollout resume r") == step


def test_a_failed_way_back_is_taken_up_by_resume() -> None:
    """And is the loudest end as long as nobody does."""
    failed = run(State.ROLLBACK_FAILED, writes=(DONE,), why="the undo could not be written", ending="ROLLBACK_FAILED")
    said = "production: the undo could not be written. A human is needed"
    assert End(Outcome.ROLLBACK_FAILED, said, "rollout resume r") == settled(failed)
    assert (State.ROLLING_BACK, None, "taken up again") == moved(settled(msgspec.structs.replace(failed, resumed=NOW)))


def test_an_override_is_an_end() -> None:
    """No write of ours follows."""
    over = run(State.OVERRIDDEN, writes=(DONE,), why="it is DISABLE, by ana", ending="OVERRIDDEN")
    said = "production: it is DISABLE, by ana. No write of ours follows"
    assert End(Outcome.OVERRIDDEN, said, "rollout plan production") == settled(over)


@pytest.mark.parametrize(
    ("fields", "objects", "to", "why"),
    [
        ({"writes": (DONE,), "denied": "forbidden"}, [STRICT], State.ROLLBACK_FAILED, "is denied for good: forbidden"),
        (
            {"writes": (DONE,), "entered": NOW - timedelta(minutes=10)},
            [STRICT],
            State.ROLLBACK_FAILED,
            "could not be written within 0:10:00",
        ),
        ({}, [PERMISSIVE], State.ROLLED_BACK, "there was nothing to take back"),
    ],
)
def test_a_way_back_that_cannot_be_written(fields: dict[str, Any], objects: list[Object], to: State, why: str) -> None:
    """By rights, or in time; and one that is not needed."""
    there, _, said = moved(settled(run(State.ROLLING_BACK, **fields), *objects))
    assert (to, True) == (there, why in said), said


def test_a_way_back_waits_for_its_proof() -> None:
    """Nobody is told to sleep before every proxy took it."""
    undone = msgspec.structs.replace(DONE, undone=WRITTEN)
    step = settled(run(State.ROLLING_BACK, writes=(undone,)), PERMISSIVE, *OWN, answers=UNPROVEN)
    assert Wait(NOW + timedelta(seconds=15), "0/1 proxies after 60s; missing orders-7d9-abc") == step


def test_a_raise_waits_for_its_proof_and_needs_a_baseline() -> None:
    """As a flip does: without one it could not be judged."""
    due = Watch(due=NOW)
    made = run(State.PERMISSIVE, writes=(RAISED,), baseline=BASELINE, watch=due)
    step = settled(made, PERMISSIVE, *OWN, answers=UNPROVEN)
    assert Wait(NOW + timedelta(seconds=15), "0/1 proxies after 60s; missing orders-7d9-abc") == step
    to, _, why = moved(settled(run(State.PERMISSIVE), DISABLE, *OWN, answers={r.Before: AWAY}))
    assert (State.BLOCKED, "a raise cannot be judged: Prometheus is away") == (to, why)


def test_a_flip_is_judged_while_it_spreads() -> None:
    """The first sample is due before every proxy has proven it."""
    made = run(State.ENFORCING, writes=(DONE,), proofs=UNDO, baseline=BASELINE)
    step = settled(made, STRICT, *OWN)
    assert isinstance(step, Learn), step
    assert [Verdict.NO_TRAFFIC] == [fact.verdict for fact in step.facts if isinstance(fact, Ticks)]
    between = msgspec.structs.replace(made, watch=Watch(due=NOW - timedelta(seconds=20)))
    step = settled(between, STRICT, *OWN, answers=UNPROVEN)
    assert Wait(NOW + timedelta(seconds=10), "0/1 proxies after 60s; missing orders-7d9-abc") == step


@pytest.mark.parametrize(
    ("args", "watch", "answers", "why"),
    [
        ({"on_blind": "roll_back"}, Watch(), {}, "(blind_deadline 0:00:00)"),
        ({}, Watch(blind=NOW - timedelta(minutes=30)), {}, "blind since 11:30:00: "),
        ({}, Watch(blind=NOW - timedelta(minutes=1)), {Pod: REFUSED_FOR_GOOD}, "are refused for good: Unauthorized"),
    ],
)
def test_a_watch_that_will_not_see_again_is_taken_back(
    args: dict[str, Any], watch: Watch, answers: dict[Any, Any], why: str
) -> None:
    """At once, at the deadline, or where the credentials are void."""
    spec = {"tasks": (Task(name="flip", keyword="strict"), Task(name="look", keyword="watch", args=args))}
    watch = msgspec.structs.replace(watch, began=WRITTEN)
    made = run(State.WATCHING, spec, writes=(DONE,), proofs=UNDO, baseline=BASELINE, watch=watch)
    to, _, said = moved(settled(made, STRICT, answers={r.Observed: AWAY, **answers}))
    assert (State.ROLLING_BACK, True) == (to, why in said), said


def test_an_undo_that_the_server_would_refuse_is_said_in_mid_watch() -> None:
    """The watch goes on: taking back now would be refused, too."""
    old = {ProofKind.UNDO: Proven(t=NOW - timedelta(minutes=5), of=ProofKind.UNDO, ok=True)}
    made = run(
        State.WATCHING, writes=(DONE,), proofs=old, baseline=BASELINE, watch=Watch(began=NOW - timedelta(minutes=4))
    )
    step = settled(made, STRICT, *OWN, answers={r.DryRun: "denied by kyverno"})
    assert isinstance(step, Learn), step
    assert Proven(t=NOW, of=ProofKind.UNDO, ok=False, detail="denied by kyverno") == step.facts[0]


def test_somebody_who_writes_all_the_time_is_given_way() -> None:
    """Five conflicts in a row are no accident."""
    conflict = Write(seq=4, change=FLIP, intended=WRITTEN, failed=FailureKind.CONFLICT, reason="changed by flux")
    to, _, why = moved(settled(run(State.ENFORCING, writes=(conflict,) * 5), PERMISSIVE, *BARE))
    assert (State.BLOCKED, f"5 conflicts in a row at {REF}: changed by flux") == (to, why)
    assert "conflicts" not in moved(settled(run(State.ENFORCING, writes=(conflict,) * 4), PERMISSIVE, *BARE))[2]


def test_a_check_that_says_no_at_the_gate_blocks() -> None:
    """All of them are asked again there: a pod came without its sidecar since."""
    assert (State.BLOCKED, Outcome.BLOCKED, "injection") == moved(settled(run(State.ENFORCING), PERMISSIVE, *BARE))


def test_metrics_that_go_away_before_the_evidence_block() -> None:
    """Nothing was seen, and nothing is assumed."""
    step = settled(run(State.CONFIRMING), PERMISSIVE, answers={r.Traffic: AWAY})
    assert (State.BLOCKED, Outcome.CANNOT_SEE, "Prometheus is away") == moved(step)


def selecting(ports: dict[str, Mode], mode: Mode | None = None) -> PeerAuthentication:
    """A policy of orders alone."""
    modes = {port: Mtls(each) for port, each in ports.items()}
    spec = PeerAuthenticationSpec(
        selector=WorkloadSelector({"app": "orders"}), port_level_mtls=modes, mtls=Mtls(mode) if mode else None
    )
    return PeerAuthentication(metadata=Metadata(name="own", namespace="production", uid="own"), spec=spec)


def test_a_workload_that_stays_open_blocks_before_the_evidence() -> None:
    """Its own policy would outlive the flip."""
    step = settled(run(State.PERMISSIVE), PERMISSIVE, *paper.OWN, selecting({}, Mode.DISABLE))
    assert (State.BLOCKED, Outcome.BLOCKED, "effective-mode") == moved(step)


def leading(port: int, *targets: int) -> Sequence[Service]:
    """Services of orders on that port, one for each container port that they lead to."""
    return [
        msgspec.convert(
            {"metadata": {"name": f"orders-{target}", "namespace": "production"},
             "spec": {"selector": {"app": "orders"}, "ports": [{"port": port, "targetPort": target}]}},
            Service,
        )
        for target in targets
    ]  # fmt: skip


def test_a_services_port_is_resolved_to_the_containers() -> None:
    """A policy knows container ports only; one that leads to two of them must be named by hand."""
    exempt = {"exemptions": (msgspec.structs.replace(OPEN, object="production/orders:80", port=80),)}
    step = settled(run(State.PERMISSIVE, exempt), PERMISSIVE, *OWN, *leading(80, 8080))
    assert isinstance(step, WriteStep), step
    assert Policy(None, {"8080": Mode.PERMISSIVE}) == step.change.after
    to, _, why = moved(settled(run(VERIFYING, exempt), PERMISSIVE, *paper.OWN, *leading(80, 8080, 9090)))
    assert (State.BLOCKED, True) == (to, "Service port 80 leads to container ports [8080, 9090]" in why), why


def test_a_policy_that_selects_the_workload_gets_one_port_more() -> None:
    """A younger one beside it would be ignored; what it says stays."""
    own = selecting({"9090": Mode.STRICT}, Mode.PERMISSIVE)
    step = settled(run(State.PERMISSIVE, {"exemptions": (OPEN,)}), PERMISSIVE, *OWN, *leading(80, 8080), own)
    assert isinstance(step, WriteStep), step
    assert (own.ref, "own", Policy(Mode.PERMISSIVE, {"8080": Mode.PERMISSIVE, "9090": Mode.STRICT})) == (
        step.change.ref, step.change.uid, step.change.after,
    )  # fmt: skip


def test_a_namespace_that_an_earlier_run_made_strict_is_left_alone() -> None:
    """Where its record says that it was watched to the end."""
    step = settled(run(VERIFYING, {"enforced_before": True}), STRICT)
    assert (State.ENFORCED, Outcome.UNCHANGED, "STRICT already") == moved(step)


def test_a_rule_that_comes_in_mid_watch_is_found_between_two_samples() -> None:
    """Every fifth minute: the tick's own window is too short for it."""
    look = Task(name="look", keyword="watch", args={"for": "PT20M"})
    run_ = Paper(PERMISSIVE, *paper.OWN, *leading(80, 8080), tasks=(paper.QUICK[0], look))
    with pytest.raises(AssertionError, match="still watching"):
        run_.go(minutes=11)
    raw = {
        "metadata": {"name": "plain", "namespace": "production"},
        "spec": {"host": "orders-8080.production.svc.cluster.local", "trafficPolicy": {"tls": {"mode": "DISABLE"}}},
    }
    run_.objects = (*run_.objects, msgspec.convert(raw, DestinationRule))
    assert Outcome.ENFORCED is run_.go().outcome
    assert "DestinationRule production/plain came after the flip and turns mesh TLS off for orders-8080" in run_.run.why


def test_rules_that_may_not_be_read_at_the_end_are_said() -> None:
    """The right was taken away meanwhile: that is no harm, and no proof either."""
    watch = Watch(began=NOW - timedelta(hours=1), due=NOW, sight=1e6, traffic=True)
    made = run(State.WATCHING, writes=(DONE,), watch=watch, proofs=UNDO, baseline=BASELINE)
    to, _, why = moved(settled(made, STRICT, *OWN, answers={DestinationRule: Unreadable("not permitted")}))
    assert (State.ENFORCED, True) == (to, "rules that came after the flip could not be read: " in why), why


def test_a_flip_needs_what_the_gate_saw() -> None:
    """Only where the baseline is recorded already."""
    made = run(State.ENFORCING, {"allow_idle": True}, baseline=BASELINE)
    assert isinstance(settled(made, PERMISSIVE, *paper.OWN), Flip)
