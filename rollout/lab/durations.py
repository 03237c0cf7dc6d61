"""Durations as people write them: `250ms`, `90s`, `1h30m`, `8d`."""

from __future__ import annotations

import re

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LONGEST = 3650 * _UNITS["d"]


def duration(text: object) -> int:
    """A duration such as `1h30m` or `250ms` as milliseconds.

    Raises:
        ValueError: it is none, or one of more than ten years.
    """
    parts = re.findall(r"(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d)", str(text))
    if not parts or "".join(number + unit for number, unit in parts) != str(text):
        raise ValueError(f"{text!r} is no duration such as 90s or 1h30m")
    found = round(sum(float(number) * _UNITS[unit] for number, unit in parts))
    if found > _LONGEST:
        raise ValueError(f"{text!r} is longer than 3650d")
    return found
