"""The values of expressions: a scalar is a float, a string a str, a vector a list of samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rollout.lab.promql.errors import ExecutionError
from rollout.lab.promql.labels import Labels


class Sample(NamedTuple):
    """One element of an instant vector."""

    labels: Labels
    value: float


class Run(NamedTuple):
    """One series of a range vector, stale markers taken out; `smooth`: it never falls, and holds no NaN."""

    labels: Labels
    times_ms: Sequence[int]
    values: Sequence[float]
    smooth: bool = False


Vector = list[Sample]
Value = float | str | Vector


def distinct(vector: Vector) -> Vector:
    """The vector itself.

    Raises:
        ExecutionError: two elements have the same labels.
    """
    if len(vector) > 1 and len({sample.labels.key for sample in vector}) != len(vector):
        raise ExecutionError("vector cannot contain metrics with the same labelset")
    return vector


def plain_sum(values: Iterable[float]) -> float:
    """The exact sum of finite values, and what floating point says about infinite ones."""
    kept = list(values)
    try:
        return math.fsum(kept)
    except (OverflowError, ValueError):  # too big for a double on the way, or +Inf beside -Inf
        return sum(kept)


def quantile(level: float, values: Sequence[float]) -> float:
    """The φ-quantile with linear interpolation; NaN counts as the smallest value (Prometheus' order)."""
    if not values or level != level:  # noqa: PLR0124
        return math.nan
    if level < 0:
        return -math.inf
    if level > 1:
        return math.inf
    ordered = sorted(values, key=lambda value: (value == value, value))  # noqa: PLR0124
    rank = level * (len(ordered) - 1)
    low = max(0, math.floor(rank))
    high = min(len(ordered) - 1, low + 1)
    weight = rank - math.floor(rank)
    return ordered[low] * (1 - weight) + ordered[high] * weight


def variance(values: Sequence[float]) -> float:
    """The population variance."""
    if not all(map(math.isfinite, values)):
        return math.nan
    mean = plain_sum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / len(values)


def mean(values: Sequence[float]) -> float:
    """The average; the values' sum may be beyond what a double holds."""
    total = plain_sum(values)
    if math.isinf(total) and all(map(math.isfinite, values)):
        return math.fsum(value / len(values) for value in values)
    return total / len(values)


def largest(values: Sequence[float]) -> float:
    """The maximum; NaN only where there is nothing else."""
    best = max(values)
    return best if _clean(values, best) else max((v for v in values if v == v), default=math.nan)  # noqa: PLR0124


def smallest(values: Sequence[float]) -> float:
    """The minimum; NaN only where there is nothing else."""
    best = min(values)
    return best if _clean(values, best) else min((v for v in values if v == v), default=math.nan)  # noqa: PLR0124


def _clean(values: Sequence[float], best: float) -> bool:
    """No NaN among them; a NaN poisons a sum, so one pass in C tells, unless infinities meet."""
    total = sum(values)
    return best == best and total == total  # noqa: PLR0124
