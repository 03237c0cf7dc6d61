"""What counts as a difference between two runs."""

import pytest

from tests.scenarios.ending import differences


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"a": [0.1 + 0.2, "x"], "uid": "1"}, {"a": [0.3, "x"], "uid": "2"}),
        ("0.6% of 1446 failed", "0.7% of 1447 failed"),
        (0.0, 1e-17),
    ],
)
def test_the_order_of_a_sum_is_no_difference(left: object, right: object) -> None:
    """Nor is what is random."""
    assert [] == differences(left, right)


@pytest.mark.parametrize(
    ("left", "right", "where"),
    [
        ({"a": {"b": [1.0, 2.0]}}, {"a": {"b": [1.0, 2.001]}}, ".a.b[1]: 2.0 and 2.001"),
        ({"t": "2026-12-04T14:39:27Z"}, {"t": "2026-12-04T14:39:28Z"}, ".t: "),
        ("0.6% of 1446 failed", "0.6% of 1448 failed", ": "),
        ("0.6% of 1446 failed", "0.8% of 1446 failed", ": "),
        ("proven (40s)", "proven (41s)", ": "),
        ("pod web-1", "pod web-2", ": "),
        ({"a": 1}, {}, ".a: 1 and None"),
        ([1], [1, 1], ": [1] and [1, 1]"),
        (True, False, ": True and False"),
        (1, "1", ": 1 and "),
    ],
)
def test_everything_else_is_a_difference(left: object, right: object, where: str) -> None:
    """And is said with its place."""
    (line,) = differences(left, right)
    assert line.startswith(where)
