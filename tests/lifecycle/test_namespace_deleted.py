"""The target itself is deleted in mid-watch, and an event that cannot happen: both end with a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.cli import main
from tests.lifecycle.small_mesh import said

QUICK = Path(__file__).parent / "quick.yaml"
MESH = yaml.safe_load("""
title: Two workloads that are ready
description: the base of the cases
target: production
namespaces: {production: {injection: enabled}, web: {injection: enabled}}
workloads:
  - {name: orders, namespace: production, ports: {http: 8080}}
  - {name: db, namespace: production, kind: StatefulSet, ports: {tcp-pg: 5432}}
  - {name: web, namespace: web}
traffic:
  web-orders: {from: web/web, to: "production/orders:8080", rate: 5/s}
  orders-db: {from: production/orders, to: "production/db:5432", protocol: tcp, connections: 3}
look_back: 26h
expect: {exit: 0, outcome: enforced}
""")


def migrated_with(
    event: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """On a lab of the command's own: exit status, and all that was said."""
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    path = folder / "mesh.yaml"
    path.write_text(yaml.safe_dump({**MESH, "events": [event]}), encoding="utf-8")
    code = main(["migrate", "production", "--playbook", str(QUICK), "--yes", "--lab", str(path)])
    return code, said(capsys)


def test_a_target_that_is_deleted_in_mid_watch_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody took the policy away with all else: overridden, and no write of ours follows."""
    gone = {"after_flip": "2m", "delete": {"apiVersion": "v1", "kind": "Namespace", "name": "production"}}
    code, text = migrated_with(gone, tmp_path, monkeypatch, capsys)
    assert 10 == code, text
    assert "Result: OVERRIDDEN (exit 10). production: PeerAuthentication production/default is deleted" in text
    assert "Next: rollout plan production" in text


def test_an_event_that_fails_is_told_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rule of faults that means nothing: the migration ends as it would without it."""
    bad = {"after_flip": "30s", "fault": {"effect": "no such effect"}}
    code, text = migrated_with(bad, tmp_path, monkeypatch, capsys)
    assert 0 == code, text
    assert "lab: an event of mesh failed: fault: ValueError: 'no such effect' is not a valid Effect" in text
