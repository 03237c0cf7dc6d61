"""The lab's evaluator answers as Prometheus does, over all that it offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.real.prometheus.expressions import EXPRESSIONS, RANGED
from tests.real.prometheus.parity import Question
from tests.real.prometheus.remote_write import Samples
from tests.real.prometheus.samples import HOUR, T0, mesh

pytestmark = pytest.mark.prometheus

TIMES = {
    "the end": T0 + 30 * HOUR - 60_000,
    "between scrapes": T0 + 27 * HOUR + 333_777,
    "inside a gap": T0 + 24 * HOUR + 1_800_000,
    "among stale markers": T0 + 310 * 60_000,
}


def test_every_expression_at_every_time(assert_parity: Callable[[Sequence[Samples], Sequence[Question]], int]) -> None:
    """Instant queries, errors included."""
    questions = [(when, expression, time_ms) for expression in EXPRESSIONS for when, time_ms in TIMES.items()]
    assert assert_parity(mesh(), questions) >= 120


def test_ranges(assert_parity: Callable[[Sequence[Samples], Sequence[Question]], int]) -> None:
    """Range queries across births, gaps and stale markers, with steps that fit no scrape."""
    spans = [
        (T0 + 290 * 60_000, T0 + 330 * 60_000, 47_000),
        (T0 + 24 * HOUR + 1, T0 + 30 * HOUR + 600_000, 613_000),
    ]
    assert_parity(mesh(), [("range", expression, span) for expression in RANGED for span in spans])
