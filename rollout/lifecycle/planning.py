"""`plan` is the same decisions with a planning io: writes are dry runs, a block is recorded and passed."""

from __future__ import annotations

from datetime import timedelta

from rollout.errors import Outcome, worst
from rollout.lifecycle.io import IO
from rollout.model.istio import PeerAuthentication
from rollout.record.change import Change
from rollout.record.events import Done, Ended, Intended, Moved
from rollout.record.run import Run
from rollout.record.state import State
from rollout.stages.context import FRESH, deciding, flip_change, refusal, relaxation
from rollout.stages.decide import decide
from rollout.stages.gate import UNPROVEN
from rollout.stages.step import End, Flip, Learn, Move, Read, Step, Wait, Write
from rollout.world.reads import DryRun, Objects
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
    world = World()
    blocks: list[Outcome] = []
    for _ in range(STEPS):
        if run.ended:
            return run
        step = decide(run, world, io.now()) if run.state is not State.WATCHING else _finish(run, blocks)
        if isinstance(step, Read):
            world = io.read(world, step.reads)
        elif isinstance(step, Move) and step.to is State.BLOCKED:
            world, run = _blocked(run, step, world, io, blocks)
        else:
            world, run = _step(run, step, world, io, blocks)
    raise AssertionError(f"a plan of {run.spec.namespace} did not end within {STEPS} steps")


def _step(run: Run, step: Step, world: World, io: IO, blocks: list[Outcome]) -> tuple[World, Run]:
    now = io.now()
    match step:
        case Write(change, accepted):
            return _written(run, change, accepted, world, io)
        case Flip(change, _, accepted):
            world, run = _written(run, change, accepted, world, io, step)
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
    run: Run, change: Change, accepted: tuple[str, ...], world: World, io: IO, flip: Flip | None = None
) -> tuple[World, Run]:
    now = io.now()
    intent = Intended(t=now, change=change, permit=flip.permit if flip else None, accepted=accepted)
    run = io.append(run, intent)
    run = io.append(run, Done(t=now, of=run.seq, change=change, resource_version=""))
    return world.after(change), run


def _blocked(run: Run, step: Move, world: World, io: IO, blocks: list[Outcome]) -> tuple[World, Run]:
    """Record the block; the flip is still shown, with what the server said of it."""
    came_from = run.state
    for fact in step.facts:
        run = io.append(run, fact)
    blocks.append(step.outcome or Outcome.BLOCKED)
    outcome = (step.outcome or Outcome.BLOCKED).name
    run = io.append(run, Moved(t=io.now(), from_=came_from, to=State.BLOCKED, why=step.why, outcome=outcome))
    following = AFTER.get(came_from)
    unreadable = world.readings.get(Objects(PeerAuthentication))
    if following is None or unreadable is None or not isinstance(unreadable.value, tuple):
        return world, io.append(run, _finished(run, blocks, io))
    if came_from in (State.VERIFYING, State.PERMISSIVE, State.CONFIRMING, State.CHECKING):
        return world, io.append(run, Moved(t=io.now(), from_=State.BLOCKED, to=following))
    world, run = _previewed(run, world, io)
    return world, io.append(run, Moved(t=io.now(), from_=State.BLOCKED, to=following))


def _previewed(run: Run, world: World, io: IO) -> tuple[World, Run]:
    """The flip that would be written if nothing blocked."""
    try:
        world.need(Objects(PeerAuthentication))
        change = flip_change(run, world)
    except (Needs, KindUnreadable):
        change = None
    if change is None:
        return world, run
    if deciding(run, World(world.readings)) is None or relaxation(run, World(world.readings)) is not None:
        accepted: tuple[str, ...] = (UNPROVEN,)
    else:
        world = io.read(world, [DryRun(change), DryRun(change.inverse)])
        words = refusal(world, change) or refusal(world, change.inverse)
        accepted = (f"server dry run: {words or 'both accepted'}",)
    return world, io.append(run, Intended(t=io.now(), change=change, accepted=accepted))


def _finished(run: Run, blocks: list[Outcome], io: IO) -> Ended:
    end = _finish(run, blocks)
    return Ended(t=io.now(), outcome=end.outcome.name, sentence=end.sentence, next=end.next)


def _finish(run: Run, blocks: list[Outcome]) -> End:
    name = run.spec.namespace
    if not blocks:
        return End(Outcome.WOULD_PASS, "nothing stands in the way", f"rollout migrate {name}")
    ids = [r.check for r in run.checks if r.blocks]
    following = f"rollout explain {ids[0]}" if ids else f"rollout plan {name}"
    reasons = "; ".join(dict.fromkeys(why for text in run.blocked for why in text.split(", ")))
    return End(worst(blocks), f"{name} would not be flipped: {reasons}", following)


def estimate(run: Run) -> timedelta:
    """How long the rest would take: propagation and drain, then the watch."""
    from rollout.stages.arguments import Watch
    from rollout.stages.context import arguments

    return arguments(run, "watch", Watch).for_ + timedelta(seconds=run.spec.drain) + 2 * FRESH
