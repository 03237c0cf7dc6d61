"""A proxy's counters and their scrapes.

While nothing changes but the counts, they are functions of time: a counter is a number plus curves. A curve belongs to
the calls (`Counted`) that it counts and goes on until those are settled, however many things happen elsewhere: what
does not change costs next to nothing. The scraper hands the grid's points to the storage as they pass.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence

from rollout.lab.mesh.labels import Labels
from rollout.lab.mesh.pattern import Pattern
from rollout.lab.mesh.relabel import Relabel
from rollout.lab.mesh.samples import Curve, LazyValues, ScrapeStorage, Series

BUCKETS = (5.0, 25.0, 100.0, 500.0, 1000.0)


class Counted:
    """The calls of one caller while they go on in the same way; several curves ask for the same times."""

    __slots__ = ("_grown", "_memo", "_pattern", "start")

    def __init__(self, pattern: Pattern, start: int) -> None:
        """Count from `start` on."""
        self._pattern = pattern
        self.start = pattern.counts((start,))[0]
        self._memo: tuple[Sequence[int], list[int]] = ((), [])
        self._grown: list[tuple[Counter, Curve]] = []

    def counts(self, times: Sequence[int]) -> list[int]:
        """The pattern's counts at some times."""
        memo = self._memo
        if memo[0] is times or memo[0] == times:
            return memo[1]
        counts = self._pattern.counts(times)
        self._memo = (times, counts)
        return counts

    def curve(self, part: Callable[[int], float]) -> Curve:
        """What a part of the calls adds since the start; `part` maps a count to its share, never falling."""
        start = part(self.start)
        return lambda times: [part(n) - start for n in self.counts(times)]

    def grow(self, counter: Counter, part: Callable[[int], float]) -> None:
        """Let a counter grow by a part of the calls, until they are settled."""
        curve = self.curve(part)
        counter.add(curve)
        self._grown.append((counter, curve))

    def settle(self, end: int) -> None:
        """The calls end here, or go on in another way: counters stand where the curves have led."""
        for counter, curve in self._grown:
            counter.end(curve, end)
        self._grown = []


class Counter:
    """One series of one proxy: counter, or gauge when `gauge` (then it exists at 0 too)."""

    __slots__ = ("_adds", "_born", "_made", "base", "gauge", "series")

    def __init__(self, series: Series, *, gauge: bool) -> None:
        """Stand at 0."""
        self.series, self.gauge = series, gauge
        self.base = 0.0
        self._adds: list[Curve] = []
        self._born = gauge
        self._made: tuple[float, Curve] | None = None

    @property
    def curve(self) -> Curve:
        """Its values; the same object as long as nothing changes."""
        if self._made is None or self._made[0] != self.base:
            self._made = (self.base, _sum(self.base, list(self._adds)))
        return self._made[1]

    def add(self, curve: Curve) -> None:
        """Let it grow along a curve (0 at its start)."""
        self._adds.append(curve)
        self._made = None

    def end(self, curve: Curve, end: int) -> None:
        """Stand where this curve has led at `end`."""
        self._adds.remove(curve)
        self.base += curve((end,))[0]
        self._made = None

    def record(self, grid: range) -> None:
        """Hand these scrapes to the storage; a counter exists from its first call on."""
        curve = self.curve
        if not self._born:
            grid = grid[0 if self.base else bisect_right(LazyValues(grid, curve), 0.0) :]
            if not grid:
                return
            self._born = True
        self.series.extend(grid, curve)


class Meter:
    """All counters of one scraped target."""

    def __init__(self, storage: ScrapeStorage, scrape: Mapping[str, str], relabel: Relabel | None = None) -> None:
        """Belong to a target.

        Args:
            storage: where scrapes go.
            scrape: the target's labels: namespace, pod, job, instance.
            relabel: what becomes of a series' own labels.
        """
        self._relabel = relabel or Relabel()
        self._storage = storage
        self._scrape = dict(scrape)
        self._counters: dict[tuple[str, Labels], Counter] = {}

    def counter(self, name: str, labels: Labels = (), *, gauge: bool = False) -> Counter:
        """The counter with this name and these labels, made when new."""
        key = (name, labels)
        found = self._counters.get(key)
        if found is None:
            series = self._storage.series({"__name__": name, **self._relabel.kept(dict(labels)), **self._scrape})
            found = self._counters[key] = Counter(series, gauge=gauge)
        return found

    def gauge(self, name: str, value: float, labels: Labels = ()) -> None:
        """Set a gauge, or a counter that exists at 0."""
        self.counter(name, labels, gauge=True).base = value

    def bump(self, name: str, by: float = 1.0) -> None:
        """Count something that happened between two segments, in a counter that exists at 0."""
        self.counter(name, gauge=True).base += by

    def requests(self, labels: Labels, counted: Counted, part: Callable[[int], int], latency: float) -> None:
        """Grow the HTTP family: total, and the duration's sum, count and buckets, around a mean of `latency` ms."""
        duration = "istio_request_duration_milliseconds"
        counted.grow(self.counter("istio_requests_total", labels), part)
        counted.grow(self.counter(f"{duration}_count", labels), part)
        counted.grow(self.counter(f"{duration}_sum", labels), lambda n: part(n) * latency)
        counted.grow(self.counter(f"{duration}_bucket", (*labels, ("le", "+Inf"))), part)
        for bound in BUCKETS:
            below = 1 - math.exp(-bound / latency)
            bucket = self.counter(f"{duration}_bucket", (*labels, ("le", f"{bound:g}")))
            counted.grow(bucket, lambda n, below=below: int(part(n) * below))  # type: ignore[misc]

    def once(self, labels: Labels, number: int, latency: float) -> None:
        """Grow the HTTP family by requests that end at one instant."""
        duration = "istio_request_duration_milliseconds"
        for name in ("istio_requests_total", f"{duration}_count"):
            self.counter(name, labels).base += number
        self.counter(f"{duration}_sum", labels).base += number * latency
        for bound in (*BUCKETS, math.inf):
            le = "+Inf" if bound == math.inf else f"{bound:g}"
            self.counter(f"{duration}_bucket", (*labels, ("le", le))).base += number if latency <= bound else 0

    def values(self, now: int) -> Iterator[tuple[str, Labels, float]]:
        """Name, labels and value of each counter, as a scrape would see them now."""
        for (name, labels), counter in list(self._counters.items()):
            yield name, labels, counter.curve((now,))[0]

    def record(self, grid: range) -> None:
        """Record these scrapes of all counters."""
        for counter in list(self._counters.values()):
            counter.record(grid)

    def mark_stale(self, time_ms: int) -> None:
        """The target is gone: Prometheus ends its series at its next scrape."""
        for counter in self._counters.values():
            counter.series.mark_stale(time_ms)


def _sum(base: float, adds: list[Curve]) -> Curve:
    if not adds:
        return lambda times: [base] * len(times)
    if len(adds) == 1:
        (only,) = adds
        return lambda times: [base + value for value in only(times)]
    return lambda times: [base + sum(values) for values in zip(*(add(times) for add in adds), strict=True)]
