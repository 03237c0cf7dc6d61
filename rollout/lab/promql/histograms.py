"""`histogram_quantile` over classic buckets (`le`), as Prometheus 2.42 interpolates."""

from __future__ import annotations

import math
from itertools import groupby

from rollout.lab.promql.labels import NAME, Labels
from rollout.lab.promql.numbers import divide, parse_float
from rollout.lab.promql.values import Sample, Vector

_DROPPED = frozenset({NAME, "le"})


def histogram_quantile(level: float, vector: Vector) -> Vector:
    """One quantile per set of buckets; elements whose `le` is no number are passed over."""
    groups: dict[object, tuple[Labels, list[tuple[float, float]]]] = {}
    for labels, value in vector:
        bound = parse_float(labels.get("le", ""))
        if bound is None:
            continue
        rest = labels.without(_DROPPED)
        groups.setdefault(rest.key, (rest, []))[1].append((bound, value))
    return [Sample(labels, _bucket_quantile(level, buckets)) for labels, buckets in groups.values()]


def _bucket_quantile(level: float, raw: list[tuple[float, float]]) -> float:
    if math.isnan(level):
        return math.nan
    if not 0 <= level <= 1:
        return math.copysign(math.inf, level - 0.5)
    raw.sort(key=lambda bucket: bucket[0])
    if raw[-1][0] != math.inf:
        return math.nan
    bounds, counts = _monotonic(raw)
    if len(bounds) < 2 or not counts[-1] or math.isnan(counts[-1]):
        return math.nan
    rank = level * counts[-1]
    index = next((i for i, count in enumerate(counts[:-1]) if count >= rank), len(bounds) - 1)
    if index == len(bounds) - 1:
        return bounds[-2]
    if index == 0:
        return bounds[0] if bounds[0] <= 0 else bounds[0] * divide(rank, counts[0])
    below = counts[index - 1]
    share = divide(rank - below, counts[index] - below)
    return bounds[index - 1] + (bounds[index] - bounds[index - 1]) * share


def _monotonic(raw: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Equal bounds added up; a bucket that holds less than a smaller one (scraped in between) is raised to it."""
    bounds: list[float] = []
    counts: list[float] = []
    for bound, group in groupby(raw, key=lambda bucket: bucket[0]):
        total = sum(count for _, count in group)
        bounds.append(bound)
        counts.append(max(total, counts[-1]) if counts else total)
    return bounds, counts
