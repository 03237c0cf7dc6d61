"""From lines of access logs to callers, and to the edges that have no name in the metrics. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from rollout.mesh.services import host, selects, target_ports
from rollout.mesh.workloads import workload
from rollout.model.callers import Caller, Wire
from rollout.model.kubernetes import Pod, Service
from rollout.model.traffic import Edge, Family
from rollout.world.access_log import Record
from rollout.world.addresses import Addresses

_AGENTS = 3

Seen = tuple[Pod, Record]
"""A line, and the pod whose proxy wrote it."""


class _Key(msgspec.Struct, frozen=True):
    destination: str
    port: int
    address: str
    who: str
    wire: Wire
    family: Family | None
    forwarded: bool


def callers(seen: Iterable[Seen], addresses: Addresses) -> tuple[Caller, ...]:
    """Inbound lines without mesh TLS, by caller and port; the most lines first."""
    groups: dict[_Key, list[Record]] = {}
    for pod, record in seen:
        wire = record.wire
        if wire is None or not record.inbound:
            continue
        key = _Key(
            destination=f"{pod.namespace}/{workload(pod).name}",
            port=record.port,
            address=record.remote,
            who=addresses.who(record.remote, record.at),
            wire=wire,
            family=None if record.refused else record.family,
            forwarded=record.forwarded,
        )
        groups.setdefault(key, []).append(record)
    found = [_caller(key, records) for key, records in groups.items()]
    return tuple(sorted(found, key=lambda caller: (-caller.lines, caller.destination, caller.address, caller.first)))


def _caller(key: _Key, records: Sequence[Record]) -> Caller:
    agents = sorted({record.agent for record in records if record.agent})
    return Caller(
        destination=key.destination,
        port=key.port,
        address=key.address,
        who=key.who,
        wire=key.wire,
        family=key.family,
        lines=len(records),
        refused=sum(record.refused for record in records),
        first=min(record.at for record in records),
        last=max(record.at for record in records),
        agents=tuple(agents[:_AGENTS]),
        forwarded=key.forwarded,
    )


def nameless(edge: Edge) -> bool:
    """A caller without mesh TLS whom the metrics do not name."""
    return not edge.mutual and not edge.source.named


def fitting(
    edge: Edge, found: Iterable[Caller], pods: Iterable[Pod], services: Iterable[Service]
) -> tuple[Caller, ...]:
    """The callers that the edge may be: same workload and family, and a port that the edge's Service leads to.

    A refused connection fits both families: it was closed before anything was read of it.
    """
    if not nameless(edge):
        return ()
    ports = _ports(edge, pods, services)
    return tuple(
        caller
        for caller in found
        if caller.destination == f"{edge.destination.namespace}/{edge.destination.workload}"
        and caller.family in (None, edge.family)
        and (not ports or caller.port in ports)
    )


def _ports(edge: Edge, pods: Iterable[Pod], services: Iterable[Service]) -> frozenset[int]:
    """Empty where the metrics name no Service that is there: then any port."""
    there = (service for service in services if service.namespace == edge.destination.namespace)
    called = next((service for service in there if host(service) == edge.service), None)
    if called is None:
        return frozenset()
    mine = [pod for pod in pods if selects(called, pod) and workload(pod).name == edge.destination.workload]
    targets = (target_ports(port, pod) for pod in mine for port in called.spec.ports)
    return frozenset(port for port in targets if port is not None)
