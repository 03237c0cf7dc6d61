"""`rollout diagnose --probe` that is stopped or killed: the pod is deleted, by itself or by whoever comes next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from rollout.diagnosis.probe_pod import LABELS
from rollout.lab.api import Effect, Fault
from rollout.lab.lab import Lab

PAIR = ("--from", "web-0.production", "--to", "orders.production:8080")


@pytest.fixture
def lab() -> Iterator[Lab]:
    """web may call orders, ledger may not."""
    with Lab.start("rbac-denial") as started:
        yield started
        assert [] == started._serving().failures


def left(lab: Lab) -> list[str]:
    """Pods of probes that nobody has deleted."""
    return [
        pod["metadata"]["name"]
        for pod in lab.store.list("v1", "Pod")
        if LABELS.items() <= (pod["metadata"].get("labels") or {}).items()
        and not pod["metadata"].get("deletionTimestamp")
    ]


def start(lab: Lab, state: Path, *argv: str) -> subprocess.Popen[str]:
    """One `rollout` process against the lab."""
    return subprocess.Popen(
        [sys.executable, "-m", "rollout", "diagnose", *argv, "--lab", lab.api_url],
        env={**os.environ, "XDG_STATE_HOME": str(state), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def hanging(lab: Lab, state: Path) -> subprocess.Popen[str]:
    """A probe whose pod exists, and is asked for without an answer."""
    slow = lab.faults.add(Fault(Effect.LATENCY, method="GET", path="/pods/rollout-probe-", seconds=60))
    process = start(lab, state, *PAIR, "--probe", "--yes")
    end = time.monotonic() + 60
    while not (left(lab) and slow.hits):
        assert time.monotonic() < end, "the pod was never made"
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_pod_is_deleted_after_a_stop(lab: Lab, tmp_path: Path, number: signal.Signals, code: int) -> None:
    """By the process itself, which says that it was stopped."""
    process = hanging(lab, tmp_path)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert code == process.returncode, out + err
    assert [] == left(lab)
    assert [] == list(tmp_path.glob("**/probe-*.lock"))
    assert f"broken off by {number.name}" in " ".join(out.split())


def test_the_pod_is_deleted_after_sigkill(lab: Lab, tmp_path: Path) -> None:
    """By the next diagnosis of that namespace, at once; one that runs keeps its pod."""
    process = hanging(lab, tmp_path)
    lab.faults.clear()
    (name,) = left(lab)
    beside = start(lab, tmp_path, "production")
    assert "killed" not in beside.communicate(timeout=60)[1]
    assert [name] == left(lab)
    process.kill()
    process.communicate()
    after = start(lab, tmp_path, "production")
    _, err = after.communicate(timeout=60)
    assert "1 pod of a probe that was killed: deleted" in err
    assert [] == left(lab)
    assert [] == list(tmp_path.glob("**/probe-*.lock"))


def test_a_pod_that_was_left_elsewhere_ends_by_itself(lab: Lab, tmp_path: Path) -> None:
    """Another machine's process may live: its pod is deleted when it has ended, which takes three minutes at most."""
    process = hanging(lab, tmp_path)
    process.kill()
    process.communicate()
    lab.faults.clear()
    elsewhere = tmp_path / "elsewhere"
    assert "" == start(lab, elsewhere, "production").communicate(timeout=60)[1]
    (name,) = left(lab)
    lab.advance(timedelta(minutes=4))
    pod = lab.store.get("v1", "Pod", name, "production")
    assert pod is not None
    assert "Succeeded" == pod["status"]["phase"]
    assert "1 pod of a probe" in start(lab, elsewhere, "production").communicate(timeout=60)[1]
    assert [] == left(lab)
