"""The lab's virtual time on a real server: days ahead of the wall clock, written in any order."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.real.prometheus.server import RealPrometheus

pytestmark = pytest.mark.prometheus

DAY = 86_400_000


def _value(server: RealPrometheus, query: str, at_ms: int) -> float | None:
    status, answer = server.get("/api/v1/query", query=query, time=at_ms / 1000)
    assert status == 200, answer
    result = answer["data"]["result"]
    return float(result[0]["value"][1]) if result else None


@pytest.mark.parametrize("order", ["forwards", "backwards", "now_first"])
def test_samples_nine_days_ahead_are_taken_and_found(
    fresh_prometheus: Callable[[], RealPrometheus], order: str
) -> None:
    """Nine days of samples that end nine days after the wall clock, whatever is written first."""
    server = fresh_prometheus()
    now = int(time.time()) * 1000
    virtual = now + 9 * DAY
    times = list(range(now, virtual + 1, 60_000))
    chunks = [times[i : i + 1440] for i in range(0, len(times), 1440)]
    if order in ("backwards", "now_first"):  # the latter jumps nine days ahead in one step
        chunks.reverse()
    if order == "now_first":
        server.write([({"__name__": "up", "job": "self"}, [now], [1.0])])
    for chunk in chunks:
        server.write([({"__name__": "c_total", "a": "1"}, chunk, [(t - now) / 1000 for t in chunk])])
    assert _value(server, "c_total", virtual) == pytest.approx(9 * 86_400)
    assert _value(server, "count_over_time(c_total[9d])", virtual) == len(times)
    assert _value(server, "increase(c_total[1d])", virtual) == pytest.approx(86_400)
    assert _value(server, "increase(c_total[1d] offset 7d)", virtual) == pytest.approx(86_400)


def test_a_scrape_at_a_time_is_visible_at_once(fresh_prometheus: Callable[[], RealPrometheus]) -> None:
    """The forwarder writes each simulated scrape when it happens; a new series may start at any of them."""
    server = fresh_prometheus()
    virtual = int(time.time()) * 1000 + 9 * DAY
    for step in range(20):
        at = virtual + step * 15_000
        series = [({"__name__": "c_total", "n": str(n)}, [at], [float(step)]) for n in range(step + 1)]
        server.write(series)
        assert _value(server, "count(c_total)", at) == step + 1
        assert _value(server, "max(c_total)", at) == step
