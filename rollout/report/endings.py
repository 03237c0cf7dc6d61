"""How runs ended: the recap, and the last line that says what is true now."""

from __future__ import annotations

from collections.abc import Sequence

from rollout.errors import Outcome, worst
from rollout.record.run import Run
from rollout.report import lifecycle
from rollout.report.layout import Style, cut, followed, labelled, labelled_once, width_of, wrap

_TONES = {0: "green", 5: "yellow", 6: "alarm", 1: "red", 10: "red", 3: "red", 4: "red"}


def result(run: Run, style: Style | None = None, *, named: bool = False) -> list[str]:
    """`Result: BLOCKED (exit 3). … Next: …`; a failed rollback is the loudest message that there is.

    `named` puts the namespace in front, where several end together.
    """
    style = style or Style()
    end = run.result
    if end is None:
        held = "held, " if run.held else ""
        return followed(f"Not ended: {run.spec.namespace} is {held}{run.state}.", f"rollout resume {run.id}", style)
    whose = f" of {run.spec.namespace}" if named else ""
    parts = [f"Result{whose}: {title(run, end)} (exit {end.exit_code}).", _sentence(run.sentence)]
    if style.again.ephemeral and not run.spec.plan:
        parts.append("Its lab ended with it.")
    lines = followed(" ".join(part for part in parts if part), run.next, style)
    if end is Outcome.ROLLBACK_FAILED:
        bar = "!" * style.columns
        shout = f"ROLLBACK FAILED: {run.spec.namespace} may still refuse plaintext. A human is needed now."
        lines = [bar, *wrap(shout, style), *lines, bar]
    return [style.paint(line, _TONES.get(end.exit_code, "")) for line in lines]


def title(run: Run, end: Outcome) -> str:
    """`ROLLED BACK`, `ENFORCED, 2 EXCEPTIONS`."""
    if end is Outcome.EXCEPTIONS:
        number = len(run.spec.waivers) + len(run.spec.exemptions)
        if number:
            return f"ENFORCED, {number} EXCEPTION{'' if number == 1 else 'S'}"
    return end.label.replace("_", " ").upper()


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text[-1] in ".!?" else f"{text}."


def recap(runs: Sequence[Run], style: Style | None = None, *, not_started: Sequence[str] = ()) -> list[str]:
    """One line a namespace, the ones that were never begun too, and the batch's end where there are several."""
    style = style or Style()
    rows = [(run.spec.namespace, lifecycle.ending(run), _counts(lifecycle.tally(run))) for run in runs]
    rows += [(name, "not started", _counts(dict.fromkeys(lifecycle.TALLY, 0))) for name in not_started]
    ends = max((width_of(end) for _, end, _ in rows), default=0)
    tail = max((width_of(counts) for _, _, counts in rows), default=0)
    longest = max((width_of(name) for name, _, _ in rows), default=0)
    room = max(min(longest, style.columns - ends - tail - len("RECAP      ")), 8)
    lines = []
    for name, end, counts in rows:
        shown = cut(name, room, style)
        lines += wrap_row(
            ["RECAP", shown + " " * (min(room, longest) - width_of(shown)), f"{end:<{ends}}", counts], style
        )
    return lines + (batch(runs, style) if len(rows) > 1 else [])


def batch(runs: Sequence[Run], style: Style) -> list[str]:
    """The end of a command over several namespaces: the worst of theirs."""
    ended = [run.result for run in runs if run.result]
    if not ended:
        return []
    end = worst(ended)
    return wrap(f"Batch: {end.label.replace('_', ' ').upper()} (exit {end.exit_code}).", style)


def _counts(tally: dict[str, int]) -> str:
    return " ".join(f"{key}={number}" for key, number in tally.items())


def wrap_row(cells: Sequence[str], style: Style) -> list[str]:
    """Cells with two spaces between them, on one line where they fit."""
    line = "  ".join(style.clean_cell(cell) for cell in cells).rstrip()
    return [line] if width_of(line) <= style.columns else wrap(" ".join(cells), style, rest="  ")


def signals(run: Run, style: Style) -> list[str]:
    """What led to the rollback: measured, limit, window, query, and what stands beside it."""
    lines: list[str] = []
    for signal in run.signals:
        lines += [
            *labelled("signal", f"{signal.name} at {signal.where}", style),
            *labelled("measured", signal.measured, style),
            *labelled("limit", signal.limit, style),
            *labelled("window", signal.window, style),
            *labelled_once("query", signal.query, style),
            *labelled("beside", signal.note, style),
        ]
    return lines
