"""Rhythms of callers: counts never fall, add up, and depend on the seed alone."""

from __future__ import annotations

from itertools import pairwise

import pytest

from rollout.lab.mesh.pattern import DAY, Burst, Daily, Every, Pattern, Rate

MONDAY = 20_000 * DAY

PATTERNS: list[Pattern] = [
    Rate(5, MONDAY),
    Rate(0.01, MONDAY, swing=0.6, jitter=0.3),
    Rate(3, MONDAY, swing=0.3, burst=0.4, jitter=0.4, seed=9),
    Daily(14, at=DAY // 10),
    Burst(7, MONDAY + 60_000, 60_000),
    Every(10_000, 3),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_counts_never_fall(pattern: Pattern) -> None:
    """Two days, at uneven steps."""
    counts = pattern.counts(range(MONDAY, MONDAY + 2 * DAY, 7919))
    assert all(before <= after for before, after in pairwise(counts))


def test_a_rate_holds_over_a_day_whatever_its_shape() -> None:
    """Swing, bursts and jitter move calls and lose none."""
    for rate in (Rate(2, MONDAY), Rate(2, MONDAY, swing=0.6), Rate(2, MONDAY, burst=0.5)):
        first, last = rate.counts((MONDAY + DAY, MONDAY + 2 * DAY))
        assert last - first == pytest.approx(2 * 86_400, rel=0.001)


def test_the_day_has_a_peak_and_a_night() -> None:
    """1.6 times the mean at 14:00, 0.4 times at 02:00."""
    rate = Rate(10, MONDAY, swing=0.6, jitter=0)
    night, peak = (rate.counts((MONDAY + h * DAY // 24, MONDAY + h * DAY // 24 + 600_000)) for h in (2, 14))
    assert (night[1] - night[0], peak[1] - peak[0]) == pytest.approx((2400, 9600), rel=0.02)


def test_bursts_come_in_the_first_minute_of_five() -> None:
    """Half of the calls, and the rest evenly."""
    rate = Rate(10, MONDAY, burst=0.5, jitter=0)
    a, b, c = rate.counts((MONDAY, MONDAY + 60_000, MONDAY + 300_000))
    assert ((b - a), (c - b)) == pytest.approx((1500 + 300, 1200), rel=0.02)


def test_a_daily_caller_calls_once_a_day_at_its_time() -> None:
    """Nothing before, everything within seconds."""
    daily, at = Daily(14, at=9_600_000), MONDAY + 9_600_000
    counts = daily.counts((MONDAY, at - 1, at, at + 20_000, at + DAY - 1, at + DAY + 20_000))
    first = counts[0]
    assert [count - first for count in counts] == [0, 0, 1, 14, 14, 28]


def test_the_seed_decides_the_jitter() -> None:
    """Same seed, same counts; another seed, others."""
    times = range(MONDAY, MONDAY + DAY, 30_000)
    assert Rate(5, MONDAY, seed=1).counts(times) == Rate(5, MONDAY, seed=1).counts(times)
    assert Rate(5, MONDAY, seed=1).counts(times) != Rate(5, MONDAY, seed=2).counts(times)
