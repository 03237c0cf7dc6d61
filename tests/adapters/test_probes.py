"""Whose probe runs: told by a lock, which a killed process does not keep."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rollout.adapters.probes import ProbesHere
from rollout.errors import RolloutError

HOLD = """
import sys, time
from pathlib import Path
from rollout.adapters.probes import ProbesHere
with ProbesHere(Path(sys.argv[1])).running("ab12"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_probe_that_runs(tmp_path: Path) -> None:
    """Its process holds the lock, and takes it along."""
    here = ProbesHere(tmp_path / "state")
    assert here.alive("ab12") is None
    with here.running("ab12"):
        assert here.alive("ab12") is True
        assert here.alive("cd34") is None
    assert (None, []) == (here.alive("ab12"), list((tmp_path / "state").iterdir()))


def test_a_probe_that_was_killed(tmp_path: Path) -> None:
    """The lock stays, and nobody holds it; it is forgotten with the pod."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert "held\n" == process.stdout.readline()
        here = ProbesHere(tmp_path)
        assert here.alive("ab12") is True
        process.kill()
    assert here.alive("ab12") is False
    here.forget("ab12")
    assert here.alive("ab12") is None
    here.forget("ab12")


def test_a_label_is_no_path(tmp_path: Path) -> None:
    """Whatever somebody wrote into it."""
    here = ProbesHere(tmp_path / "state")
    (tmp_path / "probe-x.lock").touch()
    for run in ("../probe-x", "", "x/../../probe-x", "UPPER"):
        assert here.alive(run) is None
        here.forget(run)
    assert (tmp_path / "probe-x.lock").exists()


def test_locks_of_long_ago_are_tidied(tmp_path: Path) -> None:
    """Their pods ended by themselves; one that is held stays, and a young one."""
    here = ProbesHere(tmp_path)
    for name in ("probe-old.lock", "probe-young.lock"):
        (tmp_path / name).touch()
    long_ago = time.time() - 7200
    os.utime(tmp_path / "probe-old.lock", (long_ago, long_ago))
    with here.running("mine"):
        os.utime(tmp_path / "probe-mine.lock", (long_ago, long_ago))
        with ProbesHere(tmp_path).running("other"):
            assert ["probe-mine.lock", "probe-other.lock", "probe-young.lock"] == sorted(
                path.name for path in tmp_path.iterdir()
            )


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    """No probe is made."""
    (tmp_path / "file").touch()
    with pytest.raises(RolloutError, match="so none is made"), ProbesHere(tmp_path / "file").running("ab12"):
        raise AssertionError("it runs")
