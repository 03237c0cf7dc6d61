"""Where PeerAuthentication has no v1, the tool finds out, and writes v1beta1."""

from pathlib import Path

import pytest

from rollout.lab.lab import Lab
from tests.scenarios.ending import migrated


def test_every_write_is_in_the_version_that_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The policy that was created and patched is `rollout`'s in v1beta1; in v1 there is none to be had."""
    with Lab.start("older-istio") as lab:
        assert migrated(lab, tmp_path, monkeypatch, capsys).code == 0
        (policy,) = lab.store.list("security.istio.io/v1beta1", "PeerAuthentication", "production")
        assert "STRICT" == policy["spec"]["mtls"]["mode"]
        owners = {(entry["manager"], entry["apiVersion"]) for entry in policy["metadata"]["managedFields"]}
        assert {("rollout", "security.istio.io/v1beta1")} == owners
        assert lab.store.kinds.at("security.istio.io", "v1", "peerauthentications") is None
