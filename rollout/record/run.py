"""A run is a fold over its facts: resume folds what is recorded and goes on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import assert_never

import msgspec

from rollout.errors import Outcome, RecordError
from rollout.model.finding import CheckResult
from rollout.model.istio import Mode
from rollout.model.judgement import Baseline, Signal, Verdict
from rollout.model.traffic import Evidence
from rollout.record.change import Change, Permit
from rollout.record.events import (
    NOTES,
    Baselined,
    Checked,
    Confirmed,
    Done,
    Ended,
    Fact,
    Failed,
    FailureKind,
    Held,
    Intended,
    Moved,
    Note,
    ProofKind,
    Proven,
    Requested,
    RequestKind,
    Resumed,
    Started,
    Ticks,
)
from rollout.record.spec import Spec
from rollout.record.state import ENDS, State, move, trigger


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One intended change and what became of it; `done` None and `failed` None is an open intent."""

    seq: int
    change: Change
    intended: datetime
    permit: Permit | None = None
    done: datetime | None = None
    failed: FailureKind | None = None
    reason: str = ""
    undone: datetime | None = None
    accepted: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Nobody knows yet whether it was written."""
        return self.done is None and self.failed is None

    @property
    def standing(self) -> bool:
        """It was, or may have been, written, and is not taken back."""
        return self.undone is None and (self.done is not None or self.open)


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """How far the watch is: `sight` in seconds, `due` the last tick that was judged, `blind` since when nobody sees."""

    began: datetime | None = None
    due: datetime | None = None
    sample: datetime | None = None
    ticks: int = 0
    sight: float = 0.0
    traffic: bool = False
    verdict: Verdict | None = None
    breached: tuple[str, ...] = ()
    blind: datetime | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a decision may know of the past."""

    spec: Spec
    state: State = State.PLANNED
    seq: int = 0
    entered: datetime
    updated: datetime
    came_from: State | None = None
    why: str = ""
    ending: str = ""
    signals: tuple[Signal, ...] = ()
    writes: tuple[Write, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    evidence: Evidence | None = None
    baseline: Baseline | None = None
    proofs: dict[str, Proven] = {}
    watch: Watch = Watch()
    held: str = ""
    approved: tuple[str, ...] = ()
    stop: Requested | None = None
    roll_back: Requested | None = None
    outcome: str = ""
    blocked: tuple[str, ...] = ()
    sentence: str = ""
    next: str = ""
    resumed: datetime | None = None
    onward: bool = False
    gap: datetime | None = None
    denied: str = ""

    @property
    def id(self) -> str:
        """The run's name."""
        return self.spec.run

    @property
    def ended(self) -> bool:
        """The process has nothing more to do with it."""
        return bool(self.outcome)

    @property
    def result(self) -> Outcome | None:
        """How it ended."""
        return Outcome[self.outcome] if self.outcome else None

    @property
    def finished(self) -> bool:
        """It reached an end state; an ended but unfinished run can be resumed."""
        return self.state in ENDS

    @property
    def flip(self) -> Write | None:
        """The standing STRICT write, done or possibly done."""
        return next((w for w in reversed(self.writes) if w.change.strict and w.standing), None)

    @property
    def raised(self) -> Write | None:
        """The standing write that took DISABLE to PERMISSIVE."""
        return next(
            (w for w in reversed(self.writes) if w.standing and _raises(w.change)),
            None,
        )

    @property
    def to_undo(self) -> Write | None:
        """What the way back takes back next: the flip; a raise that did harm; with --to-start all that stands."""
        if self.flip is not None:
            return self.flip
        if self.roll_back is not None and self.roll_back.to_start:
            return next((w for w in reversed(self.writes) if w.standing), None)
        flipped = any(w.change.strict for w in self.writes)
        return self.raised if self.came_from is State.PERMISSIVE and not flipped else None

    @property
    def open_intent(self) -> Write | None:
        """The intent that a dead process left behind."""
        return next((w for w in reversed(self.writes) if w.open), None)

    def proof(self, kind: ProofKind) -> Proven | None:
        """The latest proof of this kind, good or bad."""
        return self.proofs.get(kind)

    def proven(self, kind: ProofKind, since: datetime | None = None) -> bool:
        """The latest proof of this kind is good, and not older than `since`."""
        proof = self.proofs.get(kind)
        return proof is not None and proof.ok and (since is None or proof.t >= since)


def _raises(change: Change) -> bool:
    before, after = change.before, change.after
    return bool(before and after and before.mode is Mode.DISABLE and after.mode is Mode.PERMISSIVE)


def begin(event: Started) -> Run:
    """The run of a first event."""
    return Run(spec=event.spec, seq=event.seq, entered=event.t, updated=event.t)


def fold(events: Iterable[Fact | Note]) -> Run:
    """The run that these events tell of; notes are passed over.

    Raises:
        RecordError: no first event, or a history that the table of states does not allow.
    """
    run: Run | None = None
    for event in events:
        if isinstance(event, Started):
            if run is not None:
                raise RecordError("a journal with two beginnings", where=f"event {event.seq}")
            run = begin(event)
        elif run is None:
            raise RecordError("a journal that does not begin with the run's spec", where=f"event {event.seq}")
        else:
            run = apply(run, event)
    if run is None:
        raise RecordError("an empty journal")
    return run


def apply(run: Run, event: Fact | Note) -> Run:
    """The run after one more event."""
    if isinstance(event, NOTES):
        return run
    return _with(_after(run, event), seq=max(run.seq, event.seq), updated=max(run.updated, event.t))


def _after(run: Run, event: Fact) -> Run:
    match event:
        case Started():
            raise RecordError("a journal with two beginnings", where=f"event {event.seq}")
        case Moved():
            return _moved(run, event)
        case Intended() | Done() | Failed():
            return _written(run, event)
        case Checked() | Confirmed() | Baselined() | Proven() | Ticks():
            return _learned(run, event)
        case Requested():
            return _requested(run, event)
        case Held():
            return _with(run, held=event.why if event.on else "")
        case Ended():
            return _with(run, outcome=event.outcome, sentence=event.sentence, next=event.next)
        case Resumed():
            return _resumed(run, event)
        case _:
            assert_never(event)


def _written(run: Run, event: Intended | Done | Failed) -> Run:
    """What became of the mesh."""
    match event:
        case Intended():
            write = Write(
                seq=event.seq, change=event.change, intended=event.t, permit=event.permit, accepted=event.accepted
            )
            return _with(run, writes=(*run.writes, write))
        case Done():
            return _done(run, event)
        case Failed():
            return _failed(run, event)
        case _:
            assert_never(event)


def _worse(run: Run, result: CheckResult) -> CheckResult:
    """In a plan what blocked stands, though beyond the write that it blocked the check has nothing left to say."""
    named = any(result.check in why for why in run.blocked)
    before = next((r for r in run.checks if r.check == result.check and r.blocks), None)
    return before if named and run.spec.plan and before is not None and not result.blocks else result


def _learned(run: Run, event: Checked | Confirmed | Baselined | Proven | Ticks) -> Run:
    """What was found out about the mesh."""
    match event:
        case Checked():
            kept = tuple(r for r in run.checks if r.check not in {c.check for c in event.results})
            return _with(run, checks=(*kept, *(_worse(run, result) for result in event.results)))
        case Confirmed():
            return _with(run, evidence=event.evidence)
        case Baselined():
            return _with(run, baseline=event.baseline)
        case Proven():
            return _with(run, proofs={**run.proofs, event.of: event})
        case Ticks():
            return _with(run, watch=_ticked(run.watch, event))
        case _:
            assert_never(event)


def _with(run: Run, **fields: object) -> Run:
    return msgspec.structs.replace(run, **fields)


def _moved(run: Run, event: Moved) -> Run:
    if event.from_ is not run.state:
        raise RecordError(f"event {event.seq} leaves {event.from_}, but the run is {run.state}", where=run.id)
    if trigger(event.from_, event.to) == "assume" and not run.spec.plan:
        raise RecordError(f"event {event.seq} passes a block, which only a dry run may", where=run.id)
    state = move(event.from_, event.to)
    watch = _watch_of(run, state, event.t)
    blocked = (*run.blocked, event.why) if state is State.BLOCKED else run.blocked
    return _with(
        run,
        state=state,
        entered=event.t,
        came_from=event.from_,
        why=event.why or run.why,
        ending=event.outcome,
        signals=event.signals or run.signals,
        watch=watch,
        held="",
        blocked=blocked,
    )


def _watch_of(run: Run, state: State, at: datetime) -> Watch:
    """Sight counts from `watching` on; what was over a limit, and unseen, while the flip spread, still is."""
    if state is State.ENFORCING:
        return Watch()
    if state is State.WATCHING:
        seen = run.watch
        return Watch(began=at, sample=seen.sample, breached=seen.breached, blind=seen.blind)
    return run.watch


def _done(run: Run, event: Done) -> Run:
    if event.undo:
        target = event.change.inverse
        writes = tuple(
            msgspec.structs.replace(w, undone=event.since or event.t, done=w.done or event.t)
            if w.standing and _same(w.change, target)
            else w
            for w in run.writes
        )
        return _with(run, writes=writes)
    return _settled(run, event.of, done=event.since or event.t, change=event.change)


def _same(a: Change, b: Change) -> bool:
    return (a.ref, a.before, a.after) == (b.ref, b.before, b.after)


def _failed(run: Run, event: Failed) -> Run:
    if event.undo and event.kind is FailureKind.DENIED:
        return _with(run, denied=event.reason)
    if event.undo or event.kind is FailureKind.UNSURE:
        return run
    return _settled(run, event.of, failed=event.kind, reason=event.reason)


def _settled(run: Run, seq: int, **fields: object) -> Run:
    """With what became of the write that was intended in event `seq`."""
    writes = tuple(msgspec.structs.replace(w, **fields) if w.seq == seq else w for w in run.writes)
    return _with(run, writes=writes)


def _ticked(watch: Watch, event: Ticks) -> Watch:
    blind = None if event.verdict.sight else (watch.blind or event.since)
    return Watch(
        began=watch.began,
        due=event.until,
        sample=event.sample or watch.sample,
        ticks=watch.ticks + event.n,
        sight=watch.sight + event.sight,
        traffic=watch.traffic or event.verdict is Verdict.HEALTHY,
        verdict=event.verdict,
        breached=event.breached,
        blind=blind,
    )


def _requested(run: Run, event: Requested) -> Run:
    match event.kind:
        case RequestKind.STOP:
            return _with(run, stop=event)
        case RequestKind.APPROVE:
            return _with(run, approved=(*run.approved, event.task), held="")
        case RequestKind.HOLD:
            return _with(run, held=event.reason or "request")
        case RequestKind.RELEASE:
            return _with(run, held="")
        case RequestKind.ROLL_BACK:
            return _with(run, roll_back=event)
        case _:
            assert_never(event.kind)


def _resumed(run: Run, event: Resumed) -> Run:
    """How it ended is void, and so is a stop; a request to roll back stands where it is not yet answered by an end."""
    return _with(
        run,
        outcome="",
        sentence="",
        next="",
        denied="",
        resumed=event.t,
        onward=event.onward,
        gap=event.gap_from or run.updated,
        stop=None,
        roll_back=None if run.outcome else run.roll_back,
        held="" if run.held == "stop" else run.held,
    )


def merge_ticks(a: Ticks, b: Ticks) -> Ticks | None:
    """Two runs of ticks as one, or None where the verdict or the breached signals differ."""
    if (a.verdict, a.breached) != (b.verdict, b.breached):
        return None
    return msgspec.structs.replace(
        a, until=b.until, n=a.n + b.n, sight=a.sight + b.sight, sample=b.sample or a.sample, t=b.t, seq=b.seq
    )
