"""The existence query on a real Prometheus: the same lives, the same verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.lab.promql.existence import GREW_AT_MIDNIGHT, LIVES, MIDNIGHT_JOB, SLICES, Life, exists
from tests.real.prometheus.parity import Question
from tests.real.prometheus.remote_write import Samples
from tests.real.prometheus.server import RealPrometheus

pytestmark = pytest.mark.prometheus


def _found(server: RealPrometheus, life: Life, at_ms: int, window: str) -> bool:
    status, answer = server.get("/api/v1/query", query=exists(window), time=at_ms / 1000)
    assert status == 200, answer
    return any(series["metric"]["life"] == life.name for series in answer["data"]["result"])


@pytest.fixture(scope="module")
def server(real_prometheus: RealPrometheus) -> RealPrometheus:
    """The session's server with every life in it; nobody else uses this label."""
    real_prometheus.write([life.series for life in (*LIVES, MIDNIGHT_JOB, GREW_AT_MIDNIGHT)])
    return real_prometheus


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.name)
def test_a_real_server_judges_a_life_the_same(server: RealPrometheus, life: Life) -> None:
    """Born, died, grown in a gap, reset: found; still, empty or over: not."""
    assert _found(server, life, life.at_ms, life.window) is life.found


@pytest.mark.parametrize("life", [MIDNIGHT_JOB, GREW_AT_MIDNIGHT], ids=lambda life: life.name)
def test_midnight_between_two_overlapping_slices_on_a_real_server(server: RealPrometheus, life: Life) -> None:
    """What happens across the border of two days is in at least one of them."""
    assert any(_found(server, life, at_ms, window) for at_ms, window in SLICES)


def test_both_give_the_same_numbers(assert_parity: Callable[[Sequence[Samples], Sequence[Question]], int]) -> None:
    """The whole answers, not just the verdicts."""
    lives = [*LIVES, MIDNIGHT_JOB, GREW_AT_MIDNIGHT]
    assert_parity([life.series for life in lives], [("slice", exists(window), at_ms) for at_ms, window in SLICES])
