"""Whoever reads the output leaves, or the disk is full: the run goes on to its end, and its exit code is the run's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rollout.lab.lab import Lab
from tests.lifecycle.test_what_users_did import QUICK

HARMED = "regression-after-flip"


def start(lab: Lab, state: Path, out: int, *more: str) -> subprocess.Popen[str]:
    """The real process with this as its stdout."""
    args = ["migrate", *lab.scenario.target, "--yes", "--playbook", QUICK, "--lab", lab.api_url, *more]
    environment = {**os.environ, "XDG_STATE_HOME": str(state), "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-m", "rollout", *args], stdout=out, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.parametrize(("scenario", "code"), [("healthy", 0), (HARMED, 5)])
@pytest.mark.parametrize("more", [(), ("-o", "json")], ids=["text", "json"])
def test_a_reader_that_leaves_ends_nothing(scenario: str, code: int, more: tuple[str, ...], tmp_path: Path) -> None:
    """Said on stderr, once; a regression is still taken back."""
    with Lab.start(scenario) as lab:
        reading, writing = os.pipe()
        process = start(lab, tmp_path, writing, *more)
        os.close(writing)
        if not more:
            os.read(reading, 10)
        os.close(reading)
        _, said = process.communicate(timeout=100)
        (namespace,) = lab.scenario.target
        policies = lab.store.list("security.istio.io/v1", "PeerAuthentication", namespace)
    assert code == process.returncode, said
    assert {"STRICT" if code == 0 else "PERMISSIVE"} == {policy["spec"]["mtls"]["mode"] for policy in policies}
    assert 1 == said.count("the output cannot be written")


def test_a_full_disk_ends_nothing(tmp_path: Path) -> None:
    """/dev/full refuses every byte."""
    with Lab.start("healthy") as lab, Path("/dev/full").open("wb") as full:
        process = start(lab, tmp_path, full.fileno())
        _, said = process.communicate(timeout=100)
    assert 0 == process.returncode, said
    assert 1 == said.count("the output cannot be written (No space left on device)")
