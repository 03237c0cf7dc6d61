"""Jobs, probes and scalings, through the command line: what ends a watch, and what a person may do during one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lifecycle.small_mesh import migrated

MESH = yaml.safe_load("""
title: Three workloads and a job that are ready
description: the base of the cases
target: production
namespaces: {production: {injection: enabled}}
workloads:
  - {name: web, namespace: production, replicas: 2, ports: {http: 8080}}
  - {name: orders, namespace: production, replicas: 3, ports: {http: 8080}, probes: {liveness: http 8080}}
  - {name: stock, namespace: production, replicas: 2, ports: {http: 8080}}
  - name: report
    namespace: production
    kind: CronJob
    schedule: "*/10 * * * *"
    takes: 90s
    env: {ORDERS_URL: "http://orders:8080/export"}
traffic:
  web-orders: {from: production/web, to: "production/orders:8080", rate: 6/s, swing: 0.3}
  web-stock: {from: production/web, to: "production/stock:8080", rate: 5/s, swing: 0.3}
  report: {from: production/report, to: "production/orders:8080", calls: 20, lasts: 80ms}
look_back: 26h
expect: {exit: 0, outcome: enforced}
""")
PLAYBOOK = """
- name: The checklist, with a longer watch
  targets: "{{ namespaces }}"
  tasks:
    - name: Recent traffic is mutual TLS
      confirm_mtls: {look_back: 1d}
    - name: Require mutual TLS
      strict: {baseline: 10m}
    - name: Watch error rates
      watch: {for: 15m}
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def _run(folder: Path, capsys: pytest.CaptureFixture[str], *flags: str, **changes: Any) -> tuple[int, str]:
    """A migration of the mesh with these changes."""
    return migrated(folder, capsys, {**MESH, **changes}, PLAYBOOK, *flags)


def test_jobs_that_go_on_succeeding_are_no_obstacle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One or two of them end during the watch."""
    code, _ = _run(tmp_path, capsys)
    assert code == 0


def test_a_job_that_fails_after_the_flip_takes_it_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody takes its sidecar away in mid-watch: nothing shows at the destination but that the Job fails."""
    template = {"metadata": {"labels": {"sidecar.istio.io/inject": "false"}}}
    patch = {
        "apiVersion": "batch/v1", "kind": "CronJob", "namespace": "production", "name": "report",
        "change": {"spec": {"jobTemplate": {"spec": {"template": template}}}},
    }  # fmt: skip
    code, said = _run(tmp_path, capsys, events=[{"after_flip": "1m", "patch": patch}])
    assert code == 5
    assert "jobs of CronJob production/report" in said


def test_a_probe_that_the_flip_cuts_off_is_seen_before_its_pod_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its check was waived; the kubelet's Events tell."""
    annotations = {"sidecar.istio.io/rewriteAppHTTPProbers": "false"}
    annotated = [{**w, "annotations": annotations} if w["name"] == "orders" else w for w in MESH["workloads"]]
    waived = ["--waive", "probes=*", "--waive", "plaintext-callers=*", "--max-rate", "10", "--reason", "a drill"]
    code, said = _run(tmp_path, capsys, *waived, workloads=annotated)
    assert code == 5, said
    assert "probe-failures of Deployment production/orders" in said


def test_a_workload_that_a_person_scales_to_nothing_is_no_regression(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its callers fail from then on; the others are watched to the end."""
    event = {"after_flip": "5m", "by": "kubectl", "scale": {"workload": "production/stock", "replicas": 0}}
    code, said = _run(tmp_path, capsys, events=[event])
    assert code == 0, said
