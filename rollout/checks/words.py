"""Small words that several checks need."""

from __future__ import annotations

from collections.abc import Iterable


def many(number: int, noun: str, plural: str = "") -> str:
    """`1 pod`, `3 pods`, `2 policies`."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def some(names: Iterable[str]) -> str:
    """At most five of them in order, and how many more there are."""
    listed = sorted(set(names))
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return ", ".join(listed[:5]) + more
