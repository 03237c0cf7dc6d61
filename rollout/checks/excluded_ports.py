"""No annotation or init container leads a Service's traffic past the proxies.

Why: a container port that is left out of the capture goes on accepting plaintext under STRICT, and no metric knows of
it; mesh clients send mutual TLS to it all the same. A caller that leaves a port or an address range out of its own
capture sends plaintext there, with a sidecar beside it, and STRICT refuses it. So does an init container that runs
before the sidecar: its next pod never starts.

Fix: take the port or range out of the annotation; where a port must take plaintext, keep it captured and PERMISSIVE.
Native sidecars run before init containers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from rollout.checks.mentions import Mentions, Named
from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.checks.words import many, some
from rollout.mesh import outbound
from rollout.mesh.injection import (
    EXCLUDE_INTERFACES,
    EXCLUDE_PORTS,
    INCLUDE_PORTS,
    captured,
    captured_port,
    gateway,
    injected,
    live,
    recaptured_interface,
)
from rollout.mesh.services import Backends, reaching
from rollout.mesh.workloads import patch_template, restart, workload
from rollout.model.finding import Finding, Severity
from rollout.model.istio import PeerAuthentication
from rollout.model.kubernetes import Pod, PodSpec, Ref, Service
from rollout.record.state import State

META = Meta("excluded-ports", State.CHECKING, __doc__)
READS = (Pod, Service, PeerAuthentication)


class _Goal(msgspec.Struct, frozen=True):
    """A Service with its STRICT ports, and the addresses under which callers find it."""

    service: Service
    ports: tuple[int, ...]
    addresses: tuple[str, ...]


class _Alike(msgspec.Struct, frozen=True):
    """Callers that leave out the same: a pod of each workload."""

    left_out: outbound.Exclusions
    pods: tuple[Pod, ...]
    owners: tuple[str, ...]
    named: Named


class _Early(msgspec.Struct, frozen=True):
    """An init container that runs before the sidecar; `alone` has no other container."""

    owner: Ref
    namespace: str
    container: str
    alone: PodSpec


class _Callers:
    """The mesh's callers past their own sidecars, found once for all namespaces that they may call."""

    def __init__(self, pods: tuple[Pod, ...]) -> None:
        """`count` is that of the pods with outbound exclusions."""
        self.count = 0
        alike: dict[outbound.Exclusions, dict[Ref, Pod]] = {}
        early: dict[Ref, tuple[_Early, ...]] = {}
        seen: set[Ref] = set()
        for pod in pods:
            if not live(pod) or not injected(pod) or gateway(pod):
                continue
            owner = workload(pod)
            left_out = outbound.exclusions(pod)
            self.count += not left_out.none
            if not left_out.none and owner not in seen:
                seen.add(owner)
                alike.setdefault(left_out, {})[owner] = pod
            if owner not in early and (first := outbound.early(pod)):
                early[owner] = tuple(
                    _Early(
                        owner,
                        pod.namespace,
                        container.name,
                        msgspec.structs.replace(pod.spec, containers=(), init_containers=(container,)),
                    )
                    for container in first
                )
        self.alike = tuple(
            _Alike(left_out, tuple(found.values()), tuple(map(str, found)), Named(pod.spec for pod in found.values()))
            for left_out, found in alike.items()
        )
        self.early = tuple(each for found in early.values() for each in found)
        self.early_named = Named(each.alone for each in self.early)


def check(view: View) -> Findings:
    """One finding per port that is not captured, per caller that surely passes by, and per Service for the others."""
    here = [pod for pod in view.then.of(Pod, view.target) if live(pod)]
    services = view.then.of(Service, view.target)
    yield from _inbound(here, services)
    callers = view.then.derived(Pod, _Callers)
    backends = view.then.derived(Pod, Backends)
    goals = [_Goal(service, ports, _addresses(service, backends)) for service, ports in view.then.strict_services()]
    mentions = Mentions((goal.service.name for goal in goals), view.target)
    yield from _outbound(callers.alike, goals, mentions)
    yield from _early(callers, goals, mentions)
    return f"{many(len(here), 'pod')}, and {many(callers.count, 'caller')} with outbound exclusions"


def _inbound(pods: Iterable[Pod], services: Iterable[Service]) -> Iterator[Finding]:
    """STRICT does not reach them (istio.md 7, incidents.md 3)."""
    found: dict[tuple[Ref, int], tuple[Pod, int]] = {}
    for pod in pods:
        if captured(pod):
            for port in sorted({p.container_port for c in pod.spec.containers for p in c.ports if p.protocol == "TCP"}):
                if not captured_port(pod, port):
                    first, count = found.get((workload(pod), port), (pod, 0))
                    found[workload(pod), port] = (first, count + 1)
    for (owner, port), (pod, count) in found.items():
        if through := sorted({service.name for service, _ in reaching(services, pod, port)}):
            yield Finding(
                ref=owner,
                field="spec.template.metadata.annotations",
                measured=f"port {port} is not captured, {many(count, 'pod')}",
                limit="captured by the sidecar",
                where=(
                    "it accepts plaintext under STRICT too, and no AuthorizationPolicy guards it",
                    f"Services that lead to it: {some(through)}",
                ),
                fix=recapture(pod, port),
                severity=Severity.WARNING,
            )


def recapture(pod: Pod, port: int) -> str:
    """The command that captures a port: only this one comes back, what else is excluded stays so."""
    owner = workload(pod)
    excluded = pod.annotations.get(EXCLUDE_PORTS, "")
    if str(port) in _parts(excluded):
        return patch_template(owner, "annotations", EXCLUDE_PORTS, _without(excluded, str(port)))
    if included := pod.annotations.get(INCLUDE_PORTS):
        return patch_template(owner, "annotations", INCLUDE_PORTS, f"{included},{port}")
    return f"take port {port} out of what the mesh's defaults exclude (global.proxy), then {restart(owner)}"


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _without(text: str, value: str) -> str | None:
    return ",".join(part for part in _parts(text) if part != value) or None


def _addresses(service: Service, backends: Backends) -> tuple[str, ...]:
    if service.spec.cluster_ip not in ("", "None"):
        return (service.spec.cluster_ip,)
    return tuple(pod.status.pod_ip for pod in backends.of(service) if pod.status.pod_ip)


def _outbound(alike: Iterable[_Alike], goals: list[_Goal], mentions: Mentions) -> Iterator[Finding]:
    """A caller whose settings name Service and port is cut off; of the others nobody knows (incidents.md 2)."""
    possible: dict[tuple[Ref, int, str], list[str]] = {}
    for group in alike:
        past = {
            (goal.service.ref, port): reason
            for goal in goals
            for port in goal.ports
            if (reason := group.left_out.reason(port, goal.addresses))
        }
        cut: set[tuple[Ref, int, int]] = set()
        for place in group.named.places({ref.name for ref, _ in past}):
            pod = group.pods[place]
            named = {(m.service, m.port): m.text for m in mentions.of(pod.spec, pod.namespace) if m.port is not None}
            for (ref, port), reason in past.items():
                if text := named.get((ref.name, port)):
                    cut.add((ref, port, place))
                    yield _cut(pod, f"{ref.name}:{port}", port, reason, text)
        for (ref, port), reason in past.items():
            if others := [owner for place, owner in enumerate(group.owners) if (ref, port, place) not in cut]:
                possible.setdefault((ref, port, reason), []).extend(others)
    for (ref, port, reason), names in possible.items():
        yield _perhaps(ref, port, reason, names)


def _early(callers: _Callers, goals: list[_Goal], mentions: Mentions) -> Iterator[Finding]:
    """Only where the text names a port: a mere name is often looked up, not called."""
    ports = {goal.service.name: goal.ports for goal in goals}
    for place in callers.early_named.places(ports):
        each = callers.early[place]
        called = {(m.service, m.port): m.text for m in mentions.of(each.alone, each.namespace)}
        for (name, port), text in called.items():
            if port in ports[name]:
                yield Finding(
                    ref=each.owner,
                    field=f"spec.template.spec.initContainers[{each.container}]",
                    measured=f"calls {name}:{port} before its sidecar runs",
                    limit="a native sidecar, which runs first",
                    where=(text, "its next pod would not start: STRICT refuses plaintext"),
                    fix=f"turn native sidecars on (ENABLE_NATIVE_SIDECARS of istiod), then {restart(each.owner)}; or, "
                    f"when it only looks whether the port is open: --waive '{META.id}={each.owner}' --reason TEXT",
                )


def _cut(pod: Pod, goal: str, port: int, annotation: str, text: str) -> Finding:
    owner = workload(pod)
    stated = pod.annotations.get(annotation)
    if annotation == outbound.EXCLUDE_PORTS and stated is not None:
        fix = patch_template(owner, "annotations", annotation, _without(stated, str(port)))
    elif annotation == EXCLUDE_INTERFACES:
        fix = recaptured_interface(pod)
    elif stated is not None:
        fix = f"kubectl edit {owner.kind.lower()} {owner.name} -n {owner.namespace}: let {annotation} capture it"
    else:
        fix = f"take it out of what the mesh's defaults leave out (global.proxy), then {restart(owner)}"
    return Finding(
        ref=owner,
        field="spec.template.metadata.annotations",
        measured=f"calls {goal} past its own sidecar",
        limit="captured by the sidecar",
        where=(f"{annotation}: {stated}" if stated is not None else f"{annotation} of the mesh's defaults", text),
        fix=fix,
    )


def _perhaps(ref: Ref, port: int, annotation: str, names: list[str]) -> Finding:
    return Finding(
        ref=ref,
        field="spec.ports",
        measured=f"{many(len(set(names)), 'workload')} would call port {port} past their sidecars",
        limit="captured by the sidecar",
        where=(f"{annotation} of {some(names)}", "whether they call it is not known: none of their settings names it"),
        fix=f"where one of them calls it, let {annotation} capture it",
        severity=Severity.WARNING,
    )
