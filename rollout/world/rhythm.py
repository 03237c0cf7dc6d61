"""How often a caller comes, from the hours in which it was seen."""

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


def rhythm(hours: Sequence[datetime]) -> str:
    """`steady`, `hourly`, `daily around 02:00`, `weekly on Monday around 02:00` (UTC), or '' when none shows.

    Args:
        hours: the ends of the hours with a sighting. One job may touch two neighbouring hours.
    """
    starts = _starts(sorted(set(hours)))
    if len(starts) < 2:
        span = (max(hours) - min(hours)) if hours else timedelta(0)
        return "steady" if span >= timedelta(hours=6) else ""
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    first = starts[-1] - timedelta(hours=1)
    if len(pauses) >= 3 and max(pauses) <= timedelta(hours=3):
        return "hourly"
    if len(pauses) >= 2 and all(_near(pause, timedelta(days=1)) for pause in pauses):
        return f"daily around {first:%H}:00"
    if all(_near(pause, timedelta(days=7)) for pause in pauses):
        return f"weekly on {first:%A} around {first:%H}:00"
    return ""


def _starts(hours: Sequence[datetime]) -> list[datetime]:
    """The first hour of each stretch."""
    return [*hours[:1], *(later for earlier, later in pairwise(hours) if later - earlier > _NEXT)]


def _near(pause: timedelta, period: timedelta) -> bool:
    return abs(pause - period) <= _NEXT
