"""The bodies of remote write, read back."""

from __future__ import annotations

import math

import pytest

from rollout.lab.promql import STALE, is_stale
from rollout.lab.remote_write import Samples, bodies
from tests.lab.prometheus_decoder import decoded

ODD = [0.0, -0.0, 1e-300, 1.5e300, math.inf, -math.inf, 123456789012345680.0]


@pytest.mark.parametrize(
    "times", [range(1_790_000_000_000, 1_790_000_070_000, 10_000), [0, 1, 127, 128, 1 << 35, 3 << 40, (1 << 42) - 1]]
)
def test_times_and_values_come_back(times: range | list[int]) -> None:
    """A grid and a list, from the first to the last time that fits."""
    (body,) = bodies([({"__name__": "x", "path": "/äöü", "a": "1"}, times, ODD)])
    assert [({"__name__": "x", "a": "1", "path": "/äöü"}, list(times), ODD)] == decoded(body)


def test_a_marker_of_staleness_keeps_its_bits() -> None:
    """Any other NaN would be a value."""
    (body,) = bodies([({"__name__": "x"}, [1, 2], [STALE, math.nan])])
    ((_, _, (marker, value)),) = decoded(body)
    assert is_stale(marker)
    assert math.isnan(value)
    assert not is_stale(value)


def test_many_series_go_in_several_requests_and_long_ones_in_several_literals() -> None:
    """No series is split; nothing is lost at the borders."""
    series: list[Samples] = [({"__name__": "x", "n": str(n)}, range(n, n + 9000), [float(n)] * 9000) for n in range(5)]
    sent = list(bodies(series, limit=200_000))
    assert [2, 2, 1] == [len(decoded(body)) for body in sent]
    expected = [({"__name__": "x", "n": str(n)}, list(range(n, n + 9000)), [float(n)] * 9000) for n in range(5)]
    assert expected == [one for body in sent for one in decoded(body)]


@pytest.mark.parametrize("times", [[-1, 5], [5, 1 << 42]])
def test_a_time_that_does_not_fit_is_refused(times: list[int]) -> None:
    """Not cut off without a word."""
    with pytest.raises(ValueError, match="outside 1970 to 2109"):
        list(bodies([({"__name__": "x"}, times, [1.0, 2.0])]))


def test_a_value_must_have_its_time() -> None:
    """The strides would be filled with something else."""
    with pytest.raises(ValueError, match="2 times and 1 values"):
        list(bodies([({"__name__": "x"}, [1, 2], [1.0])]))
