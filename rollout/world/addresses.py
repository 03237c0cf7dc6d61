"""Whose an address was at a time: a pod's, a node's, a load balancer's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from rollout.mesh.injection import injected, live
from rollout.mesh.workloads import workload
from rollout.model.kubernetes import Node, Pod, Service

#: The clocks of two nodes.
_SLACK = timedelta(seconds=5)
_SHOWN = 3
_EVER = datetime.min.replace(tzinfo=UTC) + timedelta(days=1)


class Addresses:
    """An index over the objects of a cluster; what could not be read is empty."""

    def __init__(self, pods: Iterable[Pod], nodes: Iterable[Node], services: Iterable[Service]) -> None:
        """Sort them by address."""
        self._pods: dict[str, list[Pod]] = {}
        self._on_host: dict[str, list[Pod]] = {}
        for pod in pods:
            if pod.spec.host_network:
                if live(pod):
                    self._on_host.setdefault(pod.spec.node_name, []).append(pod)
                continue
            for address in dict.fromkeys((pod.status.pod_ip, *(one.ip for one in pod.status.pod_ips))):
                if address:
                    self._pods.setdefault(address, []).append(pod)
        self._nodes = {
            address.address: node for node in nodes for address in node.status.addresses if address.type.endswith("IP")
        }
        self._balancers = {address: service for service in services for address in _outside(service)}

    def who(self, address: str, at: datetime) -> str:
        """The owner in words, '' where nobody is known."""
        if address in self._nodes:
            return self._node(self._nodes[address])
        if address in self._pods:
            return _pods(self._pods[address], at)
        if address in self._balancers:
            return f"load balancer of {self._balancers[address].ref}"
        return ""

    def _node(self, node: Node) -> str:
        guests = sorted(str(workload(pod)) for pod in self._on_host.get(node.name, ()))
        names = list(dict.fromkeys(guests))
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        host = f", or a pod on its network: {', '.join(names[:_SHOWN])}{more}" if names else ""
        return f"{node.ref} (its kubelet, a NodePort or a load balancer{host})"


def _outside(service: Service) -> Iterator[str]:
    yield from service.spec.external_ips
    yield from (one.ip for one in service.status.load_balancer.ingress if one.ip)


def _pods(pods: list[Pod], at: datetime) -> str:
    had = [pod for pod in pods if _began(pod) <= at + _SLACK and ((end := ended(pod)) is None or at <= end + _SLACK)]
    if not had:
        heirs = ", ".join(f"{_named(pod)} since {_stamp(_began(pod))}" for pod in pods if _began(pod) > at)
        return f"was a pod that is gone (now {heirs})" if heirs else ""
    if len(had) > 1:
        return "may be " + " or ".join(_named(pod) for pod in had)
    (pod,) = had
    end = ended(pod)
    if end is not None:
        return f"was {_named(pod)} until {_stamp(end)}"
    return f"may be {_named(pod)}, which has ended" if _over(pod) else _named(pod)


def ended(pod: Pod) -> datetime | None:
    """When a finished pod's last container ended; None while it runs, and where its status does not tell."""
    if not _over(pod):
        return None
    ends = [one.state.terminated.finished_at for one in pod.status.container_statuses if one.state.terminated]
    return max((end for end in ends if end is not None), default=None)


def _over(pod: Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")


def _began(pod: Pod) -> datetime:
    began = pod.status.start_time or pod.metadata.creation_timestamp
    return began if began is not None else _EVER


def _named(pod: Pod) -> str:
    owner = workload(pod)
    about = [str(owner)] if owner != pod.ref else []
    about += ["has a sidecar"] if injected(pod) else []
    return f"{pod.ref} ({', '.join(about)})" if about else str(pod.ref)


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
