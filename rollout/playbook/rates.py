"""Rates as people and reports write them."""

from __future__ import annotations

import re

#: Reports print `1.2e-05/s` for what is rare.
_RATE = re.compile(r"(\d{1,12}(?:\.\d{1,12})?(?:e[+-]?\d{1,2})?)(?:\s*/\s*([smhd]))?")
_PER = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def per_second(text: str) -> float | None:
    """`0.5` and `0.5/s` are per second, `14/d` is fourteen a day; None for anything else."""
    match = _RATE.fullmatch(text.strip())
    return float(match[1]) / _PER[match[2] or "s"] if match else None
