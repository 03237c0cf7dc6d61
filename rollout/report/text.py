"""Text for terminals, pipes and logs: the one door to it. Data goes to stdout, progress to stderr; both are lines."""

from __future__ import annotations

from rollout.record.spec import Exemption, Spec, Waiver
from rollout.report.endings import recap, result
from rollout.report.layout import Style, day, width_of, wrap
from rollout.report.lines import event, progress
from rollout.report.plan import plan, plans
from rollout.report.redact import redact

__all__ = ["Style", "event", "header", "plan", "plans", "problem", "progress", "recap", "result"]


def header(spec: Spec, mode: str, istio: str = "", kubernetes: str = "", style: Style | None = None) -> list[str]:
    """Where, with what and on what: the first lines of every run, and what people accepted for it."""
    style = style or Style()
    origin = spec.origin
    marker = "[DRY RUN] " if spec.plan else ""
    versions = [("Istio", istio or origin.istio), ("Kubernetes", kubernetes or origin.kubernetes)]
    where = [
        f"context {origin.context or 'in-cluster'}",
        f"cluster {origin.server or 'unknown'}",
        *(f"{name} {version}" for name, version in versions if version),
    ]
    sha = f" (sha {spec.playbook_sha[:6]})" if spec.playbook_sha else ""
    what = [f"playbook {spec.playbook_name}{sha}", f"namespace {spec.namespace}", f"mode {mode}"]
    return [
        *wrap(" · ".join(where), style, first=marker, rest="  "),
        *wrap(" · ".join(what), style, rest="  "),
        *(line for text in _accepted(spec, style) for line in wrap(text, style, rest="  ")),
    ]


def _accepted(spec: Spec, style: Style) -> list[str]:
    """Waivers, exemptions and what the record cannot know, each with its reason."""
    rows = [
        f"waived {w.check}={w.object}: {w.reason}" + (f" (up to {w.max_rate:g}/s)" if w.max_rate is not None else "")
        for w in spec.waivers
    ]
    rows += [f"exempt {e.object}: {e.reason}" for e in spec.exemptions]
    owners: list[Waiver | Exemption] = [*spec.waivers, *spec.exemptions]
    rows = [
        row
        + (f"; owner {given.owner}" if given.owner else "")
        + (f", until {day(given.expires, style)}" if given.expires else "")
        for row, given in zip(rows, owners, strict=True)
    ]
    rows += [f"fixed {f.edge} at {day(f.at, style)}: {f.reason}" for f in spec.fixed]
    if spec.permissive_since:
        since = day(spec.permissive_since, style)
        rows.append(f"plaintext accepted since {since}, as said: {spec.permissive_reason or 'no reason given'}")
    return rows


def problem(lines: list[str], style: Style | None = None) -> list[str]:
    """An error's own lines (`RolloutError.lines()`), wrapped with their indentation kept."""
    style = style or Style()
    shown: list[str] = []
    for number, line in enumerate(lines):
        kept = style.clean_cell(redact(line))
        if width_of(kept) <= style.columns:  # a caret stays under its place
            shown.append(style.paint(kept, "" if number else "red"))
            continue
        indent = " " * min(len(line) - len(line.lstrip()), 8)
        wrapped = wrap(line, style, first=indent, rest=indent + "  ")
        shown += [style.paint(text, "" if number else "red") for text in wrapped]
    return shown
