"""What goes away while the lab runs, and events that cannot happen: time goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.lab.lab import Lab
from rollout.lab.scenario import load_scenario

START = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)

MESH = """
title: t
description: d
target: app
namespaces: {app: {injection: enabled}, web: {injection: enabled}}
workloads:
  - {name: server, namespace: app, ports: {http: 8080}, probes: {readiness: http 8080}, rewrite: false}
  - {name: db, namespace: app, kind: StatefulSet, ports: {tcp-pg: 5432}}
  - {name: jobs, namespace: app, kind: CronJob, schedule: "*/10 * * * *", takes: 2m}
  - {name: client, namespace: web}
traffic:
  calls: {from: web/client, to: "app/server:8080", rate: 5/s}
  held: {from: web/client, to: "app/db:5432", protocol: tcp, connections: 2}
  jobs: {from: app/jobs, to: "app/server:8080", calls: 60}
look_back: 6h
expect: {exit: 0, outcome: enforced}
"""


def lab_with(folder: Path, *events: dict[str, Any]) -> Lab:
    path = folder / "mesh.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(MESH), "events": list(events)}), encoding="utf-8")
    return Lab(load_scenario(path), seed=1, start=START)


@pytest.mark.parametrize("minutes", [1, 2, 10, 11])  # between jobs, and while one runs
def test_a_namespace_is_deleted_and_the_mesh_goes_on(tmp_path: Path, minutes: int) -> None:
    """Its pods are gone; its callers find no endpoint and count that."""
    gone = {"apiVersion": "v1", "kind": "Namespace", "name": "app"}
    lab = lab_with(tmp_path, {"at": f"{minutes}m", "delete": gone})
    lab.advance(timedelta(minutes=40))
    assert [] == lab.outside.failed
    assert {"web", "istio-system"} == {pod["metadata"]["namespace"] for pod in lab.store.list("v1", "Pod")}
    refused = [
        s for s in lab.storage.all()
        if s.labels.get("__name__") == "istio_requests_total" and s.labels.get("response_flags") == "UH"
    ]  # fmt: skip
    assert 2 == len(refused)
    assert all((s.last or 0) > 1000 for s in refused)


@pytest.mark.parametrize("kind", ["Service", "StatefulSet", "CronJob"])
def test_an_object_is_deleted_and_the_mesh_goes_on(tmp_path: Path, kind: str) -> None:
    """A held connection's Service, a workload, a CronJob whose Job runs."""
    version, name = {"Service": ("v1", "db"), "StatefulSet": ("apps/v1", "db"), "CronJob": ("batch/v1", "jobs")}[kind]
    gone = {"apiVersion": version, "kind": kind, "namespace": "app", "name": name}
    lab = lab_with(tmp_path, {"at": "1m", "delete": gone})
    lab.advance(timedelta(minutes=15))
    assert [] == lab.outside.failed
    assert START + timedelta(minutes=15) <= lab.clock.now()


def test_an_event_that_raises_fails_for_it_alone(tmp_path: Path) -> None:
    """Whatever it raises is kept; the next event happens."""
    bad = {"at": "1m", "fault": {"effect": "no such effect"}}
    good = {"at": "2m", "scale": {"workload": "web/client", "replicas": 5}}
    lab = lab_with(tmp_path, bad, good)
    lab.advance(timedelta(minutes=3))
    assert ["fault: ValueError: 'no such effect' is not a valid Effect"] == lab.outside.failed
    assert [ValueError] == [type(error) for error in lab.failures]
    assert 5 == len(lab.store.list("v1", "Pod", "web"))


def test_a_caller_that_jobs_do_not_concern_costs_nothing_when_they_run(tmp_path: Path) -> None:
    """Thirty-six jobs come and go: the curves of others are two stretches all the same, and the jobs' own end."""
    lab = lab_with(tmp_path)
    (client, *_) = sorted(
        (s for s in lab.storage.all() if s.labels.get("__name__") == "istio_requests_total"
         and s.labels.get("source_workload") == "client" and s.labels.get("reporter") == "source"),
        key=lambda s: s.labels["pod"],
    )  # fmt: skip
    assert len(client.chunks) <= 2
    jobs = [s for s in lab.storage.all() if s.chunks and s.labels.get("pod", "").startswith("jobs-")]
    assert len(jobs) > 36
    assert all(len(series.chunks) <= 2 and series.chunks[-1].times[-1] - series.chunks[0].times[0] <= 150_000
               for series in jobs)  # fmt: skip
