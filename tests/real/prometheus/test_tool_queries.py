"""Every query that the tool sends in a whole migration gets the same answer from the lab and from a real Prometheus."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from rollout.adapters.prometheus import PrometheusMetrics
from rollout.cli import main
from rollout.lab.lab import Lab
from rollout.ports import Answer, RangeAnswer
from rollout.world.queries import examples
from tests.real.prometheus.parity import Question
from tests.real.prometheus.remote_write import Samples

QUICK = Path(__file__).parents[2] / "lifecycle" / "quick.yaml"
HOUR = 3_600_000
SPAN = 30 * HOUR
ASKED_AGAIN = 4


def ms(at: datetime) -> int:
    """Prometheus' milliseconds."""
    return round(at.timestamp() * 1000)


@pytest.mark.prometheus
@pytest.mark.timeout(300)
def test_a_whole_migration_asks_both_alike(
    assert_parity: Callable[[Sequence[Samples], Sequence[Question]], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The queries of a run that is taken back, each up to four times, and every registered one at its end."""
    asked: dict[str, list[Question]] = {}
    instant, ranged = PrometheusMetrics.query, PrometheusMetrics.query_range

    def query(self: PrometheusMetrics, promql: str, at: datetime) -> Answer:
        asked.setdefault(promql, []).append(("sent", promql, ms(at)))
        return instant(self, promql, at)

    def query_range(self: PrometheusMetrics, promql: str, start: datetime, end: datetime, step: float) -> RangeAnswer:
        asked.setdefault(promql, []).append(("sent", promql, (ms(start), ms(end), round(step * 1000))))
        return ranged(self, promql, start, end, step)

    monkeypatch.setattr(PrometheusMetrics, "query", query)
    monkeypatch.setattr(PrometheusMetrics, "query_range", query_range)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with Lab.start("regression-after-flip") as lab:
        assert main(["migrate", "payments", "--yes", "--playbook", str(QUICK), "--lab", lab.api_url]) in (0, 5)
        end = ms(lab.clock.now())
        samples: list[Samples] = []
        for series in lab.storage.all():
            cut = series.cut(end - SPAN, end)
            if cut is not None:
                samples.append((cut.labels, list(cut.timestamps_ms), list(cut.values)))
    questions = [question for times in asked.values() for question in times[:ASKED_AGAIN]]
    questions = [q for q in questions if isinstance(q[2], int) or q[2][0] > end - SPAN + 3 * HOUR]
    questions += [(name, text, end) for name, text in examples()]
    assert len(asked) >= 10
    assert assert_parity(samples, questions) == len(questions)
