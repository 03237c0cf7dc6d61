"""`rollout explain ID`: what a check or a signal is about, why it matters, and what helps."""

from __future__ import annotations

from rollout.report.layout import Style, wrap


def explain(
    name: str, title: str, why: str, fix: str, style: Style | None = None, *, severity: str = "", state: str = ""
) -> list[str]:
    """The id with its sentence, then each paragraph.

    Args:
        name: the id (`probes`, `edge-survival`).
        title: the sentence that is true when it passes.
        why: what happens otherwise; paragraphs are parted by an empty line.
        fix: what helps; the same.
        style: how lines are set.
        severity: what a finding does, '' for a signal.
        state: the state whose exit it guards, '' for a signal.
    """
    style = style or Style()
    facts = ", ".join(part for part in (severity, f"guards the exit of {state}" if state else "") if part)
    lines = [style.paint(line, "bold") for line in wrap(f"{name}: {title}", style, rest="  ")]
    lines += wrap(facts, style) if facts else []
    for label, text in (("Why", why), ("Fix", fix)):
        if text.strip():
            lines += ["", style.paint(label, "bold")]
            lines += _paragraphs(text, style)
    return lines


def _paragraphs(text: str, style: Style) -> list[str]:
    lines: list[str] = []
    for paragraph in text.strip().split("\n\n"):
        if lines:
            lines.append("")
        lines += wrap(paragraph, style, first="    ")
    return lines
