"""The last line: what is true now, and the next command."""

from __future__ import annotations

from rollout.errors import Outcome
from rollout.record.run import Run
from rollout.record.state import State
from rollout.stages.following import following
from rollout.stages.step import End


def end(run: Run) -> End:
    """The end of a run that reached an end state."""
    name = run.spec.namespace
    flip = run.flip
    match run.state:
        case State.ENFORCED:
            outcome = _outcome(run, Outcome.ENFORCED)
            since = f" since {flip.done:%H:%M:%S}" if flip and flip.done else ""
            true = "is STRICT" if outcome is Outcome.EXCEPTIONS else "refuses plaintext"
            return End(outcome, f"{name} {true}{since}; {run.why}", f"rollout plan {name}")
        case State.ROLLED_BACK:
            undone = max((w.undone for w in run.writes if w.undone), default=None)
            before = next((w.change.before.mode for w in run.writes if w.undone and w.change.before), None)
            accepts = "accepts plaintext only" if before == "DISABLE" else "accepts plaintext"
            since = f" again since {undone:%H:%M:%S}" if undone else ""
            return End(Outcome.ROLLED_BACK, f"{name} {accepts}{since}; nothing to do tonight", f"rollout plan {name}")
        case State.ROLLBACK_FAILED:
            return End(Outcome.ROLLBACK_FAILED, f"{name}: {run.why}. A human is needed", f"rollout resume {run.id}")
        case State.OVERRIDDEN:
            return End(Outcome.OVERRIDDEN, f"{name}: {run.why}. No write of ours follows", f"rollout plan {name}")
        case _:
            outcome = _outcome(run, Outcome.BLOCKED)
            left = any(w.done and not w.undone for w in run.writes)
            stays = "PERMISSIVE stays" if left else "nothing was changed"
            return End(outcome, f"{name} was not flipped: {run.why}; {stays}", following(run))


def _outcome(run: Run, default: Outcome) -> Outcome:
    return Outcome[run.ending] if run.ending else default
