"""rolling_back: write the way back until it works or its time is over, then prove it."""

from __future__ import annotations

from datetime import datetime, timedelta

from rollout.errors import Outcome
from rollout.record.events import ProofKind
from rollout.record.run import Run
from rollout.record.state import State
from rollout.stages.arguments import Watch
from rollout.stages.context import arguments
from rollout.stages.proof import proven_by_proxies
from rollout.stages.step import Move, Step, Undo, Wait
from rollout.world.world import World

RETRY = timedelta(seconds=5)


def decide(run: Run, world: World, now: datetime) -> Step:
    """Undo what stands; then every proxy proves it, or the end is rollback_failed."""
    budget = arguments(run, "watch", Watch).rollback_timeout
    standing = run.flip or run.raised
    if standing is not None:
        if now >= run.entered + budget:
            why = f"the undo of {standing.change} could not be written within {budget}"
            return Move(State.ROLLBACK_FAILED, why, Outcome.ROLLBACK_FAILED)
        return Undo(standing.change.inverse)
    undone = max((w.undone for w in run.writes if w.undone), default=None)
    if undone is None:
        return Move(State.ROLLED_BACK, "nothing was written", Outcome.ROLLED_BACK)
    written = max((w.done for w in run.writes if w.undone and w.done), default=undone)
    overtaken = None if run.proven(ProofKind.PROPAGATION, written) else written
    answer = proven_by_proxies(run, world, undone, now, budget, ProofKind.UNDO_PROPAGATION, untouched_since=overtaken)
    if isinstance(answer, Wait):
        return answer
    if not answer.ok:
        why = f"the way back is written but not proven: {answer.detail}"
        return Move(State.ROLLBACK_FAILED, why, Outcome.ROLLBACK_FAILED, facts=(answer,))
    return Move(State.ROLLED_BACK, answer.detail, Outcome.ROLLED_BACK, facts=(answer,))
