"""Samples that nobody stored, against the evaluator's own storage."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from rollout.lab.mesh.samples import EAGER, ScrapeStorage
from rollout.lab.promql import InstantVector, MemoryStorage, instant
from rollout.lab.promql.storage import STALE

STEP = 30_000
NAME = {"__name__": "m", "pod": "p"}


def rising(times: Sequence[int]) -> list[float]:
    """A counter as a function of time."""
    return [float(t // 7000) for t in times]


def both(stretches: list[tuple[int, int]]) -> tuple[ScrapeStorage, MemoryStorage]:
    """The same series lazily and stored; each stretch (first, last step) is a life of the counter."""
    lazy, stored = ScrapeStorage(), MemoryStorage()
    series = lazy.series(NAME)
    for first, last in stretches:
        grid = range(first * STEP, (last + 1) * STEP, STEP)
        start = rising((grid[0],))[0]
        series.extend(grid, lambda times, start=start: [v - start for v in rising(times)])  # type: ignore[misc]
        for t in grid:
            stored.append(NAME, t, rising((t,))[0] - start)
    return lazy, stored


@pytest.mark.parametrize(
    "stretches", [[(1, 40)], [(1, 2000)], [(1, 500), (501, 530), (531, 1200)], [(1, 30), (90, 400)]]
)
@pytest.mark.parametrize(
    "query",
    [
        "m",
        "increase(m[2h])",
        "rate(m[10m])",
        "max_over_time(m[3h])",
        "min_over_time(m[3h])",
        "count_over_time(m[4h])",
        "last_over_time(m[1h] offset 1h)",
        "avg_over_time(m[90m])",
        "resets(m[9h])",
        "m - m offset 20m",
    ],
)
def test_lazy_samples_answer_as_stored_ones(stretches: list[tuple[int, int]], query: str) -> None:
    """Short and long stretches, gaps and resets."""
    lazy, stored = both(stretches)
    for step in (25, 333, stretches[-1][1]):
        answers = [instant(storage, query, step * STEP + 11_000) for storage in (lazy, stored)]
        values = [[s.value for s in a.samples] for a in answers if isinstance(a, InstantVector)]
        assert len(values[0]) == len(values[1])
        assert all(math.isclose(x, y, rel_tol=1e-9) for x, y in zip(*values, strict=True))


def test_a_long_stretch_is_not_computed_before_it_is_asked_for() -> None:
    """Not even its ends are."""
    asked: list[int] = []

    def curve(times: Sequence[int]) -> list[float]:
        asked.extend(times)
        return rising(times)

    storage = ScrapeStorage()
    storage.series(NAME).extend(range(STEP, STEP * 10_000, STEP), curve)
    assert [] == asked
    instant(storage, "increase(m[1d])", STEP * 9000)
    assert len(asked) < EAGER


def test_a_curve_that_goes_on_is_one_stretch_and_answers_as_stored() -> None:
    """However often it is handed on, also over a gap and after an end."""
    lazy, stored = ScrapeStorage(), MemoryStorage()
    series = lazy.series(NAME)
    for first in [*range(1, 400, 10), *range(501, 600, 10)]:  # a gap of a hundred scrapes
        grid = range(first * STEP, (first + 10) * STEP, STEP)
        series.extend(grid, rising)
        for at in grid:
            stored.append(NAME, at, rising((at,))[0])
    series.mark_stale(601 * STEP)
    stored.append(NAME, 601 * STEP, STALE)
    series.extend(range(602 * STEP, 604 * STEP, STEP), rising)
    for step in (602, 603):
        stored.append(NAME, step * STEP, rising((step * STEP,))[0])
    assert 4 == len(series.chunks)
    for text in ("last_over_time(m[12h])", "increase(m[5h])", "count_over_time(m[1h])", "m"):
        for step in (300, 450, 550, 601, 603):
            assert instant(stored, text, step * STEP) == instant(lazy, text, step * STEP)


def test_a_target_that_is_gone_ends_at_the_next_scrape() -> None:
    """The stale marker hides the series at once, not after five minutes."""
    storage = ScrapeStorage()
    series = storage.series(NAME)
    series.extend(range(STEP, 3 * STEP, STEP), rising)
    series.mark_stale(3 * STEP)
    series.mark_stale(4 * STEP)
    before, after = instant(storage, "m", 2 * STEP + 1), instant(storage, "m", 3 * STEP + 1)
    assert isinstance(before, InstantVector)
    assert isinstance(after, InstantVector)
    assert (len(before.samples), len(after.samples)) == (1, 0)


def test_a_successor_at_the_same_scrape_goes_on() -> None:
    """A pod of the same name: no marker over its first sample."""
    storage = ScrapeStorage()
    series = storage.series(NAME)
    series.extend(range(STEP, 2 * STEP, STEP), rising)
    series.mark_stale(STEP)
    result = instant(storage, "m", STEP)
    assert isinstance(result, InstantVector)
    assert len(result.samples) == 1
