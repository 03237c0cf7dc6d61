"""Through the command line: harm to slow and silent edges, and a scaling to zero and back that is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lifecycle.small_mesh import migrated

MESH = yaml.safe_load("""
title: A busy edge and a slow one
description: the base of the cases
target: prod
namespaces: {prod: {injection: enabled}, client: {injection: enabled}}
workloads:
  - {name: api, namespace: prod, ports: {http: 8080}}
  - {name: rpc, namespace: prod, ports: {grpc: 9000}}
  - {name: web, namespace: client, ports: {http: 8080}}
traffic:
  busy: {from: client/web, to: "prod/api:8080", rate: 5/s}
  slow: {from: client/web, to: "prod/rpc:9000", protocol: grpc, every: 4m}
expect: {exit: 0, outcome: enforced}
""")
PLAYBOOK = """
- name: The checklist, with the usual watch
  targets: "{{ namespaces }}"
  tasks:
    - name: Recent traffic is mutual TLS
      confirm_mtls: {look_back: 1d}
    - name: Require mutual TLS
      strict: {baseline: 1h}
    - name: Watch error rates
      watch: {for: 20m}
"""
RULE: dict[str, Any] = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "DestinationRule",
    "metadata": {"name": "plain", "namespace": "client"},
    "spec": {"host": "rpc.prod.svc.cluster.local", "trafficPolicy": {"tls": {"mode": "DISABLE"}}},
}
NO_SIDECAR = {"spec": {"template": {"metadata": {"labels": {"sidecar.istio.io/inject": "false"}}}}}
BY_ADDRESS = {**MESH["traffic"]["slow"], "every": "2m", "by_address": True}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def _run(folder: Path, capsys: pytest.CaptureFixture[str], *events: dict[str, Any]) -> tuple[int, str]:
    return migrated(folder, capsys, {**MESH, "events": list(events)}, PLAYBOOK)


def test_a_slow_edge_does_no_harm_and_is_proven(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing happens to it, so that the end names no edge."""
    code, said = _run(tmp_path, capsys)
    assert code == 0
    assert "watched to the end. " in said


def test_a_rule_that_comes_after_the_flip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It turns mesh TLS off for an edge of one call in four minutes."""
    code, said = _run(tmp_path, capsys, {"after_flip": "3m", "apply": RULE})
    assert code == 5
    assert "DestinationRule client/plain came after the flip" in said


def test_a_rule_that_no_edge_uses_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another namespace's rule, which is exported to nobody else, for a Service that nobody calls from there."""
    rule = {**RULE, "metadata": {"name": "plain", "namespace": "prod"}, "spec": {**RULE["spec"], "exportTo": ["."]}}
    code, said = _run(tmp_path, capsys, {"after_flip": "3m", "apply": rule})
    assert code == 0
    assert "DestinationRule prod/plain came after the flip and turns mesh TLS off for rpc" in said


def test_a_slow_caller_that_turns_to_pod_addresses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It never makes 15 attempts in the window of a tick."""
    code, said = _run(tmp_path, capsys, {"after_flip": "3m", "caller": {"slow": BY_ADDRESS}})
    assert code == 5
    assert "all of them failed" in said


def test_a_caller_that_loses_its_sidecar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither end counts what STRICT refuses then."""
    change = {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "client", "name": "web", "change": NO_SIDECAR}
    code, said = _run(tmp_path, capsys, {"after_flip": "4m", "patch": change})
    assert code == 5
    assert "run without a sidecar now" in said


def test_scaled_to_zero_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The window after it holds the time without replicas, and nobody was harmed by the flip."""
    down, up = ({"workload": "prod/api", "replicas": n} for n in (0, 3))
    code, _ = _run(tmp_path, capsys, {"after_flip": "8m", "scale": down}, {"after_flip": "10m", "scale": up})
    assert code == 0
