"""Every shipped scenario on a real Prometheus ends as its file says, and number by number as on the evaluator."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rollout.errors import Outcome
from rollout.lab.lab import list_scenarios
from tests.real.prometheus.server import ONE_BLOCK, RealPrometheus
from tests.scenarios.ending import Ended, assert_as_the_file_says, differences, lab_of, migrated, scraped_every

pytestmark = pytest.mark.prometheus

NAMES = [name for name, _ in list_scenarios()]


PRESENT = timedelta(days=9)
"""From now to the lab's present, as `Lab.start` has it: a look-back and a day more."""

Compare = Callable[[str | Path], Ended]


@pytest.fixture
def compare(
    prometheus_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Compare:
    """Migrates a scenario twice, at the same virtual times: on the evaluator, then on a server of its own."""

    def run(scenario: str | Path) -> Ended:
        present = datetime.now(UTC).replace(microsecond=0) + PRESENT
        with lab_of(scenario, present) as lab:
            simulated = migrated(lab, tmp_path / "evaluator", monkeypatch, capsys)
        with (
            RealPrometheus(prometheus_binary, tmp_path / "server", flags=ONE_BLOCK) as server,
            lab_of(scenario, present, server.url) as lab,
        ):
            ended = migrated(lab, tmp_path / "real", monkeypatch, capsys)
            assert_as_the_file_says(lab.scenario, ended)
        assert [] == differences(simulated.events, ended.events)
        return ended

    return run


@pytest.mark.parametrize("name", NAMES)
def test_a_migration_ends_the_same_on_a_real_prometheus(name: str, compare: Compare) -> None:
    """The same journal: every state, proof, evidence, baseline, signal and verdict, at the same instants."""
    ended = compare(name)
    assert ended.events or ended.code == Outcome.BLOCKED.exit_code  # refused namespaces leave no journal


@pytest.mark.parametrize("name", ["healthy", "regression-after-flip"])
def test_a_migration_ends_the_same_when_scraped_once_a_minute(name: str, compare: Compare, tmp_path: Path) -> None:
    """Windows of two scrapes are the shortest in which a real increase() says anything."""
    ended = compare(scraped_every(60, name, tmp_path))
    assert ended.interval == pytest.approx(60, rel=0.01)
