"""Every shipped scenario, through the command line, ends as its file says."""

from pathlib import Path

import pytest

from rollout.cli import main
from rollout.lab.lab import Lab, list_scenarios
from rollout.lab.scenario import load_scenario
from tests.scenarios.ending import assert_as_the_file_says, migrated

NAMES = [name for name, _ in list_scenarios()]


@pytest.mark.parametrize("name", NAMES)
def test_a_migration_ends_as_the_scenario_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code, and the end's words on the screen (tests/real/prometheus has the same on a real server)."""
    with Lab.start(name) as lab:
        assert_as_the_file_says(lab.scenario, migrated(lab, tmp_path, monkeypatch, capsys))


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_writes_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Safety 8: every write of a dry run is dryRun=All."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    started: list[Lab] = []
    original = Lab.start

    def start(*args: object, **kwargs: object) -> Lab:
        started.append(original(*args, **kwargs))  # type: ignore[arg-type]
        return started[-1]

    monkeypatch.setattr(Lab, "start", start)
    main(["plan", *load_scenario(name).target, "--lab", name])
    out = capsys.readouterr()
    assert "Traceback" not in out.out + out.err
    assert [w for w in started[0].store.writes if not w.dry_run] == []
