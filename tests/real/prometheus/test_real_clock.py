"""A short watch on the real clock: a real server scrapes a live exporter, and `rollout` knows nothing of a lab.

The lab is the cluster (its API by kubeconfig, its time 1:1 with the wall clock) and moves the counters that the
exporter shows; a day of history was written before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rollout.lab.lab import Lab
from rollout.lab.mesh.samples import Feed
from tests.real.prometheus.exporter import Exporter
from tests.real.prometheus.server import CONFIG, ONE_BLOCK, RealPrometheus

pytestmark = [pytest.mark.prometheus, pytest.mark.slow, pytest.mark.timeout(240)]

LIVE = Path(__file__).parent / "live"
SCRAPES = """
scrape_configs:
  - job_name: mesh
    scrape_interval: 5s
    scrape_timeout: 4s
    honor_labels: true
    static_configs: [{{targets: ["{}"]}}]
"""


class Live:
    """One mesh that lives now, scraped by a server that can be stopped."""

    def __init__(self, lab: Lab, server: RealPrometheus, folder: Path) -> None:
        """Know the parts."""
        self.lab, self.server, self._folder = lab, server, folder
        self._processes: list[subprocess.Popen[str]] = []
        self.flipped = threading.Event()
        lab.simulation.flip_seen.append(lambda namespace, ms: self.flipped.set())

    def migrate(self, watch_for: str) -> subprocess.Popen[str]:
        """`rollout migrate` as on any cluster."""
        kubeconfig = self._folder / "kubeconfig"
        kubeconfig.write_text(self.lab.kubeconfig)
        argv = ["migrate", "payments", "--yes", "--playbook", str(LIVE / "watch.yaml"), "-e", f"watch_for={watch_for}"]
        process = subprocess.Popen(
            [sys.executable, "-m", "rollout", *argv, "--kubeconfig", str(kubeconfig), "--prometheus", self.server.url],
            env={**os.environ, "XDG_STATE_HOME": str(self._folder), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._processes.append(process)
        return process

    def wait_for_the_watch(self, run: subprocess.Popen[str]) -> None:
        """Until the flip is proven and the drain over."""
        assert self.flipped.wait(60), run.communicate(timeout=60)[0]
        _wait_until(lambda: "watching" in [event["to"] for event in self.events("state")])

    def close(self) -> None:
        """End what still runs; with nothing left to hear a signal where the test passed."""
        for process in self._processes:
            process.kill()
            process.communicate()

    def events(self, kind: str) -> list[dict[str, object]]:
        """The run's events of a type."""
        (journal,) = self._folder.glob("rollout/runs/*/journal.jsonl")
        events = [json.loads(line) for line in journal.read_text().splitlines()]
        return [event for event in events if event["type"] == kind]

    def verdicts(self) -> list[object]:
        """Of all ticks."""
        return [event["verdict"] for event in self.events("tick")]

    def mode(self) -> str:
        """Of the policy that the run wrote."""
        policy = self.lab.store.get("security.istio.io/v1", "PeerAuthentication", "default", "payments")
        assert policy is not None
        return str(policy["spec"]["mtls"]["mode"])


@pytest.fixture
def live(prometheus_binary: Path, tmp_path: Path) -> Iterator[Live]:
    """The mesh, with its history written and its first scrapes taken."""
    with Lab.start(LIVE / "mesh.yaml", start=datetime.now(UTC)) as lab:
        exporter = Exporter(lab.storage)
        config = CONFIG + SCRAPES.format(exporter.address)
        with (
            exporter.running(),
            RealPrometheus(prometheus_binary, tmp_path / "server", config=config, flags=ONE_BLOCK) as server,
        ):
            server.write(Feed(lab.storage).take(lambda name: "duration" not in name))
            exporter.serving.set()
            _wait_until(lambda: exporter.scrapes >= 1)
            started = Live(lab, server, tmp_path)
            yield started
            started.close()


def _wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_regression_is_taken_back_and_proven(live: Live) -> None:
    """The callers begin to fail when the watch does; every proxy proves the way back."""
    run = live.migrate("5m")
    live.wait_for_the_watch(run)
    live.lab.fire("plaintext")
    out, _ = run.communicate(timeout=200)
    assert run.returncode == 5, out
    assert "Result: ROLLED BACK" in out
    assert "edge-errors" in out
    assert live.mode() == "PERMISSIVE"
    assert [True] == [event["ok"] for event in live.events("proof") if event["of"] == "undo_propagation"]


def test_prometheus_restarts_during_the_watch(live: Live) -> None:
    """The server is away until the run says that it cannot see: it waits for sight, and ends enforced."""
    run = live.migrate("60s")
    live.wait_for_the_watch(run)
    live.server.close()
    _wait_until(lambda: "cannot_see" in live.verdicts())
    live.server.start()
    out, _ = run.communicate(timeout=200)
    assert run.returncode == 0, out
    assert "Result: ENFORCED" in out
    assert live.mode() == "STRICT"
    assert live.verdicts()[-1] == "healthy"
