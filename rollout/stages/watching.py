"""watching: judge each new sample for the wanted time of sight."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from rollout.checks.words import many, some
from rollout.errors import Outcome
from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.kubernetes import Pod
from rollout.record.events import ProofKind, Proven
from rollout.record.run import Run
from rollout.record.spec import Task
from rollout.record.state import State
from rollout.stages.again import at_the_end, on_the_way
from rollout.stages.arguments import Watch
from rollout.stages.context import arguments, modes, refusal
from rollout.stages.judging import tick, wanted
from rollout.stages.step import Learn, Move, Step, Wait
from rollout.world.reads import DryRun, Objects
from rollout.world.world import KindUnreadable, World

UNDO_AGAIN = timedelta(minutes=5)


def decide(run: Run, world: World, now: datetime) -> Step:
    """One tick when it is due, and the undo proven again every few minutes."""
    args = arguments(run, "watch", Watch)
    seen = run.watch.sight >= wanted(args, run).total_seconds()
    if seen and not run.watch.breached and not unapproved(run):
        world.need(Objects(PeerAuthentication), Objects(Pod), since=run.watch.due)
        return _over(run, world)
    step = tick(run, world, now, run.watch.began or run.entered)
    if isinstance(step, Wait):
        # Between two ticks, because a long window must not stand in for a tick's.
        found = on_the_way(run, world, now)
        return Move(State.ROLLING_BACK, found.sentence, signals=found.harm) if found.harm else step
    if isinstance(step, Learn) and (why := _loosened(run, world)):
        return Move(State.OVERRIDDEN, why, Outcome.OVERRIDDEN, facts=step.facts)
    return msgspec.structs.replace(step, facts=(*_undo_proof(run, world, now), *step.facts))


def unapproved(run: Run) -> tuple[Task, ...]:
    """The `approve` tasks after `strict` that nobody has said yes to: the judge goes on while they wait."""
    names = [task.keyword for task in run.spec.tasks]
    after = run.spec.tasks[names.index("strict") :] if "strict" in names else ()
    return tuple(task for task in after if task.keyword == "approve" and task.name not in run.approved)


def _undo_proof(run: Run, world: World, now: datetime) -> tuple[Proven, ...]:
    """The undo, dry-run again every few minutes; a refusal is said and the watch goes on."""
    proof = run.proof(ProofKind.UNDO)
    if run.flip is None or (proof is not None and now - proof.t < UNDO_AGAIN):
        return ()
    world.need(DryRun(run.flip.change.inverse), since=now - UNDO_AGAIN)
    words = refusal(world, run.flip.change.inverse)
    return (Proven(t=now, of=ProofKind.UNDO, ok=not words, detail=words or "server dry run of the undo: accepted"),)


def _loosened(run: Run, world: World) -> str:
    """A port that somebody opened since the flip; those that an exemption names were open before."""
    if any(f.waived.startswith("exempt") for r in run.checks for f in r.findings):
        return ""
    try:
        found = modes(run, world).items()
    except KindUnreadable:
        return ""  # the judge says that nothing can be seen
    loose = sorted({pod for (pod, _), mode in found if mode is not Mode.STRICT})
    return f"not STRICT any more, by another policy: {many(len(loose), 'pod')}, {some(loose)}" if loose else ""


def _over(run: Run, world: World) -> Step:
    if why := _loosened(run, world):
        return Move(State.OVERRIDDEN, why, Outcome.OVERRIDDEN)
    found = at_the_end(run, world)
    if found.harm:
        return Move(State.ROLLING_BACK, found.sentence, signals=found.harm)
    more = "".join(f"; {said}" for said in found.beside)
    if found.open:
        past = f"past the sidecar, and accepting plaintext: {many(len(found.open), 'pod')}, {some(found.open)}"
        more = f"; {past}{more}"
    if not run.watch.traffic:
        return Move(State.ENFORCED, f"watched to the end; there was no traffic to judge{more}", Outcome.UNOBSERVED)
    if found.open:
        return Move(State.ENFORCED, f"watched to the end{more}", Outcome.EXCEPTIONS)
    exempt = sorted({f.ref for r in run.checks for f in r.findings if f.waived.startswith("exempt")})
    if exempt:
        return Move(State.ENFORCED, f"watched to the end; {many(len(exempt), 'exception')}{more}", Outcome.EXCEPTIONS)
    return Move(State.ENFORCED, f"watched to the end{more}", Outcome.ENFORCED)
