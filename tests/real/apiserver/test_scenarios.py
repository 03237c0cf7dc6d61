"""Every shipped scenario on a real kube-apiserver ends as its file says, and leaves nothing behind."""

from pathlib import Path

import pytest

from rollout.lab.lab import Lab, list_scenarios
from rollout.lab.remote.tidy import refuse_unless_empty
from rollout.lab.scenario import load_scenario
from tests.real.apiserver.server import KubeApiserver
from tests.scenarios.ending import assert_as_the_file_says, migrated

pytestmark = [pytest.mark.kube_apiserver, pytest.mark.timeout(900)]


@pytest.mark.parametrize("name", [name for name, _ in list_scenarios() if not load_scenario(name).certificates])
def test_a_migration_ends_as_the_scenario_says(
    name: str,
    shared: KubeApiserver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The simulator drives that server; the tool talks to it with TLS and a token."""
    with Lab.start(name, api=shared.kubeconfig) as lab:
        assert lab.cluster_url.startswith("https://")
        assert_as_the_file_says(lab.scenario, migrated(lab, tmp_path, monkeypatch, capsys))
    refuse_unless_empty(shared.remote)
