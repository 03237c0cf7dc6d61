"""The lab's sample store: what it finds, what it refuses, what it costs."""

from __future__ import annotations

import math
import time
import tracemalloc

import pytest

from rollout.lab.promql import STALE, BadData, InstantVector, Matcher, MemoryStorage, instant, is_stale


def test_a_selection_is_closed_at_both_ends() -> None:
    """Both times belong to it; series without samples in it are left out."""
    storage = MemoryStorage()
    for at in (10, 20, 30, 40):
        storage.append({"__name__": "x"}, at, float(at))
    storage.append({"__name__": "x", "a": "late"}, 50, 1.0)
    (series,) = storage.select([Matcher("__name__", "=", "x")], 20, 30)
    assert (list(series.timestamps_ms), list(series.values)) == ([20, 30], [20.0, 30.0])
    assert list(storage.select([Matcher("__name__", "=", "y")], 0, 100)) == []


def test_an_empty_label_is_no_label() -> None:
    """Both spellings are one series."""
    storage = MemoryStorage()
    storage.append({"__name__": "x", "a": ""}, 1, 1.0)
    storage.append({"__name__": "x"}, 2, 2.0)
    (series,) = storage.select([], 0, 10)
    assert (dict(series.labels), list(series.values)) == ({"__name__": "x"}, [1.0, 2.0])


def test_samples_come_in_order() -> None:
    """A second sample at the same time would have two truths."""
    storage = MemoryStorage()
    storage.append({"__name__": "x"}, 5, 1.0)
    with pytest.raises(ValueError, match="not after 5 ms"):
        storage.append({"__name__": "x"}, 5, 2.0)


@pytest.mark.parametrize(
    ("values", "window", "smooth"),
    [
        ([1.0, 1.0, 2.0], (0, 2), True),
        ([1.0, 2.0, 0.0, 1.0], (0, 3), False),
        ([1.0, 2.0, 0.0, 1.0], (2, 3), True),
        ([1.0, math.nan, 2.0], (0, 2), False),
        ([1.0, math.nan, 2.0], (1, 2), False),
        ([1.0, math.nan, 2.0], (2, 2), True),
        ([STALE, 1.0], (0, 1), False),
        ([5.0, STALE], (0, 0), True),
    ],
)
def test_smooth_is_promised_only_where_it_holds(values: list[float], window: tuple[int, int], smooth: bool) -> None:
    """Falls, NaN and stale markers inside the window break it, those outside do not."""
    storage = MemoryStorage()
    for at, value in enumerate(values):
        storage.append({"__name__": "x"}, at, value)
    (series,) = storage.select([], *window)
    assert series.smooth is smooth


def test_the_stale_marker_keeps_its_bits() -> None:
    """It is told apart from a NaN that was measured."""
    storage = MemoryStorage()
    storage.append({"__name__": "x"}, 1, STALE)
    storage.append({"__name__": "x"}, 2, math.nan)
    (series,) = storage.select([], 0, 9)
    assert [is_stale(value) for value in series.values] == [True, False]


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("a|bc", "bc", True),
        ("a|b", "bc", False),
        (".*", "x\ny", False),
        ("(?s).*", "x\ny", True),
        ("(?i)web", "WEB", True),
        ("[[:alpha:]]+[^[:digit:]]", "ab-", True),
        (r"\d", "٣", False),
        (r"a\z", "a", True),
        ("(?U)a+", "aa", True),
        (r"\[:alpha:]", "[:alpha:]", True),
    ],
)
def test_regular_expressions_are_anchored_and_speak_re2(pattern: str, value: str, matches: bool) -> None:
    """The differences between RE2 and Python that a query can meet."""
    assert Matcher("a", "=~", pattern).test()(value) is matches
    assert Matcher("a", "!~", pattern).test()(value) is not matches


@pytest.mark.parametrize("pattern", ["(", "[[:nope:]]", "[[:^alpha:]]"])
def test_a_pattern_that_cannot_be_had_is_refused(pattern: str) -> None:
    """Never answered with a guess."""
    with pytest.raises(BadData, match="error parsing regexp"):
        Matcher("a", "=~", pattern).test()


def test_a_day_of_a_hundred_counters_is_cheap() -> None:
    """16 bytes a sample, and an increase that does not walk through them."""
    storage = MemoryStorage()
    tracemalloc.start()
    labels = [{"__name__": "x_total", "pod": f"p{number}"} for number in range(100)]
    for step in range(1_000):
        for one in labels:
            storage.append(one, step * 86_400, float(step))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 100_000 * 24 + 200_000
    query, end = "sum by (pod) (increase(x_total[1d]))", 999 * 86_400
    result = instant(storage, query, end)
    assert isinstance(result, InstantVector)
    assert len(result.samples) == 100
    times = []
    for _ in range(5):
        start = time.perf_counter()
        instant(storage, query, end)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.03
