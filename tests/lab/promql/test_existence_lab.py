"""The existence query on the lab's evaluator: no life of a counter is overlooked, and no idle one is reported."""

from __future__ import annotations

import pytest

from rollout.lab.promql import InstantVector, MemoryStorage, instant
from tests.lab.promql.existence import GREW_AT_MIDNIGHT, LIVES, MIDNIGHT_JOB, SLICES, Life, exists


def _finds(life: Life, at_ms: int, window: str) -> bool:
    storage = MemoryStorage()
    labels, times, values = life.series
    for time_ms, value in zip(times, values, strict=True):
        storage.append(labels, time_ms, value)
    result = instant(storage, exists(window), at_ms)
    assert isinstance(result, InstantVector)
    return bool(result.samples)


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.name)
def test_a_life_is_judged_by_what_it_carried(life: Life) -> None:
    """Born, died, grown in a gap, reset: found; still, empty or over: not."""
    assert _finds(life, life.at_ms, life.window) is life.found


@pytest.mark.parametrize("life", [MIDNIGHT_JOB, GREW_AT_MIDNIGHT], ids=lambda life: life.name)
def test_midnight_between_two_overlapping_slices(life: Life) -> None:
    """What happens across the border of two days is in at least one of them."""
    assert any(_finds(life, at_ms, window) for at_ms, window in SLICES)
