"""Spans of time that prove nothing, and when enough will be proven."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

Span = tuple[datetime, datetime]


def merge_spans(spans: Iterable[Span], start: datetime, end: datetime) -> tuple[Span, ...]:
    """The spans cut to the window, sorted, without overlaps."""
    merged: list[Span] = []
    for low, high in sorted((max(low, start), min(high, end)) for low, high in spans):
        if high <= low:
            continue
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def outside(holes: Iterable[Span], start: datetime, end: datetime, settle: timedelta) -> tuple[Span, ...]:
    """The rest of the window; each part begins `settle` after the hole before it."""
    found: list[Span] = []
    last = start
    for low, high in merge_spans(holes, start, end):
        found.append((last, low))
        last = high + settle
    found.append((last, end))
    return tuple((low, high) for low, high in found if high > low)


def covered(start: datetime, end: datetime, holes: Sequence[Span]) -> float:
    """The share of the window outside the (merged) holes."""
    length = (end - start).total_seconds()
    lost = sum((high - low).total_seconds() for low, high in holes)
    return 1.0 - lost / length if length > 0 else 0.0


def enough_at(end: datetime, look_back: float, holes: Sequence[Span], share: float) -> datetime:
    """When a look-back that ends then will hold enough, if nothing is lost from now on.

    Walks back from now until the holes behind that point are all that a look-back may lose.
    """
    budget = timedelta(seconds=look_back * (1 - share))
    for low, high in sorted(holes, reverse=True):
        if high - low > budget:
            return max(end, high - budget + timedelta(seconds=look_back))
        budget -= high - low
    return end


def known_from(holes: Sequence[Span], start: datetime, end: datetime, least: timedelta) -> datetime:
    """Where the first hole ends, if the window begins with one and at least so much is left of it; else its start."""
    first = next(iter(sorted(holes)), None)
    if first is None or first[0] > start or end - first[1] < least:
        return start
    return first[1]


def gaps(times: Sequence[datetime], start: datetime, end: datetime, step: timedelta) -> tuple[Span, ...]:
    """Where a range answer has no point: spans of more than one step, between `start` and `end`."""
    found: list[Span] = []
    last = start
    for time in sorted(times):
        if time - last > 1.5 * step:
            found.append((last, time))
        last = time
    if end - last > 1.5 * step:
        found.append((last, end))
    return merge_spans(found, start, end)
