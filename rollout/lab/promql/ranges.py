"""Functions of a range vector: rate and its relatives, and the *_over_time family, as Prometheus 2.42 computes them.

Each takes one run of at least one sample, the function's window and its scalar arguments, and gives a number, or None
where Prometheus gives no element. Only `last_over_time` keeps the metric's name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from rollout.lab.promql.values import Run, largest, mean, plain_sum, quantile, smallest, variance


class Window(NamedTuple):
    """The range that was asked for, whatever samples it holds, and the time of evaluation (for predict_linear)."""

    start_ms: int
    end_ms: int
    now_ms: int


RangeFunction = Callable[[Run, Window, tuple[float, ...]], float | None]


def _resets(run: Run) -> float:
    """What a counter had reached each time before it started again."""
    if run.smooth:
        return 0.0
    return sum(before for before, after in pairwise(run.values) if after < before)


def _extrapolated(run: Run, window: Window, *, counter: bool) -> float | None:
    """The growth over the window, stretched to its edges where the samples come close to them.

    A counter is not stretched to before it was zero. (`rate` divides by the window's length.)
    """
    count = len(run.times_ms)
    if count < 2:
        return None
    first, last = run.values[0], run.values[-1]
    growth = last - first + (_resets(run) if counter else 0.0)
    sampled = (run.times_ms[-1] - run.times_ms[0]) / 1000
    to_start = (run.times_ms[0] - window.start_ms) / 1000
    to_end = (window.end_ms - run.times_ms[-1]) / 1000
    average = sampled / (count - 1)
    if counter and growth > 0 and first >= 0:
        to_start = min(to_start, sampled * (first / growth))
    threshold = average * 1.1
    stretched = sampled
    stretched += to_start if to_start < threshold else average / 2
    stretched += to_end if to_end < threshold else average / 2
    return growth * (stretched / sampled)


def _rate(run: Run, window: Window, _: tuple[float, ...]) -> float | None:
    growth = _extrapolated(run, window, counter=True)
    return None if growth is None else growth / ((window.end_ms - window.start_ms) / 1000)


def _last_step(run: Run, *, per_second: bool) -> float | None:
    """The difference of the last two samples: `irate` and `idelta`."""
    if len(run.values) < 2:
        return None
    before, after = run.values[-2], run.values[-1]
    if not per_second:
        return after - before
    seconds = (run.times_ms[-1] - run.times_ms[-2]) / 1000
    return (after if after < before else after - before) / seconds


def _changes(run: Run, _: Window, __: tuple[float, ...]) -> float:
    return float(sum(a != b and not (math.isnan(a) and math.isnan(b)) for a, b in pairwise(run.values)))


def _reset_count(run: Run, _: Window, __: tuple[float, ...]) -> float:
    return 0.0 if run.smooth else float(sum(after < before for before, after in pairwise(run.values)))


def _regression(run: Run, intercept_ms: int) -> tuple[float, float]:
    """Slope per second and value at `intercept_ms` of the least squares line."""
    if all(value == run.values[0] for value in run.values):
        first = run.values[0]
        return (math.nan, math.nan) if math.isinf(first) else (0.0, first)
    seconds = [(time_ms - intercept_ms) / 1000 for time_ms in run.times_ms]
    count = len(seconds)
    sum_x, sum_y = plain_sum(seconds), plain_sum(run.values)
    cov = plain_sum(x * y for x, y in zip(seconds, run.values, strict=True)) - sum_x * sum_y / count
    slope = cov / (plain_sum(x * x for x in seconds) - sum_x * sum_x / count)
    return slope, sum_y / count - slope * sum_x / count


def _deriv(run: Run, _: Window, __: tuple[float, ...]) -> float | None:
    return None if len(run.values) < 2 else _regression(run, run.times_ms[0])[0]


def _predict(run: Run, window: Window, args: tuple[float, ...]) -> float | None:
    if len(run.values) < 2:
        return None
    slope, intercept = _regression(run, window.now_ms)
    return slope * args[0] + intercept


RANGE_FUNCTIONS: dict[str, RangeFunction] = {
    "rate": _rate,
    "increase": lambda run, window, _: _extrapolated(run, window, counter=True),
    "delta": lambda run, window, _: _extrapolated(run, window, counter=False),
    "irate": lambda run, _, __: _last_step(run, per_second=True),
    "idelta": lambda run, _, __: _last_step(run, per_second=False),
    "changes": _changes,
    "resets": _reset_count,
    "deriv": _deriv,
    "predict_linear": _predict,
    "sum_over_time": lambda run, _, __: plain_sum(run.values),
    "avg_over_time": lambda run, _, __: mean(run.values),
    "count_over_time": lambda run, _, __: float(len(run.values)),
    "min_over_time": lambda run, _, __: run.values[0] if run.smooth else smallest(run.values),
    "max_over_time": lambda run, _, __: run.values[-1] if run.smooth else largest(run.values),
    "last_over_time": lambda run, _, __: run.values[-1],
    "present_over_time": lambda _, __, ___: 1.0,
    "stddev_over_time": lambda run, _, __: math.sqrt(variance(run.values)),
    "stdvar_over_time": lambda run, _, __: variance(run.values),
    "quantile_over_time": lambda run, _, args: quantile(args[0], run.values),
}
