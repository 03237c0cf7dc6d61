"""Nine days of scrapes that nobody has stored: a long quiet stretch of a series is a function, computed where asked.

`ScrapeStorage` answers the evaluator's `Storage` protocol. Counters of a steady mesh are functions of time, so a
stretch of the scrape grid is kept as (times, curve); an increase over a day reads two points of it. Short stretches,
as they arise while things happen, are kept as numbers.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar, overload

from rollout.lab.promql.labels import NAME, Labels
from rollout.lab.promql.storage import STALE, Matcher, Selected, is_stale, matching

T = TypeVar("T")

Curve = Callable[[Sequence[int]], Sequence[float]]
"""The values of a series at some times (milliseconds); they never fall."""

EAGER = 64  # stretches of fewer points are computed at once: a closure costs more than the numbers


class LazyValues(Sequence[float]):
    """The values of a curve at the times of a grid, computed one by one or all at once."""

    def __init__(self, times: range, curve: Curve) -> None:
        """Compute nothing yet."""
        self.times, self.curve = times, curve

    def __len__(self) -> int:
        """One value per time."""
        return len(self.times)

    def __iter__(self) -> Iterator[float]:
        """All at once: cheaper than one by one."""
        return iter(self.curve(self.times))

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[float]: ...
    def __getitem__(self, index: int | slice) -> float | Sequence[float]:
        """One value, or a lazy part."""
        if isinstance(index, slice):
            return LazyValues(self.times[index], self.curve)
        return self.curve((self.times[index],))[0]


class Joined(Sequence[T]):
    """Several sequences, one behind the other, without a copy."""

    def __init__(self, parts: list[Sequence[T]]) -> None:
        """Keep the parts."""
        self.parts = parts
        self.ends = list(accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        """The sum of the parts."""
        return self.ends[-1]

    def __iter__(self) -> Iterator[T]:
        """Part by part."""
        for part in self.parts:
            yield from part

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        """One element, or a copied part."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        which = bisect_right(self.ends, index)
        return self.parts[which][index - (self.ends[which] - len(self.parts[which]))]


@dataclass(frozen=True, slots=True)
class _Quiet:
    times: range
    values: LazyValues


@dataclass(frozen=True, slots=True)
class _Busy:
    times: array[int]
    values: array[float]


Mark = tuple[int, int]
"""How far a series was read: the number of a stretch, and of samples in it."""


class Series:
    """One series; only `ScrapeStorage` and the scraper touch it."""

    __slots__ = ("_curve", "_given", "breaks", "chunks", "labels")

    def __init__(self, labels: Labels) -> None:
        """Without samples yet."""
        self.labels = labels
        self.chunks: list[_Quiet | _Busy] = []
        self.breaks: list[int] = []  # times of samples that fell, or that are stale markers
        self._curve: Curve | None = None
        self._given = 0  # points that the newest curve gave

    @property
    def last(self) -> float | None:
        """The newest value, a stale marker too; None before the first."""
        return self.chunks[-1].values[-1] if self.chunks else None

    def extend(self, times: range, curve: Curve) -> None:
        """Add the next stretch of the grid; the curve is called now, or much later for a long stretch.

        The curve of the stretch before goes on: nothing is computed.
        """
        if curve is not self._curve:
            last = self.last
            if last is not None and not curve(times[:1])[0] >= last:
                self.breaks.append(times[0])
            self._curve, self._given = curve, 0
        elif self._goes_on(times):
            return
        self._given += len(times)
        if self._given > EAGER:
            self.chunks.append(_Quiet(times, LazyValues(times, curve)))
            return
        values = curve(times)
        tail = self._tail()
        tail.values.extend(values)
        tail.times.extend(times)  # last: a reader in another thread goes by the times

    def _goes_on(self, times: range) -> bool:
        """Make the stretch before longer, if it is a function and this one its direct continuation."""
        before = self.chunks[-1]
        if not isinstance(before, _Quiet) or before.times[-1] + times.step != times[0]:
            return False
        longer = range(before.times.start, times.stop, times.step)  # one scraper has one interval
        self.chunks[-1] = _Quiet(longer, LazyValues(longer, before.values.curve))
        return True

    def mark_stale(self, time_ms: int) -> None:
        """End the series until its next sample."""
        if self.last is None or is_stale(self.last):  # never born, or ended already
            return
        if self.chunks[-1].times[-1] >= time_ms:  # a successor of the same name and address goes on
            return
        self.breaks.append(time_ms)
        tail = self._tail()
        tail.values.append(STALE)
        tail.times.append(time_ms)
        self._curve = None

    def cut(self, start_ms: int, end_ms: int) -> Selected | None:
        """The samples between two times, both included."""
        times: list[Sequence[int]] = []
        values: list[Sequence[float]] = []
        for chunk in list(self.chunks):
            first, last = bisect_left(chunk.times, start_ms), bisect_right(chunk.times, end_ms)
            if first < last:
                times.append(chunk.times[first:last])
                values.append(chunk.values[first:last])
        if not times:
            return None
        begin, end = times[0][0], times[-1][-1]
        smooth = bisect_left(self.breaks, begin + 1) == bisect_right(self.breaks, end) and values[0][0] >= 0
        if len(times) == 1:
            return Selected(self.labels, times[0], values[0], smooth)
        return Selected(self.labels, Joined(times), Joined(values), smooth)

    def after(self, mark: Mark) -> Iterator[tuple[Mark, Sequence[int], Sequence[float]]]:
        """The stretches behind a mark, times and values, each with the mark of its end."""
        first, offset = mark
        for index in range(first, len(self.chunks)):
            chunk = self.chunks[index]
            size = len(chunk.times)  # the writer may go on meanwhile
            if offset < size:
                yield (index, size), chunk.times[offset:size], chunk.values[offset:size]
            offset = 0

    def _tail(self) -> _Busy:
        if not self.chunks or not isinstance(self.chunks[-1], _Busy):
            self.chunks.append(_Busy(array("q"), array("d")))
        tail = self.chunks[-1]
        assert isinstance(tail, _Busy)
        return tail


class ScrapeStorage:
    """Series by metric name; one writer."""

    def __init__(self) -> None:
        """Start empty."""
        self._by_name: dict[str, list[Series]] = {}
        self._known: dict[frozenset[tuple[str, str]], Series] = {}

    def series(self, labels: Mapping[str, str]) -> Series:
        """The series with these labels (`__name__` among them; empty ones count as missing), made when new."""
        full = Labels(sorted((name, value) for name, value in labels.items() if value))
        key = frozenset(full.items())
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Series(full)
            self._by_name.setdefault(full.get(NAME, ""), []).append(found)
        return found

    def all(self) -> list[Series]:
        """Every series, for copies to a real Prometheus and for tests."""
        return list(self._known.values())

    def named(self, wanted: Callable[[str], bool]) -> Iterator[Series]:
        """Every series of the metrics whose name is wanted."""
        for name in list(self._by_name):
            if wanted(name):
                yield from list(self._by_name[name])

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Iterable[Selected]:
        """See `Storage.select`."""
        return matching(self._by_name, matchers, start_ms, end_ms)


class Feed:
    """What a storage got since it was looked at last, for a copy elsewhere; for one thread at a time."""

    def __init__(self, storage: ScrapeStorage) -> None:
        """Everything is still to come."""
        self._storage = storage
        self._marks: dict[Series, Mark] = {}
        self._ahead: dict[Series, Mark] = {}

    def take(self, wanted: Callable[[str], bool]) -> Iterator[tuple[Labels, Sequence[int], Sequence[float]]]:
        """Labels, times in milliseconds and values of each new stretch; the same again until `confirm` was called.

        Args:
            wanted: whether to look at the metric of a name; what is left out now comes when it is wanted.
        """
        self._ahead = {}
        for series in self._storage.named(wanted):
            for mark, times, values in series.after(self._marks.get(series, (0, 0))):
                yield series.labels, times, values
                self._ahead[series] = mark

    def confirm(self) -> None:
        """What `take` gave has arrived."""
        self._marks.update(self._ahead)
        self._ahead = {}
