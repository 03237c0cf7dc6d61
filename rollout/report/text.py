"""Text for terminals, pipes and logs: the one door to it. Data goes to stdout, progress to stderr; both are lines."""

from __future__ import annotations

from collections.abc import Sequence

from rollout.record.spec import Exemption, Spec, Waiver
from rollout.report.endings import recap, result
from rollout.report.layout import Style, command, day, items, width_of, wrap
from rollout.report.lines import event, heartbeat
from rollout.report.plan import plan, plans
from rollout.report.redact import redact
from rollout.report.versions import made_for, warnings

#: How `RolloutError.lines()` begins its last line.
_NEXT = f"    {'next':<7} "

__all__ = ["Style", "event", "header", "heartbeat", "plan", "plans", "problem", "recap", "result"]


def header(
    spec: Spec,
    mode: str,
    istio: str = "",
    kubernetes: str = "",
    style: Style | None = None,
    *,
    served: str = "",
    names: Sequence[str] = (),
) -> list[str]:
    """Where, with what and on what: the first lines of every run, and what people accepted for it.

    Args:
        spec: the assignment.
        mode: `plan` or `migrate`.
        istio: its version, '' for the one in the spec.
        kubernetes: the same.
        style: how lines are set.
        served: the version in which the API server has PeerAuthentication, '' where nobody could tell.
        names: the namespaces of the command, where there are several.
    """
    style = style or Style()
    origin = spec.origin
    marker = "[DRY RUN] " if spec.plan else ""
    versions = (istio or origin.istio, kubernetes or origin.kubernetes)
    where = [f"context {origin.context or 'in-cluster'}", f"cluster {origin.server or 'unknown'}"]
    known = [f"{name} {version}" for name, version in zip(("Istio", "Kubernetes"), versions, strict=True) if version]
    known += [f"PeerAuthentication {served.rpartition('/')[2]}"] if served else []
    sha = f" (sha {spec.playbook_sha[:6]})" if spec.playbook_sha else ""
    alone = [f"namespace {spec.namespace}"] if len(names) < 2 else []
    what = [f"playbook {spec.playbook_name}{sha}", *alone, f"mode {mode}"]
    several = [] if alone else wrap(f"{len(names)} namespaces: {', '.join(names)}", style, rest="  ")
    return [
        *items(where, style, first=marker),
        *_fitting(items(known, style) if known else [], f"({made_for()})", style),
        *_warned(warnings(*versions), style),
        *items(what, style),
        *several,
        *(line for text in _accepted(spec, style) for line in wrap(text, style, rest="  ")),
    ]


def _warned(sentences: list[str], style: Style) -> list[str]:
    lines = [line for text in sentences for line in wrap(f"warning: {text}", style, rest="  ")]
    return [style.paint(line, "yellow") for line in lines]


def _fitting(lines: list[str], more: str, style: Style) -> list[str]:
    """The lines with a few words more, in the last one where there is room."""
    more = style.clean(more)
    if lines and width_of(f"{lines[-1]} {more}") <= style.columns:
        return [*lines[:-1], f"{lines[-1]} {more}"]
    return [*lines, *wrap(more, style, first="  ", rest="  ")]


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
    rows += [f"short evidence accepted, watched 4x as long: {spec.short_evidence}"] if spec.short_evidence else []
    if spec.permissive_since:
        since = day(spec.permissive_since, style)
        rows.append(f"plaintext accepted since {since}, as said: {spec.permissive_reason or 'no reason given'}")
    return rows


def problem(lines: list[str], style: Style | None = None) -> list[str]:
    """An error's own lines (`RolloutError.lines()`), wrapped with their indentation kept."""
    style = style or Style()
    shown: list[str] = []
    for number, line in enumerate(lines):
        if number and line.startswith(_NEXT):
            shown += command(line.removeprefix(_NEXT), style, first=_NEXT, rest="      ")
            continue
        kept = style.clean_cell(redact(line))
        if width_of(kept) <= style.columns:  # a caret stays under its place
            shown.append(style.paint(kept, "" if number else "red"))
            continue
        indent = " " * min(len(line) - len(line.lstrip()), 8)
        wrapped = wrap(line, style, first=indent, rest=indent + "  ")
        shown += [style.paint(text, "" if number else "red") for text in wrapped]
    return shown
