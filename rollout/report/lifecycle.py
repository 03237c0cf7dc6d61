"""What a run's record says of its way through the states, for all formats."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from rollout.errors import Outcome
from rollout.model.finding import CheckResult, Status
from rollout.model.istio import Mode
from rollout.record.change import Change, Policy
from rollout.record.run import Run, Write
from rollout.record.state import State
from rollout.report.layout import span

STAGES = (
    State.VERIFYING,
    State.PERMISSIVE,
    State.CONFIRMING,
    State.CHECKING,
    State.ENFORCING,
    State.WATCHING,
)
#: What a flip takes besides its watch: reads, propagation and drain, as observed on small meshes.
_FLIP = timedelta(minutes=4)
_LOUDEST = (State.ROLLBACK_FAILED, State.ROLLING_BACK, State.OVERRIDDEN, State.BLOCKED, State.ROLLED_BACK)
#: The recap's counts, in their order.
TALLY = ("ok", "changed", "skipped", "failed")
_FINAL = (State.ENFORCED, State.ROLLING_BACK, State.ROLLED_BACK, State.ROLLBACK_FAILED)


def checks_of(run: Run, state: State) -> list[CheckResult]:
    """The results that guard this state's exit."""
    return [result for result in run.checks if result.state == state]


def reached(run: Run, state: State) -> bool:
    """The run came as far as this state, or its checks were read already."""
    if checks_of(run, state):
        return True
    at = run.came_from if run.state in (State.BLOCKED, State.OVERRIDDEN) else run.state
    if at in _FINAL:
        return not (run.state is State.ENFORCED and run.came_from is State.VERIFYING) or state is State.VERIFYING
    return at in STAGES and STAGES.index(at) >= STAGES.index(state)


def blocking(run: Run) -> list[CheckResult]:
    """The checks that stand in the way."""
    return [result for result in run.checks if result.blocks]


def stopped(run: Run) -> bool:
    """Something says no, or nothing could be seen."""
    return bool(run.blocked or blocking(run)) or run.result in (Outcome.BLOCKED, Outcome.CANNOT_SEE)


def argument(run: Run, keyword: str, name: str) -> timedelta | None:
    """A task's duration, where the playbook or its defaults give one."""
    task = run.spec.task(keyword)
    value = task.args.get(name) if task else None
    try:
        return msgspec.convert(value, timedelta) if isinstance(value, str) else None
    except msgspec.ValidationError:
        return None


def estimate(run: Run) -> timedelta | None:
    """About how long the real run takes from its flip to its end; None without a flip."""
    if not any(write.change.strict for write in run.writes):
        return None
    return _FLIP + (argument(run, "watch", "for") or timedelta(0))


def fields(change: Change) -> list[tuple[str, str, str]]:
    """What the change does: field, before, after; only what differs."""
    before, after = change.before or Policy(), change.after or Policy()
    rows = [("spec.mtls.mode", _mode(before.mode), _mode(after.mode))]
    rows += [
        (f"spec.portLevelMtls.{port}.mode", _mode(before.ports.get(port)), _mode(after.ports.get(port)))
        for port in sorted({*before.ports, *after.ports})
    ]
    return [row for row in rows if row[1] != row[2]]


def _mode(mode: Mode | None) -> str:
    return str(mode) if mode else "absent"


def action(change: Change) -> str:
    """`add`, `change` or `remove`."""
    if change.before is None:
        return "add"
    return "remove" if change.after is None else "change"


def accepted(write: Write) -> str:
    """What the server's dry run said of the write and of its undo."""
    if write.failed:
        return f"{write.failed}: {write.reason or 'no reason given'}"
    words = [text.removeprefix("server dry run: ") for text in write.accepted if text]
    return "; ".join(words) or "not proven: none is recorded"


def tally(run: Run) -> dict[str, int]:
    """The recap's counts: checks that passed, objects written, checks skipped, and everything that failed.

    A check blocks the exit of its own state. What would have stopped a run later on stopped none that a human, a signal
    or `--until` kept from coming so far.
    """
    by = [result.status for result in run.checks]
    refused = sum(1 for write in run.writes if write.failed)
    changed = 0 if run.spec.plan else sum(bool(w.done) + bool(w.undone) for w in run.writes)
    early = run.result in (Outcome.INTERRUPTED, Outcome.TERMINATED, Outcome.PAUSED) and run.state in STAGES
    begun = {str(state) for state in (STAGES[: STAGES.index(run.state) + 1] if early else State)}
    failed = sum(result.blocks for result in run.checks if result.state in begun) + refused + bool(run.signals)
    ok = sum(status in (Status.OK, Status.WARNING) for status in by)
    numbers = (ok, changed, by.count(Status.SKIPPED), failed + (run.result is Outcome.ROLLBACK_FAILED))
    return dict(zip(TALLY, numbers, strict=True))


def ending(run: Run) -> str:
    """The end's words (`rolled_back`), or the state that the run is in."""
    return run.result.label if run.result else ("not started" if run.state is State.PLANNED else str(run.state))


def rank(run: Run) -> int:
    """What needs a human comes first, then what waits for one or is unseen or over a limit, then what goes on."""
    if run.state in _LOUDEST:
        return _LOUDEST.index(run.state)
    over = run.ended or run.finished
    troubled = bool(run.held or run.watch.blind or run.watch.breached) and not over
    return len(_LOUDEST) + (0 if troubled else 2 if over else 1)


def standing(run: Run) -> str:
    """How it ended, `held`, or nothing that the state does not say: the same word on every screen."""
    return run.result.label if run.result else ("held" if run.held else "")


def seen(run: Run) -> str:
    """`12m/30m` of sight, '' where no watch has begun."""
    wanted = argument(run, "watch", "for")
    return f"{span(run.watch.sight)}/{span(wanted)}" if run.watch.began and wanted else ""


def samples(run: Run) -> tuple[int, int]:
    """Samples that were judged, and those that the watch asks for (0: not known)."""
    wanted = argument(run, "watch", "for")
    scrape = timedelta(seconds=run.baseline.sight.interval if run.baseline else 0)
    interval = max(argument(run, "watch", "interval") or scrape, scrape)
    return run.watch.ticks, -(-wanted // interval) if wanted and interval else 0
