"""What leads on from a block before the flip: a command that would only say the same again is none."""

from __future__ import annotations

from datetime import timedelta

from rollout.record.run import Run
from rollout.stages.length import FLAG, needed
from rollout.stages.verifying import refused

#: What a run does before its flip, on top of what --max-duration must still hold then; and what the sum is rounded to.
_BEFORE = timedelta(minutes=5)


def following(run: Run) -> str:
    """The next command of a run that was not flipped; a flag with its value replaces the one that was given."""
    name = run.spec.namespace
    if name == run.spec.root_namespace:
        return "rollout plan --all-namespaces"  # this one is never taken; those that follow it are
    if refused(run):
        return f"rollout plan {name} --allow-system"
    given = run.spec.max_duration
    if given is not None and any(FLAG in why for why in (run.why, *run.blocked)):
        enough = max(needed(run), given) + _BEFORE
        return f"rollout plan {name} {FLAG}={-(-enough // _BEFORE) * 5}m"
    return f"rollout plan {name}"
