"""What the look-back proves: answers of many slices folded into edges, and the verdict on them.

Pure. Only time in which plaintext was accepted and every proxy was scraped proves anything; all else is a hole.
The rules are DESIGN.md "Evidence: rules that naive queries break".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from rollout.errors import QueryTooHeavy
from rollout.model.traffic import UNKNOWN, Edge, Evidence, EvidenceVerdict, Family, Offender, Party, Sight, Suspect
from rollout.ports import Answer
from rollout.record.spec import Fixed
from rollout.world.batches import Batch, without_run
from rollout.world.conventions import KEEP, looked_for
from rollout.world.holes import Span, covered, enough_at, merge_spans
from rollout.world.reads import Traffic
from rollout.world.rhythm import PERIODS, rhythm
from rollout.world.sight import partial_answer
from rollout.world.sightings import Sighting
from rollout.world.young import spell, too_short

DAY = timedelta(days=1)
#: Slices overlap, else the midnight job falls between two days.
OVERLAP = timedelta(minutes=10)
#: The share of the look-back that must count.
ENOUGH = 0.9

#: Below this a slice is not halved any more.
SMALLEST = timedelta(minutes=30)

T = TypeVar("T")
EdgeId = tuple[Party, Party, str, Family, str]


class Slice(msgspec.Struct, frozen=True):
    """A part of the look-back: volume is counted over it, existence over it and the overlap before it."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end - self.start).total_seconds()

    @property
    def halves(self) -> tuple[Slice, Slice]:
        """For a query that was too heavy."""
        middle = self.start + (self.end - self.start) / 2
        return Slice(self.start, middle), Slice(middle, self.end)


class Part(msgspec.Struct, frozen=True):
    """What was answered for one slice."""

    slice: Slice
    family: Family
    existing: Answer
    volume: Answer


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """All that was learned of a namespace.

    Args:
        sight: now.
        edges: merged over the slices.
        gaps: spans without any scrape.
        unscraped: pods that missed more than a tenth of the look-back, with the missed seconds.
        unlabelled: labels that the evidence rests on, and that some inbound series lack.
        untold: a report that may be a caller's or the destination's, because `reporter` is dropped; '' for none.
        workloads: with a sidecar, and when they were created.
        hours: the ends of the hours in which a plaintext edge was seen.
        ends: its first and last sighting, where they are known more closely.
        batches: CronJobs that may call in plaintext, where that was asked.
        suspects: of nameless callers.
        warnings: Prometheus' own, such as a partial response.
    """

    sight: Sight
    edges: tuple[Edge, ...] = ()
    gaps: tuple[Span, ...] = ()
    unscraped: Mapping[str, float] = {}
    unlabelled: tuple[str, ...] = ()
    untold: str = ""
    workloads: Mapping[str, datetime] = {}
    hours: Mapping[EdgeId, tuple[datetime, ...]] = {}
    ends: Mapping[EdgeId, Sighting] = {}
    batches: tuple[Batch, ...] = ()
    suspects: Mapping[EdgeId, tuple[Suspect, ...]] = {}
    warnings: tuple[str, ...] = ()
    query: str = ""


def slices(start: datetime, end: datetime) -> tuple[Slice, ...]:
    """The look-back a day at a time, newest last."""
    found = []
    while end > start:
        found.append(Slice(max(start, end - DAY), end))
        end -= DAY
    return tuple(reversed(found))


def halving(span: Slice, ask: Callable[[Slice], Sequence[T]]) -> list[T]:
    """All answers for the span, in smaller and smaller parts while Prometheus says that it is too heavy.

    Raises:
        QueryTooHeavy: the smallest part still is.
    """
    try:
        return list(ask(span))
    except QueryTooHeavy:
        if span.end - span.start <= SMALLEST:
            raise
        return [answer for half in span.halves for answer in halving(half, ask)]


def identity(edge: Edge) -> EdgeId:
    """What makes two answers the same edge."""
    return (edge.source, edge.destination, edge.service, edge.family, edge.policy)


def edge_of(labels: Mapping[str, str], family: Family) -> Edge:
    """The edge that these labels name."""

    def party(side: str) -> Party:
        principal = labels.get(f"{side}_principal", "")
        return Party(
            labels.get(f"{side}_workload_namespace") or UNKNOWN,
            labels.get(f"{side}_workload") or UNKNOWN,
            "" if principal == UNKNOWN else principal,
        )

    return Edge(
        source=party("source"),
        destination=party("destination"),
        service=labels.get("destination_service", ""),
        family=family,
        policy=labels.get("connection_security_policy", ""),
    )


def merge(parts: Iterable[Part], now_open: Answer, at: datetime) -> dict[str, tuple[Edge, ...]]:
    """The edges of each namespace over all slices; a connection that is open now counts whatever its age."""
    found: dict[EdgeId, Edge] = {}
    for part in parts:
        least = {identity(edge_of(s.labels, part.family)): s.value for s in part.existing.samples}
        volumes = {identity(edge_of(s.labels, part.family)): s.value for s in part.volume.samples if s.value > 0}
        for key in least | volumes:
            # A series born in the slice has no increase: at least one event made it.
            count = max(volumes.get(key, 0.0), least.get(key, 0.0))
            found[key] = _seen(found.get(key), key, count, part.slice)
    for sample in now_open.samples:
        edge = edge_of(sample.labels, Family.TCP)
        old = found.get(identity(edge), msgspec.structs.replace(edge, last=at))
        found[identity(edge)] = msgspec.structs.replace(old, open=sample.value, last=at)
    split: dict[str, list[Edge]] = {}
    for edge in found.values():
        split.setdefault(edge.destination.namespace, []).append(edge)
    return {namespace: tuple(sorted(edges, key=_order)) for namespace, edges in split.items()}


def _seen(old: Edge | None, key: EdgeId, count: float, where: Slice) -> Edge:
    source, destination, service, family, policy = key
    old = old or Edge(source, destination, service, family, policy)
    return msgspec.structs.replace(
        old,
        volume=old.volume + count,
        first=min(old.first or where.start, where.start),
        last=max(old.last or where.end, where.end),
    )


def _order(edge: Edge) -> tuple[bool, float, EdgeId]:
    return (edge.mutual, -edge.volume, identity(edge))


def conclude(read: Traffic, end: datetime, known: Known) -> Evidence:
    """The verdict. Plaintext is positive proof and wins; then everything that makes an empty answer worthless."""
    look_back = timedelta(seconds=read.look_back)
    start = end - look_back
    holes = _holes(read, start, end, known)
    share = covered(start, end, holes)
    # An edge without the label is neither mutual nor plaintext: it is the reason for `no_data` below.
    edges = tuple(_narrowed(edge, known) for edge in known.edges if edge.policy)
    offenders = tuple(_offender(edge, known, look_back) for edge in edges if not edge.mutual)
    unproven, enough = _why_not(read, end, known, holes, share)
    reason = unproven
    if offenders:
        verdict, reason = EvidenceVerdict.PLAINTEXT, _plaintext_sentence(offenders)
    elif reason:
        verdict = EvidenceVerdict.NO_DATA
    else:
        verdict = EvidenceVerdict.CLEAN if edges else EvidenceVerdict.IDLE
    called = {edge.destination.workload for edge in edges}
    return Evidence(
        namespace=read.namespace,
        verdict=verdict,
        start=start,
        end=end,
        sight=known.sight,
        edges=edges,
        offenders=offenders,
        idle=tuple(sorted(ref for ref in known.workloads if ref.rpartition("/")[2] not in called)),
        reason=reason,
        enough_at=enough,
        holes=holes,
        covered=share,
        query=known.query,
        warnings=known.warnings,
        unproven=unproven,
    )


def _holes(read: Traffic, start: datetime, end: datetime, known: Known) -> tuple[Span, ...]:
    began = [read.since] if read.since else []
    youngest = max(known.workloads.values(), default=None)
    clock = max([*began, *([youngest] if youngest else [])], default=None)
    spans = [*read.holes, *known.gaps]
    if clock is not None and clock > start:
        spans.append((start, min(clock, end)))
    return merge_spans(spans, start, end)


def _why_not(
    read: Traffic, end: datetime, known: Known, holes: Sequence[Span], share: float
) -> tuple[str, datetime | None]:
    if not known.sight.expected:
        return "no pod with a sidecar has been there for long enough to be scraped", None
    if missing := known.sight.missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        seen, all_ = len(known.sight.seen), len(known.sight.expected)
        known_labels = "" if seen else f"; looked for by their labels {looked_for()}"
        said = f"{seen} of {all_} proxies have a sample younger than two scrapes; not scraped: {shown}"
        return said + known_labels, None
    if unlabelled := _unlabelled(known):
        return unlabelled, None
    if partial := partial_answer(known.warnings):
        return f"Prometheus answered in part: {partial}", None
    if share < ENOUGH:
        have = f"{share:.0%} of the look-back ({spell(read.look_back)}) can be used, {ENOUGH:.0%} are needed"
        plain = {str(edge.destination) for edge in known.edges if not edge.mutual}
        why = too_short(read.since, known.workloads, plain, end, ENOUGH * read.look_back)
        return have + why, enough_at(end, read.look_back, holes, ENOUGH)
    if known.unscraped:
        pod, missed = max(known.unscraped.items(), key=lambda item: item[1])
        return f"{len(known.unscraped)} proxies were not scraped all the time; {pod} missed {spell(missed)}", None
    return without_run(known.batches, holes, end - timedelta(seconds=read.look_back), end)


def _unlabelled(known: Known) -> str:
    """Which labels are dropped; without them neither mutual TLS nor plaintext is proven."""
    gone = known.unlabelled or (("connection_security_policy",) if any(not e.policy for e in known.edges) else ())
    if gone:
        return f"{' and '.join(dict.fromkeys(gone))} is missing in the metrics; {KEEP}"
    if known.untold:
        return (
            f"the label reporter is dropped, and reports with an unknown policy ({known.untold}) may be plaintext "
            f"that the destination took; {KEEP}"
        )
    return ""


def _narrowed(edge: Edge, known: Known) -> Edge:
    hours, ends = known.hours.get(identity(edge), ()), known.ends.get(identity(edge), Sighting())
    if not hours or edge.open:
        return edge
    return msgspec.structs.replace(
        edge, first=ends.first or min(hours) - timedelta(hours=1), last=ends.last or max(hours)
    )


def _offender(edge: Edge, known: Known, look_back: timedelta) -> Offender:
    ends = known.ends.get(identity(edge), Sighting())
    return Offender(
        edge=edge,
        suspects=known.suspects.get(identity(edge), ()),
        rhythm="" if edge.open else rhythm(known.hours.get(identity(edge), ()), ends.first, ends.last),
        clean_from=None if edge.last is None else edge.last + look_back,
        grain=3600.0 if ends.last is None else ends.grain,
    )


def _plaintext_sentence(offenders: Sequence[Offender]) -> str:
    callers = sorted({str(offender.edge.source) for offender in offenders})
    edges = "edge" if len(offenders) == 1 else "edges"
    return f"{len(offenders)} plaintext {edges}, from {', '.join(callers[:5])}"


def settle(evidence: Evidence, fixed: Iterable[Fixed]) -> Evidence:
    """The same without the edges that somebody repaired, once one of their periods has passed without plaintext.

    The last sighting is known to a scrape or two, or to the hour (`grain`), so quiet counts from its end. Without a
    known rhythm the period is the whole look-back, as without --fixed.
    """
    repaired = {item.edge: item.at for item in fixed}
    gone, notes, waiting = [], list(evidence.warnings), []
    for offender in evidence.offenders:
        at = repaired.get(offender.edge.key)
        if at is None:
            continue
        period = PERIODS.get(offender.rhythm.partition(" ")[0], evidence.end - evidence.start)
        last = offender.edge.last or evidence.start
        if last - timedelta(seconds=offender.grain) >= at or offender.edge.open:
            notes.append(f"{offender.edge.key} was fixed at {at:%Y-%m-%d %H:%M} and came back")
        elif (quiet := max(at, last)) + period <= evidence.end:
            gone.append(offender)
            notes.append(f"{offender.edge.key} is fixed: no plaintext since {quiet:%Y-%m-%d %H:%M}")
        else:
            waiting.append(quiet + period)
    return _without(evidence, tuple(gone), tuple(notes), min(waiting, default=None))


def _without(
    evidence: Evidence, gone: Sequence[Offender], notes: tuple[str, ...], waiting: datetime | None
) -> Evidence:
    dropped = {identity(offender.edge) for offender in gone}
    offenders = tuple(offender for offender in evidence.offenders if identity(offender.edge) not in dropped)
    edges = tuple(edge for edge in evidence.edges if identity(edge) not in dropped)
    verdict, reason = evidence.verdict, evidence.reason
    if verdict is EvidenceVerdict.PLAINTEXT and not offenders:
        reason = evidence.unproven
        verdict = (EvidenceVerdict.CLEAN if edges else EvidenceVerdict.IDLE) if not reason else EvidenceVerdict.NO_DATA
    elif offenders:
        reason = _plaintext_sentence(offenders)
    return msgspec.structs.replace(
        evidence,
        edges=edges,
        offenders=offenders,
        verdict=verdict,
        reason=reason,
        warnings=notes,
        enough_at=waiting or evidence.enough_at,
    )
