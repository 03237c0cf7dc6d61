"""One Prometheus that holds the same namespace of two clusters: found before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from rollout.cli import main
from rollout.lab.lab import Lab
from tests.lifecycle.small_mesh import said

QUICK = str(Path(__file__).parent / "quick.yaml")
MESH = yaml.safe_load("""
title: Two workloads that are ready
description: with a namesake in another cluster
target: production
namespaces: {production: {injection: enabled}}
workloads:
  - {name: web, namespace: production, ports: {http: 8080}}
  - {name: orders, namespace: production, ports: {http: 8080}}
traffic: {web-orders: {from: production/web, to: "production/orders:8080", rate: 6/s, swing: 0.3}}
look_back: 2d
expect: {exit: 0, outcome: enforced}
""")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """The ready namespace."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump(MESH), encoding="utf-8")
    with Lab.start(path) as running:
        yield running


def _foreign(lab: Lab, until: timedelta, **labels: str) -> None:
    """A proxy of another cluster, scraped from yesterday until then."""
    now = round(lab.clock.now().timestamp() * 1000)
    times = range(now - 86_400_000, now + round(until.total_seconds() * 1000), 30_000)
    named = {"__name__": "envoy_server_uptime", "namespace": "production", "pod": "orders-5f6-zzzzz", **labels}
    lab.storage.series(named).extend(times, lambda moments: [moment / 1000 for moment in moments])


def _migrate(lab: Lab, *flags: str) -> int:
    return main(["migrate", "production", "--playbook", QUICK, "--yes", "--lab", lab.api_url, *flags])


def _writes(lab: Lab) -> list[str]:
    return [w.resource for w in lab.store.writes if not w.dry_run and w.resource == "peerauthentications"]


def test_a_label_tells_the_clusters_apart_and_the_next_command_uses_it(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    """Blocked before the first write; with the matcher that is printed, it goes through and says what it proved."""
    _foreign(lab, timedelta(days=1), cluster="eu2")
    assert _migrate(lab) == 3
    text = said(capsys)
    assert "Prometheus also shows another cluster's production: orders-5f6-zzzzz (samples younger" in text
    assert "The label cluster tells them apart: --metrics-match 'cluster=\"\"'" in text
    assert [] == _writes(lab)
    assert _migrate(lab, "--metrics-match", 'cluster=""') == 0
    assert "shows 4 of 4 proxies of production and no foreign pod" in said(capsys)


def test_a_matcher_that_finds_none_of_our_pods_is_refused(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """With the matcher that would, where there is one."""
    _foreign(lab, timedelta(days=1), cluster="eu2")
    assert _migrate(lab, "--metrics-match", 'cluster="eu2"') == 3
    text = said(capsys)
    assert "finds none of the 4 proxies of production" in text
    assert "--metrics-match 'cluster=\"\"'" in text
    assert [] == _writes(lab)


def test_without_a_label_the_same_pods_after_five_minutes_are_foreign(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run waits for that, and says for what."""
    _foreign(lab, timedelta(days=1))
    began = lab.clock.now()
    assert _migrate(lab) == 3
    text = said(capsys)
    assert "orders-5f6-zzzzz had samples for 5 minutes and this API server does not know them" in text
    assert "external label such as cluster" in text
    assert timedelta(minutes=5) <= lab.clock.now() - began < timedelta(minutes=7)
    assert [] == _writes(lab)


def test_a_pod_that_was_just_deleted_is_not_foreign(lab: Lab) -> None:
    """Its samples end: five minutes later nobody is there, and the run goes on."""
    _foreign(lab, timedelta(seconds=40))
    assert _migrate(lab) == 0


def test_a_plan_does_not_wait_for_it(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """It says that it cannot see, and when it could."""
    _foreign(lab, timedelta(days=1))
    began = lab.clock.now()
    assert main(["plan", "production", "--playbook", QUICK, "--lab", lab.api_url]) == 4
    assert "deleted just now or of another cluster; after" in said(capsys)
    assert lab.clock.now() - began < timedelta(minutes=2)
