"""Exemptions of a workload's port as changes: one PeerAuthentication per workload, before the flip.

A policy that selects the workload and says only `portLevelMtls: PERMISSIVE` inherits its mode, so it changes nothing
when it is made and keeps the one port open when the namespace is flipped (facts: istio.md 2.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from rollout.mesh.injection import live
from rollout.mesh.peer_authentication import Policies
from rollout.mesh.services import selects, target_ports
from rollout.mesh.workloads import workload
from rollout.model.istio import Mode
from rollout.model.kubernetes import (
    ContainerPort,
    DaemonSet,
    Deployment,
    Object,
    Pod,
    Ref,
    Service,
    StatefulSet,
    Workload,
)
from rollout.record.change import Change, Policy
from rollout.record.run import Run
from rollout.record.spec import Exemption
from rollout.stages.owners import owner
from rollout.world.world import World

#: What exemptions are resolved with, besides policies and pods.
READS: tuple[type[Object], ...] = (Deployment, StatefulSet, DaemonSet, Service)


class Exempted(msgspec.Struct, frozen=True):
    """What must be written, what was resolved for the user, and why it cannot be done."""

    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def wanted(run: Run) -> tuple[Exemption, ...]:
    """The exemptions of ports in this run's namespace."""
    return tuple(e for e in run.spec.exemptions if e.workload.partition("/")[0] == run.spec.namespace)


def exempted(run: Run, world: World) -> Exempted:
    """All exemptions of the run, merged per workload. Those that are in force already ask for nothing.

    Raises:
        Needs: the world lacks READS.
    """
    items = wanted(run)
    if not items:
        return Exempted()
    policies = Policies(world.policies(run.spec.namespace, run.spec.root_namespace), run.spec.root_namespace)
    changes, notes, problems = [], list[str](), list[str]()
    for name in dict.fromkeys(item.workload for item in items):
        found = _workload(world, name)
        pods = [p for p in world.of(Pod, run.spec.namespace) if found and live(p) and workload(p) == found.ref]
        if found is None or not pods:
            problems.append(f"exempt {name}: there is no Deployment, StatefulSet or DaemonSet of that name with pods")
            continue
        ports = []
        for item in (item for item in items if item.workload == name):
            port, said, wrong = _port(item, pods, world.of(Service, run.spec.namespace))
            notes += said
            problems += wrong
            ports += [port] if port else []
        change, wrong = _change(found, pods, ports, policies, run.spec.override_owner)
        problems += wrong
        changes += [change] if change else []
    return Exempted(tuple(changes), tuple(notes), tuple(problems))


def _workload(world: World, name: str) -> Workload | None:
    namespace, _, own = name.partition("/")
    kinds: tuple[type[Workload], ...] = (Deployment, StatefulSet, DaemonSet)
    return next((item for kind in kinds for item in world.of(kind, namespace) if item.name == own), None)


def _port(item: Exemption, pods: list[Pod], services: Iterable[Service]) -> tuple[int, list[str], list[str]]:
    """The container port that is meant: a Service's port is resolved, because a policy knows container ports only."""
    declared = {port.container_port for pod in pods for port in _container_ports(pod)}
    leads = [(p.port, target_ports(p, pod)) for s in services for pod in pods if selects(s, pod) for p in s.spec.ports]
    targets = {target for _, target in leads if target is not None}
    if item.port in declared | targets:
        return item.port, [], []
    behind = {target for port, target in leads if port == item.port and target is not None}
    if len(behind) == 1:
        (port,) = behind
        return port, [f"exempt {item.object}: Service port {item.port} is container port {port}"], []
    known = ", ".join(str(port) for port in sorted(declared | targets)) or "none"
    several = f"Service port {item.port} leads to container ports {sorted(behind)}" if behind else "no such port"
    return 0, [], [f"exempt {item.object}: {several}; {item.workload} has container ports {known}"]


def _container_ports(pod: Pod) -> Iterator[ContainerPort]:
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        yield from container.ports


def _change(
    found: Workload, pods: list[Pod], ports: list[int], policies: Policies, override: bool
) -> tuple[Change | None, list[str]]:
    """A policy of our own, or more ports in the one that decides for the workload: a younger one would be ignored."""
    name = f"{found.namespace}/{found.name}"
    deciding = {policy.ref: policy for pod in pods if (policy := policies.workload_policy(pod)) is not None}
    if len(deciding) > 1:
        return None, [f"exempt {name}: its pods have different policies: {', '.join(map(str, deciding))}"]
    policy = next(iter(deciding.values()), None)
    before = Policy.of(policy) if policy else None
    modes = {port: before.ports.get(str(port), Mode.UNSET) if before else Mode.UNSET for port in ports}
    if strict := sorted(port for port, mode in modes.items() if mode is Mode.STRICT):
        return None, [f"exempt {name}: port {strict[0]} is STRICT by {policy and policy.ref}; that would lower it"]
    new = {str(port): Mode.PERMISSIVE for port, mode in modes.items() if mode is Mode.UNSET}
    if not new:
        return None, []
    if policy is not None and before is not None:
        if (owned := owner(policy.metadata)) and (owned.heals or not override):
            return None, [f"exempt {name}: {policy.ref} is owned by {owned.name} ({owned.because}): commit it there"]
        after = Policy(before.mode, {**before.ports, **new})
        return Change(ref=policy.ref, before=before, after=after, uid=policy.metadata.uid), []
    selector = found.spec.selector
    if selector is None or selector.match_expressions or not selector.match_labels:
        return None, [f"exempt {name}: its selector is no plain list of labels, which a PeerAuthentication needs"]
    ref = Ref("PeerAuthentication", found.namespace, f"rollout-exempt-{found.name}"[:253])
    labels = tuple(sorted(selector.match_labels.items()))
    return Change(ref=ref, before=None, after=Policy(None, new), selector=labels), []
