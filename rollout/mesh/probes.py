"""What the kubelet calls in a pod, and whether Istio's agent answers in the app's place (istio.md 4)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from rollout.mesh.injection import PROXY
from rollout.model.kubernetes import Container, Handler, Pod

#: Where the agent listens; proxies exclude it from the capture.
STATUS_PORT = 15020
_REWRITTEN = re.compile(r"/app-(health|lifecycle)/")


class ProbeView(msgspec.Struct, frozen=True):
    """A probe or lifecycle hook.

    `kind` is `readinessProbe`, `livenessProbe`, `startupProbe`, `postStart` or `preStop`; `handler` is `httpGet`,
    `tcpSocket`, `grpc` or `exec`. `port` is None for exec and for a name that no container port of that container has.
    `rewritten`: the agent is asked instead of the app.
    """

    container: str
    kind: str
    field: str
    port: int | None
    handler: str
    rewritten: bool


def probes(pod: Pod, status_port: int = STATUS_PORT) -> tuple[ProbeView, ...]:
    """All of them but istio-proxy's own, which are never captured."""
    agent = pod.annotations.get("status.sidecar.istio.io/port", "")
    agent_port = int(agent) if agent.isdigit() else status_port
    return tuple(
        _view(path, container, kind, handler, agent_port)
        for path, container in _containers(pod)
        for kind, handler in _handlers(container)
        if _kind_of(handler)
    )


def _containers(pod: Pod) -> Iterator[tuple[str, Container]]:
    for section, containers in (("containers", pod.spec.containers), ("initContainers", pod.spec.init_containers)):
        for container in containers:
            if container.name != PROXY:
                yield f"spec.{section}[{container.name}]", container


def _handlers(container: Container) -> Iterator[tuple[str, Handler]]:
    lifecycle = container.lifecycle
    named = (
        ("readinessProbe", container.readiness_probe),
        ("livenessProbe", container.liveness_probe),
        ("startupProbe", container.startup_probe),
        ("postStart", lifecycle.post_start if lifecycle else None),
        ("preStop", lifecycle.pre_stop if lifecycle else None),
    )
    yield from ((kind, handler) for kind, handler in named if handler is not None)


def _kind_of(handler: Handler) -> str:
    """'' for what calls nothing, such as a lifecycle's sleep."""
    if handler.http_get is not None:
        return "httpGet"
    if handler.tcp_socket is not None:
        return "tcpSocket"
    if handler.grpc is not None:
        return "grpc"
    return "exec" if handler.exec is not None else ""


def _view(path: str, container: Container, kind: str, handler: Handler, agent_port: int) -> ProbeView:
    name = _kind_of(handler)
    action = handler.http_get or handler.tcp_socket or handler.grpc
    port = _number(action.port, container) if action is not None else None
    rewritten = (
        handler.http_get is not None and port == agent_port and _REWRITTEN.match(handler.http_get.path) is not None
    )
    place = f"lifecycle.{kind}" if kind in ("postStart", "preStop") else kind
    return ProbeView(container.name, kind, f"{path}.{place}.{name}", port, name, rewritten)


def _number(port: int | str, container: Container) -> int | None:
    """A name is looked up in the probe's own container, as the kubelet does."""
    if isinstance(port, int):
        return port
    if port.isdigit():
        return int(port)
    return next((p.container_port for p in container.ports if p.name == port), None)
