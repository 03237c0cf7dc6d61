"""Holes, rhythms and scrape intervals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rollout.world.evidence import slices
from rollout.world.holes import covered, enough_at, gaps, merge_spans
from rollout.world.rhythm import rhythm
from rollout.world.sight import interval_of

T = datetime(2026, 3, 2, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def test_spans_are_cut_sorted_and_merged() -> None:
    """And those outside the window are gone."""
    spans = [(T + 3 * HOUR, T + 4 * HOUR), (T - DAY, T + HOUR), (T + HOUR, T + 2 * HOUR), (T + DAY, T + 2 * DAY)]
    assert merge_spans(spans, T, T + 5 * HOUR) == ((T, T + 2 * HOUR), (T + 3 * HOUR, T + 4 * HOUR))
    assert covered(T, T + 6 * HOUR, ((T, T + 3 * HOUR),)) == 0.5


@pytest.mark.parametrize(
    ("holes", "after"),
    [
        ((), timedelta(0)),
        (((T - 10 * DAY, T - 5 * DAY),), 4 * DAY),
        (((T - 3 * DAY, T - 2 * DAY),), timedelta(0)),
        (((T - 9 * DAY, T - 5 * DAY), (T - 2 * DAY, T - 1.5 * DAY)), 4.5 * DAY),
    ],
)
def test_enough_comes_when_the_holes_have_left_the_look_back(
    holes: tuple[tuple[datetime, datetime], ...], after: timedelta
) -> None:
    """Ten days of which a tenth may be lost."""
    assert enough_at(T, 10 * 86400, holes, 0.9) == T + after


def test_gaps_are_spans_without_points() -> None:
    """At the beginning, within, and at the end."""
    step = timedelta(minutes=5)
    times = [T + n * step for n in (4, 5, 6, 10, 11)]
    assert gaps(times, T, T + 20 * step, step) == (
        (T, T + 4 * step),
        (T + 6 * step, T + 10 * step),
        (T + 11 * step, T + 20 * step),
    )
    assert gaps([], T, T + step * 3, step) == ((T, T + step * 3),)
    assert gaps([T + n * step for n in range(21)], T, T + 20 * step, step) == ()


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ([], ""),
        ([T], ""),
        ([T + n * HOUR for n in range(12)], "steady"),
        ([T + n * 2 * HOUR for n in range(6)], "hourly"),
        ([T + n * DAY + 3 * HOUR for n in range(4)], "daily between 02:00 and 03:00"),
        ([T + n * DAY + m * HOUR for n in range(4) for m in (3, 4)], "daily between 02:00 and 03:00"),
        ([T + 3 * HOUR, T + 7 * DAY + 3 * HOUR], "weekly on Monday between 02:00 and 03:00"),
        ([T, T + 5 * HOUR, T + 50 * HOUR], ""),
    ],
)
def test_a_rhythm_shows_in_the_hours(hours: list[datetime], expected: str) -> None:
    """One job may touch two neighbouring hours."""
    assert rhythm(hours) == expected


@pytest.mark.parametrize("minute", range(0, 60, 7))
def test_a_time_of_day_does_not_depend_on_the_minute_of_the_look(minute: int) -> None:
    """The hours end at the minute of the run; what was seen does not."""
    calls = [T + n * DAY + timedelta(hours=2, minutes=15, seconds=20) for n in range(4)]
    end = T + 4 * DAY + timedelta(minutes=minute)
    hours = [end - HOUR * int((end - call) / HOUR) for call in calls]
    first, last = calls[0] - timedelta(seconds=75), calls[-1] + timedelta(minutes=2)
    for known in ((first, last), (first, None), (None, last)):
        assert "daily around 02:15" == rhythm(hours, *known)
    weekly = [hours[0] + n * 7 * DAY for n in range(2)]
    assert "weekly on Monday around 02:15" == rhythm(weekly, first, calls[0] + 7 * DAY)


def test_a_long_jobs_time_of_day_is_its_begin() -> None:
    """Where its begin is not known, or moved, its end says when, if it lies near."""
    hours = [T + n * DAY + m * HOUR for n in range(4) for m in (3, 4, 5)]
    first, last = T + 2 * HOUR + timedelta(minutes=14), T + 3 * DAY + timedelta(hours=4, minutes=50)
    assert "daily around 02:15" == rhythm(hours, first, last)
    assert "daily between 02:00 and 03:00" == rhythm(hours, None, last)
    assert "daily between 02:00 and 03:00" == rhythm(hours, first + 9 * HOUR, None)


def test_midnight_is_the_next_days() -> None:
    """Rounded up, the weekday goes along."""
    hours = [T + n * 7 * DAY + DAY for n in range(2)]
    assert "weekly on Tuesday around 00:00" == rhythm(hours, T + timedelta(hours=23, minutes=55), None)


def test_the_look_back_is_sliced_by_days_without_gaps() -> None:
    """The newest slice ends now."""
    parts = slices(T, T + 2.5 * DAY)
    assert [(part.start, part.end) for part in parts] == [
        (T, T + 0.5 * DAY),
        (T + 0.5 * DAY, T + 1.5 * DAY),
        (T + 1.5 * DAY, T + 2.5 * DAY),
    ]


@pytest.mark.parametrize(
    ("long", "short", "expected"),
    [(40, 8, 15.0), (10, 2, 60.0), (8, 8, 15.0), (0, 0, 30.0), (0, 4, 30.0), (13, 3, 600 / 13)],
)
def test_the_scrape_interval_is_measured(long: float, short: float, expected: float) -> None:
    """Proxies that are all younger than ten minutes have too few samples for the long window."""
    assert interval_of(600, long, 120, short) == expected
