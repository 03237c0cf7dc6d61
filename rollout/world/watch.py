"""What happens to a namespace's traffic now, seen from both ends: the answers of the watch's queries folded.

Pure. A caller that is refused leaves nothing at the destination (observed.md d), so both views of an edge are joined:
by the caller and the Service, because the source does not know the workload of a call that never got through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from rollout.model.judgement import EdgeSample, Observation
from rollout.model.traffic import UNKNOWN, Family, Party, Sight

#: The service name that pod-IP calls carry in the edges here.
PASSTHROUGH = "PassthroughCluster"

#: Response flags of a call that the network broke. A set: HTTP writes `URX,UF`, TCP `UF,URX` (observed.md e).
BROKEN = frozenset({"UC", "UF", "URX", "UPE", "DC", "UR", "UH", "UT", "NC", "DPE"})
#: The same for a TCP connection; DC is how clients leave.
BROKEN_TCP = frozenset({"UF", "URX", "UR", "UH", "UC", "NC"})
UNAVAILABLE = "14"

#: Query name (a function of `queries`) -> labels and value of each of its samples.
Rows = Iterable[tuple[Mapping[str, str], float]]
Tables = Mapping[str, Rows]

_HOST = re.compile(r"^[^.:]+\.(?P<namespace>[a-z0-9-]+)(\.svc.*)?(:\d+)?$")


def failed_request(labels: Mapping[str, str]) -> bool:
    """The request failed: 5xx, no answer (0), a broken stream, or gRPC UNAVAILABLE under code 200."""
    code = labels.get("response_code", "")
    if code == "0" or (len(code) == 3 and code.startswith("5")):
        return True
    return bool(BROKEN & _flags(labels)) or labels.get("grpc_response_status") == UNAVAILABLE


def refused_request(labels: Mapping[str, str]) -> bool:
    """The destination failed or refused it; 403 is what an AuthorizationPolicy answers."""
    return labels.get("response_code") == "403" or failed_request(labels)


def failed_connection(labels: Mapping[str, str]) -> bool:
    """The connection was broken rather than ended (istio.md 6.5: UR, UF)."""
    return bool(BROKEN_TCP & _flags(labels))


def _flags(labels: Mapping[str, str]) -> frozenset[str]:
    return frozenset(flag.strip() for flag in labels.get("response_flags", "").split(","))


def target_namespace(labels: Mapping[str, str], namespaces: frozenset[str]) -> str:
    """Which of the namespaces a sample at the source is about, '' for none; any of three labels may know."""
    for label in ("destination_workload_namespace", "destination_service_namespace"):
        if labels.get(label, "") in namespaces:
            return labels[label]
    host = _HOST.match(labels.get("destination_service", ""))
    return host["namespace"] if host and host["namespace"] in namespaces else ""


def _source(labels: Mapping[str, str]) -> Party:
    return Party(labels.get("source_workload_namespace") or UNKNOWN, labels.get("source_workload") or UNKNOWN)


@dataclass
class _Tally:
    destination: Party
    weight: float = 0.0
    numbers: dict[str, float] = field(default_factory=dict)

    def add(self, what: str, value: float) -> None:
        self.numbers[what] = self.numbers.get(what, 0.0) + value


class Fold:
    """Samples of one moment on their way to edges."""

    def __init__(self, namespaces: Iterable[str], addresses: Mapping[str, Party]) -> None:
        """`addresses` are the pod IPs of these namespaces, with their workloads."""
        self.namespaces = frozenset(namespaces)
        self.addresses = addresses
        self.tallies: dict[str, dict[tuple[Party, str, Family], _Tally]] = {name: {} for name in self.namespaces}
        self.requests: dict[str, float] = {}
        self.errors: dict[str, float] = {}
        self.resets: dict[str, float] = {}

    def take(self, tables: Tables) -> Fold:
        """Add all tables."""
        for labels, value in tables.get("tried", ()):
            bad = value if failed_request(labels) else 0.0
            self._add(labels, Family.HTTP, tried=value, failed=bad)
        for labels, value in tables.get("arrived", ()):
            bad = value if refused_request(labels) else 0.0
            self._add(labels, Family.HTTP, arrived=value, refused=bad)
            namespace = labels.get("destination_workload_namespace", "")
            self.requests[namespace] = self.requests.get(namespace, 0.0) + value
            self.errors[namespace] = self.errors.get(namespace, 0.0) + bad
        for labels, value in tables.get("connected", ()):
            self._add(labels, Family.TCP, tried=value)
        for labels, value in tables.get("disconnected", ()):
            self._add(labels, Family.TCP, failed=value if failed_connection(labels) else 0.0)
        for labels, value in tables.get("accepted", ()):
            self._add(labels, Family.TCP, arrived=value)
        for labels, value in tables.get("received", ()):
            self._add(labels, Family.TCP, received_bytes=value)
        for labels, value in tables.get("passthrough", ()):
            self._pass(labels, value)
        for labels, value in tables.get("reset", ()):
            if value and (source := _source(labels)).named:
                self.resets[str(source)] = self.resets.get(str(source), 0.0) + value
        return self

    def _add(self, labels: Mapping[str, str], family: Family, **numbers: float) -> None:
        namespace = target_namespace(labels, self.namespaces)
        if not namespace:
            return
        destination = Party(namespace, labels.get("destination_workload") or UNKNOWN)
        self._count(namespace, labels, destination, labels.get("destination_service", ""), family, numbers)

    def _pass(self, labels: Mapping[str, str], value: float) -> None:
        address = labels.get("destination_service", "").rpartition(":")[0].strip("[]")
        destination = self.addresses.get(address) or self.addresses.get(labels.get("destination_service", ""))
        if destination is not None:
            numbers = {"tried": value, "failed": value if failed_request(labels) else 0.0}
            self._count(destination.namespace, labels, destination, PASSTHROUGH, Family.HTTP, numbers)

    def _count(
        self,
        namespace: str,
        labels: Mapping[str, str],
        destination: Party,
        service: str,
        family: Family,
        numbers: Mapping[str, float],
    ) -> None:
        source = _source(labels)
        bare = service.partition(":")[0] if service.count(":") == 1 else service
        tally = self.tallies[namespace].setdefault((source, bare, family), _Tally(destination))
        weight = sum(numbers.values())
        if destination.named and (weight > tally.weight or not tally.destination.named):
            tally.destination, tally.weight = destination, weight
        for what, value in numbers.items():
            tally.add(what, value)

    def edges(self, namespace: str) -> tuple[EdgeSample, ...]:
        """The edges of a namespace."""
        return tuple(
            EdgeSample(source, tally.destination, service, family, **tally.numbers)
            for (source, service, family), tally in sorted(self.tallies[namespace].items(), key=lambda item: item[0])
        )

    def with_recent(self, observation: Observation, namespace: str) -> Observation:
        """The observation with this fold, of the last scrape interval alone, beside it."""
        latest = {(e.source, e.service, e.family): e for e in self.edges(namespace)}
        edges = []
        for edge in observation.edges:
            now = latest.get((edge.source, edge.service, edge.family))
            numbers = (now.tried, now.failed, now.arrived, now.refused) if now else (0.0,) * 4
            names = ("recent_tried", "recent_failed", "recent_arrived", "recent_refused")
            edges.append(msgspec.structs.replace(edge, **dict(zip(names, numbers, strict=True))))
        return msgspec.structs.replace(
            observation,
            edges=tuple(edges),
            recent_requests=self.requests.get(namespace, 0.0),
            recent_errors=self.errors.get(namespace, 0.0),
        )

    def observation(
        self,
        namespace: str,
        at: datetime,
        window: float,
        sight: Sight,
        queries: dict[str, str],
        warnings: tuple[str, ...],
    ) -> Observation:
        """What the watch judges."""
        return Observation(
            at=at,
            window=window,
            sight=sight,
            edges=self.edges(namespace),
            destination_requests=self.requests.get(namespace, 0.0),
            destination_errors=self.errors.get(namespace, 0.0),
            resets=self.resets,
            queries=queries,
            warnings=warnings,
        )
