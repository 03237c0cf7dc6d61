"""Which Services lead to ports that accept mutual TLS only."""

from __future__ import annotations

from collections.abc import Iterable

from rollout.mesh.injection import captured_port
from rollout.mesh.peer_authentication import Policies
from rollout.mesh.services import Backends, target_ports
from rollout.model.istio import Mode
from rollout.model.kubernetes import Pod, Service


def strict(policies: Policies, pod: Pod, port: int | None) -> bool:
    """The container port is captured, and refuses plaintext."""
    return port is not None and captured_port(pod, port) and policies.effective(pod, port).mode is Mode.STRICT


def strict_services(
    services: Iterable[Service], backends: Backends, policies: Policies
) -> tuple[tuple[Service, tuple[int, ...]], ...]:
    """Each Service that leads to such a port on some pod, with those of its own ports that do."""
    found = []
    for service in services:
        mine = backends.of(service)
        ports = tuple(
            p.port for p in service.spec.ports if any(strict(policies, pod, target_ports(p, pod)) for pod in mine)
        )
        if ports:
            found.append((service, ports))
    return tuple(found)
