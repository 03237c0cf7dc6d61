"""How often a caller comes, from the hours in which it was seen, and when, from its first and last sighting."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

#: First word of a rhythm -> how long it must be quiet to be gone.
PERIODS = {
    "steady": timedelta(hours=2),
    "hourly": timedelta(hours=2),
    "daily": timedelta(hours=25),
    "weekly": timedelta(days=7, hours=1),
}

#: Neighbouring hours lie this close, slices that do not end on the hour included.
_NEXT = timedelta(hours=1, minutes=5)
_HOUR = timedelta(hours=1)
#: A time of day is told to a quarter of an hour: a Job starts late, and is seen a scrape or two after its call.
_ROUND = timedelta(minutes=15)


def rhythm(hours: Sequence[datetime], first: datetime | None = None, last: datetime | None = None) -> str:
    """`steady`, `hourly`, `daily around 02:15`, `weekly on Monday around 02:15` (UTC), or '' when none shows.

    The hours end at the minute of the look, so they alone tell only between which times: `daily between 01:20 and
    02:20`.

    Args:
        hours: the ends of the hours with a sighting. One job may touch two neighbouring hours.
        first: its first sighting where that is known to a scrape or two.
        last: the same of its last one.
    """
    starts = _starts(sorted(set(hours)))
    if len(starts) < 2:
        span = (max(hours) - min(hours)) if hours else timedelta(0)
        return "steady" if span >= timedelta(hours=6) else ""
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    if len(pauses) >= 3 and max(pauses) <= timedelta(hours=3):
        return "hourly"
    if len(pauses) >= 2 and all(_near(pause, timedelta(days=1)) for pause in pauses):
        return f"daily {_when(starts[-1], timedelta(days=1), first, last)[1]}"
    if all(_near(pause, timedelta(days=7)) for pause in pauses):
        begins, words = _when(starts[-1], timedelta(days=7), first, last)
        return f"weekly on {begins:%A} {words}"
    return ""


def _when(hour: datetime, period: timedelta, first: datetime | None, last: datetime | None) -> tuple[datetime, str]:
    """When the newest stretch began, as closely as it is known; `hour` is the end of its first hour.

    The first sighting of all is the begin of a call; moved to the newest stretch it must lie in that hour. The last
    sighting is the end of a call, a Job's length later.
    """
    if first is not None:
        moved = first + round((hour - first) / period) * period
        if hour - _NEXT < moved <= hour + (_NEXT - _HOUR):
            return _around(moved)
    if last is not None and hour - _HOUR < last <= hour + _NEXT:
        return _around(last)
    begin = hour - _HOUR
    return begin, f"between {begin:%H:%M} and {hour:%H:%M}"


def _around(at: datetime) -> tuple[datetime, str]:
    begin = at.replace(hour=0, minute=0, second=0, microsecond=0)
    near = begin + round((at - begin) / _ROUND) * _ROUND
    return near, f"around {near:%H:%M}"


def _starts(hours: Sequence[datetime]) -> list[datetime]:
    """The first hour of each stretch."""
    return [*hours[:1], *(later for earlier, later in pairwise(hours) if later - earlier > _NEXT)]


def _near(pause: timedelta, period: timedelta) -> bool:
    return abs(pause - period) <= _NEXT
