"""Through the command line: deployments around the flip, and pods and policies that a check would have refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.cli import main
from tests.lifecycle.small_mesh import migrated, said

MESH = yaml.safe_load("""
title: Two workloads and their caller
description: the base of the cases
target: prod
namespaces: {prod: {injection: enabled}, client: {injection: enabled}}
workloads:
  - {name: api, namespace: prod, ports: {http: 8080}, probes: {readiness: http 8080}}
  - {name: rpc, namespace: prod, ports: {grpc: 9000}}
  - {name: web, namespace: client, ports: {http: 8080}}
traffic:
  one: {from: client/web, to: "prod/api:8080", rate: 5/s}
  two: {from: client/web, to: "prod/rpc:9000", protocol: grpc, rate: 3/s}
expect: {exit: 0, outcome: enforced}
""")
PLAYBOOK = """
- name: The checklist, with a short watch
  targets: "{{ namespaces }}"
  tasks:
    - name: Recent traffic is mutual TLS
      confirm_mtls: {look_back: 1d}
    - name: Require mutual TLS
      strict: {baseline: 1h}
    - name: Watch error rates
      watch: {for: 12m}
"""
NOT_REWRITTEN = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api", "namespace": "prod"},
    "spec": {"template": {"metadata": {"annotations": {"sidecar.istio.io/rewriteAppHTTPProbers": "false"}}}},
}  # fmt: skip
BARE: dict[str, Any] = {
    "apiVersion": "apps/v1", "kind": "Deployment",
    "metadata": {"name": "fresh", "namespace": "prod", "labels": {"app": "fresh"}},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "fresh"}},
        "template": {
            "metadata": {"labels": {"app": "fresh", "sidecar.istio.io/inject": "false"}},
            "spec": {"containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 8080}]}]},
        },
    },
}  # fmt: skip
OPENED = {
    "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
    "metadata": {"name": "open", "namespace": "prod"},
    "spec": {"selector": {"matchLabels": {"app": "api"}}, "mtls": {"mode": "PERMISSIVE"}},
}  # fmt: skip


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def _run(folder: Path, capsys: pytest.CaptureFixture[str], *events: dict[str, Any]) -> tuple[int, str]:
    return migrated(folder, capsys, {**MESH, "events": list(events)}, PLAYBOOK)


@pytest.mark.parametrize("before", ["2s", "8s", "15s", "25s", "40s", "70s"])
def test_a_deployment_shortly_before_the_flip(before: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its pods have no sample from before the flip, so their counters cannot be seen to move."""
    code, text = _run(tmp_path, capsys, {"before": before, "deploy": "prod/api"})
    assert 0 == code, text[-3000:]


def test_a_deployment_whose_probes_are_not_rewritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It stands still, because STRICT refuses what the kubelet sends: the new pod never becomes Ready."""
    code, text = _run(tmp_path, capsys, {"after_flip": "1m", "apply": NOT_REWRITTEN})
    assert 5 == code
    assert "probe-failures of Deployment prod/api" in text
    assert "STRICT refuses what the kubelet sends" in text


def test_a_workload_without_the_sidecar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The namespace refuses plaintext but for its pod, then and whenever it is asked again."""
    code, text = _run(tmp_path, capsys, {"after_flip": "3m", "apply": BARE})
    assert 0 == code
    assert "Result: ENFORCED, WITH EXCEPTIONS (exit 0). prod is STRICT since" in text
    assert "past the sidecar, and accepting plaintext: 1 pod, Pod prod/fresh-" in text


def test_a_workload_without_the_sidecar_where_all_is_strict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is to be done, no flip can break anything, and it is no namespace that refuses plaintext."""
    scenario = tmp_path / "strict.yaml"
    policy = {**OPENED, "metadata": {"name": "default", "namespace": "prod"}, "spec": {"mtls": {"mode": "STRICT"}}}
    scenario.write_text(yaml.safe_dump({**MESH, "manifests": [policy, BARE]}), encoding="utf-8")
    code = main(["plan", "prod", "--lab", str(scenario)])
    text = said(capsys)
    assert 0 == code
    assert "Result: ENFORCED, WITH EXCEPTIONS (exit 0). prod is STRICT; STRICT already; past the sidecar" in text
    assert "blocked" not in text


def test_a_port_that_somebody_opens_in_the_watch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is seen with the next sample, and not at the end; the pods are named once each."""
    code, text = _run(tmp_path, capsys, {"after_flip": "3m", "apply": OPENED})
    assert 10 == code
    assert "not STRICT any more, by another policy: 2 pods, api-" in text
    assert ": 2m30s/12m of sight" not in text


def test_a_port_past_the_sidecar_is_an_exception(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its pod has the sidecar, and what listens there takes plaintext."""
    template = {**BARE["spec"]["template"], "metadata": {
        "labels": {"app": "fresh"}, "annotations": {"traffic.sidecar.istio.io/excludeInboundPorts": "8080"},
    }}  # fmt: skip
    excluded = {**BARE, "spec": {**BARE["spec"], "template": template}}
    code, text = _run(tmp_path, capsys, {"after_flip": "3m", "apply": excluded})
    assert 0 == code
    assert "Result: ENFORCED, WITH EXCEPTIONS (exit 0)" in text
    assert "port 8080 passes the sidecar by" in text


def test_a_caller_that_loses_its_sidecar_at_the_very_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody can hear it fall silent any more; its pods show it."""
    off = {"spec": {"template": {"metadata": {"labels": {"sidecar.istio.io/inject": "false"}}}}}
    change = {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "client", "name": "web", "change": off}
    code, text = _run(tmp_path, capsys, {"after_flip": "12m15s", "patch": change})
    assert 0 == code
    assert "client/web runs without a sidecar now, and STRICT refuses plaintext" in text


def test_a_caller_of_an_exempt_port_may_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its port stayed open, so the flip cut nobody there."""
    mesh = {
        **MESH, "namespaces": {**MESH["namespaces"], "raw": {}},
        "workloads": [*MESH["workloads"], {"name": "old", "namespace": "raw", "ports": {"http": 8080}}],
        "traffic": {**MESH["traffic"], "raw": {"from": "raw/old", "to": "prod/rpc:9000", "rate": "1/s"}},
        "events": [{"after_flip": "4m", "stop_caller": "raw"}],
    }  # fmt: skip
    code, text = migrated(tmp_path, capsys, mesh, PLAYBOOK, "--exempt", "prod/rpc:9000", "--reason", "a probe")
    assert 0 == code, text[-3000:]
    assert "unknown -> prod/rpc (http)" in text
