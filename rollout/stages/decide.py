"""The one decision: from what is recorded and what is known to one step."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from rollout.errors import Outcome
from rollout.model.istio import Mode, PeerAuthentication
from rollout.record.change import Policy
from rollout.record.events import Done, Failed, FailureKind, Held
from rollout.record.run import Run, Write
from rollout.record.spec import OnStop, Task
from rollout.record.state import State, trigger
from rollout.stages import checking, committing, confirming, enforcing, permissive, rolling_back, verifying, watching
from rollout.stages.committing import by_commit
from rollout.stages.context import managers
from rollout.stages.sentences import end
from rollout.stages.step import End, Learn, Move, Read, Step, Wait
from rollout.world.reads import Objects
from rollout.world.world import KindUnreadable, Needs, World

STAGES: dict[State, Callable[[Run, World, datetime], Step]] = {
    State.PLANNED: lambda run, world, now: Move(State.VERIFYING),  # noqa: ARG005 - the table's shape
    State.VERIFYING: verifying.decide,
    State.PERMISSIVE: permissive.decide,
    State.CONFIRMING: confirming.decide,
    State.CHECKING: checking.decide,
    State.ENFORCING: enforcing.decide,
    State.WATCHING: watching.decide,
    State.ROLLING_BACK: rolling_back.decide,
}
#: Which state a keyword of the playbook fills.
FILLS = {
    "verify": State.VERIFYING,
    "permissive": State.PERMISSIVE,
    "confirm_mtls": State.CONFIRMING,
    "check": State.CHECKING,
    "strict": State.ENFORCING,
    "watch": State.WATCHING,
}
HEAR = timedelta(seconds=5)


def decide(run: Run, world: World, now: datetime) -> Step:
    """One step; what it lacks, it reads first."""
    try:
        return _decide(run, world, now)
    except Needs as needs:
        return Read(needs.reads)
    except KindUnreadable as unreadable:
        if run.flip is not None:
            return Wait(now + HEAR, str(unreadable))
        return Move(State.BLOCKED, str(unreadable), unreadable.why.outcome)


def _decide(run: Run, world: World, now: datetime) -> Step:
    if run.finished and not _taken_back(run):
        return end(run)
    if (intent := run.open_intent) is not None:
        if intent.change.strict and by_commit(run):
            return committing.settle(run, intent, world, now)
        return _settle(run, intent, world, now)
    if (asked := _asked(run)) is not None:
        return asked
    if (other := _overridden(run, world)) is not None:
        return other
    if run.held and not run.flip:
        return _paused(run, run.held, now)
    step = STAGES[run.state](run, world, now)
    if isinstance(step, Move) and trigger(run.state, step.to) == "next":
        return _onward(run, step, now)
    return step


def _taken_back(run: Run) -> bool:
    """An ended run that was asked to go back, and has something to take back."""
    again = run.state is State.ROLLBACK_FAILED and run.resumed is not None and run.resumed > run.entered
    asked = run.roll_back is not None and run.state is not State.OVERRIDDEN and run.roll_back.t > run.entered
    return again or (asked and run.to_undo is not None)


def _asked(run: Run) -> Step | None:
    """What a signal or another terminal asked for."""
    if run.state is State.ROLLING_BACK:
        return None
    if run.state is State.ROLLBACK_FAILED:
        return Move(State.ROLLING_BACK, "taken up again")
    wanted = run.roll_back or run.stop
    if wanted is None:
        return None
    leave = run.roll_back is None and run.spec.on_stop is OnStop.LEAVE
    standing = run.flip or (run.to_undo if run.roll_back else None)
    if standing is not None and trigger(run.state, State.ROLLING_BACK) is not None:
        if not leave:
            return Move(State.ROLLING_BACK, f"{wanted.kind} by {wanted.by or 'a signal'}")
        return End(_stopped(run), f"{run.spec.namespace} refuses plaintext and nobody watches it",
                   f"rollout resume {run.id}")  # fmt: skip
    if run.roll_back is not None:
        sentence = f"{run.spec.namespace} was not flipped, so there is nothing to take back"
        return End(Outcome.PAUSED, sentence, f"rollout resume {run.id}")
    return End(_stopped(run), f"{run.spec.namespace} was not flipped", f"rollout resume {run.id}")


def _stopped(run: Run) -> Outcome:
    return Outcome.TERMINATED if run.stop and "TERM" in run.stop.reason else Outcome.INTERRUPTED


def _live(world: World, write: Write) -> PeerAuthentication | None:
    ref = write.change.ref
    return next((p for p in world.of(PeerAuthentication, ref.namespace) if p.name == ref.name), None)


def _settle(run: Run, intent: Write, world: World, now: datetime) -> Step:
    """An intent whose result nobody knows: the live object tells."""
    world.need(Objects(PeerAuthentication), since=max(intent.intended, run.resumed or intent.intended, run.updated))
    live = _live(world, intent)
    state = Policy.of(live) if live else None
    if live is not None and state == intent.change.after:
        change = intent.change
        version = live.metadata.resource_version
        return Learn((Done(t=now, of=intent.seq, change=change, resource_version=version, since=intent.intended),))
    if state == intent.change.before:
        return Learn((Failed(t=now, of=intent.seq, kind=FailureKind.VOID, reason="it was not written"),))
    return Learn((Failed(t=now, of=intent.seq, kind=FailureKind.FOREIGN, reason=f"it is {state or 'gone'}"),))


def _overridden(run: Run, world: World) -> Step | None:
    """Somebody else changed the mode of what we flipped: never fought over."""
    flip = run.flip or run.raised
    if run.writes and run.writes[-1].failed is FailureKind.FOREIGN and run.state is not State.OVERRIDDEN:
        return Move(State.OVERRIDDEN, f"{run.writes[-1].change.ref}: {run.writes[-1].reason}", Outcome.OVERRIDDEN)
    if flip is None or flip.done is None or run.state is State.ROLLING_BACK:
        return None
    reading = world.readings.get(Objects(PeerAuthentication))
    if reading is None or reading.at <= flip.done or not isinstance(reading.value, tuple):
        return None
    live = _live(world, flip)
    if live is not None and Policy.of(live) == flip.change.after:
        return None
    who = (managers(live) if live else ()) or ("somebody",)
    if who[0] == "rollout" and live is not None and live.mode is Mode.PERMISSIVE and flip.change.strict:
        return Move(State.ROLLING_BACK, "the undo was written, but not recorded")
    now_is = f"{live.mode}" if live else "deleted"
    return Move(State.OVERRIDDEN, f"{flip.change.ref} is {now_is}, by {who[0]}", Outcome.OVERRIDDEN)


def _onward(run: Run, step: Move, now: datetime) -> Step:
    """Stop between two states before the flip, where the command line or the playbook says so.

    After the flip nothing stops here: a run that waits goes on judging (`watching` asks for the approval at its end).
    """
    if run.spec.plan or run.flip is not None:
        return step
    reached = {"permissive": State.PERMISSIVE, "confirming": State.CONFIRMING, "checking": State.CHECKING}
    if reached.get(run.spec.until) is run.state and not run.onward:
        sentence = f"{run.spec.namespace} accepts both: stopped after {run.state} as asked"
        return End(Outcome.PAUSED, sentence, f"rollout resume {run.id}")
    if step.to is State.ENFORCING and run.spec.task("strict") is None:
        return End(Outcome.PAUSED, "the playbook has no strict task", f"rollout plan {run.spec.namespace}")
    gate = next((task for task in before_state(run, step.to) if task.name not in run.approved), None)
    return step if gate is None else _paused(run, f"approval of {gate.name!r}", now)


def before_state(run: Run, to: State) -> tuple[Task, ...]:
    """The `approve` tasks that stand before the first task of a state."""
    keywords = [FILLS.get(task.keyword) for task in run.spec.tasks]
    position = keywords.index(to) if to in keywords else 0
    return tuple(task for task in run.spec.tasks[:position] if task.keyword == "approve")


def _paused(run: Run, why: str, now: datetime) -> Step:
    if not run.spec.terminal:
        return End(Outcome.PAUSED, f"{run.spec.namespace} waits for {why}", f"rollout approve {run.id}")
    if run.held != why:
        return Learn((Held(t=now, on=True, why=why),))
    return Wait(now + HEAR, f"waiting for {why}")
