"""Ports that a sidecar leaves to the app: why, and whose calls fail there (istio.md 1.2, 7).

A pod's label tells clients that it speaks mutual TLS, and knows nothing of its ports: what they send to a port that is
not captured arrives at an app that cannot read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rollout.checks.excluded_ports import recapture
from rollout.checks.words import many, some
from rollout.mesh.destination_rules import Rules, ports_of
from rollout.mesh.injection import (
    EXCLUDE_PORTS,
    INCLUDE_PORTS,
    addressable,
    captured,
    captured_port,
    uncaptured_because,
)
from rollout.mesh.outbound import exclusions
from rollout.mesh.peer_authentication import Policies
from rollout.mesh.services import host, reaching
from rollout.mesh.workloads import workload
from rollout.model.finding import Finding, Severity
from rollout.model.istio import ClientTLSMode, DestinationRule, MeshConfig, Mode
from rollout.model.kubernetes import Namespace, Pod, Ref, Service
from rollout.world.world import KindUnreadable, World

#: Where the reason stands, in what makes the pods.
FIELD = "spec.template.metadata.annotations"


def because(pod: Pod, port: int) -> str:
    """What leaves a port out that is not captured."""
    if whole := uncaptured_because(pod):
        return whole
    included, excluded = pod.annotations.get(INCLUDE_PORTS, "*"), pod.annotations.get(EXCLUDE_PORTS, "")
    if "*" not in included:
        return f"{INCLUDE_PORTS}: {included}"
    if str(port) in (each.strip() for each in excluded.split(",")):
        return f"{EXCLUDE_PORTS}: {excluded}"
    return "the mesh's defaults leave it out (global.proxy)"


def fix(pod: Pod, port: int) -> str:
    """The command that captures the port again; where nothing is captured at all, layer 1 has it."""
    return recapture(pod, port) if captured(pod) else "let the sidecar capture its traffic, as layer 1 says"


def refused(world: World, pods: Iterable[Pod], policies: Policies, mesh: MeshConfig) -> Iterator[Finding]:
    """A finding per workload and port where calls of the mesh fail now; none where clients are told to send plaintext.

    Args:
        world: with Services and DestinationRules; where they cannot be read nothing is said.
        pods: the servers.
        policies: of the mesh.
        mesh: its configuration.
    """
    if not mesh.enable_auto_mtls:
        return
    found: dict[tuple[Ref, int], list[Pod]] = {}
    through: dict[tuple[Ref, int], set[str]] = {}
    for pod in pods:
        if captured(pod) and addressable(pod):
            for port in policies.ports(pod):
                if names := _services(world, pod, port, policies, mesh):
                    found.setdefault((workload(pod), port), []).append(pod)
                    through.setdefault((workload(pod), port), set()).update(names)
    for (owner, port), its in found.items():
        yield Finding(
            ref=owner,
            field=FIELD,
            measured=f"port {port} is not captured, {many(len(its), 'pod')}: calls of the mesh are refused",
            limit="captured by the sidecar, or a DestinationRule DISABLE for the port",
            where=(
                because(its[0], port),
                "clients send mutual TLS to the pod, and the app itself cannot read it (503)",
                f"Services that lead to it: {some(sorted(through[owner, port]))}",
            ),
            fix=recapture(its[0], port),
            check="excluded-ports",
            severity=Severity.BLOCKING,
            new=False,
        )


def _services(world: World, pod: Pod, port: int, policies: Policies, mesh: MeshConfig) -> list[str]:
    """Those whose clients send mutual TLS to this port, and meet no proxy."""
    disabled = Mode.DISABLE in (policies.of_namespace(pod.namespace).mode, policies.effective(pod, port).mode)
    if captured_port(pod, port) or disabled or exclusions(pod).reason(port, [pod.status.pod_ip]):
        return []  # with the last its peers pass by their own sidecars, too
    try:
        services = world.of(Service, pod.namespace)
        clients = sorted(space.name for space in world.of(Namespace))
        rules = world.derived(DestinationRule, Rules, mesh.root_namespace, mesh.default_destination_rule_export_to)
    except KindUnreadable:
        return []
    return [s.name for s, p in reaching(services, pod, port) if not _told_plaintext(rules, clients, s, p.port)]


def _told_plaintext(rules: Rules, clients: Iterable[str], service: Service, port: int) -> bool:
    """By a DestinationRule that clients of some namespace see: there the port is left out on purpose."""
    for alike in rules.alike(clients, host(service)):
        settings = rules.settings(alike[0], service.namespace, host(service))
        if any(
            s.mode is not ClientTLSMode.ISTIO_MUTUAL and not s.subset and ports_of(s, settings, (port,))
            for s in settings
        ):
            return True
    return False
