"""Operators between two values: arithmetic, comparisons, and the set operators, with Prometheus' label matching."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Hashable

from rollout.lab.promql.errors import ExecutionError
from rollout.lab.promql.labels import NAME, Labels
from rollout.lab.promql.nodes import Matching
from rollout.lab.promql.numbers import divide, modulo, power
from rollout.lab.promql.values import Sample, Value, Vector

ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": divide,
    "%": modulo,
    "^": power,
    "atan2": math.atan2,
}
_NAMELESS = frozenset(ARITHMETIC) - {"atan2"}  # atan2 keeps the metric's name, up to 2.42 at least
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}


def combine(op: str, left: Value, right: Value, matching: Matching, *, as_bool: bool) -> Value:
    """The value of `left op right`.

    Raises:
        ExecutionError: the two vectors cannot be matched as asked.
    """
    if isinstance(left, float) and isinstance(right, float):
        return ARITHMETIC[op](left, right) if op in ARITHMETIC else float(COMPARISONS[op](left, right))
    if isinstance(left, float):
        assert isinstance(right, list)
        return _with_scalar(op, right, left, as_bool=as_bool, scalar_is_left=True)
    assert isinstance(left, list)
    if isinstance(right, float):
        return _with_scalar(op, left, right, as_bool=as_bool, scalar_is_left=False)
    assert isinstance(right, list)
    if op in _SETS:
        return _SETS[op](left, right, _signature(matching))
    return _vectors(op, left, right, matching, as_bool=as_bool)


def _element(op: str, left: float, right: float, kept: float, *, as_bool: bool) -> float | None:
    """One pair's value; None where a comparison filters it out; `kept` is what passes such a filter."""
    if op in ARITHMETIC:
        return ARITHMETIC[op](left, right)
    true = COMPARISONS[op](left, right)
    if as_bool:
        return float(true)
    return kept if true else None


def _with_scalar(op: str, vector: Vector, scalar: float, *, as_bool: bool, scalar_is_left: bool) -> Vector:
    drops = as_bool or op in _NAMELESS
    result = []
    for labels, value in vector:
        pair = (scalar, value) if scalar_is_left else (value, scalar)
        out = _element(op, *pair, kept=value, as_bool=as_bool)
        if out is not None:
            result.append(Sample(labels.nameless if drops else labels, out))
    return result


def _signature(matching: Matching) -> Callable[[Labels], Hashable]:
    """What two elements must have in common."""
    if matching.on:
        names = matching.labels
        return lambda labels: tuple([labels.get(name, "") for name in names])
    if not matching.labels:
        return lambda labels: labels.nameless.key
    ignored = frozenset((*matching.labels, NAME))
    return lambda labels: labels.without(ignored).key


def _and(left: Vector, right: Vector, signature: Callable[[Labels], Hashable]) -> Vector:
    there = {signature(sample.labels) for sample in right}
    return [sample for sample in left if signature(sample.labels) in there]


def _unless(left: Vector, right: Vector, signature: Callable[[Labels], Hashable]) -> Vector:
    there = {signature(sample.labels) for sample in right}
    return [sample for sample in left if signature(sample.labels) not in there]


def _or(left: Vector, right: Vector, signature: Callable[[Labels], Hashable]) -> Vector:
    there = {signature(sample.labels) for sample in left}
    return [*left, *(sample for sample in right if signature(sample.labels) not in there)]


_SETS = {"and": _and, "or": _or, "unless": _unless}


def _vectors(op: str, left: Vector, right: Vector, matching: Matching, *, as_bool: bool) -> Vector:
    """Arithmetic or comparison between two vectors; the side that `many` names may have several per match."""
    if not left or not right:
        return []
    swapped = matching.many == "right"
    many, one = (right, left) if swapped else (left, right)
    signature = _signature(matching)
    partners = _unique(one, signature, matching, side="left" if swapped else "right")
    used: dict[Hashable, set[Hashable]] = {}
    result = []
    for labels, value in many:
        match = signature(labels)
        partner = partners.get(match)
        if partner is None:
            continue
        pair = (partner.value, value) if swapped else (value, partner.value)
        out = _element(op, *pair, kept=pair[0], as_bool=as_bool)
        if out is None:
            continue
        metric = _result_labels(labels, partner.labels, matching, drops=op in _NAMELESS)
        metric = metric.nameless if as_bool else metric
        _claim(used, match, metric, grouped=bool(matching.many))
        result.append(Sample(metric, out))
    return result


def _unique(
    vector: Vector, signature: Callable[[Labels], Hashable], matching: Matching, *, side: str
) -> dict[Hashable, Sample]:
    found: dict[Hashable, Sample] = {}
    for sample in vector:
        match = signature(sample.labels)
        other = found.setdefault(match, sample)
        if other is not sample:
            names = frozenset(matching.labels)
            group = sample.labels.keep(names) if matching.on else sample.labels.without(names | {NAME})
            raise ExecutionError(
                f"found duplicate series for the match group {group} on the {side} hand-side of the operation: "
                f"[{sample.labels}, {other.labels}];many-to-many matching not allowed: "
                "matching labels must be unique on one side"
            )
    return found


def _claim(used: dict[Hashable, set[Hashable]], match: Hashable, metric: Labels, *, grouped: bool) -> None:
    """Each match group gives one element, or with group_left and group_right distinct ones."""
    taken = used.get(match)
    if taken is None:
        used[match] = {metric.key}
        return
    if not grouped:
        raise ExecutionError(
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
        )
    if metric.key in taken:
        raise ExecutionError("multiple matches for labels: grouping labels must ensure unique matches")
    taken.add(metric.key)


def _result_labels(many: Labels, one: Labels, matching: Matching, *, drops: bool) -> Labels:
    labels = many.nameless if drops else many
    if not matching.many:
        names = frozenset(matching.labels)
        if matching.on:
            return labels.keep(names)
        return labels.without(names) if names else labels
    for name in matching.include:
        labels = labels.put(name, one.get(name, ""))
    return labels
