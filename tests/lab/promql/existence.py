"""The existence query and the lives of counters that it must tell apart: asked of the lab, and of a real server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rollout.lab.promql import STALE

MINUTE = 60_000
HOUR = 60 * MINUTE
MIDNIGHT = 1_790_035_200_000
"""2026-09-22T00:00:00Z."""

METRIC = "istio_requests_total"


def exists(window: str) -> str:
    """Series that carried something in the window, whatever a scrape saw of their birth and death."""
    return (
        f"increase({METRIC}[{window}]) > 0 or (max_over_time({METRIC}[{window}]) > 0 unless "
        f"(last_over_time({METRIC}[2h] offset {window}) == min_over_time({METRIC}[{window}])))"
    )


class Life(NamedTuple):
    """One counter's samples, and whether the query must find it at `at_ms` over `window`."""

    name: str
    times_ms: Sequence[int]
    values: Sequence[float]
    found: bool
    at_ms: int = MIDNIGHT
    window: str = "1d"

    @property
    def series(self) -> tuple[dict[str, str], Sequence[int], Sequence[float]]:
        """The samples with their labels."""
        return {"__name__": METRIC, "life": self.name}, self.times_ms, self.values


def _every(start: int, end: int, value: float) -> tuple[list[int], list[float]]:
    times = list(range(start, end, MINUTE))
    return times, [value] * len(times)


def _life(name: str, *parts: tuple[int, int, float], found: bool, **other: int | str) -> Life:
    """A counter that stood at each value from one minute to another (relative to midnight), with gaps in between."""
    times: list[int] = []
    values: list[float] = []
    for start, end, value in parts:
        more = _every(MIDNIGHT + start * MINUTE, MIDNIGHT + end * MINUTE, value)
        times += more[0]
        values += more[1]
    return Life(name, times, values, found, **other)  # type: ignore[arg-type]


def _dead(life: Life) -> Life:
    return life._replace(times_ms=[*life.times_ms, life.times_ms[-1] + MINUTE], values=[*life.values, STALE])


_DAY = 24 * 60
LIVES = [
    _life("born_in_the_window", (-300, 0, 7.0), found=True),
    _dead(_life("born_and_died_in_it", (-300, -295, 3.0), found=True)),
    _dead(_life("seen_by_one_scrape", (-300, -299, 1.0), found=True)),
    _life("grew_in_a_scrape_gap", (-_DAY - 120, -_DAY - 40, 5.0), (-_DAY + 40, 0, 9.0), found=True),
    _life("stood_still_over_a_gap", (-_DAY - 120, -_DAY - 40, 5.0), (-_DAY + 40, 0, 5.0), found=False),
    _life("stood_still", (-_DAY - 120, 0, 5.0), found=False),
    _life("never_counted", (-300, 0, 0.0), found=False),
    _life("reset_and_grew", (-_DAY - 120, -600, 5.0), (-600, -300, 0.0), (-300, 0, 2.0), found=True),
    _life("reset_in_a_gap", (-_DAY - 120, -_DAY - 40, 100.0), (-_DAY + 40, 0, 3.0), found=True),
    _dead(_life("died_before_the_window", (-_DAY - 300, -_DAY - 60, 5.0), found=False)),
]
"""Each for the day that ends at midnight."""

MIDNIGHT_JOB = _dead(_life("midnight_job", (-1, 2, 4.0), found=True))
"""Runs from one minute before midnight to two after."""

GREW_AT_MIDNIGHT = _life("grew_at_midnight", (-_DAY - 200, 0, 5.0), (1, 2 * _DAY, 6.0), found=True)
"""Its only growth lies between the last scrape of one day and the first one of the next."""

SLICES = [(MIDNIGHT, "1d"), (MIDNIGHT + 24 * HOUR, "1d10m")]
"""Two days as the tool asks for them: the later one reaches back over the earlier one's last ten minutes."""
