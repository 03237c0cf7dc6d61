"""`rollout status`: one line a run, NAME first and AGE last, no spaces in cells."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rollout.record.run import Run
from rollout.report import lifecycle
from rollout.report.layout import Style, cut, span, width_of

_COLUMNS = ("NAME", "STATE", "RESULT", "SIGHT", "RUN", "AGE")
_FLEXIBLE = (4, 0)


def status(runs: Sequence[Run], now: datetime, style: Style | None = None) -> list[str]:
    """The table, what needs a human first; long names are cut in the middle of nothing but the RUN and NAME columns."""
    style = style or Style()
    if not runs:
        return ["no runs"]
    ordered = sorted(runs, key=lambda run: (lifecycle.rank(run), run.spec.namespace, run.id))
    rows = [_COLUMNS, *(_row(run, now, style) for run in ordered)]
    widths = _widths(rows, style)
    lines = []
    for number, row in enumerate(rows):
        cells = [cut(cell, width, style) for cell, width in zip(row, widths, strict=True)]
        padded = [cell + " " * (width - width_of(cell)) for cell, width in zip(cells, widths, strict=True)]
        lines.append(style.paint("  ".join(padded).rstrip(), "" if number else "bold"))
    return lines


def _row(run: Run, now: datetime, style: Style) -> tuple[str, ...]:
    age = span(max((now - run.spec.started).total_seconds(), 0))
    cells = (run.spec.namespace, str(run.state), lifecycle.standing(run), lifecycle.seen(run), run.id, age)
    return tuple(style.clean(cell).replace(", ", ",").replace(" ", "-") or "-" for cell in cells)


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
