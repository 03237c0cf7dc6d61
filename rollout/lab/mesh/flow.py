"""An edge at work: what its calls add to both proxies' counters in each segment of time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rollout.lab.mesh.catalog import PodView
from rollout.lab.mesh.listener import Answer
from rollout.lab.mesh.meter import Counted
from rollout.lab.mesh.outcome import CUT_REQUEST, Count
from rollout.lab.mesh.pattern import Burst, Pattern
from rollout.lab.mesh.proxy import Draining, Proxy
from rollout.lab.mesh.traffic import Dial, Network, Traffic

Part = Callable[[int], int]

_JOB_CALLS_FOR = 60_000  # after five seconds; a Job takes longer (scenario.py)


class Flow:
    """Short calls: requests, or TCP connections that close at once.

    Args:
        traffic: the edge.
        network: where to dial and count.
        pattern: its rhythm; Jobs have one of their own each.
    """

    def __init__(self, traffic: Traffic, network: Network, pattern: Pattern) -> None:
        """Call from now on."""
        self.traffic, self.network, self.pattern = traffic, network, pattern
        self._counted: list[Counted] = []
        self._known: list[tuple[object, ...]] = []

    def segment(self, start: int) -> None:
        """From `start` on calls end as they do now; where nothing is different the curves go on."""
        sources = self.network.sources(self.traffic)
        destinations: list[PodView | None] = [*self.network.destinations(self.traffic)] or [None]
        dials = [[self.network.dial(self.traffic, source, end) for end in destinations] for source in sources]
        known = [self.network.ends(dial) for row in dials for dial in row]
        if known == self._known and not self.network.writes:
            return
        self.settle(start)
        self._known = known
        per_job = self.traffic.calls > 0 and self.traffic.at is None
        shared = None if per_job else Counted(self.pattern, start)
        for s, (source, row) in enumerate(zip(sources, dials, strict=True)):
            pattern = self._job(source) if per_job else self.pattern
            counted = shared or Counted(pattern, start)
            self._counted.append(counted)
            callers = 1 if per_job else len(sources)
            for d, dial in enumerate(row):
                part = _pair(0 if per_job else s, d, callers, len(destinations))
                self.network.logged(self.traffic, dial, pattern, part)
                self._grow(dial, counted, part)

    def settle(self, end: int) -> None:
        """The curves end."""
        for counted in self._counted:
            counted.settle(end)
        self._counted, self._known = [], []

    def cut(self, proxy: Proxy, draining: Draining) -> None:
        """Requests that take longer than the drain are cut when it ends (observed.md b)."""
        drain = draining.until - draining.since
        if self.traffic.protocol == "tcp" or self.traffic.lasts <= drain:
            return
        sources = self.network.sources(self.traffic)
        destinations = self.network.destinations(self.traffic)
        if proxy.pod.key not in {pod.key for pod in destinations}:
            return
        for source in sources:
            dial = self.network.dial(self.traffic, source, proxy.pod)
            if proxy.listener is None or not draining.concerns(dial.target.port, proxy.listener):
                continue
            began = (draining.until - self.traffic.lasts, draining.since)
            before, after = self.pattern.counts(began)
            number = (after - before) // (len(sources) * len(destinations))
            mutual = dial.answer is Answer.MUTUAL_TLS
            self.network.once(self.traffic, dial, tuple(replace(c, mutual=mutual) for c in CUT_REQUEST), number)

    def close(self) -> None:
        """The caller stops; short calls leave nothing open."""
        self.settle(self.network.now())

    def _job(self, source: PodView | None) -> Pattern:
        started = source.started if source is not None else 0
        return Burst(self.traffic.calls, started + 5000, _JOB_CALLS_FOR)

    def _grow(self, dial: Dial, counted: Counted, part: Part) -> None:
        for count in self.network.counts(self.traffic, dial):
            if self.traffic.protocol == "tcp":
                self._grow_tcp(dial, count, counted, part)
                continue
            served = count.code == "200" and count.flags == "-"
            if served and self.traffic.errors:
                bad, good = _split(part, self.traffic.errors)
                self._grow_http(dial, replace(count, code="500"), counted, bad)
                self._grow_http(dial, count, counted, good)
            else:
                self._grow_http(dial, count, counted, _times(part, count.times))

    def _grow_http(self, dial: Dial, count: Count, counted: Counted, part: Part) -> None:
        place = self.network.places(self.traffic, dial, count)
        if place is not None:
            meter, labels = place
            meter.requests(labels, counted, part, float(self.traffic.lasts))

    def _grow_tcp(self, dial: Dial, count: Count, counted: Counted, part: Part) -> None:
        place = self.network.places(self.traffic, dial, count)
        if place is None:
            return
        meter, labels = place
        if count.opened:
            counted.grow(meter.counter("istio_tcp_connections_opened_total", labels), part)
        if count.closed:
            counted.grow(meter.counter("istio_tcp_connections_closed_total", labels), part)
        if dial.served:
            size = self.traffic.bytes
            for name in ("sent", "received"):
                counted.grow(meter.counter(f"istio_tcp_{name}_bytes_total", labels), lambda n: part(n) * size)


def _split(part: Part, share: float) -> tuple[Part, Part]:
    """The calls that fail, and the others."""
    return (lambda n: int(part(n) * share)), (lambda n: part(n) - int(part(n) * share))


def _times(part: Part, times: int) -> Part:
    return part if times == 1 else lambda n: part(n) * times


def _pair(source: int, destination: int, sources: int, destinations: int) -> Part:
    """The calls of one pair of pods, when call number i goes round the destinations and then to the next source."""
    pairs, place = sources * destinations, source * destinations + destination
    return lambda n: (n + pairs - 1 - place) // pairs
