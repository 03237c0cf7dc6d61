"""A whole run on a Prometheus with labels of its own: it finds them out once, and every tick goes by them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from rollout.adapters.prometheus import PrometheusMetrics
from rollout.cli import main
from rollout.lab.lab import Lab
from rollout.ports import Answer
from rollout.world.queries import NO_REPORTER

QUICK = str(Path(__file__).parent / "quick.yaml")


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[datetime, list[str]]:
    """The instant queries, by the time they are about."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    seen: dict[datetime, list[str]] = {}
    instant = PrometheusMetrics.query

    def query(self: PrometheusMetrics, promql: str, at: datetime) -> Answer:
        seen.setdefault(at, []).append(promql)
        return instant(self, promql, at)

    monkeypatch.setattr(PrometheusMetrics, "query", query)
    return seen


def _finding_out(asked: dict[datetime, list[str]]) -> int:
    return sum(f'"{NO_REPORTER}"' in text for texts in asked.values() for text in texts)


@pytest.mark.parametrize("scenario", ["classic-scrape-labels", "reporter-dropped"])
def test_a_run_finds_the_labels_out_once(
    scenario: str, asked: dict[datetime, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """From the first question to the last tick, of which none asks more than three queries besides the time."""
    with Lab.start(scenario) as lab:
        assert 0 == main(["migrate", "shop", "--yes", "--playbook", QUICK, "--lab", lab.api_url]), capsys.readouterr()
    assert 1 == _finding_out(asked)
    looks = [texts for texts in asked.values() if any('"tried"' in text for text in texts)]
    ticks = [texts for texts in looks if not any("listener_manager" in text for text in texts)]
    assert len(ticks) >= 3
    # At the end two looks are due at one time; each of them begins with sight.
    assert {3.0} == {len(texts) / sum('"newest"' in text for text in texts) for texts in ticks}


def test_a_plan_finds_the_same(asked: dict[datetime, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    """And so does a rollback, which has no record of them."""
    with Lab.start("classic-scrape-labels") as lab:
        on_lab = ["--lab", lab.api_url]
        assert 0 == main(["plan", "shop", "--playbook", QUICK, *on_lab])
        assert 1 == _finding_out(asked)
        assert 0 == main(["migrate", "shop", "--yes", "--playbook", QUICK, *on_lab])
        asked.clear()
        assert 5 == main(["rollback", "shop", *on_lab])
        assert 1 == _finding_out(asked)
    assert "Result: ROLLED BACK" in capsys.readouterr().out
