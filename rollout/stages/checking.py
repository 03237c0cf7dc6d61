"""checking: nothing else would break in the world after the flip."""

from __future__ import annotations

from datetime import datetime

from rollout.record.events import Checked
from rollout.record.run import Run
from rollout.record.state import State
from rollout.stages.context import FRESH, checked, everything
from rollout.stages.step import Move, Step
from rollout.stages.verifying import blocked
from rollout.world.world import World


def decide(run: Run, world: World, now: datetime) -> Step:
    """Every check of this state, on fresh objects."""
    world.need(*everything(run), since=now - FRESH)
    results = list(checked(run, world, now, {State.CHECKING}))
    facts = (Checked(t=now, state=State.CHECKING, results=tuple(results)),)
    return blocked(results, facts) if any(r.blocks for r in results) else Move(State.ENFORCING, facts=facts)
