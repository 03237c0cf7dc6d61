"""Does what is still to come fit into --max-duration?"""

from __future__ import annotations

from datetime import datetime, timedelta

from rollout.record.run import Run
from rollout.stages.arguments import Strict, Watch
from rollout.stages.context import arguments

FLAG = "--max-duration"


def too_long(run: Run, now: datetime) -> str:
    """Why a flip would outlast --max-duration, '' when it fits: asked before the first write, and at the flip."""
    if run.spec.max_duration is None or run.spec.until:
        return ""
    need = needed(run)
    left = run.spec.started + run.spec.max_duration - now
    if need <= left:
        return ""
    return f"drain, watch and rollback need {_clock(need)}, and {FLAG} leaves {_clock(left)}"


def needed(run: Run) -> timedelta:
    """From the flip to its proven way back, at the longest."""
    watch = arguments(run, "watch", Watch)
    propagation = arguments(run, "strict", Strict).propagation
    return propagation + timedelta(seconds=run.spec.drain) + watch.for_ + watch.rollback_timeout


def _clock(span: timedelta) -> str:
    """Whole seconds: `0:45:45`."""
    return str(timedelta(seconds=max(0, round(span.total_seconds()))))
