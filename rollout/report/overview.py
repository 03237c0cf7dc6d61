"""Many namespaces at a glance: the table before the details of a plan."""

from __future__ import annotations

from collections.abc import Sequence

from rollout.record.run import Run
from rollout.report import lifecycle
from rollout.report.layout import Style, cut, width_of

_COLUMNS = ("NAMESPACE", "RESULT", "PLAINTEXT", "BLOCKED BY")


def overview(runs: Sequence[Run], style: Style | None = None) -> list[str]:
    """One line a namespace, in their order: its result, how many plaintext edges it has, and what stands in the way.

    `-` where no traffic was read. The last column is cut at the screen's width; the details below have it whole.
    """
    style = style or Style()
    rows = [_COLUMNS, *(_row(run) for run in runs)]
    widths = [min(max(width_of(row[column]) for row in rows), 40) for column in range(len(_COLUMNS) - 1)]
    room = max(style.columns - sum(widths) - 2 * len(widths), 8)
    lines = []
    for number, row in enumerate(rows):
        cells = [cut(cell, width, style) for cell, width in zip(row, [*widths, room], strict=True)]
        padded = [cell + " " * (width - width_of(cell)) for cell, width in zip(cells, [*widths, 0], strict=True)]
        lines.append(style.paint("  ".join(padded).rstrip(), "" if number else "bold"))
    return lines


def _row(run: Run) -> tuple[str, str, str, str]:
    plain = str(len(run.evidence.plaintext)) if run.evidence else "-"
    names = [result.check for result in lifecycle.blocking(run)]
    reasons = [why for why in dict.fromkeys(run.blocked) if why and not any(name in why for name in names)]
    return run.spec.namespace, lifecycle.ending(run), plain, ", ".join([*names, *reasons])
