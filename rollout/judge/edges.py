"""Traffic signals: the two ends of each edge, compared with each other and with the baseline.

Pure. Every function yields Signals with `breached`; whether a breach is a regression is decided in `verdict`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from rollout.judge.baseline import ATTEMPTS, BAD, STRANGER, bound, edges_before, place, silent
from rollout.judge.scaling import Excused
from rollout.judge.signals import DESTINATION, ERRORS, SILENCE, SURVIVAL, TCP
from rollout.model.judgement import Baseline, EdgeBaseline, EdgeSample, Observation, Signal, Verdict
from rollout.model.traffic import Family, Party
from rollout.world.baseline import edge_key
from rollout.world.watch import PASSTHROUGH

#: So many edges must have carried traffic before "most of them" means anything.
MANY = 3
#: Broken connections of a pool that nobody gets through any more.
BROKEN_POOL = 3
#: Both ends agree when they differ by no more than two scrapes do.
BOTH = 0.9
_TRIED = {Family.HTTP: "tried", Family.TCP: "connected"}
_ARRIVED = {Family.HTTP: "arrived", Family.TCP: "accepted"}


def _signal(
    name: str, where: str, observation: Observation, query: str, measured: str, limit: str, *, breached: bool
) -> Signal:
    return Signal(
        name=name,
        where=where,
        measured=measured,
        limit=limit,
        verdict=Verdict.HEALTHY,
        breached=breached,
        window=f"{observation.window:.0f}s",
        query=observation.queries.get(query, ""),
    )


def survival(baseline: Baseline, observation: Observation) -> Iterator[Signal]:
    """One signal per edge that tried often enough; needs full sight of the destination."""
    before = edges_before(baseline)
    excused = Excused(baseline, observation)
    lost = []
    bearing = 0
    for edge in observation.edges:
        known = before.get(edge_key(edge))
        if (known or edge).destination in excused:
            continue
        if edge.service == PASSTHROUGH:
            yield from _by_address(edge, known, observation)
            continue
        if known is None or known.arrived <= 0 or edge.tried < ATTEMPTS:
            continue
        bearing += 1
        signal = _signal(
            SURVIVAL,
            place(edge, known),
            observation,
            _ARRIVED[edge.family],
            f"{edge.tried:.0f} tried at the source, {edge.arrived:.0f} seen at the destination",
            f"some of {ATTEMPTS} or more",
            breached=edge.arrived <= 0,
        )
        lost.append(signal) if signal.breached else None
        yield signal
    if len(lost) >= 2 and 2 * len(lost) > bearing:
        yield _catastrophe(lost, bearing, observation)


def _by_address(edge: EdgeSample, known: EdgeBaseline | None, observation: Observation) -> Iterator[Signal]:
    """A caller of pod addresses sends plaintext; at the destination its calls carry no service to join them by.

    What did not fail is what arrived. One that failed before the flip, too, is not judged.
    """
    if edge.tried < ATTEMPTS or (known is not None and known.errors >= STRANGER):
        return
    through = max(0.0, edge.tried - edge.failed)
    yield _signal(
        SURVIVAL,
        place(edge, known),
        observation,
        "passthrough",
        f"{edge.tried:.0f} tried by pod address at the source, {through:.0f} answered",
        f"some of {ATTEMPTS} or more",
        breached=through < 1 and _goes_on(edge.recent_failed, edge.recent_tried, STRANGER),
    )


def _catastrophe(lost: Sequence[Signal], bearing: int, observation: Observation) -> Signal:
    return Signal(
        name=SURVIVAL,
        where="most edges",
        measured=f"{len(lost)} of {bearing} edges lost at once: {', '.join(signal.where for signal in lost[:3])}",
        limit="no more than half",
        verdict=Verdict.HEALTHY,
        breached=True,
        catastrophe=True,
        window=f"{observation.window:.0f}s",
        query=lost[0].query,
    )


def errors(baseline: Baseline, observation: Observation) -> Iterator[Signal]:
    """The failed share at the source, per edge."""
    before = edges_before(baseline)
    excused = Excused(baseline, observation)
    for edge in observation.edges:
        known = before.get(edge_key(edge))
        if edge.tried < ATTEMPTS or (known or edge).destination in excused:
            continue
        limit = STRANGER if known is None or not known.at_source else bound(known.errors, known.noise, edge.tried)
        ratio = min(1.0, edge.failed / edge.tried)
        breached = edge.failed >= BAD and ratio > limit and _goes_on(edge.recent_failed, edge.recent_tried, limit)
        yield _signal(
            ERRORS,
            place(edge, known),
            observation,
            _TRIED[edge.family] if edge.family is Family.HTTP else "disconnected",
            f"{ratio:.1%} of {edge.tried:.0f} failed at the source{_answered(edge) if breached else ''}",
            f"{min(limit, 1.0):.1%}, and {BAD} failures",
            breached=breached,
        )


def _answered(edge: EdgeSample) -> str:
    """Both ends count the same calls and failures: what STRICT refuses, the destination would not count."""
    agree = edge.arrived >= BOTH * edge.tried and BOTH * edge.failed <= edge.refused <= edge.failed / BOTH
    if edge.family is not Family.HTTP or not agree:
        return ""
    return "; the callers reach it over mutual TLS, and the application or a policy answers with 5xx or 403"


def _goes_on(bad: float | None, events: float | None, limit: float) -> bool:
    """The last scrape interval is over the limit, too; one burst would otherwise breach two windows."""
    if bad is None or events is None:
        return True
    return bad > 0 and bad / max(events, bad) > limit


def destination(baseline: Baseline, observation: Observation) -> Iterator[Signal]:
    """The failed and refused share at the destinations, per edge and for the whole namespace.

    What is usual for the namespace is made of what is usual on the edges that are busy now: when a faultless caller
    pauses, the share of the faulty ones rises, and nothing got worse.
    """
    before = edges_before(baseline)
    elsewhere = max(baseline.destination_errors, baseline.destination_noise)
    expected = counted = 0.0
    for edge in observation.edges:
        if edge.family is not Family.HTTP or edge.arrived <= 0:
            continue
        known = before.get(edge_key(edge))
        known = known if known is not None and known.arrived > 0 else None
        counted += edge.arrived
        expected += edge.arrived * (max(known.refused, known.refused_noise) if known else elsewhere)
        limit = bound(known.refused, known.refused_noise, edge.arrived) if known else STRANGER
        recent = (edge.recent_refused, edge.recent_arrived)
        yield from _refusals(place(edge, known), edge.refused, edge.arrived, recent, limit, observation)
    requests, bad = observation.destination_requests, observation.destination_errors
    limit = bound(expected / counted if counted else elsewhere, 0.0, requests)
    recent = (observation.recent_errors, observation.recent_requests)
    yield from _refusals("all workloads", bad, requests, recent, limit, observation)


def _refusals(
    where: str,
    bad: float,
    events: float,
    recent: tuple[float | None, float | None],
    limit: float,
    observation: Observation,
) -> Iterator[Signal]:
    if events < ATTEMPTS:
        return
    ratio = min(1.0, bad / events)
    yield _signal(
        DESTINATION,
        where,
        observation,
        "arrived",
        f"{ratio:.1%} of {events:.0f} answered with 5xx or 403",
        f"{min(limit, 1.0):.1%}, and {BAD} failures",
        breached=bad >= BAD and ratio > limit and _goes_on(*recent, limit),
    )


def pools(baseline: Baseline, observation: Observation) -> Iterator[Signal]:
    """TCP edges of few connections, which lived before."""
    now = {edge_key(edge): edge for edge in observation.edges}
    excused = Excused(baseline, observation)
    for known in baseline.edges:
        if known.family is not Family.TCP or not (known.received_bytes > 0 or known.arrived > 0):
            continue
        if known.destination in excused:
            continue
        edge = now.get(edge_key(known))
        if edge is None or edge.tried >= ATTEMPTS:
            continue
        broken = edge.failed >= BROKEN_POOL and edge.arrived <= 0 and edge.received_bytes <= 0
        yield _signal(
            TCP,
            place(known, known),
            observation,
            "disconnected",
            f"{edge.failed:.0f} connections broken, {edge.received_bytes:.0f} bytes arrived",
            f"bytes arrive, or fewer than {BROKEN_POOL} break",
            breached=broken,
        )


def silence(baseline: Baseline, observation: Observation, open_to: Collection[Party] = ()) -> Iterator[Signal]:
    """Edges that carried traffic and carry none at either end; `open_to` as `judge` has it."""
    now = {edge_key(edge): edge for edge in observation.edges}
    excused = Excused(baseline, observation)
    ends = (edge for edge in baseline.edges if edge.source not in excused and edge.destination not in excused)
    due = [edge for edge in ends if _due(edge, observation.window)]
    quiet = [edge for edge in due if silent(now.get(edge_key(edge)))]
    for known in quiet:
        yield _silent_edge(known, observation, cut=not (known.at_source or _passes(known, open_to)))
    if len(due) >= MANY and 2 * len(quiet) > len(due):
        names = ", ".join(place(edge, edge) for edge in quiet[:3])
        yield _signal(
            SILENCE,
            "most edges",
            observation,
            "tried",
            f"{len(quiet)} of {len(due)} edges are silent at both ends: {names}",
            "no more than half together",
            breached=True,
        )


def _due(edge: EdgeBaseline, window: float) -> bool:
    """It had so much traffic, and so short pauses, that a window without any is strange."""
    return max(edge.tried, edge.arrived) * window >= ATTEMPTS and window > 1.5 * edge.longest_pause


def _passes(known: EdgeBaseline, open_to: Collection[Party]) -> bool:
    """A caller without a sidecar, and a port that still takes plaintext: it stopped, or was repaired."""
    return not known.source.named and known.destination in open_to


def _silent_edge(known: EdgeBaseline, observation: Observation, *, cut: bool) -> Signal:
    """With both ends scraped the caller stopped; with the destination alone, it may be refused."""
    rate = max(known.tried, known.arrived)
    measured = f"nothing in {observation.window:.0f}s, {rate:.2f}/s before"
    if not cut:
        where = place(known, known)
        return _signal(SILENCE, where, observation, "tried", measured, "reported only", breached=False)
    return _signal(
        SURVIVAL,
        place(known, known),
        observation,
        _ARRIVED[known.family],
        f"{measured}; the caller's proxy is not scraped",
        f"no pause longer than its longest one, {known.longest_pause:.0f}s",
        breached=True,
    )
