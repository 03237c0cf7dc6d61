"""A check's answer and the traffic's evidence, as indented lines under one sentence."""

from __future__ import annotations

from rollout.model.finding import CheckResult, Finding, Status
from rollout.model.traffic import Edge, Evidence, EvidenceVerdict, Family, Offender
from rollout.report.layout import Style, advice, count, day, labelled, labelled_once, share, span, wrap

_EDGES = 10
_FAMILIES = {Family.HTTP: "request", Family.TCP: "connection"}
#: The mark of each verdict.
VERDICTS = {
    EvidenceVerdict.CLEAN: Status.OK,
    EvidenceVerdict.IDLE: Status.WARNING,
    EvidenceVerdict.PLAINTEXT: Status.FAILED,
    EvidenceVerdict.NO_DATA: Status.UNKNOWN,
}


def check(result: CheckResult, style: Style) -> list[str]:
    """`√ title (id)`, and for everything else what was measured and what helps."""
    waived = result.status is Status.FAILED and not result.blocks
    status = Status.WARNING if waived else result.status
    title = f"{result.title} ({result.check})"
    match status:
        case Status.SKIPPED:
            title = f"{title}: skipped, {result.reason or 'no reason given'}"
        case Status.UNKNOWN:
            title = f"{title}: unknown, {result.reason or 'no reason given'}"
        case Status.WARNING if waived:
            title = f"{title}: waived"
    head = wrap(title, style, first=f"{style.mark(status)} ", rest="  ")
    lines = [style.paint(line, style.tone(status)) for line in head]
    for finding in result.findings:
        lines += _finding(finding, style)
    return lines


def _finding(finding: Finding, style: Style) -> list[str]:
    shown = "" if finding.ref.kind == "Namespace" and not finding.field else f"{finding.ref} {finding.field}".strip()
    already = "" if finding.new else "so already, before any flip"
    return [
        *labelled("object", [shown, already], style),
        *labelled("measured", finding.measured, style),
        *labelled("limit", finding.limit, style),
        *labelled("window", finding.window, style),
        *labelled_once("query", finding.query, style),
        *labelled("where", finding.where, style),
        *advice(finding.fix, style),
        *labelled("waived", finding.waived, style),
    ]


def headline(evidence: Evidence) -> str:
    """`clean: 40 edges, all mutual TLS, 8d; sight 12/12 proxies`."""
    sight = evidence.sight
    seen = len(sight.expected) - len(sight.missing)
    proxies = f"sight {seen}/{len(sight.expected)} proxies"
    verdict = str(evidence.verdict).replace("_", " ")
    if evidence.verdict is EvidenceVerdict.NO_DATA:
        return f"{verdict}: {evidence.reason or 'the look-back proves nothing'}; {proxies}"
    plaintext = len(evidence.plaintext)
    kinds = "all mutual TLS" if not plaintext else f"{plaintext} plaintext"
    edges = f"{count(len(evidence.edges), 'edge')}, {kinds}" if evidence.edges else "no traffic"
    return f"{verdict}: {edges}, {span(evidence.end - evidence.start)}; {proxies}"


def evidence(found: Evidence, style: Style, *, suspects: bool = True) -> list[str]:
    """The verdict, the shares of mutual TLS, the edges (plaintext first) and what the flip cuts.

    Args:
        found: what Prometheus knows.
        style: how lines are set.
        suspects: name who a nameless caller might be; False where a finding does so already.
    """
    status = VERDICTS[found.verdict]
    head = wrap(headline(found), style, first=f"{style.mark(status)} ", rest="  ")
    shares = [
        f"{share(part)} of {count(sum(e.volume for e in found.edges if e.family is family), noun)}"
        for family, noun in _FAMILIES.items()
        if (part := found.share(family)) is not None
    ]
    cut_off = count(found.open_mutual, "open connection")
    until = f"enough data at {day(found.enough_at, style)} if nothing changes" if found.enough_at else ""
    holes = sum((end - start).total_seconds() for start, end in found.holes)
    hidden = f"{share(found.covered)} of the look-back counts" + (f", {span(holes)} prove nothing" if holes else "")
    return [
        *(style.paint(line, style.tone(status)) for line in head),
        *labelled("window", f"{day(found.start, style)} to {day(found.end, style)}", style),
        *labelled("mTLS", ", ".join(shares), style),
        *labelled("edges", _edges(found, style), style),
        *labelled("idle", ", ".join(found.idle), style),
        *labelled("not seen", ", ".join(found.sight.missing), style),
        *labelled("covered", hidden if found.covered < 1 or holes else "", style),
        *labelled("cut", f"{cut_off} of healthy callers, when the drain ends" if found.open_mutual else "", style),
        *(line for offender in found.offenders if suspects for line in _offender(offender, style)),
        *labelled("wait", until, style),
        *labelled("note", found.warnings, style),
        *(labelled_once("query", found.query, style) if suspects else []),
    ]


def _edges(found: Evidence, style: Style) -> list[str]:
    """Plaintext first, then by volume; the rest as a number."""
    ordered = sorted(found.edges, key=lambda edge: (edge.mutual, -edge.volume, edge.key))
    rows = [_edge(edge, style) for edge in ordered[:_EDGES]]
    rest = len(ordered) - len(rows)
    return [*rows, f"and {rest} more (all of them: -o json)"] if rest else rows


def _edge(edge: Edge, style: Style) -> str:
    kind = "mutual TLS" if edge.mutual else "plaintext"
    last = f", last {day(edge.last, style)}" if edge.last and not edge.mutual else ""
    still = f", {edge.open:,.0f} open" if edge.open else ""
    return f"{edge.key}: {kind}, {edge.family}, {count(edge.volume, _FAMILIES[edge.family])}{still}{last}"


def _offender(offender: Offender, style: Style) -> list[str]:
    clean = f"clean from {day(offender.clean_from, style)} on" if offender.clean_from else ""
    who = ", ".join(part for part in (offender.edge.key, offender.rhythm, clean) if part)
    lines = labelled("caller", who, style)
    ranked = [f"{n}. {s.who}: {s.because}" for n, s in enumerate(offender.suspects, 1)]
    lines += labelled("suspects", ["likeliest first:", *ranked] if ranked else "", style)
    return lines + advice(offender.suspects[0].fix if offender.suspects else "", style)
