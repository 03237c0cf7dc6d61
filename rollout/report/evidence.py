"""`rollout evidence`: the edge table as text, JSON and CSV, and whom the access logs name."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from rollout.model.callers import AccessLog, Caller
from rollout.model.traffic import UNKNOWN, Edge, Evidence, EvidenceVerdict, Offender
from rollout.report.findings import VERDICTS, headline
from rollout.report.layout import Style, count, day, followed, labelled, share, span, width_of, wrap
from rollout.report.redact import redact_all

FORMAT_VERSION = "1.0"
COLUMNS = ("source", "destination", "service", "family", "security", "volume", "first", "last", "open")
_HEADS = ("SOURCE", "DEST", "SERVICE", "KIND", "SECURITY", "VOLUME", "FIRST", "LAST", "OPEN")
_GAP = "  "
_INDENT = "    "
_SUSPECTS = 3
_BESIDES = 10
_ORDER = {"plaintext": 0, "unproven": 1, "mutual TLS": 2}


class Shown(msgspec.Struct, frozen=True):
    """What is known of one namespace.

    Args:
        evidence: from the metrics.
        log: from the access logs, None where they were not asked for.
        named: the nameless edges, with the callers of the log that they may be.
    """

    evidence: Evidence
    log: AccessLog | None = None
    named: tuple[tuple[Edge, tuple[Caller, ...]], ...] = ()


def security(edge: Edge) -> str:
    """`plaintext`, `mutual TLS`, or `unproven` where the proxy could not tell (connection_security_policy unknown)."""
    if edge.mutual:
        return "mutual TLS"
    return "unproven" if edge.policy in ("", UNKNOWN) else "plaintext"


def ordered(edges: Iterable[Edge]) -> list[Edge]:
    """Plaintext first, then unproven, then clean; within them by volume."""
    return sorted(edges, key=lambda edge: (_ORDER[security(edge)], -edge.volume, edge.key, edge.service, edge.family))


def evidence_lines(shown: Shown, style: Style, *, whole: bool = False) -> list[str]:
    """For a terminal or a log; `whole` keeps each edge in one line, with all its columns, for whatever reads a pipe."""
    found = shown.evidence
    lines = head(found, style)
    if found.edges:
        lines += ["", *table(found, style, whole=whole)]
    return [*lines, *_callers(shown, style)]


def head(found: Evidence, style: Style) -> list[str]:
    """The verdict, its window, and how much was seen."""
    status = VERDICTS[found.verdict]
    first = wrap(f"{found.namespace}: {headline(found)}", style, first=f"{style.mark(status)} ", rest="  ")
    holes = f"{share(found.covered)} of the look-back counts" if found.covered < 1 else ""
    sight = found.sight
    until = f"enough data at {day(found.enough_at, style)} if nothing changes" if found.enough_at else ""
    return [
        *(style.paint(line, style.tone(status)) for line in first),
        *labelled("window", f"{day(found.start, style)} to {day(found.end, style)}", style),
        *labelled("sight", f"by {sight.metric}, scraped each {span(sight.interval)}", style),
        *labelled("not seen", ", ".join(sight.missing), style),
        *labelled("covered", holes, style),
        *labelled("unproven", found.unproven if found.verdict is EvidenceVerdict.PLAINTEXT else "", style),
        *labelled("wait", until, style),
        *labelled("idle", ", ".join(found.idle), style),
        *labelled("note", found.warnings, style),
    ]


def table(found: Evidence, style: Style, *, whole: bool = False) -> list[str]:
    """The edges in columns; first and last as ages. What says nothing is left out where the width is short.

    Where that is not enough, each edge's source has a line of its own.
    """
    edges = ordered(found.edges)
    rows = [_row(edge, found) for edge in edges]
    columns = list(zip(_HEADS, zip(*rows, strict=True), strict=True))
    if not any(edge.open for edge in edges):
        columns = [column for column in columns if column[0] != "OPEN"]
    if not whole and _width(columns) > style.columns:
        columns = [column for column in columns if column[0] != "FIRST"]
    tones = ["bold", *("" if edge.mutual else "red" for edge in edges)]
    if whole or _width(columns) <= style.columns:
        return [style.paint(line, tone) for line, tone in zip(_padded(columns, style), tones, strict=True)]
    lines: list[str] = []
    for source, line, tone in zip(_padded(columns[:1], style), _padded(columns[1:], style), tones, strict=True):
        fits = width_of(_INDENT + line) <= style.columns
        below = [_INDENT + line] if fits else wrap(line, style, first=_INDENT, rest=_INDENT)
        lines += [style.paint(part, tone) for part in (*wrap(source, style), *below)]
    return lines


def _padded(columns: Sequence[tuple[str, Sequence[str]]], style: Style) -> list[str]:
    """The heads' line and one for each row."""
    cleaned = [[style.clean_cell(cell) for cell in (head, *cells)] for head, cells in columns]
    wide = [max(map(width_of, cells)) for cells in cleaned]
    rows = zip(*cleaned, strict=True)
    return [_GAP.join(f"{cell:<{room}}" for cell, room in zip(row, wide, strict=True)).rstrip() for row in rows]


def _width(columns: Sequence[tuple[str, Sequence[str]]]) -> int:
    wide = (max(width_of(cell) for cell in (head, *cells)) for head, cells in columns)
    return sum(wide) + len(_GAP) * (len(columns) - 1)


def _row(edge: Edge, found: Evidence) -> tuple[str, ...]:
    service = edge.service.split(".")[0] if edge.service.endswith(".svc.cluster.local") else edge.service
    return (
        str(edge.source),
        edge.destination.workload,
        service or "-",
        str(edge.family),
        security(edge),
        _short(edge.volume),
        _age(edge.first, found.end),
        _age(edge.last, found.end),
        f"{edge.open:.0f}",
    )


def _short(number: float) -> str:
    """`112`, `9.4k`, `4.5M`: the whole number is in the other formats."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            return f"{number / (1e3 if unit == 'k' else size):.1f}{unit}"
    return f"{number:.0f}"


def _bytes(number: int) -> str:
    return f"{number / 1e6:.1f} MB" if number >= 1e6 else f"{number / 1e3:.0f} kB"


def _age(moment: datetime | None, end: datetime) -> str:
    return span(max((end - moment).total_seconds(), 0.0)) if moment is not None else "-"


def _callers(shown: Shown, style: Style) -> list[str]:
    """The nameless edges one by one, then what else the logs hold."""
    offenders = {offender.edge: offender for offender in shown.evidence.offenders}
    lines: list[str] = []
    if shown.log is not None:
        lines += ["", *_read(shown.log, style)]
    for edge, callers in shown.named:
        lines += ["", *wrap(f"{edge.key}, {edge.family}", style)]
        lines += _candidates(edge, callers, offenders.get(edge), shown.log, style)
    if shown.log is not None:
        return [*lines, *_besides(shown, shown.log, style)]
    if shown.named:
        following = f"rollout evidence {shown.evidence.namespace} --access-logs"
        said = "Where the mesh writes access logs, they have the callers' addresses."
        lines += ["", *followed(said, following, style)]
    return lines


def _besides(shown: Shown, log: AccessLog, style: Style) -> list[str]:
    """Callers that fit no nameless edge: refused ones, named ones, and those that the metrics do not show yet."""
    known = {caller for _, callers in shown.named for caller in callers}
    rest = [caller for caller in log.callers if caller not in known]
    lines = ["", "Besides, without mesh TLS in the access log:"] if rest else []
    for caller in rest[:_BESIDES]:
        where = f"to {caller.destination} port {caller.port}: {sentence(caller, style)}"
        lines += wrap(where, style, first="    ", rest="      ")
    more = len(rest) - _BESIDES
    return [*lines, f"    and {more} more (all of them: -o json)"] if more > 0 else lines


def _read(log: AccessLog, style: Style) -> list[str]:
    said = (
        f"Access log: {count(log.records, 'line')} of {count(log.pods, 'pod')} since {day(log.since, style)} "
        f"({_bytes(log.size)} read)"
    )
    lines = wrap(said, style)
    if not log.records and log.pods:
        lines += labelled("note", "no sidecar wrote one: Istio's default profile sets no accessLogFile", style)
    if log.foreign:
        lines += labelled("note", f"{count(log.foreign, 'line')} in a format that is none of Istio's defaults", style)
    return lines + labelled("not read", log.unread, style)


def _candidates(
    edge: Edge, callers: Sequence[Caller], offender: Offender | None, log: AccessLog | None, style: Style
) -> list[str]:
    lines = []
    for caller in callers:
        lines += wrap(f"from the access log: {sentence(caller, style)}", style, first="    ", rest="      ")
    if log is not None and not callers:
        lines += wrap(_nobody(edge, log, style), style, first="    ", rest="      ")
    if not callers and offender is not None:
        for suspect in offender.suspects[:_SUSPECTS] or ():
            lines += wrap(f"suspect: {suspect.who} ({suspect.because})", style, first="    ", rest="      ")
    return lines


def _nobody(edge: Edge, log: AccessLog, style: Style) -> str:
    said = "no line that was read is from it"
    if edge.last is None or edge.last >= log.since or not log.records:
        return said
    hours = int((log.asked - edge.last).total_seconds() // 3600) + 1
    return f"{said}: it was last seen {day(edge.last, style)}, and --since {hours}h reaches so far back"


def sentence(caller: Caller, style: Style) -> str:
    """`14 lines from 10.2.3.4 = Pod billing/invoicer-x, last Sun 22 Feb 10:12`."""
    who = _owner(caller)
    if caller.forwarded:
        origin = f"through a proxy that forwards for {caller.address}{who} (X-Forwarded-For)"
    else:
        origin = f"from {caller.address}{who}"
    parts = [f"{count(caller.lines, 'line')} {origin}", f"last {day(caller.last, style)}"]
    if caller.refused:
        parts.append("refused" if caller.refused == caller.lines else f"{caller.refused} of them refused")
    if caller.wire.value != "plaintext":
        parts.append(caller.wire.value)
    if caller.agents:
        parts.append(f"user agent {', '.join(caller.agents)}")
    return ", ".join(parts)


def _owner(caller: Caller) -> str:
    """` = Pod …`, or `, which was Pod … until …`."""
    if caller.who.startswith(("was ", "may be ")):
        return f", which {caller.who}"
    return f" = {caller.who}" if caller.who else ""


def evidence_json(shown: Sequence[Shown]) -> dict[str, Any]:
    """For programs: RFC 3339 in UTC, whole numbers, the table's order."""
    return {"format_version": FORMAT_VERSION, "evidence": [_namespace(one) for one in shown]}


def _namespace(one: Shown) -> dict[str, Any]:
    found = one.evidence
    named = dict(one.named)
    document = {
        "namespace": found.namespace,
        "verdict": found.verdict,
        "reason": found.reason,
        "start": found.start,
        "end": found.end,
        "covered": found.covered,
        "enough_at": found.enough_at,
        "sight": {"expected": found.sight.expected, "missing": found.sight.missing, "metric": found.sight.metric},
        "idle": found.idle,
        "warnings": found.warnings,
        "query": found.query,
        "edges": [
            {**dict(zip(COLUMNS, _cells(edge), strict=True)), "access_log": named.get(edge, ())}
            for edge in ordered(found.edges)
        ],
        "access_log": one.log,
    }
    plain: dict[str, Any] = redact_all(msgspec.to_builtins(document))
    return plain


def evidence_csv(shown: Sequence[Shown]) -> str:
    """The table alone, with a column for the callers of the access log; RFC 4180 with LF."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, "access_log"])
    for one in shown:
        named = dict(one.named)
        for edge in ordered(one.evidence.edges):
            cells = ["" if cell is None else cell for cell in _cells(edge)]
            stamps = [f"{c:%Y-%m-%dT%H:%M:%SZ}" if isinstance(c, datetime) else c for c in cells]
            found = "; ".join(f"{c.lines} from {c.address}{_owner(c)}" for c in named.get(edge, ()))
            writer.writerow([*redact_all(stamps), redact_all(found)])
    return text.getvalue()


def _cells(edge: Edge) -> tuple[Any, ...]:
    return (
        str(edge.source),
        str(edge.destination),
        edge.service,
        str(edge.family),
        security(edge),
        edge.volume,
        edge.first,
        edge.last,
        edge.open,
    )
