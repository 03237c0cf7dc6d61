"""When a CronJob's schedule fires: five fields with lists, ranges, steps and names, and the words with an @.

The rules are those of the CronJob controller (robfig/cron's standard parser): day of month and day of week are joined
by `or` when neither is a star, a time that a clock change leaves out is taken an hour later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import msgspec

_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_DAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))}
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"), start=1
    )
}
_UNITS = {"h": 3600, "m": 60, "s": 1}
_EVERY = re.compile(r"@every\s+((?:\d+[hms])+)")
_ZONE = re.compile(r"(?:CRON_)?TZ=(\S+)\s+(.+)")


class Schedule(msgspec.Struct, frozen=True):
    """What the fields name; `either`: one of the two day fields is enough; `every` stands for all of them."""

    minutes: tuple[int, ...] = ()
    hours: tuple[int, ...] = ()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    either: bool = False
    zone: tzinfo = UTC
    every: timedelta | None = None


def parse(text: str, zone: str | None = None) -> Schedule:
    """A schedule. A zone that this machine does not know counts as UTC, as the controller runs without one.

    Raises:
        ValueError: it is none.
    """
    if prefixed := _ZONE.fullmatch(text.strip()):
        zone, text = prefixed[1], prefixed[2]
    if repeated := _EVERY.fullmatch(text.strip()):
        parts = re.findall(r"(\d+)([hms])", repeated[1])
        every = timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in parts))
        if not every:
            raise ValueError(f"{text!r} names no time")
        return Schedule(every=every)
    fields = _WORDS.get(text.strip().lower(), text).upper().split()
    if len(fields) != 5:
        raise ValueError(f"{text!r} has not five fields")
    minutes, hours, days, months, weekdays = fields
    return Schedule(
        minutes=tuple(sorted(_values(minutes, 0, 59))),
        hours=tuple(sorted(_values(hours, 0, 23))),
        days=_values(days, 1, 31),
        months=_values(months, 1, 12, _MONTHS),
        weekdays=frozenset(day % 7 for day in _values(weekdays, 0, 7, _DAYS)),
        either=days not in ("*", "?") and weekdays not in ("*", "?"),
        zone=_zone(zone),
    )


def first(schedule: Schedule, after: datetime, until: datetime) -> datetime | None:
    """The first time after `after` and not after `until` (both aware) that the schedule names."""
    if schedule.every is not None:
        return after + schedule.every if after + schedule.every <= until else None
    return next((time for time in _times(schedule, after, until) if after < time <= until), None)


def _times(schedule: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    day = after.astimezone(schedule.zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    last = until.astimezone(schedule.zone).replace(tzinfo=None)
    while day <= last:
        if _names(schedule, day):
            for hour in schedule.hours:
                for minute in schedule.minutes:
                    yield day.replace(hour=hour, minute=minute, tzinfo=schedule.zone).astimezone(UTC)
        day += timedelta(days=1)


def _names(schedule: Schedule, day: datetime) -> bool:
    if day.month not in schedule.months:
        return False
    by_date, by_week = day.day in schedule.days, day.isoweekday() % 7 in schedule.weekdays
    return by_date or by_week if schedule.either else by_date and by_week


def _values(field: str, low: int, high: int, names: dict[str, int] | None = None) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step = part.partition("/")
        begin, dash, end = ("*", "", "") if span == "?" else span.partition("-")
        if begin == "*" and not dash:
            first_, last = low, high
        else:
            first_ = _number(begin, names or {})
            last = _number(end, names or {}) if dash else (high if slash else first_)
        width = int(step) if slash else 1
        if not (low <= first_ <= last <= high and width > 0):
            raise ValueError(f"{part!r} is not within {low}-{high}")
        found.update(range(first_, last + 1, width))
    return frozenset(found)


def _number(text: str, names: dict[str, int]) -> int:
    return names[text] if text in names else int(text)


def _zone(name: str | None) -> tzinfo:
    try:
        return ZoneInfo(name) if name else UTC
    except (KeyError, ValueError, OSError):  # unknown, no name at all, a folder of names
        return UTC
