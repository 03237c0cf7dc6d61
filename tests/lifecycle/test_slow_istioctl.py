"""An istioctl that takes its time: it is run once for what needs it, and a run ends all the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters import process
from rollout.adapters.clock import LabClock
from rollout.adapters.process import Finished
from rollout.cli import main, wiring
from rollout.lab.lab import Lab

QUICK = str(Path(__file__).parent / "quick.yaml")


class Slow:
    """As `process.run`, on the lab's time: it answers after `seconds`, or is killed at the limit."""

    def __init__(self, clocks: list[LabClock], seconds: float) -> None:
        self.clocks, self.seconds = clocks, seconds
        self.ran: list[str] = []

    def __call__(self, argv: Sequence[str], *, limit: float) -> Finished:
        verb = argv[1]
        self.ran.append(verb)
        assert len(self.ran) < 20, "it is run again and again"
        clock = self.clocks[0]
        clock.sleep_until(clock.now() + timedelta(seconds=min(self.seconds, limit) + 1))
        if self.seconds >= limit:
            return Finished(None, b"", "")
        return Finished(0, b"[]", "") if verb == "analyze" else Finished(1, b"", "Error: no such host")


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[LabClock]:
    """The clock of the command that runs."""
    made: list[LabClock] = []

    def make(url: str) -> LabClock:
        made.append(LabClock(url))
        return made[-1]

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(wiring, "LabClock", make)
    return made


@pytest.mark.parametrize("seconds", [1, 59, 600])
def test_a_run_ends_however_long_it_takes(
    clocks: list[LabClock],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[Any],
    tmp_path: Path,
    seconds: float,
) -> None:
    """Once for the checks of all states; one that hangs is no reason to block."""
    slow, named = Slow(clocks, seconds), tmp_path / "istioctl"
    named.touch(mode=0o700)
    monkeypatch.setattr(process, "run", slow)
    with Lab.start("healthy") as lab:
        argv = ["migrate", "payments", "--yes", "--playbook", QUICK, "--istioctl", str(named), "--lab", lab.api_url]
        assert 0 == main([*argv, "-o", "json"]), capsys.readouterr()
    assert "enforced" in json.dumps(json.loads(capsys.readouterr().out))
    assert 1 == slow.ran.count("analyze"), slow.ran
    assert slow.ran.count("proxy-status") <= 2, slow.ran
