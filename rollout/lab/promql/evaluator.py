"""Evaluates a tree at one time, or at every step of a range, on what a storage holds.

The rules are those of Prometheus 2.42: an instant selector looks back five minutes and stops at a stale marker, a range
is closed at both ends, a subquery is evaluated at multiples of its step. Each selector asks the storage once per
query, for all the time that it will need.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from rollout.lab.promql.aggregations import aggregate
from rollout.lab.promql.binary import combine
from rollout.lab.promql.compile import compile_query
from rollout.lab.promql.errors import BadData
from rollout.lab.promql.functions import INSTANT_FUNCTIONS
from rollout.lab.promql.labels import EMPTY, NAME, Labels
from rollout.lab.promql.nodes import (
    Aggregation,
    Binary,
    Call,
    Negation,
    Node,
    Number,
    Paren,
    Selector,
    Subquery,
    Text,
    When,
)
from rollout.lab.promql.ranges import RANGE_FUNCTIONS, Window
from rollout.lab.promql.storage import Selected, Storage, is_stale
from rollout.lab.promql.values import Run, Sample, Value, Vector, distinct

LOOKBACK_MS = 300_000


@dataclass(frozen=True, slots=True)
class Scalar:
    """The result of a scalar expression."""

    value: float


@dataclass(frozen=True, slots=True)
class String:
    """The result of a string literal."""

    value: str


@dataclass(frozen=True, slots=True)
class InstantVector:
    """Elements in Prometheus' order: that of `sort` and `topk` means something."""

    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Series by labels, each with its times in milliseconds and values."""

    runs: tuple[Run, ...]


Result = Scalar | String | InstantVector | Matrix


def instant(storage: Storage, query: str, time_ms: int) -> Result:
    """What `/api/v1/query` evaluates.

    Raises:
        BadData: the query is not PromQL.
        ExecutionError: it cannot be evaluated on this data.
    """
    tree = compile_query(query)
    bare = _bare(tree)
    evaluation = _Evaluation(storage, tree, time_ms, time_ms)
    if isinstance(bare, Subquery) or (isinstance(bare, Selector) and bare.range_ms is not None):
        return Matrix(_by_labels(evaluation.runs(bare, time_ms)[0]))
    match evaluation.value(tree, time_ms):
        case float(number):
            return Scalar(number)
        case str(text):
            return String(text)
        case vector:
            return InstantVector(tuple(vector))


def ranged(storage: Storage, query: str, start_ms: int, end_ms: int, step_ms: int) -> Matrix:
    """What `/api/v1/query_range` evaluates: the query at start, start + step, … up to end.

    Raises:
        BadData: the query is not PromQL, or gives no number or instant vector.
        ExecutionError: it cannot be evaluated on this data.
    """
    tree = compile_query(query)
    _refuse_ranges(_bare(tree))
    evaluation = _Evaluation(storage, tree, start_ms, end_ms)
    series: _Recorded = {}
    for time_ms in range(start_ms, end_ms + 1, step_ms):
        value = evaluation.value(tree, time_ms)
        _record(series, time_ms, value)
    return Matrix(_by_labels([Run(*found) for found in series.values()]))


_Recorded = dict[object, tuple[Labels, list[int], list[float]]]


def _record(series: _Recorded, time_ms: int, value: Value) -> None:
    """Add one step's value to the series that a range or a subquery is made of."""
    for labels, number in [Sample(EMPTY, value)] if isinstance(value, float) else _vector(value):
        found = series.setdefault(labels.key, (labels, [], []))
        found[1].append(time_ms)
        found[2].append(number)


def _refuse_ranges(tree: Node) -> None:
    kind = ""
    if isinstance(tree, Text):
        kind = "string"
    elif isinstance(tree, Subquery) or (isinstance(tree, Selector) and tree.range_ms is not None):
        kind = "range vector"
    if kind:
        raise BadData(f'invalid expression type "{kind}" for range query, must be Scalar or instant Vector')


def _by_labels(runs: list[Run]) -> tuple[Run, ...]:
    return tuple(sorted(runs, key=lambda run: sorted(run.labels.items())))


def _bare(node: Node) -> Node:
    while isinstance(node, Paren):
        node = node.inner
    return node


class _Evaluation:
    """One query over one range of times; remembers selections, and what subqueries have evaluated."""

    def __init__(self, storage: Storage, tree: Node, start_ms: int, end_ms: int) -> None:
        self._storage = storage
        self._start_ms, self._end_ms = start_ms, end_ms
        self._selected: dict[Selector, list[tuple[Labels, Selected]]] = {}
        self._steps: dict[Subquery, dict[int, Value]] = {}
        self._select(tree, start_ms, end_ms)

    def _select(self, node: Node, low_ms: int, high_ms: int) -> None:
        """Read what the node needs to be evaluated at times from `low_ms` to `high_ms`."""
        match node:
            case Selector():
                back = LOOKBACK_MS if node.range_ms is None else node.range_ms
                found = self._storage.select(
                    node.matchers, self._at(node.when, low_ms) - back, self._at(node.when, high_ms)
                )
                self._selected[node] = [(_labels(series), series) for series in found]
            case Subquery():
                self._steps[node] = {}
                low, high = self._at(node.when, low_ms), self._at(node.when, high_ms)
                self._select(node.inner, low - node.range_ms, high)
            case Paren() | Negation():
                self._select(node.inner, low_ms, high_ms)
            case Call():
                for arg in node.args:
                    self._select(arg, low_ms, high_ms)
            case Aggregation():
                self._select(node.inner, low_ms, high_ms)
                if node.param is not None:
                    self._select(node.param, low_ms, high_ms)
            case Binary():
                self._select(node.left, low_ms, high_ms)
                self._select(node.right, low_ms, high_ms)
            case Number() | Text():
                pass

    def _at(self, when: When, time_ms: int) -> int:
        """The time that a selector or subquery looks at."""
        if isinstance(when.at, int):
            time_ms = when.at
        elif when.at is not None:
            time_ms = self._start_ms if when.at == "start" else self._end_ms
        return time_ms - when.offset_ms

    def value(self, node: Node, time_ms: int) -> Value:
        """The node's value at a time."""
        match node:
            case Number():
                return node.value
            case Text():
                return node.value
            case Paren():
                return self.value(node.inner, time_ms)
            case Selector():
                return [Sample(labels, value) for labels, _, value in self._latest(node, time_ms)]
            case Negation():
                inner = self.value(node.inner, time_ms)
                if isinstance(inner, float):
                    return -inner
                return distinct([Sample(labels.nameless, -value) for labels, value in _vector(inner)])
            case Aggregation():
                param = None if node.param is None else self.value(node.param, time_ms)
                assert not isinstance(param, list)
                vector = _vector(self.value(node.inner, time_ms))
                return distinct(aggregate(node.op, vector, param, node.labels, without=node.without))
            case Binary():
                left, right = self.value(node.left, time_ms), self.value(node.right, time_ms)
                result = combine(node.op, left, right, node.matching, as_bool=node.as_bool)
                return distinct(result) if isinstance(result, list) else result
            case Call():
                return self._call(node, time_ms)
            case Subquery():
                raise AssertionError("a subquery has no value of its own")

    def _latest(self, node: Selector, time_ms: int) -> list[tuple[Labels, int, float]]:
        """Labels, time and value of each series' newest sample within the lookback."""
        at_ms = self._at(node.when, time_ms)
        found = []
        for labels, series in self._selected[node]:
            index = bisect_right(series.timestamps_ms, at_ms) - 1
            if index < 0:
                continue
            sampled_ms, value = series.timestamps_ms[index], series.values[index]
            if sampled_ms >= at_ms - LOOKBACK_MS and not is_stale(value):
                found.append((labels, sampled_ms, value))
        return found

    def runs(self, node: Node, time_ms: int) -> tuple[list[Run], Window]:
        """The series of a range selector or subquery, and the window that they are from."""
        if isinstance(node, Subquery):
            return self._subquery(node, time_ms)
        assert isinstance(node, Selector)
        assert node.range_ms is not None
        end_ms = self._at(node.when, time_ms)
        start_ms = end_ms - node.range_ms
        runs = []
        for labels, series in self._selected[node]:
            run = _cut(labels, series, start_ms, end_ms)
            if run.times_ms:
                runs.append(run)
        return runs, Window(start_ms, end_ms, time_ms)

    def _subquery(self, node: Subquery, time_ms: int) -> tuple[list[Run], Window]:
        end_ms = self._at(node.when, time_ms)
        start_ms = end_ms - node.range_ms
        known = self._steps[node]
        series: _Recorded = {}
        for step_ms in range(-(-start_ms // node.step_ms) * node.step_ms, end_ms + 1, node.step_ms):
            if step_ms not in known:
                known[step_ms] = self.value(node.inner, step_ms)
            _record(series, step_ms, known[step_ms])
        return [Run(*found) for found in series.values()], Window(start_ms, end_ms, time_ms)

    def _call(self, node: Call, time_ms: int) -> Value:
        if node.name in RANGE_FUNCTIONS:
            return self._range_call(node, time_ms)
        special = _SPECIAL.get(node.name)
        if special is not None:
            return special(self, node, time_ms)
        args = [self.value(arg, time_ms) for arg in node.args]
        return distinct(INSTANT_FUNCTIONS[node.name](args, time_ms))

    def _range_call(self, node: Call, time_ms: int) -> Vector:
        function = RANGE_FUNCTIONS[node.name]
        args = [_bare(arg) for arg in node.args]
        index = next(i for i, arg in enumerate(args) if isinstance(arg, (Selector, Subquery)))
        scalars = [self.value(arg, time_ms) for i, arg in enumerate(args) if i != index]
        runs, window = self.runs(args[index], time_ms)
        numbers = tuple(scalar for scalar in scalars if isinstance(scalar, float))
        keeps_name = node.name == "last_over_time"
        result = []
        for run in runs:
            value = function(run, window, numbers)
            if value is not None:
                result.append(Sample(run.labels if keeps_name else run.labels.nameless, value))
        return distinct(result)

    def _timestamp(self, node: Call, time_ms: int) -> Vector:
        """Of a selector the samples' own times, of anything else the time of evaluation."""
        arg = _bare(node.args[0])
        if isinstance(arg, Selector):
            return distinct([Sample(labels.nameless, at / 1000) for labels, at, _ in self._latest(arg, time_ms)])
        vector = _vector(self.value(arg, time_ms))
        return distinct([Sample(sample.labels.nameless, time_ms / 1000) for sample in vector])

    def _absent(self, node: Call, time_ms: int) -> Vector:
        arg = node.args[0]
        there = self.runs(_bare(arg), time_ms)[0] if node.name == "absent_over_time" else self.value(arg, time_ms)
        return [] if there else [Sample(_absent_labels(arg), 1.0)]

    def _scalar(self, node: Call, time_ms: int) -> float:
        vector = _vector(self.value(node.args[0], time_ms))
        return vector[0].value if len(vector) == 1 else math.nan

    def _to_vector(self, node: Call, time_ms: int) -> Vector:
        value = self.value(node.args[0], time_ms)
        assert isinstance(value, float)
        return [Sample(EMPTY, value)]


_SPECIAL: dict[str, Callable[[_Evaluation, Call, int], Value]] = {
    "timestamp": _Evaluation._timestamp,  # noqa: SLF001
    "absent": _Evaluation._absent,  # noqa: SLF001
    "absent_over_time": _Evaluation._absent,  # noqa: SLF001
    "scalar": _Evaluation._scalar,  # noqa: SLF001
    "vector": _Evaluation._to_vector,  # noqa: SLF001
    "time": lambda _, __, time_ms: time_ms / 1000,
    "pi": lambda _, __, ___: math.pi,
}


def _vector(value: Value) -> Vector:
    assert isinstance(value, list)
    return value


def _labels(series: Selected) -> Labels:
    return series.labels if isinstance(series.labels, Labels) else Labels(series.labels)


def _cut(labels: Labels, series: Selected, start_ms: int, end_ms: int) -> Run:
    """The samples of the window without stale markers; nothing is copied where the selection is the window."""
    times, values = series.timestamps_ms, series.values
    if times[0] < start_ms or times[-1] > end_ms:
        first, last = bisect_left(times, start_ms), bisect_right(times, end_ms)
        times, values = times[first:last], values[first:last]
    if not series.smooth and any(map(is_stale, values)):
        kept = [(at, value) for at, value in zip(times, values, strict=True) if not is_stale(value)]
        times, values = [at for at, _ in kept], [value for _, value in kept]
    return Run(labels, times, values, series.smooth)


def _absent_labels(arg: Node) -> Labels:
    """The labels that the missing series would have had: those asked for with `=`, each once."""
    arg = _bare(arg)
    if not isinstance(arg, Selector):
        return EMPTY
    labels: dict[str, str] = {}
    seen: set[str] = set()
    for matcher in arg.matchers:
        if matcher.name == NAME:
            continue
        if matcher.op == "=" and matcher.name not in seen:
            labels[matcher.name] = matcher.value
            seen.add(matcher.name)
        else:
            labels.pop(matcher.name, None)
    return Labels((name, value) for name, value in labels.items() if value)
