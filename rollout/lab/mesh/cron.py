"""When a CronJob's schedule fires next (UTC): five fields, with lists, ranges and steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def next_run(schedule: str, after: int) -> int:
    """The first minute after `after` (milliseconds) that the schedule names.

    Raises:
        ValueError: not five fields, or none within a year.
    """
    fields = schedule.split()
    if len(fields) != len(_LIMITS):
        raise ValueError(f"a schedule has five fields: {schedule!r}")
    minutes, hours, days, months, weekdays = (
        _values(field, *limits) for field, limits in zip(fields, _LIMITS, strict=True)
    )
    day = datetime.fromtimestamp(after / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for _ in range(367):
        if day.month in months and _day_fits(day, fields, days, weekdays):
            for hour in sorted(hours):
                for minute in sorted(minutes):
                    at = round((day + timedelta(hours=hour, minutes=minute)).timestamp() * 1000)
                    if at > after:
                        return at
        day += timedelta(days=1)
    raise ValueError(f"{schedule!r} names no time within a year")


def _day_fits(day: datetime, fields: list[str], days: set[int], weekdays: set[int]) -> bool:
    by_date, by_week = day.day in days, day.isoweekday() in weekdays or day.isoweekday() % 7 in weekdays
    if fields[2] != "*" and fields[4] != "*":
        return by_date or by_week  # cron: either is enough when both are given
    return by_date and by_week


def _values(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin, end = (low, high) if span == "*" else (int(first), int(last or first))
        found.update(range(begin, (high if step and not last else end) + 1, int(step or 1)))
    return found
