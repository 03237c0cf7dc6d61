"""Pods that people create through the lab's API: injected, started, ended and taken away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from rollout.lab.lab import Lab

Json = dict[str, Any]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """production has injection, monitoring has none."""
    with Lab.start("rbac-denial") as started:
        yield started


def ask(lab: Lab, method: str, path: str, body: Json | None = None) -> tuple[int, Json]:
    """One request of a person's."""
    parts = urlsplit(lab.api_url)
    connection = HTTPConnection(parts.hostname or "", parts.port or 0, timeout=20)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def create(lab: Lab, namespace: str = "production", **spec: Any) -> Json:
    """A pod `x`, as it is answered."""
    labels = spec.pop("labels", {})
    container = {"name": "app", "image": "registry.example/curl:1", "command": ["sleep", "30"]} | spec.pop(
        "container", {}
    )
    body = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "labels": labels},
        "spec": {"containers": [container], **spec},
    }  # fmt: skip
    status, answered = ask(lab, "POST", f"/api/v1/namespaces/{namespace}/pods", body)
    assert 201 == status, answered
    return answered


def stored(lab: Lab) -> Json:
    """The pod now."""
    found = lab.store.get("v1", "Pod", "x", "production")
    assert found is not None
    return found


def proxies(pod: Json) -> list[str]:
    """Its sidecars, wherever they stand."""
    every = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    return [container["name"] for container in every if container["name"] == "istio-proxy"]


@pytest.mark.parametrize(
    ("namespace", "labels", "expected"),
    [
        ("production", {}, ["istio-proxy"]),
        ("production", {"sidecar.istio.io/inject": "false"}, []),
        ("default", {}, []),
        ("default", {"sidecar.istio.io/inject": "true"}, ["istio-proxy"]),
    ],
)
def test_it_is_injected_at_admission(lab: Lab, namespace: str, labels: Json, expected: list[str]) -> None:
    """The answer to its creation shows the sidecar, with the defaults of a real server."""
    pod = create(lab, namespace, labels=labels)
    assert expected == proxies(pod)
    assert all("terminationMessagePath" in container for container in pod["spec"]["containers"])
    assert ("security.istio.io/tlsMode" in pod["metadata"].get("labels", {})) is bool(expected)


def test_a_dry_run_shows_it_too(lab: Lab) -> None:
    """And stores nothing; other kinds are left alone."""
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"},
            "spec": {"containers": [{"name": "app", "image": "i"}]}}  # fmt: skip
    status, answered = ask(lab, "POST", "/api/v1/namespaces/production/pods?dryRun=All", body)
    assert (201, ["istio-proxy"]) == (status, proxies(answered))
    assert lab.store.get("v1", "Pod", "x", "production") is None
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "b"}}
    assert 201 == ask(lab, "POST", "/api/v1/namespaces/production/configmaps", config)[0]


def test_while_istiod_is_away_nothing_is_injected(lab: Lab) -> None:
    """As the webhook's failure would have it with failurePolicy Ignore."""
    lab.simulation.controllers.injector = False
    assert [] == proxies(create(lab))


def conditions(pod: Json) -> dict[str, str]:
    """By type."""
    return {each["type"]: each["status"] for each in pod.get("status", {}).get("conditions", [])}


def test_it_starts_becomes_ready_and_finishes(lab: Lab) -> None:
    """A node, an address, twelve seconds to start; `sleep 30` ends."""
    create(lab)
    lab.advance(timedelta(seconds=2))
    assert ("Running", "False") == (stored(lab)["status"]["phase"], conditions(stored(lab))["Ready"])
    assert stored(lab)["spec"]["nodeName"].startswith("node-")
    lab.advance(timedelta(seconds=15))
    assert "True" == conditions(stored(lab))["Ready"]
    assert ("production", "x") in lab.simulation.proxies
    lab.advance(timedelta(seconds=20))
    assert "Succeeded" == stored(lab)["status"]["phase"]
    assert ("production", "x") not in lab.simulation.proxies


@pytest.mark.parametrize(
    ("container", "phase"),
    [
        ({"command": ["serve"]}, "Failed"),
        ({"image": "registry.invalid/curl:1"}, "Failed"),
        ({"command": ["sleep", "5"]}, "Succeeded"),
        ({"command": ["sleep"], "args": ["5"]}, "Succeeded"),
    ],
)
def test_its_deadline_ends_it(lab: Lab, container: Json, phase: str) -> None:
    """Whatever it does; one that has ended before stays as it is."""
    create(lab, activeDeadlineSeconds=60, container=container)
    lab.advance(timedelta(seconds=70))
    status = stored(lab)["status"]
    assert (phase, "DeadlineExceeded" if phase == "Failed" else None) == (status["phase"], status.get("reason"))


def test_without_a_deadline_it_goes_on(lab: Lab) -> None:
    """Long after."""
    create(lab, container={"command": ["serve"]})
    lab.advance(timedelta(hours=1))
    assert "Running" == stored(lab)["status"]["phase"]


def test_an_image_that_cannot_be_pulled(lab: Lab) -> None:
    """The pod stays Pending, and says why."""
    create(lab, container={"image": "registry.invalid:5000/curl:1"})
    lab.advance(timedelta(seconds=60))
    status = stored(lab)["status"]
    (container,) = status["containerStatuses"]
    assert ("Pending", "ImagePullBackOff") == (status["phase"], container["state"]["waiting"]["reason"])
    assert "registry.invalid:5000/curl:1" in container["state"]["waiting"]["message"]


@pytest.mark.parametrize(("wait", "seconds"), [(20, 2), (0, 0)], ids=["running", "unbound"])
def test_it_is_taken_away_when_its_grace_is_over(lab: Lab, wait: int, seconds: int) -> None:
    """A pod without a node is gone at once, and comes to life no more."""
    create(lab, terminationGracePeriodSeconds=1)
    lab.advance(timedelta(seconds=wait))
    assert 200 == ask(lab, "DELETE", "/api/v1/namespaces/production/pods/x")[0]
    assert (lab.store.get("v1", "Pod", "x", "production") is not None) is bool(seconds)
    lab.advance(timedelta(seconds=max(seconds, 5)))
    assert lab.store.get("v1", "Pod", "x", "production") is None


def test_a_pod_of_the_same_name_is_another_one(lab: Lab) -> None:
    """The first one's end is not the second's."""
    create(lab, terminationGracePeriodSeconds=0)
    lab.advance(timedelta(seconds=20))
    ask(lab, "DELETE", "/api/v1/namespaces/production/pods/x")
    create(lab)
    lab.advance(timedelta(seconds=20))
    assert "Running" == stored(lab)["status"]["phase"]
