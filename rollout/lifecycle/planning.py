"""`plan` is the same decisions with a planning io: writes are dry runs, a block is recorded and passed.

All runs are planned together over one set of answers: each goes as far as it can, then what they lack is read at once,
so that the lists and queries of 200 namespaces are those of one. A plan is of one moment: what was read since it began
is never read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from rollout.errors import Outcome, worst
from rollout.lifecycle.io import IO
from rollout.model.istio import PeerAuthentication
from rollout.record.change import Change
from rollout.record.events import Done, Ended, Intended, Moved
from rollout.record.run import Run
from rollout.record.state import State
from rollout.stages.context import FRESH, deciding, flip_change, refusal, relaxation
from rollout.stages.decide import decide
from rollout.stages.following import following
from rollout.stages.gate import UNPROVEN
from rollout.stages.step import End, Flip, Learn, Move, Step, Wait, Write
from rollout.stages.step import Read as Lacking
from rollout.world.reads import Before, DryRun, Objects, Read, Traffic
from rollout.world.world import KindUnreadable, Needs, World

#: What follows a block in a plan.
AFTER = {
    State.VERIFYING: State.PERMISSIVE,
    State.PERMISSIVE: State.CONFIRMING,
    State.CONFIRMING: State.CHECKING,
    State.CHECKING: State.ENFORCING,
    State.ENFORCING: State.WATCHING,
}
#: A block of one of these reasons leaves nothing to plan.
STEPS = 200


def plan(run: Run, io: IO) -> Run:
    """Go through every state; the end is the worst of the blocks, or `would pass`."""
    return plans([run], io)[0]


def plans(runs: Sequence[Run], io: IO) -> list[Run]:
    """The same for several runs, in their order, with the lists and queries of one."""
    now = io.now()
    planned = [_Planned(run, now) for run in runs]
    shared = World()
    for _ in range(STEPS):
        wanted: dict[Read, None] = {}
        for each in planned:
            wanted |= dict.fromkeys(each.onward(shared, io))
        if not wanted:
            return [each.run for each in planned]
        shared = io.read(shared, _cheap_first(wanted))
    raise AssertionError(f"a plan did not end within {STEPS} rounds of reading")


def _cheap_first(wanted: Iterable[Read]) -> tuple[Read, ...]:
    """Queries wait until nobody needs anything else: then all namespaces ask them together."""
    wanted = tuple(wanted)
    return tuple(read for read in wanted if not isinstance(read, Traffic | Before)) or wanted


class _Planned:
    """One run on its way: the shared answers are seen through the changes that it would have made."""

    def __init__(self, run: Run, now: datetime) -> None:
        self.run = run
        self._now = now
        self._changes: tuple[Change, ...] = ()
        self._blocks: list[Outcome] = []

    def onward(self, shared: World, io: IO) -> tuple[Read, ...]:
        """Go on to the next thing that was not read yet; nothing, at the end."""
        for _ in range(STEPS):
            if self.run.ended:
                return ()
            world = World(shared.readings, self._changes)
            watching = self.run.state is State.WATCHING
            step = _finish(self.run, self._blocks) if watching else decide(self.run, world, self._now)
            if isinstance(step, Lacking):
                return step.reads
            if isinstance(step, Move) and step.to is State.BLOCKED:
                if unasked := _unasked(self.run, world):
                    return unasked
                world, self.run = _blocked(self.run, step, world, io, self._now, self._blocks)
            else:
                world, self.run = _step(self.run, step, world, io, self._now, self._blocks)
            self._changes = world.changes
        raise AssertionError(f"a plan of {self.run.spec.namespace} did not end within {STEPS} steps")


def _step(run: Run, step: Step, world: World, io: IO, now: datetime, blocks: list[Outcome]) -> tuple[World, Run]:
    match step:
        case Write(change, accepted):
            return _written(run, change, accepted, world, io, now)
        case Flip(change, _, accepted):
            world, run = _written(run, change, accepted, world, io, now, step)
            return world, io.append(run, Moved(t=now, from_=run.state, to=State.WATCHING))
        case Learn(facts):
            for fact in facts:
                run = io.append(run, fact)
            return world, run
        case Move():
            for fact in step.facts:
                run = io.append(run, fact)
            outcome = step.outcome.name if step.outcome else ""
            return world, io.append(run, Moved(t=now, from_=run.state, to=step.to, why=step.why, outcome=outcome))
        case End(outcome, sentence, following):
            ended = worst([*blocks, outcome]) if blocks else outcome
            return world, io.append(run, Ended(t=now, outcome=ended.name, sentence=sentence, next=following))
        case _:
            reason = step.why if isinstance(step, Wait) else "nothing to plan"
            return world, io.append(run, Ended(t=now, outcome=Outcome.CANNOT_SEE.name, sentence=reason))


def _written(
    run: Run,
    change: Change,
    accepted: tuple[str, ...],
    world: World,
    io: IO,
    now: datetime,
    flip: Flip | None = None,
) -> tuple[World, Run]:
    intent = Intended(t=now, change=change, permit=flip.permit if flip else None, accepted=accepted)
    run = io.append(run, intent)
    run = io.append(run, Done(t=now, of=run.seq, change=change, resource_version=""))
    return world.after(change), run


def _blocked(run: Run, step: Move, world: World, io: IO, now: datetime, blocks: list[Outcome]) -> tuple[World, Run]:
    """Record the block; the flip is still shown, with what the server said of it."""
    came_from = run.state
    for fact in step.facts:
        run = io.append(run, fact)
    blocks.append(step.outcome or Outcome.BLOCKED)
    outcome = (step.outcome or Outcome.BLOCKED).name
    run = io.append(run, Moved(t=now, from_=came_from, to=State.BLOCKED, why=step.why, outcome=outcome))
    following = AFTER.get(came_from)
    unreadable = world.readings.get(Objects(PeerAuthentication))
    if following is None or unreadable is None or not isinstance(unreadable.value, tuple):
        return world, io.append(run, _finished(run, blocks, now))
    if came_from in (State.VERIFYING, State.PERMISSIVE, State.CONFIRMING, State.CHECKING):
        return world, io.append(run, Moved(t=now, from_=State.BLOCKED, to=following))
    run = _previewed(run, world, io, now)
    return world, io.append(run, Moved(t=now, from_=State.BLOCKED, to=following))


def _preview(run: Run, world: World) -> tuple[Change | None, tuple[DryRun, ...]]:
    """The flip that would be written if nothing blocked, and what the server is asked about it.

    Nothing, where the policy would have to be made PERMISSIVE first: the server cannot be asked about that.
    """
    try:
        change = flip_change(run, world)
    except (Needs, KindUnreadable):
        change = None
    as_it_is = World(world.readings)
    if change is None or deciding(run, as_it_is) is None or relaxation(run, as_it_is) is not None:
        return change, ()
    return change, (DryRun(change), DryRun(change.inverse))


def _unasked(run: Run, world: World) -> tuple[DryRun, ...]:
    """What is to be read before a block can be recorded."""
    if run.state is not State.ENFORCING:
        return ()
    return tuple(asked for asked in _preview(run, world)[1] if asked not in world.readings)


def _previewed(run: Run, world: World, io: IO, now: datetime) -> Run:
    """Record the flip that would be written if nothing blocked."""
    change, asked = _preview(run, world)
    if change is None:
        return run
    words = next((said for dry_run in asked if (said := refusal(world, dry_run.change))), "")
    accepted = f"server dry run: {words or 'both accepted'}" if asked else UNPROVEN
    return io.append(run, Intended(t=now, change=change, accepted=(accepted,)))


def _finished(run: Run, blocks: list[Outcome], now: datetime) -> Ended:
    end = _finish(run, blocks)
    return Ended(t=now, outcome=end.outcome.name, sentence=end.sentence, next=end.next)


def _finish(run: Run, blocks: list[Outcome]) -> End:
    name = run.spec.namespace
    if not blocks:
        return End(Outcome.WOULD_PASS, "nothing stands in the way", f"rollout migrate {name}")
    ids = [r.check for r in run.checks if r.blocks]
    onward = f"rollout explain {ids[0]}" if ids else following(run)
    reasons = "; ".join(dict.fromkeys(why for text in run.blocked for why in _parts(text, run)))
    return End(worst(blocks), f"{name} would not be flipped: {reasons}", onward)


def _parts(why: str, run: Run) -> list[str]:
    """The checks that a block names, one by one, because two states may name the same; a sentence stays as it is."""
    names = why.split(", ")
    return names if {r.check for r in run.checks}.issuperset(names) else [why]


def estimate(run: Run) -> timedelta:
    """How long the rest would take: propagation and drain, then the watch."""
    from rollout.stages.arguments import Watch
    from rollout.stages.context import arguments

    return arguments(run, "watch", Watch).for_ + timedelta(seconds=run.spec.drain) + 2 * FRESH
