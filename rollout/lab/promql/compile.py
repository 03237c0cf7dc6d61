"""PromQL text to the evaluator's tree, refusing what Prometheus 2.42 refuses.

promql-parser knows more than 2.42 does (newer functions and aggregations, `or` inside braces, durations without a
unit); a query that only a newer server understands must fail in the lab too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import promql_parser as parser

from rollout.lab.promql.aggregations import AGGREGATIONS
from rollout.lab.promql.errors import BadData
from rollout.lab.promql.functions import INSTANT_FUNCTIONS
from rollout.lab.promql.labels import NAME
from rollout.lab.promql.nodes import (
    Aggregation,
    Binary,
    Call,
    Matching,
    Negation,
    Node,
    Number,
    Paren,
    Selector,
    Subquery,
    Text,
    When,
)
from rollout.lab.promql.ranges import RANGE_FUNCTIONS
from rollout.lab.promql.storage import Matcher
from rollout.lab.promql.syntax import too_new

DEFAULT_STEP_MS = 60_000
"""The step of a subquery that names none: Prometheus' global.evaluation_interval, 1m by default."""

SPECIAL_FUNCTIONS = frozenset({"absent", "absent_over_time", "scalar", "time", "timestamp", "vector", "pi"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@lru_cache(maxsize=512)
def compile_query(text: str) -> Node:
    """The tree of a query.

    Raises:
        BadData: not PromQL, or not PromQL of Prometheus 2.42.
    """
    try:
        tree = parser.parse(text)
    except ValueError as error:
        raise BadData(f'invalid parameter "query": parse error: {error}') from None
    newer = too_new(text)
    if newer is not None:
        raise _unknown(newer)
    return _node(tree)


def _unknown(what: str) -> BadData:
    return BadData(f'invalid parameter "query": parse error: {what}')


def _node(tree: Any) -> Node:
    match tree:
        case parser.NumberLiteral():
            return Number(tree.val)
        case parser.StringLiteral():
            return Text(tree.val)
        case parser.ParenExpr():
            return Paren(_node(tree.expr))
        case parser.UnaryExpr():
            return Negation(_node(tree.expr))
        case parser.VectorSelector():
            return Selector(_matchers(tree), _when(tree))
        case parser.MatrixSelector():
            inner = tree.vector_selector
            return Selector(_matchers(inner), _when(inner), tree.range // _MILLISECOND)
        case parser.SubqueryExpr():
            assert tree.range is not None
            step = tree.step // _MILLISECOND if tree.step else DEFAULT_STEP_MS
            return Subquery(_node(tree.expr), tree.range // _MILLISECOND, step, _when(tree))
        case parser.Call():
            return _call(tree)
        case parser.AggregateExpr():
            return _aggregation(tree)
        case parser.BinaryExpr():
            return _binary(tree)
        case _:
            raise _unknown(f"unexpected {type(tree).__name__}")


def _matchers(tree: parser.VectorSelector) -> tuple[Matcher, ...]:
    if tree.matchers.or_matchers:
        raise _unknown('unexpected identifier "or" in label matching')
    found = [Matcher(m.name, _match_op(m.op), m.value) for m in tree.matchers.matchers]
    if tree.name:
        found.insert(0, Matcher(NAME, "=", tree.name))
    for matcher in found:
        matcher.test()  # a regular expression that cannot be had fails here, not halfway
    return tuple(found)


def _match_op(op: parser.MatchOp) -> str:
    if op == parser.MatchOp.Equal:
        return "="
    if op == parser.MatchOp.NotEqual:
        return "!="
    return "=~" if op == parser.MatchOp.Re else "!~"


def _when(tree: parser.VectorSelector | parser.SubqueryExpr) -> When:
    offset = tree.offset // _MILLISECOND if tree.offset else 0
    if tree.at is None:
        return When(offset)
    if tree.at.type == parser.AtModifierType.Start:
        return When(offset, "start")
    if tree.at.type == parser.AtModifierType.End:
        return When(offset, "end")
    assert tree.at.at is not None
    return When(offset, round((tree.at.at - _EPOCH) / _MILLISECOND))


def _call(tree: parser.Call) -> Call:
    name = tree.func.name
    if name not in INSTANT_FUNCTIONS and name not in RANGE_FUNCTIONS and name not in SPECIAL_FUNCTIONS:
        raise _unknown(f'unknown function with name "{name}"')
    return Call(name, tuple(_node(arg) for arg in _arguments(tree.args)))


def _arguments(args: Any) -> Sequence[Any]:
    return args if isinstance(args, (list, tuple)) else list(args.args)


def _aggregation(tree: parser.AggregateExpr) -> Aggregation:
    op = str(tree.op)
    if op not in AGGREGATIONS:
        raise _unknown(f'unknown aggregation "{op}"')
    labels: tuple[str, ...] = ()
    without = False
    if tree.modifier is not None:
        labels = tuple(tree.modifier.labels)
        without = tree.modifier.type == parser.AggModifierType.Without
    param = None if tree.param is None else _node(tree.param)
    return Aggregation(op, _node(tree.expr), param, labels, without)


def _binary(tree: parser.BinaryExpr) -> Binary:
    left, right = _node(tree.lhs), _node(tree.rhs)
    modifier = tree.modifier
    if modifier is None:
        return Binary(str(tree.op), left, right, Matching(), as_bool=False)
    many = ""
    if modifier.card == parser.VectorMatchCardinality.ManyToOne:
        many = "left"
    elif modifier.card == parser.VectorMatchCardinality.OneToMany:
        many = "right"
    on = False
    labels: tuple[str, ...] = ()
    if modifier.matching is not None:
        on = modifier.matching.type == parser.LabelModifierType.Include
        labels = tuple(modifier.matching.labels)
    matching = Matching(on, labels, many, tuple(modifier.group_labels or ()))
    return Binary(str(tree.op), left, right, matching, modifier.return_bool)


def longest_range_ms(node: Node) -> int:
    """How much time the tree's widest range covers, ranges of subqueries and of what is in them added up."""
    match node:
        case Selector():
            return node.range_ms or 0
        case Subquery():
            return node.range_ms + longest_range_ms(node.inner)
        case Paren() | Negation():
            return longest_range_ms(node.inner)
        case Aggregation():
            return longest_range_ms(node.inner)
        case Call():
            return max((longest_range_ms(arg) for arg in node.args), default=0)
        case Binary():
            return max(longest_range_ms(node.left), longest_range_ms(node.right))
        case Number() | Text():
            return 0
