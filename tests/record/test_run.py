"""A run is a fold over its facts."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from rollout.errors import Outcome, RecordError, worst
from rollout.model.finding import CheckResult, Finding, Severity, Status
from rollout.model.istio import Mode
from rollout.model.judgement import Verdict
from rollout.model.kubernetes import Ref
from rollout.record import events as e
from rollout.record.change import Change, Permit, Policy
from rollout.record.codec import decode, encode
from rollout.record.run import Run, apply, fold, merge_ticks
from rollout.record.spec import Spec, Task
from rollout.record.state import State

T0 = datetime(2026, 3, 2, 10, 12, tzinfo=UTC)
REF = Ref("PeerAuthentication", "production", "default")
FLIP = Change(ref=REF, before=Policy(Mode.PERMISSIVE), after=Policy(Mode.STRICT), uid="u1")
PERMIT = Permit(at=T0, resource_version="7", oldest_read=T0, evidence="e", evidence_end=T0, checks="c", undo_proof="ok")


def spec(**changes: object) -> Spec:
    """A run's spec."""
    base = Spec(run="production-20260302-1012-b4", namespace="production", started=T0,
                tasks=(Task(name="Require", keyword="strict"),))  # fmt: skip
    return msgspec.structs.replace(base, **changes)


def at(minutes: float) -> datetime:
    """Minutes after the beginning."""
    return T0 + timedelta(minutes=minutes)


def walk(*states: State, **changes: object) -> list[e.Fact]:
    """A journal that goes through these states."""
    facts: list[e.Fact] = [e.Started(t=T0, seq=1, spec=spec(**changes))]
    here = State.PLANNED
    for state in states:
        facts.append(e.Moved(t=at(len(facts)), seq=len(facts) + 1, from_=here, to=state))
        here = state
    return facts


TO_ENFORCING = (State.VERIFYING, State.PERMISSIVE, State.CONFIRMING, State.CHECKING, State.ENFORCING)


def flipped() -> list[e.Fact]:
    """A journal up to the written flip."""
    facts = walk(*TO_ENFORCING)
    facts.append(e.Intended(t=at(7), seq=7, change=FLIP, permit=PERMIT))
    facts.append(e.Done(t=at(7), seq=8, of=7, change=FLIP, resource_version="8"))
    return facts


def test_the_fold_knows_state_and_flip() -> None:
    """State, flip and its permit come out of the events."""
    run = fold(flipped())
    assert run.state is State.ENFORCING
    assert run.flip is not None
    assert run.flip.permit == PERMIT
    assert run.open_intent is None


def test_an_intent_without_a_result_is_open() -> None:
    """A killed process leaves one behind, and it counts as possibly written."""
    run = fold(flipped()[:-1])
    assert run.open_intent is not None
    assert run.flip is not None


@pytest.mark.parametrize("kind", [k for k in e.FailureKind if k is not e.FailureKind.UNSURE])
def test_a_failed_write_does_not_stand(kind: e.FailureKind) -> None:
    """Refused, conflict, foreign and void close the intent."""
    run = fold([*flipped()[:-1], e.Failed(t=at(8), seq=8, of=7, kind=kind, reason="no")])
    assert run.flip is None
    assert run.open_intent is None


def test_an_unsure_write_stays_open() -> None:
    """Nobody knows: the object is read again."""
    run = fold([*flipped()[:-1], e.Failed(t=at(8), seq=8, of=7, kind=e.FailureKind.UNSURE, reason="timeout")])
    assert run.open_intent is not None


def test_an_undo_takes_the_flip_back() -> None:
    """After the undo nothing stands."""
    run = fold([*flipped(), e.Done(t=at(9), seq=9, of=0, change=FLIP.inverse, resource_version="9", undo=True)])
    assert run.flip is None
    assert run.writes[0].undone == at(9)


def test_a_change_turned_round_twice_is_itself() -> None:
    """The inverse is an involution."""
    assert FLIP.inverse.inverse == FLIP
    assert FLIP.strict
    assert not FLIP.inverse.strict


def test_a_dry_run_may_pass_a_block_and_a_live_run_may_not() -> None:
    """The trigger `assume` is for plans."""
    dry = fold(walk(State.VERIFYING, State.BLOCKED, State.PERMISSIVE, plan=True))
    assert dry.state is State.PERMISSIVE
    with pytest.raises(RecordError, match="only a dry run"):
        fold(walk(State.VERIFYING, State.BLOCKED, State.PERMISSIVE))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ([], "empty"),
        (walk(State.VERIFYING)[1:], "does not begin"),
        ([*walk(), *walk()], "two beginnings"),
        ([*walk(), e.Moved(t=T0, seq=2, from_=State.CHECKING, to=State.ENFORCING)], "but the run is planned"),
    ],
)
def test_a_history_that_cannot_be_is_refused(facts: list[e.Fact], words: str) -> None:
    """A forged or torn journal gets a sentence."""
    with pytest.raises(RecordError, match=words):
        fold(facts)


def ticks(verdict: Verdict, minute: float, sight: float = 30.0) -> e.Ticks:
    """One tick."""
    return e.Ticks(t=at(minute), seq=20, verdict=verdict, since=at(minute), until=at(minute), sight=sight)


def test_ticks_fold_alike_one_by_one_and_merged() -> None:
    """Run-length coding loses nothing that a decision may read."""
    base = fold([*flipped(), e.Moved(t=at(8), seq=9, from_=State.ENFORCING, to=State.WATCHING)])
    singles = [ticks(Verdict.HEALTHY, 10 + n / 2) for n in range(6)]
    one_by_one: Run = base
    merged: e.Ticks | None = singles[0]
    for n, tick in enumerate(singles):
        one_by_one = apply(one_by_one, tick)
        if n:
            assert merged is not None
            merged = merge_ticks(merged, tick)
    assert merged is not None
    assert apply(base, merged).watch == one_by_one.watch
    assert one_by_one.watch.sight == 180.0


def test_blindness_is_counted_from_its_first_tick() -> None:
    """Sight that comes back ends it."""
    run = fold(flipped())
    blind = apply(apply(run, ticks(Verdict.CANNOT_SEE, 10, 0)), ticks(Verdict.CANNOT_SEE, 11, 0))
    assert blind.watch.blind == at(10)
    assert apply(blind, ticks(Verdict.HEALTHY, 12)).watch.blind is None
    assert merge_ticks(ticks(Verdict.HEALTHY, 1), ticks(Verdict.CANNOT_SEE, 2)) is None


def test_requests_are_heard() -> None:
    """Stop, hold, release, approve and roll back change the run."""
    run = fold(flipped())
    for kind in e.RequestKind:
        run = apply(run, e.Requested(t=at(9), seq=9, kind=kind, by="ana", task="Require"))
    assert run.stop is not None
    assert run.roll_back is not None
    assert run.approved == ("Require",)
    assert run.held == ""


def test_a_run_that_ended_can_be_taken_up() -> None:
    """Resumed clears the end and keeps the gap."""
    ended = apply(fold(flipped()), e.Ended(t=at(10), seq=10, outcome=Outcome.TERMINATED.name, sentence="s"))
    assert ended.result is Outcome.TERMINATED
    again = apply(ended, e.Resumed(t=at(20), seq=11, by="bo"))
    assert not again.ended
    assert again.gap == at(10)


def test_every_event_survives_the_wire() -> None:
    """JSON and back."""
    for event in [*flipped(), ticks(Verdict.HEALTHY, 1), e.Noted(t=T0, text="n")]:
        assert decode(encode(event)) == event


@pytest.mark.parametrize("line", ["", "{}", "[]", '{"type":"spec"}', '{"v":99,"type":"note"}', '{"type":"nope"}'])
def test_what_is_no_event_gets_a_sentence(line: str) -> None:
    """Never a traceback."""
    with pytest.raises(RecordError):
        decode(line, "e00000001")


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([], Outcome.DONE),
        ([Outcome.ENFORCED, Outcome.BLOCKED, Outcome.CANNOT_SEE], Outcome.CANNOT_SEE),
        ([Outcome.ROLLED_BACK, Outcome.ROLLBACK_FAILED], Outcome.ROLLBACK_FAILED),
        ([Outcome.INTERRUPTED, Outcome.BLOCKED], Outcome.INTERRUPTED),
        ([Outcome.INTERRUPTED, Outcome.ROLLED_BACK], Outcome.ROLLED_BACK),
    ],
)
def test_a_batch_ends_with_its_worst(ends: list[Outcome], expected: Outcome) -> None:
    """UX B.9."""
    assert worst(ends) is expected


def test_a_second_beginning_is_refused_event_by_event() -> None:
    """A journal that is followed while it grows, too."""
    with pytest.raises(RecordError, match="two beginnings"):
        apply(fold(flipped()), e.Started(t=T0, seq=9, spec=spec()))


def test_a_way_back_that_is_denied_is_remembered_and_the_flip_stands() -> None:
    """Trying again is no use; another failure of the undo says nothing for good."""
    run = fold(flipped())
    conflict = e.Failed(t=at(9), seq=9, of=0, kind=e.FailureKind.CONFLICT, reason="409", undo=True)
    denied = msgspec.structs.replace(conflict, kind=e.FailureKind.DENIED, reason="no right to patch")
    assert (apply(run, conflict).denied, apply(run, conflict).flip) == ("", run.flip)
    assert (apply(run, denied).denied, apply(run, denied).flip) == ("no right to patch", run.flip)


def test_to_start_takes_back_the_last_write_that_stands() -> None:
    """After the flip also what made the namespace PERMISSIVE; without it, nothing more."""
    pinned = Change(ref=REF, before=None, after=Policy(Mode.PERMISSIVE))
    facts = walk(State.VERIFYING, State.PERMISSIVE)
    facts += [
        e.Intended(t=at(4), seq=4, change=pinned),
        e.Done(t=at(4), seq=5, of=4, change=pinned, resource_version="1"),
    ]
    back = e.Requested(t=at(5), seq=6, kind=e.RequestKind.ROLL_BACK)
    assert fold([*facts, back]).to_undo is None
    whole = fold([*facts, msgspec.structs.replace(back, to_start=True)])
    assert (whole.to_undo, whole.to_undo and whole.to_undo.change) == (whole.writes[0], pinned)


def test_a_run_is_held_until_it_is_let_go() -> None:
    """Both are facts."""
    held = apply(fold(flipped()), e.Held(t=at(9), seq=9, on=True, why="approval"))
    assert held.held == "approval"
    assert apply(held, e.Held(t=at(10), seq=10, on=False, why="approval")).held == ""


@pytest.mark.parametrize(
    ("plan", "why", "kept"),
    [
        (True, "authorization-policies", Status.FAILED),
        (True, "injection", Status.OK),
        (False, "authorization-policies", Status.OK),
    ],
)
def test_what_blocked_stands_in_a_plan(plan: bool, why: str, kept: Status) -> None:
    """The plan goes on as if it were written, and beyond it nothing is left to say; a run asks again and is told."""
    ref = Ref("AuthorizationPolicy", "production", "no-shop")
    finding = Finding(ref=ref, measured="denies 1 caller", severity=Severity.BLOCKING)
    name = "authorization-policies"
    bad = CheckResult(check=name, title="", state=State.VERIFYING, status=Status.FAILED, findings=(finding,))
    good = msgspec.structs.replace(bad, status=Status.OK, findings=())
    facts = [
        *walk(State.VERIFYING, plan=plan),
        e.Checked(t=at(2), seq=3, state=State.VERIFYING, results=(bad,)),
        e.Moved(t=at(3), seq=4, from_=State.VERIFYING, to=State.BLOCKED, why=why, outcome=Outcome.BLOCKED.name),
        e.Checked(t=at(4), seq=5, state=State.VERIFYING, results=(good,)),
    ]
    assert [kept] == [result.status for result in fold(facts).checks]
