"""Prometheus knows less than the look-back: no data, unless somebody accepts it and watches longer."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from rollout.lab.lab import Lab
from tests.lifecycle.test_what_users_did import READY, run

SHORT = ["--short-evidence", "--reason", "Prometheus keeps three hours"]


@pytest.fixture
def lab_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Lab]:
    """The ready namespace, whose metrics reach back so far."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def start(look_back: str) -> Lab:
        path = tmp_path / "scenario.yaml"
        path.write_text(yaml.safe_dump({**READY, "look_back": look_back}), encoding="utf-8")
        return Lab.start(path)

    return start


def test_three_hours_are_enough_when_accepted(lab_of: Callable[[str], Lab], capsys: pytest.CaptureFixture[str]) -> None:
    """4 without the flag; with it the watch is four times as long, and every report says so."""
    with lab_of("3h") as lab:
        assert 4 == run(lab, "migrate", "production")
        assert 2 == run(lab, "migrate", "production", "--short-evidence")
        capsys.readouterr()
        assert 0 == run(lab, "migrate", "production", *SHORT)
    said = " ".join(capsys.readouterr().out.split())
    assert "short evidence accepted, watched 4x as long: Prometheus keeps three hours" in said
    assert re.search(r"short evidence: Prometheus knows (2\.9|3\.0) hours of the 24\.0 hours asked for", said)
    assert "/6m of sight" in said


def test_an_hour_is_none(lab_of: Callable[[str], Lab]) -> None:
    """Whatever was accepted: the baseline alone takes one."""
    with lab_of("1h") as lab:
        assert 4 == run(lab, "migrate", "production", *SHORT)
