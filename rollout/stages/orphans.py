"""Which unfinished runs nobody works on by accident, and which ones somebody stopped on purpose.

`rollout resume --all` is what a CronJob runs at night: it must take up every run whose process died, and must not go
on where a human said stop, or flip behind an `--until`.
"""

from __future__ import annotations

from rollout.errors import Outcome
from rollout.record.run import Run
from rollout.record.spec import OnStop
from rollout.record.state import TABLE, State
from rollout.stages.decide import before_state


def left_alone(run: Run) -> str:
    """Why `resume --all` does not take this run up; '' when it does.

    After the flip there is no such reason: a namespace that is STRICT by us is watched, or taken back.
    """
    if run.finished and run.state is not State.ROLLBACK_FAILED:
        return f"it ended {run.state}"
    if run.flip is not None or run.state in (State.ROLLING_BACK, State.ROLLBACK_FAILED):
        return ""
    if not run.ended:
        raising = run.raised is not None and run.state is State.PERMISSIVE
        return "it was not flipped, and was begun at a terminal" if run.spec.terminal and not raising else ""
    if run.result in (Outcome.INTERRUPTED, Outcome.TERMINATED):
        meant = run.spec.on_stop is OnStop.LEAVE and run.stop is not None and run.stop.by == "a signal"
        return "" if meant else "it was stopped before the flip"
    if run.result is Outcome.PAUSED:
        return _waiting(run)
    return ""


def _waiting(run: Run) -> str:
    """A pause before the flip is over only where an approval was all that it waited for."""
    if run.roll_back is not None:
        return "it was asked to roll back"
    if run.held:
        return f"it is held: {run.held}"
    if run.spec.until == run.state and not run.onward:
        return f"--until {run.spec.until}"
    following = next((to for name, came, to in TABLE if name == "next" and came is run.state), None)
    gates = before_state(run, following) if following else ()
    missing = [task.name for task in gates if task.name not in run.approved]
    if missing:
        return f"it waits for approval of {missing[0]!r}"
    return "" if gates else "it stopped before the flip as asked"
