"""What the kubelet calls, and who answers (istio.md 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rollout.mesh.probes import ProbeView, probes
from rollout.model.kubernetes import Pod

MakePod = Callable[..., Pod]


def _one(pod: MakePod, handler: dict[str, Any], **rest: Any) -> ProbeView:
    ports = [{"containerPort": 8080, "name": "http"}]
    made = pod(containers=[{"name": "app", "ports": ports, "readinessProbe": handler}], **rest)
    (found,) = probes(made)
    return found


@pytest.mark.parametrize(
    ("handler", "kind", "port"),
    [
        ({"httpGet": {"port": 8080, "path": "/"}}, "httpGet", 8080),
        ({"httpGet": {"port": "http", "path": "/"}}, "httpGet", 8080),
        ({"httpGet": {"port": "8081", "path": "/"}}, "httpGet", 8081),
        ({"httpGet": {"port": "gone", "path": "/"}}, "httpGet", None),
        ({"tcpSocket": {"port": "http"}}, "tcpSocket", 8080),
        ({"grpc": {"port": 9000}}, "grpc", 9000),
        ({"exec": {"command": ["true"]}}, "exec", None),
    ],
)
def test_every_handler_is_read_with_its_port(
    pod: MakePod, handler: dict[str, Any], kind: str, port: int | None
) -> None:
    """Names are looked up in the probe's own container."""
    found = _one(pod, handler)
    assert found == ProbeView("app", "readinessProbe", f"spec.containers[app].readinessProbe.{kind}", port, kind, False)


@pytest.mark.parametrize(
    ("path", "port", "annotations", "rewritten"),
    [
        ("/app-health/app/readyz", 15020, {}, True),
        ("/app-lifecycle/app/prestopz", 15020, {}, True),
        ("/app-health/app/readyz", 8080, {}, False),
        ("/healthz", 15020, {}, False),
        ("/app-health/app/readyz", 15999, {"status.sidecar.istio.io/port": "15999"}, True),
        ("/app-health/app/readyz", 15020, {"status.sidecar.istio.io/port": "15999"}, False),
    ],
)
def test_rewritten_means_the_agents_port_and_path(
    pod: MakePod, path: str, port: int, annotations: dict[str, str], rewritten: bool
) -> None:
    """Both, and the pod may move the port."""
    assert _one(pod, {"httpGet": {"port": port, "path": path}}, annotations=annotations).rewritten is rewritten


def test_the_meshs_status_port_counts(pod: MakePod) -> None:
    """defaultConfig.statusPort."""
    made = pod(
        containers=[{"name": "app", "livenessProbe": {"httpGet": {"port": 15999, "path": "/app-health/app/livez"}}}]
    )
    assert [found.rewritten for found in probes(made, 15999)] == [True]
    assert [found.rewritten for found in probes(made)] == [False]


def test_hooks_and_init_containers_are_probed_too_but_not_the_proxy(pod: MakePod) -> None:
    """A hook that only sleeps calls nothing."""
    get = {"httpGet": {"port": 1, "path": "/"}}
    containers = [{"name": "app", "lifecycle": {"postStart": get, "preStop": {"sleep": {"seconds": 1}}}}]
    init = [{"name": "native", "startupProbe": get}, {"name": "istio-proxy", "readinessProbe": get}]
    assert [found.field for found in probes(pod(containers=containers, init=init))] == [
        "spec.containers[app].lifecycle.postStart.httpGet",
        "spec.initContainers[native].startupProbe.httpGet",
    ]
