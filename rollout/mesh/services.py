"""What a Service reaches: pods by label, container ports by number or name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rollout.mesh.injection import live
from rollout.model.kubernetes import Pod, Service, ServicePort


def host(service: Service, domain: str = "cluster.local") -> str:
    """The name by which Istio knows the Service."""
    return f"{service.name}.{service.namespace}.svc.{domain}"


def selects(service: Service, pod: Pod) -> bool:
    """The pod is one of the Service's. Without a selector a Service selects nothing; its endpoints are hand-made."""
    selector = service.spec.selector
    return (
        bool(selector)
        and service.spec.type != "ExternalName"
        and service.namespace == pod.namespace
        and selector.items() <= pod.labels.items()
    )


def selected(service: Service, pods: Iterable[Pod]) -> tuple[Pod, ...]:
    """The Service's live pods."""
    return tuple(pod for pod in pods if selects(service, pod) and live(pod))


class Backends:
    """Pods, found by one of their labels: asking for every Service of a big namespace costs little."""

    def __init__(self, pods: Iterable[Pod]) -> None:
        """Keep the live ones."""
        self._pods: dict[tuple[str, str, str], list[Pod]] = {}
        for pod in pods:
            if live(pod):
                for key, value in pod.labels.items():
                    self._pods.setdefault((pod.namespace, key, value), []).append(pod)

    def of(self, service: Service) -> tuple[Pod, ...]:
        """The same as `selected`."""
        terms = [(service.namespace, key, value) for key, value in service.spec.selector.items()]
        fewest = min((self._pods.get(term, []) for term in terms), key=len, default=[])
        return selected(service, fewest)


def target_ports(service_port: ServicePort, pod: Pod) -> int | None:
    """The container port behind a Service's port on this pod; None where its name does not exist there."""
    target = service_port.target_port
    if target is None or target in ("", 0):
        return service_port.port
    if isinstance(target, int):
        return target
    if target.isdigit():
        return int(target)
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        for port in container.ports:
            if port.name == target and port.protocol == service_port.protocol:
                return port.container_port
    return None


def reaching(services: Iterable[Service], pod: Pod, port: int) -> Iterator[tuple[Service, ServicePort]]:
    """The Services, with their ports, that lead to this container port."""
    for service in services:
        if selects(service, pod):
            for service_port in service.spec.ports:
                if target_ports(service_port, pod) == port:
                    yield service, service_port
