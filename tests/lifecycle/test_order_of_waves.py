"""Which namespaces the waves take first."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from rollout.cli import main
from rollout.errors import MetricsUnreachable
from rollout.lab.lab import Lab
from rollout.lifecycle.waves import fewest_first, in_order
from rollout.record.spec import Spec
from rollout.world.offending import offending
from tests.world.mesh_fakes import NOW, LabMetrics, istio_labels, scrapes

DAY = timedelta(days=1)


def _calls(metrics: LabMetrics, source: str, destination: str, pod: str = "orders-1") -> None:
    labels = istio_labels(source, destination, connection_security_policy="none", pod=pod)
    times = scrapes(NOW - 2 * DAY, NOW, 60)
    metrics.write("istio_requests_total", labels, [(t, (t - NOW + 9 * DAY).total_seconds()) for t in times])


@pytest.fixture
def metrics() -> LabMetrics:
    """Two plaintext edges into a, one into b that gave birth to its series, and none into c and d."""
    made = LabMetrics()
    _calls(made, "old/one", "a/orders")
    _calls(made, "old/two", "a/orders")
    _calls(made, "old/two", "a/orders", "orders-2")
    made.write(
        "istio_requests_total",
        istio_labels("unknown", "b/orders"),
        [(t, 1.0) for t in scrapes(NOW - timedelta(hours=5), NOW, 60)],
    )
    made.write(
        "istio_requests_total",
        istio_labels("web/shop", "c/orders"),
        [(t, (t - NOW + 9 * DAY).total_seconds()) for t in scrapes(NOW - 2 * DAY, NOW, 60)],
    )
    return made


def test_edges_are_counted_for_all_namespaces_with_the_queries_of_one(metrics: LabMetrics) -> None:
    """A caller counts once, however often it called."""
    assert {"a": 2, "b": 1, "c": 0, "d": 0} == offending(["d", "a", "c", "b"], DAY, "", metrics)
    many = len(metrics.asked)
    metrics.asked.clear()
    offending(["a"], DAY, "", metrics)
    assert len(metrics.asked) == many == 3  # the labels of the scrape, and each family


def test_a_heavy_query_is_asked_in_halves(metrics: LabMetrics) -> None:
    """As the evidence does."""
    metrics.heaviest = lambda query: "[87000s]" in query
    assert {"a": 2, "b": 1} == offending(["a", "b"], DAY, "", metrics)


def test_the_fewest_go_first_and_ties_keep_their_order() -> None:
    """Those without any as the command line has them."""
    assert ["d", "c", "b", "a"] == fewest_first(["a", "d", "b", "c"], {"a": 2, "b": 1, "c": 0, "d": 0})


@pytest.mark.parametrize(
    ("order", "serial", "expected", "asked"),
    [
        ("fewest_offenders", [1, "100%"], ["d", "c", "b", "a"], True),
        ("fewest_offenders", ["100%"], ["b", "d", "a", "c"], False),
        ("given", [1, "100%"], ["b", "d", "a", "c"], False),
        ("name", [1, "100%"], ["a", "b", "c", "d"], False),
    ],
)
def test_the_playbooks_order(
    metrics: LabMetrics, order: str, serial: list[int | str], expected: list[str], asked: bool
) -> None:
    """Prometheus is asked only where the answer changes something."""
    names = ["b", "d", "a", "c"]
    specs = {name: Spec(run=name, namespace=name, tasks=(), started=NOW) for name in names}
    found, said = in_order(names, order, serial, specs, metrics)
    assert expected == found
    assert asked is bool(metrics.asked)
    assert said == ("Waves by plaintext edges, fewest first: d 0, c 0, b 1, a 2" if asked else "")


def test_without_prometheus_the_command_line_decides_and_that_is_said(metrics: LabMetrics) -> None:
    """The run itself will say more of it."""
    metrics.fails = MetricsUnreachable("no answer from Prometheus")
    specs = {name: Spec(run=name, namespace=name, tasks=(), started=NOW) for name in ("b", "a")}
    found, said = in_order(["b", "a"], "fewest_offenders", [1], specs, metrics)
    assert ["b", "a"] == found
    assert said == "Waves in the order of the command line: plaintext is not known (no answer from Prometheus)"


MESH = yaml.safe_load("""
title: Two namespaces, one with a caller in plaintext
description: of which the clean one goes first
target: [billing, shop]
namespaces: {billing: {injection: enabled}, shop: {injection: enabled}}
workloads:
  - {name: bills, namespace: billing, ports: {http: 8080}}
  - {name: web, namespace: shop, ports: {http: 8080}}
  - {name: cart, namespace: shop, ports: {http: 8080}}
traffic:
  mainframe: {from: outside, to: "billing/bills:8080", rate: 1/s}
  web-cart: {from: shop/web, to: "shop/cart:8080", rate: 5/s}
look_back: 2d
expect: {exit: 3, outcome: blocked}
""")


def test_the_clean_namespace_is_migrated_before_the_one_with_plaintext(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though the command line names it second."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    quick = (Path(__file__).parent / "quick.yaml").read_text(encoding="utf-8")
    playbook, scenario = tmp_path / "playbook.yaml", tmp_path / "scenario.yaml"
    playbook.write_text(quick.replace("  tasks:", "  serial: [1]\n  tasks:"), encoding="utf-8")
    scenario.write_text(yaml.safe_dump(MESH), encoding="utf-8")
    with Lab.start(scenario) as lab:
        argv = ["migrate", "billing", "shop", "--playbook", str(playbook), "--yes", "--lab", lab.api_url]
        assert main(argv) == 3
        begun = [w.namespace for w in lab.store.writes if w.resource == "configmaps" and w.verb == "create"]
    assert ["shop", "billing"] == begun
    assert "Waves by plaintext edges, fewest first: shop 0, billing 1" in capsys.readouterr().out
