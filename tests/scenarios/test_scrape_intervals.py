"""The same ends at every usual scrape interval: 15, 30 and 60 seconds."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.scenarios.ending import assert_as_the_file_says, lab_of, migrated, scraped_every

PRESENT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.mark.parametrize("seconds", [15, 30, 60])
@pytest.mark.parametrize("name", ["healthy", "regression-after-flip"])
def test_a_scenario_ends_the_same_at_every_scrape_interval(
    name: str, seconds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code and words of the file; the run measured the interval."""
    with lab_of(scraped_every(seconds, name, tmp_path), PRESENT) as lab:
        ended = migrated(lab, tmp_path, monkeypatch, capsys)
        assert_as_the_file_says(lab.scenario, ended)
    assert ended.interval == pytest.approx(seconds, rel=0.01)
