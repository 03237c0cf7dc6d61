"""A diagnosis and what was recognised in a log, as text and as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from rollout.model.diagnosis import Diagnosis, Layer, LayerResult, PatternCount, Recognition
from rollout.model.finding import Finding, Status
from rollout.report.json import FORMAT_VERSION
from rollout.report.layout import Style, advice, count, labelled, wrap
from rollout.report.redact import redact_all

#: Findings and lines of one layer that text shows; JSON has all.
FINDINGS = 10
LINES = 20
_NUMBERS = {layer: number for number, layer in enumerate(Layer, 1)}
_TITLES = {
    Layer.INJECTION: "the pods run the sidecar, and it captures their traffic",
    Layer.POLICY: "the client sends mutual TLS, and the server accepts it",
    Layer.CERTIFICATES: "certificates are valid, and know each other's root",
    Layer.LOGS: "the proxies' logs show no refused handshake",
    Layer.AUTHORIZATION: "AuthorizationPolicies allow it",
    Layer.ANALYZE: "istioctl analyze shows no errors",
    Layer.PROBE: "a test call ends as the layers above expect",
}


def diagnosis(found: Diagnosis, style: Style, *, where: str = "") -> list[str]:
    """The likeliest cause first, then each layer, then the cause again with its evidence and its fix.

    Args:
        found: what came out.
        style: how lines are set.
        where: which cluster, for the second line.
    """
    tone = "red" if found.cause else "yellow" if _unseen(found) else "green"
    lines = [style.paint(line, tone) for line in wrap(found.sentence, style, rest="  ")]
    lines += wrap(" · ".join(part for part in (where, f"asked: {found.subject}") if part), style, rest="  ")
    for result in found.layers:
        lines += ["", *_layer(result, style)]
    lines.append("")
    lines += labelled("cause" if found.cause else "result", found.sentence, style)
    lines += labelled("evidence", found.evidence, style)
    return lines + advice(found.fix, style)


def _unseen(found: Diagnosis) -> bool:
    return any(result.status is Status.UNKNOWN for result in found.layers)


def _layer(result: LayerResult, style: Style) -> list[str]:
    reason = f": {result.status}, {result.reason}" if result.status in (Status.UNKNOWN, Status.SKIPPED) else ""
    title = f"{_NUMBERS[result.layer]} {result.layer}: {_TITLES[result.layer]}{reason}"
    head = wrap(title, style, first=f"{style.mark(result.status)} ", rest="  ")
    lines = [style.paint(line, style.tone(result.status)) for line in head]
    shown = [*result.lines[:LINES], *_rest(len(result.lines) - LINES, "line")]
    for text in shown:
        lines += wrap(text, style, first="    ", rest="      ")
    for finding in result.findings[:FINDINGS]:
        lines += _finding(finding, style)
    return lines + [f"    {text}" for text in _rest(len(result.findings) - FINDINGS, "finding")]


def _rest(number: int, noun: str) -> list[str]:
    return [f"and {count(number, noun)} more (all of them: -o json)"] if number > 0 else []


def _finding(finding: Finding, style: Style) -> list[str]:
    status = Status.FAILED if finding.blocks else Status.WARNING
    accepted = "a matter of STRICT, not of now" if status is Status.WARNING else "accepted now, STRICT would refuse it"
    return [
        *wrap(f"{finding.ref} {finding.field}", style, first=f"  {style.mark(status)} ", rest="    "),
        *labelled("measured", [finding.measured, accepted if finding.new else ""], style),
        *labelled("limit", finding.limit, style),
        *labelled("where", finding.where, style),
        *advice(finding.fix, style),
    ]


def diagnosis_json(found: Diagnosis) -> dict[str, Any]:
    """Everything, versioned; `cause` names a layer or is null."""
    return _plain({"format_version": FORMAT_VERSION, **_fields(found)})


def recognition(found: Recognition, style: Style) -> list[str]:
    """Each known pattern with its meaning, its fix, what varies and one line."""
    if not found.patterns:
        return wrap(f"no known pattern in {count(found.lines, 'line')}", style)
    first = found.patterns[0]
    lines = wrap(f"{first.title}: {count(first.count, 'line')} of {found.lines:,}", style, rest="  ")
    for pattern in found.patterns:
        lines += ["", *_pattern(pattern, style)]
    return lines


def _pattern(pattern: PatternCount, style: Style) -> list[str]:
    head = f"{pattern.title} ({pattern.id})"
    details = [f"{what}: {count(number, 'line')}" for what, number in pattern.details]
    details += [f"and {count(pattern.more, 'line')} with others"] if pattern.more else []
    return [
        *(style.paint(line, "bold") for line in wrap(head, style, rest="  ")),
        *labelled("count", count(pattern.count, "line"), style),
        *labelled("meaning", pattern.meaning, style),
        *labelled("detail", details, style),
        *labelled("example", pattern.example, style),
        *advice(pattern.fix, style),
    ]


def recognition_json(found: Recognition) -> dict[str, Any]:
    """The same for programs."""
    return _plain({"format_version": FORMAT_VERSION, **_fields(found)})


def _fields(value: msgspec.Struct) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(value)
    return fields


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = redact_all(value)
    return plain
