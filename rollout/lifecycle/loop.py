"""One loop over all runs of the process, so that a shared watch costs what one costs: decide, journal, act, journal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rollout.errors import ClusterError, NotOurs, Outcome, RecordError, RolloutError
from rollout.lifecycle.io import IO
from rollout.lifecycle.writes import Result, reverted, undo, write
from rollout.model.istio import Mode
from rollout.record.change import Change, Permit
from rollout.record.events import (
    Done,
    Ended,
    Fact,
    Failed,
    FailureKind,
    Intended,
    Moved,
    Note,
    Noted,
    Requested,
    RequestKind,
)
from rollout.record.run import Run
from rollout.record.spec import OnStop
from rollout.record.state import State, trigger
from rollout.stages.committing import by_commit
from rollout.stages.decide import decide
from rollout.stages.step import End, Flip, Learn, Move, Read, Step, Undo, Wait, Write
from rollout.world.world import World

RETRY = timedelta(seconds=5)


def drive(runs: Sequence[Run], io: IO) -> list[Run]:
    """Drive every run to its end; the order of `runs` is kept."""
    current = {run.id: run for run in runs}
    world = World()
    while live := [run for run in current.values() if not run.ended]:
        for run in live:
            current[run.id] = _stopping(run, io)
        now = io.now()
        steps = [(run, _decided(run, world, now, io)) for run in current.values() if not run.ended]
        reads = dict.fromkeys(read for _, step in steps if isinstance(step, Read) for read in step.reads)
        if reads:
            world = io.read(world, reads)
        acted = bool(reads)
        for run, step in steps:
            if not isinstance(step, Read | Wait):
                current[run.id] = _guarded(run, step, io)
                world = world.written() if isinstance(step, Write | Flip | Undo) else world
                acted = True
        if not acted and steps:
            _wait(current, steps, io)
    for run in current.values():
        io.release(run)
    return [current[run.id] for run in runs]


def _decided(run: Run, world: World, now: datetime, io: IO) -> Step:
    """A bug after the flip takes the flip back instead of leaving it unwatched."""
    unsafe = (State.ENFORCING, State.WATCHING, State.ENFORCED)
    if run.flip is not None and io.unsaved_too_long() and run.state in unsafe:
        return Move(State.ROLLING_BACK, "the journal could not be written for the blind deadline")
    try:
        step = decide(run, world, now)
    except RolloutError:
        raise
    except Exception as error:
        if run.flip is None or trigger(run.state, State.ROLLING_BACK) is None:
            raise
        return Move(State.ROLLING_BACK, f"unexpected error: {error!r}")
    ends = step.to is State.ENFORCED if isinstance(step, Move) else isinstance(step, End) and run.flip is not None
    if ends and run.state in unsafe and io.unsaved(run):
        return Wait(now + RETRY, "the end is not recorded yet: the journal cannot be written")
    return step


def _guarded(run: Run, step: Step, io: IO) -> Run:
    try:
        return carry_out(run, step, io)
    except NotOurs as error:
        return _lost(run, io, Outcome.NOT_OURS, error)
    except ClusterError as error:
        if run.flip is not None:
            raise
        return _lost(run, io, error.outcome, error)


def _lost(run: Run, io: IO, outcome: Outcome, error: RolloutError) -> Run:
    """The process' work on the run is over, without a further write, not even to the journal."""
    from rollout.record.run import apply

    end = Ended(t=io.now(), seq=run.seq, outcome=outcome.name, sentence=error.problem, next=error.next)
    return apply(run, end)


def carry_out(run: Run, step: Step, io: IO) -> Run:
    """One step: what is recorded before it, the deed, and what is recorded after it."""
    now = io.now()
    match step:
        case Write(change, accepted):
            return _written(run, change, None, accepted, io)
        case Flip(change, permit, accepted):
            return _written(run, change, permit, accepted, io)
        case Undo(change):
            return _undone(run, change, io)
        case Learn(facts):
            return _learnt(run, facts, io)
        case Move():
            run = _learnt(run, step.facts, io)
            outcome = step.outcome.name if step.outcome else ""
            moved = Moved(t=io.now(), from_=run.state, to=step.to, why=step.why, outcome=outcome, signals=step.signals)
            return io.append(run, moved)
        case End(outcome, sentence, following):
            return io.append(run, Ended(t=now, outcome=outcome.name, sentence=sentence, next=following))
        case Read() | Wait():
            return run


def _learnt(run: Run, facts: tuple[Fact | Note, ...], io: IO) -> Run:
    for fact in facts:
        run = io.append(run, fact)
    return run


def _written(run: Run, change: Change, permit: Permit | None, accepted: tuple[str, ...], io: IO) -> Run:
    """No intent in the journal, no write."""
    before = run.seq
    run = io.append(run, Intended(t=io.now(), change=change, permit=permit, accepted=accepted))
    intent = run.open_intent
    if intent is None or intent.seq <= before:
        return run
    if permit is not None and by_commit(run):
        return _proposed(run, change, io)
    return _recorded(run, write(io.cluster, change, permit), intent.seq, io)


def _proposed(run: Run, change: Change, io: IO) -> Run:
    """The change for somebody else's controller; its intent stays open until the object shows it."""
    if io.publisher is None:
        raise RecordError(f"{change} goes by commit, and there is nobody to propose it")
    for line in io.publisher.propose(run.id, run.spec.repo, change):
        run = io.append(run, Noted(t=io.now(), text=line))
    return run


def _recorded(run: Run, result: Result, of: int, io: IO) -> Run:
    now = io.now()
    if result.failed is None:
        done = Done(t=now, of=of, change=result.change, resource_version=result.resource_version)
        return io.append(run, done)
    failed = Failed(t=now, of=of, kind=result.failed, reason=result.reason, owner=result.owner)
    return io.append(run, failed)


def _undone(run: Run, change: Change, io: IO) -> Run:
    """The undo's intent came with the flip: write first, then record."""
    result = _taken_back(run, change, io)
    if result.failed is FailureKind.UNSURE and by_commit(run):
        run = _proposed(run, change, io)
        io.sleep([run], [result.reason], io.now() + RETRY)
        return run
    return _undo_recorded(run, result, io)


def _taken_back(run: Run, change: Change, io: IO) -> Result:
    """The way back as it was made: by a write of ours, or by a revert that its controller applies."""
    if change.before is not None and change.before.mode is Mode.STRICT and by_commit(run):
        return reverted(io.cluster, change)
    return undo(io.cluster, change)


def _undo_recorded(run: Run, result: Result, io: IO) -> Run:
    now = io.now()
    if result.failed is None:
        done = Done(
            t=now, of=0, change=result.change, resource_version=result.resource_version, undo=True, since=result.since
        )
        return io.append(run, done)
    run = io.append(run, Failed(t=now, of=0, kind=result.failed, reason=result.reason, undo=True, owner=result.owner))
    if result.failed is FailureKind.FOREIGN:
        moved = Moved(t=now, from_=run.state, to=State.OVERRIDDEN, why=result.reason, outcome=Outcome.OVERRIDDEN.name)
        return io.append(run, moved)
    if result.failed is not FailureKind.DENIED:
        io.sleep([run], [result.reason], now + RETRY)
    return run


def _stopping(run: Run, io: IO) -> Run:
    """An orderly stop after the flip writes the undo as its very first I/O."""
    signal = io.stopped()
    if run.state is State.ROLLING_BACK and run.flip is None and io.insisted():
        sentence = f"{run.spec.namespace}: the undo is written, and not verified"
        outcome = Outcome.ROLLBACK_FAILED.name
        return io.append(run, Ended(t=io.now(), outcome=outcome, sentence=sentence, next=f"rollout resume {run.id}"))
    if not signal or run.stop is not None or run.state is State.ROLLING_BACK:
        return run
    request = Requested(t=io.now(), kind=RequestKind.STOP, by="a signal", reason=signal)
    flip = run.flip
    if flip is None or run.spec.on_stop is OnStop.LEAVE or trigger(run.state, State.ROLLING_BACK) is None:
        return io.append(run, request)
    result = _taken_back(run, flip.change.inverse, io)
    run = io.append(run, request)
    run = io.append(run, Moved(t=io.now(), from_=run.state, to=State.ROLLING_BACK, why=f"stopped by {signal}"))
    return run if result.failed is FailureKind.UNSURE and by_commit(run) else _undo_recorded(run, result, io)


def _wait(current: dict[str, Run], steps: list[tuple[Run, Step]], io: IO) -> None:
    waits = [(run, step) for run, step in steps if isinstance(step, Wait)]
    until = min(step.until for _, step in waits)
    io.sleep([run for run, _ in waits], [step.why for _, step in waits], until)
    for run in io.hear_all(run for run, _ in waits):
        current[run.id] = run
