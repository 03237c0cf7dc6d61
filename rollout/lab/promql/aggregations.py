"""`sum by (…) (…)` and its relatives, over one instant vector."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from rollout.lab.promql.errors import ExecutionError
from rollout.lab.promql.labels import EMPTY, NAME, Labels
from rollout.lab.promql.numbers import format_float
from rollout.lab.promql.regexes import anchored
from rollout.lab.promql.values import Sample, Vector, largest, mean, quantile, smallest, variance

_SIMPLE: dict[str, Callable[[list[float]], float]] = {
    "sum": sum,
    "avg": mean,
    "count": lambda values: float(len(values)),
    "group": lambda _: 1.0,
    "min": smallest,
    "max": largest,
    "stddev": lambda values: math.sqrt(variance(values)),
    "stdvar": variance,
}
AGGREGATIONS = frozenset(_SIMPLE) | {"topk", "bottomk", "quantile", "count_values"}


def aggregate(op: str, vector: Vector, param: float | str | None, labels: tuple[str, ...], *, without: bool) -> Vector:
    """One aggregation.

    Args:
        op: a member of AGGREGATIONS.
        vector: what is aggregated.
        param: k of topk and bottomk, φ of quantile, the label of count_values, else None.
        labels: those of `by`, or of `without`.
        without: which of the two.

    Raises:
        ExecutionError: k is no whole number, or the label of count_values is no label name.
    """
    if op == "count_values":
        return _count_values(vector, str(param), labels, without=without)
    groups = _grouped(vector, labels, without=without)
    if op in ("topk", "bottomk"):
        return _extremes(op, groups, param)
    if op == "quantile":
        assert isinstance(param, float)
        level = param
        return [Sample(key, quantile(level, [s.value for s in group])) for key, group in groups]
    combine = _SIMPLE[op]
    return [Sample(key, combine([sample.value for sample in group])) for key, group in groups]


def _grouped(vector: Vector, labels: tuple[str, ...], *, without: bool) -> list[tuple[Labels, Vector]]:
    groups: dict[object, tuple[Labels, Vector]] = {}
    dropped = frozenset((*labels, NAME))
    for sample in vector:
        rest = sample.labels.without(dropped) if without else None
        key = tuple([sample.labels.get(label, "") for label in labels]) if rest is None else rest.key
        group = groups.get(key)
        if group is None:
            group = groups[key] = (_by(sample.labels, labels) if rest is None else rest, [])
        group[1].append(sample)
    return list(groups.values())


def _by(labels: Labels, names: tuple[str, ...]) -> Labels:
    return labels.keep(frozenset(names)) if names else EMPTY


def _extremes(op: str, groups: list[tuple[Labels, Vector]], param: float | str | None) -> Vector:
    assert isinstance(param, float)
    if not -(2.0**63) <= param < 2.0**63:
        raise ExecutionError(f"Scalar value {format_float(param)} overflows int64")
    count = max(0, int(param))
    sign = -1.0 if op == "topk" else 1.0

    def order(sample: Sample) -> tuple[bool, float]:
        return (math.isnan(sample.value), sign * sample.value)  # NaN stands last either way

    return [sample for _, group in groups for sample in sorted(group, key=order)[:count]]


def _count_values(vector: Vector, label: str, labels: tuple[str, ...], *, without: bool) -> Vector:
    if not anchored("[a-zA-Z_][a-zA-Z0-9_]*").fullmatch(label):
        raise ExecutionError(f'invalid label name "{label}"')
    names = labels if without else (*labels, label)
    counted = [Sample(sample.labels.put(label, format_float(sample.value)), 1.0) for sample in vector]
    return list(_counts(_grouped(counted, names, without=without)))


def _counts(groups: list[tuple[Labels, Vector]]) -> Iterator[Sample]:
    for key, group in groups:
        yield Sample(key, float(len(group)))
