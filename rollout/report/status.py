"""`rollout status`: one line a run, NAME first and AGE last, no spaces in cells."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from rollout.record.run import Run
from rollout.report import lifecycle
from rollout.report.layout import Style, cut, followed, span, width_of

_COLUMNS = ("NAME", "STATE", "RESULT", "SIGHT", "RUN", "AGE")
_FLEXIBLE = (4, 0)


def status(
    runs: Sequence[Run],
    now: datetime,
    style: Style | None = None,
    *,
    unattended: Collection[str] = (),
    damaged: Sequence[tuple[str, str]] = (),
) -> list[str]:
    """The table, what needs a human first; long names are cut in the middle of nothing but the RUN and NAME columns.

    Args:
        runs: that can be read.
        now: the time that AGE is counted to.
        style: of the lines.
        unattended: ids of runs that have not ended and that no process works on.
        damaged: namespace and id of journals that cannot be read.
    """
    style = style or Style()
    if not runs and not damaged:
        return ["no runs"]
    ordered = sorted(runs, key=lambda run: (lifecycle.rank(run), run.spec.namespace, run.id))
    rows: list[tuple[str, ...]] = [_COLUMNS, *((name, "damaged", "-", "-", run, "-") for name, run in sorted(damaged))]
    rows += [_row(run, now, style, alone=run.id in unattended) for run in ordered]
    widths = _widths(rows, style)
    lines = []
    for number, row in enumerate(rows):
        cells = [cut(cell, width, style) for cell, width in zip(row, widths, strict=True)]
        padded = [cell + " " * (width - width_of(cell)) for cell, width in zip(cells, widths, strict=True)]
        lines.append(style.paint("  ".join(padded).rstrip(), "" if number else "bold"))
    for run in ordered:
        if run.id in unattended:
            lines += followed(f"{run.id}: nobody works on it.", f"rollout resume {run.id}", style)
    return lines


def _row(run: Run, now: datetime, style: Style, *, alone: bool) -> tuple[str, ...]:
    age = span(max((now - run.spec.started).total_seconds(), 0))
    result = lifecycle.standing(run) or ("unattended" if alone else "")
    cells = (run.spec.namespace, str(run.state), result, lifecycle.seen(run), run.id, age)
    return tuple(_cell(style.clean(cell)) or "-" for cell in cells)


def _cell(text: str) -> str:
    """Without spaces: `enforced (unchanged)` becomes `enforced,unchanged`, as `enforced, unobserved` does."""
    return text.replace(" (", ", ").replace(")", "").replace(", ", ",").replace(" ", "-")


def _widths(rows: Sequence[tuple[str, ...]], style: Style) -> list[int]:
    """Natural widths; where they do not fit, RUN gives way first, then NAME, then whatever is widest."""
    widths = [max(width_of(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    room = style.columns - 2 * (len(_COLUMNS) - 1)
    for column in _FLEXIBLE:
        over = sum(widths) - room
        if over > 0:
            widths[column] = max(widths[column] - over, 10)
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    return widths
