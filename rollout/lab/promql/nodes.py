"""The evaluator's own syntax tree: promql-parser's, with durations in milliseconds and every name checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from rollout.lab.promql.storage import Matcher


@dataclass(frozen=True, slots=True, eq=False)
class Number:
    """A scalar literal."""

    value: float


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A string literal."""

    value: str


@dataclass(frozen=True, slots=True, eq=False)
class When:
    """`offset` and `@` of a selector or subquery; `at` is a time in milliseconds, "start", "end" or None."""

    offset_ms: int = 0
    at: int | str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Selector:
    """An instant selector where `range_ms` is None, else a range selector."""

    matchers: tuple[Matcher, ...]
    when: When = field(default_factory=When)
    range_ms: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Subquery:
    """An instant expression evaluated at every multiple of `step_ms` in the range."""

    inner: Node
    range_ms: int
    step_ms: int
    when: When


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A function call."""

    name: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Aggregation:
    """`op by|without (labels) (param, inner)`."""

    op: str
    inner: Node
    param: Node | None
    labels: tuple[str, ...]
    without: bool


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """How two vectors find each other; `many` names the side with several series per match ("", "left", "right")."""

    on: bool = False
    labels: tuple[str, ...] = ()
    many: str = ""
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Binary:
    """An operator between two expressions."""

    op: str
    left: Node
    right: Node
    matching: Matching
    as_bool: bool


@dataclass(frozen=True, slots=True, eq=False)
class Negation:
    """A unary minus."""

    inner: Node


@dataclass(frozen=True, slots=True, eq=False)
class Paren:
    """Parentheses."""

    inner: Node


Node = Number | Text | Selector | Subquery | Call | Aggregation | Binary | Negation | Paren
