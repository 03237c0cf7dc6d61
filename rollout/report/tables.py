"""The table of exit codes, printed from the one enum that decides them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rollout.errors import Outcome
from rollout.report.layout import Style, width_of, wrap

_CODE = 6
#: Columns below which no sentence is set beside what it is about.
_SENTENCE = 24


def listed(rows: Sequence[tuple[str, ...]], style: Style) -> list[str]:
    """Rows under their heads (the first one), the last cell a sentence that is folded under its head.

    Where there is no room beside the other cells it goes below them.
    """
    wide = [max(width_of(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines: list[str] = []
    for number, (*cells, sentence) in enumerate(rows):
        first = "".join(f"{style.clean_cell(cell):<{room}} " for cell, room in zip(cells, wide, strict=True))
        if style.columns - len(first) >= _SENTENCE:
            shown = wrap(sentence, style, first=first)
        else:
            shown = [*wrap(first, style), *wrap(sentence, style, first="    ", rest="    ")]
        lines += [style.paint(line, "" if number else "bold") for line in shown]
    return lines


def _rows() -> Iterator[tuple[int, list[Outcome]]]:
    codes = sorted({outcome.exit_code for outcome in Outcome})
    for code in codes:
        yield code, [outcome for outcome in Outcome if outcome.exit_code == code]


def exit_codes(style: Style | None = None) -> list[str]:
    """For a terminal: code, each end with its meaning, and what may have changed in the cluster."""
    style = style or Style()
    title = wrap("END, MEANING, AND WHAT CHANGED", style, first=f"{'CODE':<{_CODE}}")
    lines = [style.paint(line, "bold") for line in title]
    for code, outcomes in _rows():
        for number, outcome in enumerate(outcomes):
            head = f"{code if not number else '':<{_CODE}}"
            text = f"{outcome.label}: {outcome.meaning} (changed: {outcome.changed})"
            lines += wrap(text, style, first=head, rest=" " * (_CODE + 2))
    return lines


def exit_codes_markdown() -> list[str]:
    """For the docs."""
    lines = ["| code | end | meaning | cluster changed? |", "|---|---|---|---|"]
    for code, outcomes in _rows():
        lines += [f"| {code} | {o.label} | {o.meaning} | {o.changed} |" for o in outcomes]
    return lines
