"""A caller of the last minutes: the date from which it counts as repaired is the look-back's."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rollout.cli import main
from rollout.lab.lab import Lab

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)


def test_a_caller_of_the_last_minutes_is_repaired_after_the_whole_look_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The gate reads the last minutes again, finds it there, and must not promise that minutes are enough."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    start = Lab.start
    monkeypatch.setattr(Lab, "start", lambda scenario, **given: start(scenario, **{"start": NOW, **given}))
    assert 3 == main(["plan", "production", "--lab", "nodeport-to-pods"])
    shown = " ".join(capsys.readouterr().out.split())
    seen, clean = (
        datetime.strptime(stamp, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
        for stamp in re.findall(r"(?:last seen|repaired from) (\d{4}-\d\d-\d\d \d\d:\d\d) UTC", shown)
    )
    assert seen > NOW - timedelta(minutes=20)
    assert timedelta(days=8) == clean - seen
