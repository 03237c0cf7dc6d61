"""When a CronJob is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rollout.world.schedule import first, parse

#: A Tuesday.
AFTER = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("0 3 * * *", "2026-03-11 03:00"),
        ("@daily", "2026-03-11 00:00"),
        ("@hourly", "2026-03-10 13:00"),
        ("@weekly", "2026-03-15 00:00"),
        ("@monthly", "2026-04-01 00:00"),
        ("@annually", "2027-01-01 00:00"),
        ("@every 1h30m", "2026-03-10 13:30"),
        ("*/15 * * * *", "2026-03-10 12:15"),
        ("5/20 12 * * *", "2026-03-10 12:05"),
        ("0,30 8-10,14 * * *", "2026-03-10 14:00"),
        ("0 8-16/4 * * mon-fri", "2026-03-10 16:00"),
        ("30 2 * * SUN", "2026-03-15 02:30"),
        ("30 2 * * 7", "2026-03-15 02:30"),
        ("0 0 31 * *", "2026-03-31 00:00"),
        ("0 0 29 feb ?", "2028-02-29 00:00"),
        ("0 0 13 * FRI", "2026-03-13 00:00"),
        ("0 0 12 * FRI", "2026-03-12 00:00"),
        ("CRON_TZ=Asia/Tokyo 0 3 * * *", "2026-03-10 18:00"),
    ],
)
def test_the_first_run_after_a_tuesday_noon(schedule: str, expected: str) -> None:
    """Lists, ranges, steps, names and words; both day fields together mean either."""
    found = first(parse(schedule), AFTER, AFTER + timedelta(days=1500))
    assert expected == f"{found:%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("Europe/Berlin", "2026-03-11 02:00"),
        ("America/New_York", "2026-03-11 07:00"),
        ("Mars/Olympus", "2026-03-11 03:00"),
    ],
)
def test_the_time_zone_counts_where_it_is_known(zone: str, expected: str) -> None:
    """spec.timeZone; an unknown one is UTC."""
    assert expected == f"{first(parse('0 3 * * *', zone), AFTER, AFTER + timedelta(days=2)):%Y-%m-%d %H:%M}"


def test_a_run_that_a_clock_change_leaves_out_comes_an_hour_later() -> None:
    """02:30 does not exist in Berlin on 29 March 2026."""
    found = first(parse("30 2 29 3 *", "Europe/Berlin"), AFTER, AFTER + timedelta(days=30))
    assert datetime(2026, 3, 29, 1, 30, tzinfo=UTC) == found


def test_both_ends_of_the_span() -> None:
    """After is left out, until is not."""
    noon = parse("0 12 * * *")
    assert first(noon, AFTER, AFTER + timedelta(hours=23)) is None
    assert first(noon, AFTER, AFTER + timedelta(hours=24)) == AFTER + timedelta(hours=24)
    assert first(noon, AFTER - timedelta(microseconds=1), AFTER) == AFTER


@pytest.mark.parametrize(
    "schedule", ["", "0 3 * *", "60 * * * *", "0 24 * * *", "0 0 0 * *", "x * * * *", "*/0 * * * *", "9-5 * * * *",
                 "@every 0s", "@fortnightly", "0 0 * FOO *"],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(schedule: str) -> None:
    """ValueError, and nothing else."""
    with pytest.raises(ValueError, match=r"."):
        parse(schedule)
