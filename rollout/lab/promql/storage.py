"""Where the lab's samples live, and what the evaluator asks of it.

Two million samples are a week of a small mesh, so they are kept as machine integers and doubles (16 bytes a sample),
and each series remembers where it fell or was marked stale: an increase over a day of a counter that only rose is
its last value minus its first, whatever the scrape interval.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from rollout.lab.promql.errors import BadData
from rollout.lab.promql.labels import NAME, Labels
from rollout.lab.promql.regexes import anchored

_STALE_BITS = 0x7FF0000000000002  # Prometheus' marker: a NaN with this payload ends a series
STALE: float = struct.unpack("<d", struct.pack("<Q", _STALE_BITS))[0]


def is_stale(value: float) -> bool:
    """Is this the marker that a target, or one of its series, is gone?"""
    return value != value and struct.pack("<d", value) == _STALE_PACKED  # noqa: PLR0124


_STALE_PACKED = struct.pack("<Q", _STALE_BITS)


@dataclass(frozen=True, slots=True)
class Matcher:
    """One label matcher; `op` is `=`, `!=`, `=~` or `!~`. A label that is missing is empty."""

    name: str
    op: str
    value: str

    def test(self) -> Callable[[str], bool]:
        """The matcher as a question about a value."""
        wanted = self.value
        match self.op:
            case "=":
                return lambda value: value == wanted
            case "!=":
                return lambda value: value != wanted
            case "=~":
                pattern = anchored(wanted)
                return lambda value: pattern.fullmatch(value) is not None
            case "!~":
                pattern = anchored(wanted)
                return lambda value: pattern.fullmatch(value) is None
            case _:
                raise BadData(f"unknown label matcher {self.op}")


class Selected(NamedTuple):
    """One series of a selection: timestamps in milliseconds rise, stale markers are among the values.

    `smooth` promises that no value is smaller than the one before it and none is NaN; False promises nothing.
    """

    labels: Mapping[str, str]
    timestamps_ms: Sequence[int]
    values: Sequence[float]
    smooth: bool = False


class Storage(Protocol):
    """What the evaluator reads from."""

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Iterable[Selected]:
        """The samples of all matching series between the two times, both included; series without any are left out."""
        ...


class Cuttable(Protocol):
    """One series of a storage."""

    labels: Labels

    def cut(self, start_ms: int, end_ms: int) -> Selected | None:
        """Its samples between the two times, both included; None without any."""
        ...


def matching(
    by_name: Mapping[str, Sequence[Cuttable]], matchers: Sequence[Matcher], start_ms: int, end_ms: int
) -> Iterator[Selected]:
    """What `Storage.select` gives, of series that are filed by metric name; another thread may add some meanwhile."""
    names = [matcher.test() for matcher in matchers if matcher.name == NAME]
    tests = [(matcher.name, matcher.test()) for matcher in matchers if matcher.name != NAME]
    exact = next((m.value for m in matchers if m.name == NAME and m.op == "="), None)
    for name in [exact] if exact is not None else list(by_name):
        if not all(test(name) for test in names):
            continue
        for series in list(by_name.get(name, ())):
            if all(test(series.labels.get(label, "")) for label, test in tests):
                cut = series.cut(start_ms, end_ms)
                if cut is not None:
                    yield cut


class _Series:
    """One series: `breaks` are the indices of samples that are NaN or smaller than the one before them."""

    __slots__ = ("breaks", "labels", "times", "values")

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.times = array("q")
        self.values = array("d")
        self.breaks = array("q")

    def append(self, time_ms: int, value: float) -> None:
        if self.times:
            if time_ms <= self.times[-1]:
                raise ValueError(f"{self.labels}: sample at {time_ms} ms is not after {self.times[-1]} ms")
            if not value >= self.values[-1]:
                self.breaks.append(len(self.times))
        elif value != value:  # noqa: PLR0124  NaN
            self.breaks.append(0)
        self.values.append(value)
        self.times.append(time_ms)  # last: a reader in another thread goes by the times

    def cut(self, start_ms: int, end_ms: int) -> Selected | None:
        first = bisect_left(self.times, start_ms)
        last = bisect_right(self.times, end_ms)
        if first == last:
            return None
        smooth = bisect_left(self.breaks, last) == bisect_right(self.breaks, first) and not _is_nan(self.values[first])
        return Selected(self.labels, self.times[first:last], self.values[first:last], smooth)


def _is_nan(value: float) -> bool:
    return value != value  # noqa: PLR0124


class MemoryStorage:
    """Series in memory, found by metric name; one writer, in the order of time per series."""

    def __init__(self) -> None:
        """Start empty."""
        self._series: dict[frozenset[tuple[str, str]], _Series] = {}
        self._by_name: dict[str, list[_Series]] = {}

    def append(self, labels: Mapping[str, str], time_ms: int, value: float) -> None:
        """Add one sample.

        Args:
            labels: with `__name__`; empty values count as missing.
            time_ms: milliseconds since 1970.
            value: `STALE` ends the series until its next sample.

        Raises:
            ValueError: not newer than the newest sample of its series.
        """
        key = frozenset(labels.items())
        series = self._series.get(key)
        if series is None:
            series = self._add(labels, key)
        series.append(time_ms, value)

    def _add(self, labels: Mapping[str, str], key: frozenset[tuple[str, str]]) -> _Series:
        full = Labels(sorted((name, value) for name, value in labels.items() if value))
        true_key = frozenset(full.items())
        series = self._series.get(true_key)
        if series is None:
            series = self._series[true_key] = _Series(full)
            self._by_name.setdefault(full.get(NAME, ""), []).append(series)
        self._series[key] = series
        return series

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Iterator[Selected]:
        """The samples of all matching series between the two times, both included."""
        return matching(self._by_name, matchers, start_ms, end_ms)
