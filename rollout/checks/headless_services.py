"""Headless Services and peers of StatefulSets can speak mutual TLS.

Why: clients of a headless Service use mutual TLS only when every one of its pods can; one pod without a sidecar turns
all of them to plaintext. Peers of a StatefulSet call each other by address: on a port that no Service declares their
sidecars pass plaintext through, STRICT refuses it, and a quorum falls apart.

Fix: restart the pods without a sidecar, and declare the peers' ports in a headless Service with
publishNotReadyAddresses: true.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.checks.words import many
from rollout.mesh.injection import PROXY, address, addressable, live
from rollout.mesh.peer_authentication import Policies
from rollout.mesh.services import Backends, reaching, target_ports
from rollout.mesh.strict import strict
from rollout.mesh.workloads import workload
from rollout.model.finding import Finding, Severity
from rollout.model.istio import PeerAuthentication
from rollout.model.kubernetes import ContainerPort, Pod, Ref, Service
from rollout.record.state import State

META = Meta("headless-services", State.CHECKING, __doc__)
READS = (Service, Pod, PeerAuthentication)

#: On which members of a cluster find each other (incidents.md 2, stateful-peer-clustering): ZooKeeper, etcd, RabbitMQ,
#: Hazelcast, NATS, Cassandra, memberlist, Vault, Elasticsearch, Redis Cluster and Sentinel, MongoDB.
_PEERS = frozenset({2380, 2888, 3888, 4369, 5701, 6222, 7000, 7001, 7946, 8201, 9300, 16379, 25672, 26379, 27017})
_PEER_WORDS = frozenset({"cluster", "peer", "peers", "gossip", "raft", "election", "transport", "epmd", "dist", "bus"})
_WATCHED_WORDS = frozenset({"metrics", "health", "healthz", "probe", "admin", "debug", "pprof", "status", "management"})


def check(view: View) -> Findings:
    """One finding per headless Service with unlike pods, and per port of peers that no headless Service declares."""
    policies = view.then.policies()
    pods = [pod for pod in view.then.of(Pod, view.target) if live(pod)]
    services = view.then.of(Service, view.target)
    headless = [service for service in services if service.headless]
    backends = view.then.derived(Pod, Backends)
    for service in headless:
        yield from _mixed(service, backends.of(service), policies)
    members: dict[Ref, list[Pod]] = {}
    for pod in pods:
        owner = workload(pod)
        if owner.kind == "StatefulSet":
            members.setdefault(owner, []).append(pod)
    for owner, mine in members.items():
        if len(mine) > 1:
            yield from _undeclared(owner, mine[0], services, policies)
    return f"{many(len(headless), 'headless Service')}, {many(len(members), 'StatefulSet')}"


def _mixed(service: Service, pods: tuple[Pod, ...], policies: Policies) -> Iterator[Finding]:
    """All or nothing: one pod without the label turns every client to plaintext (istio.md 3.2)."""
    bare = [pod for pod in pods if not addressable(pod)]
    cut = sorted({p.port for p in service.spec.ports for pod in pods if strict(policies, pod, target_ports(p, pod))})
    if bare and cut:
        yield Finding(
            ref=service.ref,
            field="spec.selector",
            measured=f"{len(bare)} of {many(len(pods), 'pod')} without mutual TLS",
            limit="0",
            where=(
                f"so mesh clients send plaintext to all of them, and port {cut[0]} of the others refuses it",
                f"for example {bare[0].ref}",
            ),
            fix=address(bare[0]),
        )


def _undeclared(owner: Ref, pod: Pod, services: Iterable[Service], policies: Policies) -> Iterator[Finding]:
    """What no Service declares goes through the caller's sidecar as it is (istio.md 7); metrics are no peers' port."""
    for port in _ports(pod):
        number = port.container_port
        if not strict(policies, pod, number):
            continue
        leading = [service for service, _ in reaching(services, pod, number)]
        words = set(port.name.lower().split("-"))
        peers = number in _PEERS or bool(words & _PEER_WORDS)
        if any(service.headless for service in leading) or words & _WATCHED_WORDS or (leading and not peers):
            continue
        declared = f"declared only in {leading[0].name}, which is not headless" if leading else "declared in no Service"
        yield Finding(
            ref=owner,
            field=f"spec.template.spec.containers.ports[{port.name or number}]",
            measured=f"port {number} is {declared}",
            limit="a headless Service that declares it",
            where=(
                "peers find each other there, in plaintext"
                if peers
                else "if its peers call each other there: plaintext",
                "STRICT refuses that",
            ),
            fix=f"declare port {number} in a headless Service of {owner} (publishNotReadyAddresses: true); "
            f"or, when no peer uses it: --waive '{META.id}={owner}' --reason TEXT",
            severity=None if peers and not leading else Severity.WARNING,
        )


def _ports(pod: Pod) -> Iterator[ContainerPort]:
    for container in pod.spec.containers:
        if container.name != PROXY:
            yield from (port for port in container.ports if port.protocol == "TCP")
