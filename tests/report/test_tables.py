"""Lists of what there is: one line each in a pipe, folded where a terminal is narrow."""

import pytest

from rollout.report.layout import Style, width_of
from rollout.report.tables import listed

ROWS = [("ID", "STATE", "TRUE WHEN IT PASSES"), ("probes", "checking", "Kubernetes probes survive STRICT, all of them"),
        ("an-id-of-some-length", "verifying", "Ω")]  # fmt: skip


def test_a_wide_place_has_a_line_a_row() -> None:
    """The columns stand under their heads."""
    assert [
        "ID                   STATE     TRUE WHEN IT PASSES",
        "probes               checking  Kubernetes probes survive STRICT, all of them",
        "an-id-of-some-length verifying Ω",
    ] == listed(ROWS, Style(width=10_000))


def test_a_sentence_is_folded_under_its_head() -> None:
    """Where there is room beside the other cells."""
    assert [
        "ID                   STATE     TRUE WHEN IT PASSES",
        "probes               checking  Kubernetes probes survive",
        "                               STRICT, all of them",
        "an-id-of-some-length verifying Ω",
    ] == listed(ROWS, Style(width=60))


@pytest.mark.parametrize("width", [24, 40, 54])
def test_without_room_it_goes_below(width: int) -> None:
    """And nothing is wider than the terminal, or lost."""
    lines = listed(ROWS, Style(width=width))
    assert [] == [line for line in lines if width_of(line) > width]
    assert " ".join(" ".join(row) for row in ROWS).split() == " ".join(lines).split()
    assert "    Kubernetes probes" in "\n".join(lines)
