"""First and last sighting of a plaintext edge to a scrape or two: the hours at its ends, looked at once more."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

K = TypeVar("K", bound=Hashable)

HOUR = timedelta(hours=1)
#: A window that holds two samples whatever the jitter, in scrapes.
SCRAPES = 2.5
#: So many hours are looked at, those of the latest sightings first.
LOOKS = 4
#: An hour in at most so many steps.
STEPS = 240


class Sighting(msgspec.Struct, frozen=True):
    """Bounds of the first and the last sighting, `grain` seconds wide; None: known to the hour only."""

    first: datetime | None = None
    last: datetime | None = None
    grain: float = 3600.0


def step_of(interval: float) -> float:
    """The step of such a look, in seconds.

    The measured interval up to a tenth below it, in multiples of the smallest step: namespaces whose proxies are
    scraped alike then ask the same.
    """
    least = HOUR.total_seconds() / STEPS
    return least * max(1, math.ceil(0.9 * interval / least))


def wanted(hours: Iterable[Sequence[datetime]]) -> tuple[datetime, ...]:
    """The ends of the hours to look into, latest first: each edge's last, then each edge's first."""
    known = [times for times in hours if times]
    lasts = sorted({max(times) for times in known}, reverse=True)
    firsts = sorted({min(times) for times in known}, reverse=True)
    return tuple(dict.fromkeys((*lasts, *firsts)))[:LOOKS]


def sightings(
    hours: Mapping[K, Sequence[datetime]], seen: Mapping[K, Sequence[datetime]], looked: Iterable[datetime], step: float
) -> dict[K, Sighting]:
    """What was found of each edge.

    Args:
        hours: the ends of the hours in which it was seen.
        seen: the ends of the windows of `SCRAPES` steps in which it was seen.
        looked: the hours of `wanted` that were looked into.
        step: seconds between two windows.
    """
    width = timedelta(seconds=SCRAPES * step)
    looked = frozenset(looked)
    found: dict[K, Sighting] = {}
    for key, times in hours.items():
        if not times:
            continue
        first, last = (_within(seen.get(key, ()), hour) if hour in looked else [] for hour in (min(times), max(times)))
        if first or last:
            found[key] = Sighting(
                first=min(first) - width if first else None,
                last=max(last) if last else None,
                grain=width.total_seconds(),
            )
    return found


def _within(times: Iterable[datetime], hour: datetime) -> list[datetime]:
    return [time for time in times if hour - HOUR < time <= hour]
