"""Numbers as Prometheus writes and reads them, and arithmetic that answers NaN or Inf where Python raises."""

from __future__ import annotations

import math
import re
from decimal import Decimal

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:inf|infinity|nan)", re.ASCII | re.IGNORECASE)


def format_float(value: float, *, exponents: bool = False) -> str:
    """The shortest text that reads back as `value`.

    Args:
        value: any double.
        exponents: as in answers over HTTP: an exponent below 1e-6 and from 1e21 on; otherwise never.
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if exponents and value and not 1e-6 <= abs(value) < 1e21:
        return text.removesuffix(".0")
    if "e" in text:
        text = format(Decimal(text), "f")
    return text.removesuffix(".0")


def parse_float(text: str) -> float | None:
    """A number as Go reads it (`le` labels); None for anything else."""
    return float(text) if _NUMBER.fullmatch(text) else None


def divide(left: float, right: float) -> float:
    """IEEE division: by zero is infinite or NaN."""
    if right:
        return left / right
    if not left or math.isnan(left) or math.isnan(right):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def modulo(left: float, right: float) -> float:
    """The remainder with the sign of the dividend."""
    try:
        return math.fmod(left, right)
    except ValueError:
        return math.nan


def power(left: float, right: float) -> float:
    """`left` to the power of `right`, with infinities instead of overflows."""
    try:
        return math.pow(left, right)
    except OverflowError:
        odd = right == math.floor(right) and right % 2 == 1
        return -math.inf if left < 0 and odd else math.inf
    except ValueError:
        if left == 0:  # a negative power of zero
            odd = right == math.floor(right) and right % 2 == 1
            return math.copysign(math.inf, left) if odd else math.inf
        return math.nan
