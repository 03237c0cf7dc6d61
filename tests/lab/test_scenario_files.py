"""Scenario files as people write them: what kubectl would take is taken, and what is wrong is said with its place."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.errors import UsageError
from rollout.lab.lab import Lab
from rollout.lab.scenario import load_scenario

START = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)

MESH = """
title: t
description: d
target: app
namespaces: {app: {injection: enabled}, web: {injection: enabled}}
workloads:
  - {name: server, namespace: app, ports: {http: 8080}, probes: {readiness: http 8080}}
  - {name: client, namespace: web}
  - {name: nightly, namespace: web, kind: CronJob, schedule: "0 3 * * *", takes: 2m}
traffic:
  calls: {from: web/client, to: "app/server:8080", rate: 5/s, lasts: 20ms, errors: 0.01}
  jobs: {from: web/nightly, to: "app/server:8080", calls: 60}
manifests:
  - apiVersion: security.istio.io/v1
    kind: PeerAuthentication
    metadata: {name: pin, namespace: app}
    spec: {selector: {matchLabels: {app: server}}, portLevelMtls: {8080: {mode: PERMISSIVE}}}
events:
  - at: 1m
    delete: {apiVersion: v1, kind: Namespace, name: nowhere}
  - named: scale
    scale: {workload: web/client, replicas: 3}
mesh: {scrape_interval: 30s, drain: 3m, propagation: 1s-3s}
expect: {exit: 0, outcome: enforced}
"""


def written(folder: Path, document: Any) -> Path:
    path = folder / "mesh.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document), encoding="utf-8")
    return path


def at(document: Any, *place: str | int) -> Any:
    for step in place:
        document = document[step]
    return document


def test_keys_that_are_numbers_are_strings_as_kubectl_makes_them(tmp_path: Path) -> None:
    """`portLevelMtls: {8080: …}` is how everybody writes it."""
    lab = Lab(load_scenario(written(tmp_path, MESH)), seed=1, start=START)
    pin = lab.store.get("security.istio.io/v1", "PeerAuthentication", "pin", "app")
    assert pin is not None
    assert {"8080": {"mode": "PERMISSIVE"}} == pin["spec"]["portLevelMtls"]


def test_a_drain_is_a_duration_like_any_other(tmp_path: Path) -> None:
    """Three minutes as MeshConfig has them, and as the mesh keeps them."""
    lab = Lab(load_scenario(written(tmp_path, MESH)), seed=1, start=START)
    assert 180_000 == lab.simulation.catalog.mesh_config().drain


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("mesh", "drain"), "soon", "mesh.drain: 'soon' is no duration such as 90s or 1h30m"),
        (("mesh", "drain"), 45, "mesh.drain: 45 is no duration"),
        (("mesh", "scrape_interval"), "0s", "mesh.scrape_interval: a duration of 1s or more, not '0s'"),
        (("mesh", "propagation"), "fast-slow", "'fast' is no duration"),
        (("mesh", "version"), "newest", "mesh.version: a version of Istio such as 1.27.3, not 'newest'"),
        (("look_back",), "99999999d", "look_back: '99999999d' is longer than 3650d"),
        (("workloads", 0, "replicas"), "two", "workloads[0].replicas: a whole number from 0 to 1000, not 'two'"),
        (("workloads", 0, "ports"), [8080], "workloads[0].ports: keys and values, not [8080]"),
        (("workloads", 0, "ports", "http"), 70_000, "workloads[0].ports.http: a whole number from 1 to 65535"),
        (("workloads", 0, "probes", "readiness"), "http", "workloads[0].probes.readiness: `http 8080`, `tcp 5432`"),
        (("workloads", 2, "schedule"), "*/0 * * * *", "workloads[2].schedule: '*/0 * * * *' is no schedule of five"),
        (("workloads", 2, "takes"), "10s", "workloads[2].takes: a duration of 90s or more, not '10s'"),
        (("traffic", "calls", "rate"), "many", "traffic.calls.rate: a rate such as 5/s or 12/h, not 'many'"),
        (("traffic", "calls", "lasts"), "0ms", "traffic.calls.lasts: a duration of 1ms or more, not '0ms'"),
        (("traffic", "calls", "errors"), 3, "traffic.calls.errors: a number from 0 to 1, not 3"),
        (("traffic", "calls", "to"), "server", "traffic.calls.to: NAMESPACE/SERVICE:PORT, not 'server'"),
        (("traffic", "calls", "daily"), "25:00", "traffic.calls.daily: a time of day HH:MM (in quotes), not '25:00'"),
        (("traffic", "calls"), None, "traffic.calls: keys and values, not None"),
        (("manifests", 0, "metadata"), {}, "manifests[0].metadata: missing key name"),
        (("manifests", 0), "pin", "manifests[0]: keys and values, not 'pin'"),
        (("events", 0, "delete"), {"name": "x"}, "events[0].delete: missing key apiVersion, kind"),
        (("manifests", 0, "spec"), 7, "manifests[0].spec: keys and values, not 7"),
        (("manifests", 0, "spec", "portLevelMtls"), {"http": {}}, "portLevelMtls: port numbers as keys, not 'http'"),
        (("workloads", 0, "probes"), {"startup": "exec"}, "workload server: probes: unknown key startup"),
        (("events", 0, "at"), "noon", "events[0].at: 'noon' is no duration"),
        (("events", 1, "scale", "workload"), "client", "events[1].scale.workload: NAMESPACE/NAME, not 'client'"),
        (("expect", "exit"), "zero", "expect.exit: a whole number from 0 to 255, not 'zero'"),
        (("expect",), None, "the file: missing key expect"),
        (("namespaces",), ["app"], "namespaces: keys and values, not ['app']"),
    ],
)
def test_a_wrong_value_is_said_with_its_place(
    tmp_path: Path, place: tuple[str | int, ...], value: Any, said: str
) -> None:
    """File, place, what is allowed there and what stands there."""
    document = yaml.safe_load(MESH)
    at(document, *place[:-1])[place[-1]] = value
    path = written(tmp_path, document)
    with pytest.raises(UsageError) as caught:
        load_scenario(path)
    assert said in str(caught.value)
    assert str(path) == caught.value.where


@pytest.mark.parametrize("text", ["", "- a list", "a word", "a: &a [*a]", "title: [", "? {a: b}\n: c", "\x00"])
def test_what_is_no_scenario_at_all_is_said(tmp_path: Path, text: str) -> None:
    """Never with a traceback."""
    with pytest.raises(UsageError):
        load_scenario(written(tmp_path, text))


def test_an_object_that_the_api_refuses_is_said_with_its_place(tmp_path: Path) -> None:
    """A kind that no cluster of the lab serves."""
    document = yaml.safe_load(MESH)
    document["manifests"].append({"apiVersion": "example.com/v1", "kind": "Toy", "metadata": {"name": "a"}})
    path = written(tmp_path, document)
    with pytest.raises(UsageError, match=r"manifests\[1\]"):
        Lab(load_scenario(path), seed=1, start=START)


def places(document: Any, before: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Of every value in a document."""
    inner: list[Any] = []
    if isinstance(document, dict):
        inner = list(document.items())
    elif isinstance(document, list):
        inner = list(enumerate(document))
    return [place for key, below in inner for place in ((*before, key), *places(below, (*before, key)))]


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]), st.just({}),
    st.just({"a": 1}), st.just(["a"]), st.sampled_from(["1d", "5/s", "a/b", "a/b:1", "-1s", "nan/s", "1e999/s", "1:2"]),
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(places(yaml.safe_load(MESH))), junk=JUNK)
def test_any_value_anywhere_is_taken_or_refused(tmp_path: Path, place: tuple[str | int, ...], junk: Any) -> None:
    """A scenario, or a sentence: nothing else comes out of the loader."""
    document = copy.deepcopy(yaml.safe_load(MESH))
    at(document, *place[:-1])[place[-1]] = junk
    path = written(tmp_path, document)
    assert str(path) == answered(path)


def answered(path: Path) -> str:
    """The path that a scenario knows, or that its refusal names."""
    try:
        return load_scenario(path).path
    except UsageError as error:
        return error.where
