"""Which namespaces go together: `serial: [1, "25%", "100%"]`."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil


def waves(names: Sequence[str], serial: Sequence[int | str]) -> list[list[str]]:
    """Cut `names` into waves; a percentage is of all names, at least one; the last size repeats until all are taken."""
    left = list(names)
    sizes = list(serial) or ["100%"]
    cut: list[list[str]] = []
    while left:
        size = sizes[min(len(cut), len(sizes) - 1)]
        count = ceil(len(names) * int(size[:-1]) / 100) if isinstance(size, str) and size.endswith("%") else int(size)
        cut.append(left[: max(1, count)])
        left = left[max(1, count) :]
    return cut
