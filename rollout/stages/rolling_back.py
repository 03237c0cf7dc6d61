"""rolling_back: write the way back until it works or its time is over, then prove it."""

from __future__ import annotations

from datetime import datetime, timedelta

from rollout.errors import Outcome
from rollout.model.istio import PeerAuthentication
from rollout.model.kubernetes import Pod
from rollout.record.change import Change
from rollout.record.events import ProofKind, Proven
from rollout.record.run import Run
from rollout.record.state import State
from rollout.stages.arguments import Watch
from rollout.stages.context import arguments, same_modes
from rollout.stages.proof import proven_by_proxies
from rollout.stages.step import Learn, Move, Step, Undo, Wait
from rollout.world.reads import Objects
from rollout.world.world import World


def decide(run: Run, world: World, now: datetime) -> Step:
    """Undo what stands, one step at a time, each proven by every proxy before the next; or end as rollback_failed."""
    budget = arguments(run, "watch", Watch).rollback_timeout
    undone = max((w.undone for w in run.writes if w.undone), default=None)
    if run.flip is None and undone is not None and not run.proven(ProofKind.UNDO_PROPAGATION, undone):
        return _proof(run, world, undone, now, budget)
    standing = run.to_undo
    if standing is not None and (standing.change.before is not None or _harmless(run, world, standing.change)):
        if run.denied:
            why = f"the undo of {standing.change} is denied for good: {run.denied}"
            return Move(State.ROLLBACK_FAILED, why, Outcome.ROLLBACK_FAILED)
        if now >= max(run.entered, undone or run.entered) + budget:
            why = f"the undo of {standing.change} could not be written within {budget}"
            return Move(State.ROLLBACK_FAILED, why, Outcome.ROLLBACK_FAILED)
        return Undo(standing.change.inverse)
    if undone is None:
        return Move(State.ROLLED_BACK, "there was nothing to take back", Outcome.ROLLED_BACK)
    stays = f"; {standing.change.ref} stays, because deleting it would change a mode" if standing else ""
    return Move(State.ROLLED_BACK, run.proofs[ProofKind.UNDO_PROPAGATION].detail + stays, Outcome.ROLLED_BACK)


def _proof(run: Run, world: World, undone: datetime, now: datetime, budget: timedelta) -> Step:
    written = max((w.done for w in run.writes if w.undone and w.done), default=undone)
    overtaken = None if run.proven(ProofKind.PROPAGATION, written) else written
    last = next(w for w in run.writes if w.undone == undone)
    if last.change.before is None:
        return Learn((Proven(t=now, of=ProofKind.UNDO_PROPAGATION, ok=True, detail="no effective mode changed"),))
    answer = proven_by_proxies(
        run, world, undone, now, budget, last.change.inverse, ProofKind.UNDO_PROPAGATION, untouched_since=overtaken
    )
    if isinstance(answer, Wait):
        return answer
    if not answer.ok:
        why = f"the way back is written but not proven: {answer.detail}"
        return Move(State.ROLLBACK_FAILED, why, Outcome.ROLLBACK_FAILED, facts=(answer,))
    return Learn((answer,))


def _harmless(run: Run, world: World, created: Change) -> bool:
    """An object that we created is deleted only if no effective mode changes."""
    world.need(Objects(PeerAuthentication), Objects(Pod), since=run.entered)
    return same_modes(run, world, world.after(created.inverse))
