"""Functions of instant vectors; those that need the storage or the clock are in the evaluator."""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from rollout.lab.promql.errors import BadData, ExecutionError
from rollout.lab.promql.histograms import histogram_quantile
from rollout.lab.promql.labels import Labels
from rollout.lab.promql.regexes import anchored
from rollout.lab.promql.values import Sample, Value, Vector

InstantFunction = Callable[[list[Value], int], Vector]
"""The arguments and the time of evaluation in milliseconds."""

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_REFERENCE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _vector(value: Value) -> Vector:
    assert isinstance(value, list)
    return value


def _number(value: Value) -> float:
    assert isinstance(value, float)
    return value


def _text(value: Value) -> str:
    assert isinstance(value, str)
    return value


def _mapped(function: Callable[..., float]) -> InstantFunction:
    """A function of each value (and of scalar arguments); out of its domain it answers NaN, as Go's do."""

    def call(args: list[Value], _: int) -> Vector:
        scalars = [_number(arg) for arg in args[1:]]
        return [Sample(s.labels.nameless, _safe(function, s.value, *scalars)) for s in _vector(args[0])]

    return call


def _safe(function: Callable[..., float], *args: float) -> float:
    try:
        return float(function(*args))
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def _whole(function: Callable[[float], int]) -> Callable[[float], float]:
    return lambda value: float(function(value)) if math.isfinite(value) else value


def _round(value: float, nearest: float = 1.0) -> float:
    inverse = 1.0 / nearest if nearest else math.inf
    scaled = value * inverse + 0.5
    return (math.floor(scaled) if math.isfinite(scaled) else scaled) / inverse


def _log(function: Callable[[float], float]) -> Callable[[float], float]:
    return lambda value: -math.inf if value == 0 else function(value)


def _sign(value: float) -> float:
    return math.copysign(1.0, value) if value > 0 or value < 0 else value


def _clamp(value: float, low: float, high: float) -> float:
    if math.isnan(value) or math.isnan(low) or math.isnan(high):
        return math.nan
    return max(low, min(high, value))


def _clamped(args: list[Value], now_ms: int) -> Vector:
    if _number(args[2]) < _number(args[1]):
        return []
    return _mapped(_clamp)(args, now_ms)


def _sorted(*, reverse: bool) -> InstantFunction:
    sign = -1.0 if reverse else 1.0
    return lambda args, _: sorted(_vector(args[0]), key=lambda s: (math.isnan(s.value), sign * s.value))


def _label_replace(args: list[Value], _: int) -> Vector:
    target, template, source, text = (_text(arg) for arg in args[1:])
    try:
        pattern = anchored(text)
    except BadData:
        raise ExecutionError(f"invalid regular expression in label_replace(): {text}") from None
    if not _LABEL_NAME.fullmatch(target):
        raise ExecutionError(f"invalid destination label name in label_replace(): {target}")

    def replaced(labels: Labels) -> Labels:
        found = pattern.fullmatch(labels.get(source, ""))
        return labels if found is None else labels.put(target, _expanded(template, found))

    return [Sample(replaced(sample.labels), sample.value) for sample in _vector(args[0])]


def _expanded(template: str, found: re.Match[str]) -> str:
    """`$1`, `${name}` and `$$` filled in; a group that does not exist is empty (Go's rule, not Python's)."""

    def group(reference: re.Match[str]) -> str:
        if reference[1]:
            return "$"
        name = reference[2] or reference[3]
        try:
            return found[int(name) if name.isdigit() else name] or ""
        except IndexError:
            return ""

    return _REFERENCE.sub(group, template)


def _label_join(args: list[Value], _: int) -> Vector:
    target, separator, *sources = (_text(arg) for arg in args[1:])
    for source in sources:
        if not _LABEL_NAME.fullmatch(source):
            raise ExecutionError(f"invalid source label name in label_join(): {source}")
    if not _LABEL_NAME.fullmatch(target):
        raise ExecutionError(f"invalid destination label name in label_join(): {target}")
    return [
        Sample(s.labels.put(target, separator.join(s.labels.get(source, "") for source in sources)), s.value)
        for s in _vector(args[0])
    ]


def _dated(part: Callable[[datetime], int]) -> InstantFunction:
    """A part of the UTC date that each value (or now) means as seconds."""

    def of(seconds: float) -> float:
        return float(part(_EPOCH + timedelta(seconds=math.floor(seconds))))

    def call(args: list[Value], now_ms: int) -> Vector:
        samples = _vector(args[0]) if args else [Sample(Labels(), now_ms / 1000)]
        return [Sample(s.labels.nameless, _safe(of, s.value)) for s in samples]

    return call


INSTANT_FUNCTIONS: dict[str, InstantFunction] = {
    "abs": _mapped(abs),
    "ceil": _mapped(_whole(math.ceil)),
    "floor": _mapped(_whole(math.floor)),
    "round": _mapped(_round),
    "clamp": _clamped,
    "clamp_min": _mapped(lambda value, low: _clamp(value, low, math.inf)),
    "clamp_max": _mapped(lambda value, high: _clamp(value, -math.inf, high)),
    "exp": _mapped(math.exp),
    "sqrt": _mapped(math.sqrt),
    "sgn": _mapped(_sign),
    "ln": _mapped(_log(math.log)),
    "log2": _mapped(_log(math.log2)),
    "log10": _mapped(_log(math.log10)),
    "deg": _mapped(math.degrees),
    "rad": _mapped(math.radians),
    "sin": _mapped(math.sin),
    "cos": _mapped(math.cos),
    "tan": _mapped(math.tan),
    "sort": _sorted(reverse=False),
    "sort_desc": _sorted(reverse=True),
    "label_replace": _label_replace,
    "label_join": _label_join,
    "histogram_quantile": lambda args, _: histogram_quantile(_number(args[0]), _vector(args[1])),
    "minute": _dated(lambda date: date.minute),
    "hour": _dated(lambda date: date.hour),
    "day_of_week": _dated(lambda date: date.isoweekday() % 7),
    "day_of_month": _dated(lambda date: date.day),
    "day_of_year": _dated(lambda date: date.timetuple().tm_yday),
    "days_in_month": _dated(lambda date: calendar.monthrange(date.year, date.month)[1]),
    "month": _dated(lambda date: date.month),
    "year": _dated(lambda date: date.year),
}
