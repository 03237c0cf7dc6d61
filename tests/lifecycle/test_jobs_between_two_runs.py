"""A CronJob without a sidecar that was not due in the look-back: nobody knows yet what it would do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rollout.cli import main
from rollout.lab.lab import Lab

QUICK = str(Path(__file__).parent / "quick.yaml")
MESH = """
title: A yearly job without a sidecar
description: that names orders, and has not run in the look-back
target: production
namespaces: {{production: {{injection: enabled}}, billing: {{}}}}
workloads:
  - {{name: web, namespace: production, ports: {{http: 8080}}}}
  - {{name: orders, namespace: production, ports: {{http: 8080}}}}
  - name: closing
    namespace: billing
    kind: CronJob
    schedule: "{schedule}"
    env: {{ORDERS_URL: "http://orders.production:8080/year"}}
traffic: {{web-orders: {{from: production/web, to: "production/orders:8080", rate: 6/s}}}}
look_back: 2d
expect: {{exit: 4, outcome: blocked}}
"""


@pytest.mark.parametrize(("schedule", "code"), [("0 4 1 1 *", 4), ("0 4 * * *", 0)])
def test_the_run_waits_for_the_jobs_period(
    schedule: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Blocked with its name, what makes it a caller, and the date; a daily one has run and called nobody."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(MESH.format(schedule=schedule), encoding="utf-8")
    with Lab.start(scenario, start=datetime(2026, 6, 10, 12, 0, tzinfo=UTC)) as lab:
        assert main(["migrate", "production", "--playbook", QUICK, "--yes", "--lab", lab.api_url]) == code
    said = " ".join(capsys.readouterr().out.split())
    if code:
        assert "no data: CronJob billing/closing (0 4 1 1 *, without a sidecar;" in said
        assert "http://orders.production:8080/year" in said
        assert "enough at 2027-01-01 04:10 UTC" in said
