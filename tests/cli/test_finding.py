"""No Prometheus is named on a cluster: its Services are looked through, and a person is asked; a pipeline is told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.adapters.kubernetes import connect
from rollout.adapters.prometheus import PrometheusMetrics
from rollout.cli import main
from rollout.cli.finding import hint
from rollout.cli.metrics import NamedMetrics
from rollout.errors import Forbidden, MetricsUnreachable
from rollout.lab.lab import Lab
from tests.world.mesh_fakes import FakeCluster

QUICK = str(Path(__file__).parents[1] / "lifecycle" / "quick.yaml")
REAL, HEADLESS, NEITHER = "real", "headless", "neither"
MESH = yaml.safe_load("""
title: A namespace that is ready, and a Prometheus that nobody named
description: its Services are there, as an operator makes them
target: production
namespaces: {production: {injection: enabled}, monitoring: {}}
workloads:
  - {name: web, namespace: production, ports: {http: 8080}}
  - {name: orders, namespace: production, ports: {http: 8080}}
traffic: {web-orders: {from: production/web, to: "production/orders:8080", rate: 6/s, swing: 0.3}}
look_back: 2d
expect: {exit: 0, outcome: enforced}
""")
SERVICES = {
    REAL: {"name": "prometheus", "labels": {"app.kubernetes.io/name": "prometheus"}},
    HEADLESS: {"name": "prometheus-operated", "labels": {"operated-prometheus": "true"}},
}
Commands = Callable[..., list[str]]


def _mesh(*services: str, rules: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The scenario with these Services; with `rules` for a user who has no other rights."""
    manifests: list[dict[str, Any]] = [
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "monitoring", **SERVICES[name]},
            "spec": {"selector": {"app": "prometheus"}, "ports": [{"name": "http-web", "port": 9090}],
                     **({"clusterIP": "None"} if name == HEADLESS else {})},
        }
        for name in services
    ]  # fmt: skip
    if rules is None:
        return {**MESH, "manifests": manifests}
    api, role = "rbac.authorization.k8s.io", {"name": "reader"}
    subject = {"apiGroup": api, "kind": "User", "name": "reader"}
    ref = {"apiGroup": api, "kind": "ClusterRole", "name": "reader"}
    manifests += [
        {"apiVersion": f"{api}/v1", "kind": "ClusterRole", "metadata": role, "rules": rules},
        {"apiVersion": f"{api}/v1", "kind": "ClusterRoleBinding", "metadata": role, "roleRef": ref,
         "subjects": [subject]},
    ]  # fmt: skip
    return {**MESH, "manifests": manifests, "user": "reader"}


@pytest.fixture
def cluster(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Flags that reach it by a kubeconfig, without a Prometheus."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump(request.param), encoding="utf-8")
    with Lab.start(path, start=datetime.now(UTC)) as lab:
        config = tmp_path / "config"
        config.write_text(lab.kubeconfig, encoding="utf-8")
        yield ["--kubeconfig", str(config)]


def _said(capsys: pytest.CaptureFixture[str]) -> str:
    out = capsys.readouterr()
    assert "Traceback" not in out.out + out.err
    return " ".join((out.out + out.err).split())


ONE = _mesh(REAL)
TWO = _mesh(HEADLESS, REAL)


@pytest.mark.parametrize("cluster", [ONE], indirect=True)
@pytest.mark.parametrize("command", [["plan"], ["migrate", "--yes"], ["evidence"]])
def test_a_pipeline_is_told_the_line_to_type(
    cluster: list[str], command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2: the only one there is is not used without a word. Typed, it works."""
    assert 2 == main([*command, "production", *cluster])
    said = _said(capsys)
    assert "no Prometheus is named, and the Service monitoring/prometheus:9090 looks like one" in said
    assert "next --prometheus prometheus.monitoring:9090" in said
    assert 0 == main(
        ["plan", "production", *cluster, "--playbook", QUICK, "--prometheus", "prometheus.monitoring:9090"]
    )


@pytest.mark.parametrize("cluster", [TWO], indirect=True)
def test_several_are_all_named(cluster: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The one with an address of its own first; a program gets them as a list."""
    assert 2 == main(["plan", "production", *cluster])
    said = _said(capsys)
    assert "no Prometheus is named, and 2 Services look like one" in said
    assert (
        "next --prometheus prometheus.monitoring:9090 or --prometheus prometheus-operated.monitoring:9090 (headless)"
        in said
    )
    assert 2 == main(["plan", "production", *cluster, "-o", "json"])
    problems = json.loads(capsys.readouterr().out)["error"]["problems"]
    assert [
        "--prometheus prometheus.monitoring:9090",
        "--prometheus prometheus-operated.monitoring:9090  (headless)",
    ] == (problems)


@pytest.mark.parametrize("cluster", [_mesh()], indirect=True)
def test_without_any_the_forms_are_told(cluster: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """As ever."""
    assert 2 == main(["plan", "production", *cluster])
    said = _said(capsys)
    assert said.startswith("rollout: no Prometheus is named where --prometheus next --prometheus http://HOST:9090, or")


@pytest.mark.parametrize(
    "cluster", [_mesh(REAL, rules=[{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list"]}])], indirect=True
)
def test_without_the_right_to_look_it_says_why(cluster: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The forms, and what could not be listed."""
    assert 2 == main(["plan", "production", *cluster])
    said = _said(capsys)
    assert "no Prometheus is named, and the cluster's Services cannot be looked through: " in said
    assert 'cannot list resource "services"' in said
    assert "SERVICE.NAMESPACE:PORT" in said


@pytest.mark.parametrize(
    ("cluster", "answer", "code", "question"),
    [
        (ONE, "y", 0, "Use monitoring/prometheus:9090? [y/N]"),
        (ONE, "", 2, "Use monitoring/prometheus:9090? [y/N]"),
        (TWO, "1", 0, "2 monitoring/prometheus-operated:9090 (headless) Which one? [1-2/N]"),
        (TWO, "3", 2, "1 monitoring/prometheus:9090 2 monitoring/prometheus-operated:9090"),
    ],
    indirect=["cluster"],
    ids=["yes", "no", "the first", "none of them"],
)
def test_a_person_is_asked(
    cluster: list[str], answer: str, code: int, question: str, terminal: Callable[..., Any], tmp_path: Path
) -> None:
    """Nothing is taken without an answer; what was chosen stands in the next command."""
    seen = terminal(100, 60)
    os.write(seen.master, f"{answer}\n".encode())
    assert code == seen.run("plan", "production", *cluster, "--playbook", QUICK, state=tmp_path)
    shown = " ".join(" ".join(seen.seen()).split())
    assert question in shown
    assert ("--prometheus prometheus.monitoring:9090" in shown.partition("Next:")[2]) is (code == 0)


@pytest.mark.parametrize("cluster", [ONE], indirect=True)
@pytest.mark.parametrize("flags", [["--yes"], ["--confirm", "production"], ["-o", "json"]])
def test_who_asked_to_be_left_alone_is(
    cluster: list[str], flags: list[str], terminal: Callable[..., Any], tmp_path: Path
) -> None:
    """At a terminal, too."""
    seen = terminal(100, 60)
    assert 2 == seen.run("migrate", "production", *cluster, *flags, state=tmp_path)
    assert "[y/N]" not in " ".join(seen.seen())


@pytest.mark.parametrize("cluster", [ONE], indirect=True)
def test_status_needs_none(cluster: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What asks no metrics asks no question."""
    assert 0 == main(["status", *cluster])
    assert "Prometheus" not in _said(capsys)


def test_a_run_that_is_taken_up_is_not_broken_off_for_a_question() -> None:
    """Its undo waits for no answer: who asks Prometheus gets a sentence with the lines to type, looked for once."""
    looked: list[int] = []

    def never(address: str, history: bool) -> PrometheusMetrics:
        raise AssertionError((address, history))

    def candidates() -> str:
        looked.append(1)
        return "--prometheus prometheus.monitoring:9090, or --prometheus prometheus-k8s.ops:9090"

    metrics = NamedMetrics(never, "", "", candidates)
    metrics.default("", "")
    for _ in range(2):
        with pytest.raises(MetricsUnreachable) as error:
            metrics.now()
        assert candidates() == error.value.next
    assert 3 == len(looked)  # the metrics looked once


@pytest.mark.parametrize("cluster", [TWO], indirect=True)
def test_the_lines_to_type_are_those_of_the_cluster(cluster: list[str]) -> None:
    """And none where its Services cannot be listed."""
    reached = connect(cluster[1], None, sleep=lambda _: None)
    expected = "--prometheus prometheus.monitoring:9090, or --prometheus prometheus-operated.monitoring:9090"
    assert expected == hint(reached)
    reached.close()
    nobody = FakeCluster()
    nobody.refuse["services"] = Forbidden("services is forbidden")
    assert "" == hint(nobody)
