"""Which metrics a PromQL text can read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from rollout.lab.promql.compile import compile_query
from rollout.lab.promql.errors import QueryError
from rollout.lab.promql.labels import NAME
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
)

Wanted = Callable[[str], bool]
"""Says of a metric's name whether it may be read."""


def wanted_by(texts: Iterable[str]) -> Wanted:
    """The metrics that any of these texts can read; all of them for a text that the lab's parser does not take."""
    tests = [_wanted(text) for text in texts]
    return lambda name: any(test(name) for test in tests)


@lru_cache(maxsize=512)
def _wanted(text: str) -> Wanted:
    try:
        selectors = list(_selectors(compile_query(text)))
    except QueryError:
        return lambda _: True
    tests = [[matcher.test() for matcher in selector.matchers if matcher.name == NAME] for selector in selectors]
    return lambda name: any(all(test(name) for test in matchers) for matchers in tests)


def _selectors(node: Node) -> Iterator[Selector]:
    match node:
        case Selector():
            yield node
        case Subquery() | Paren() | Negation():
            yield from _selectors(node.inner)
        case Aggregation():
            yield from _selectors(node.inner)
            if node.param is not None:
                yield from _selectors(node.param)
        case Call():
            for argument in node.args:
                yield from _selectors(argument)
        case Binary():
            yield from _selectors(node.left)
            yield from _selectors(node.right)
        case Number() | Text():
            return
