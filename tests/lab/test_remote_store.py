"""The simulator on an API server that is not its own: here a second server of the lab, reached like a kube-apiserver.

That server passed the recorded contract, so it is the honest stand-in where no kube-apiserver is to be had;
tests/real/apiserver runs the same on a real one. It runs on the real clock, has no controllers, and takes a
ValidatingAdmissionPolicy as `StandIn` says.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.lab.lab import Lab, list_scenarios
from rollout.lab.scenario import load_scenario
from tests.lab.standin import StandIn
from tests.scenarios.ending import assert_as_the_file_says, migrated

#: Nobody runs commands in containers there, so what is wrong with a certificate is not seen.
NAMES = [name for name, _ in list_scenarios() if not load_scenario(name).certificates]


@pytest.mark.parametrize("name", NAMES)
def test_a_migration_ends_as_the_scenario_says_on_another_api_server(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tool talks to that server, the simulator drives it, and nothing is left on it."""
    scenario = load_scenario(name)
    with StandIn([scenario.user]) as server:
        before = server.objects()
        with Lab.start(name, api=server.kubeconfig(tmp_path)) as lab:
            assert_as_the_file_says(lab.scenario, migrated(lab, tmp_path, monkeypatch, capsys))
        assert before == server.objects()
