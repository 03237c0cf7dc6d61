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

from rollout.checks.mentions import Mentions
from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.checks.words import many, some
from rollout.mesh import outbound
from rollout.mesh.injection import EXCLUDE_PORTS, INCLUDE_PORTS, captured, captured_port, gateway, injected, live
from rollout.mesh.services import Backends, reaching
from rollout.mesh.strict import strict_services
from rollout.mesh.workloads import patch_template, restart, workload
from rollout.model.finding import Finding, Severity
from rollout.model.istio import PeerAuthentication
from rollout.model.kubernetes import Pod, Ref, Service
from rollout.record.state import State

META = Meta("excluded-ports", State.CHECKING, __doc__)
READS = (Pod, Service, PeerAuthentication)


class _Goal(msgspec.Struct, frozen=True):
    """A Service with its STRICT ports, and the addresses under which callers find it."""

    service: Service
    ports: tuple[int, ...]
    addresses: tuple[str, ...]


def check(view: View) -> Findings:
    """One finding per port that is not captured, per caller that surely passes by, and per Service for the others."""
    pods = [pod for pod in view.then.of(Pod) if live(pod)]
    here = [pod for pod in pods if pod.namespace == view.target]
    services = view.then.of(Service, view.target)
    yield from _inbound(here, services)
    proxied = [pod for pod in pods if injected(pod) and not gateway(pod)]
    callers = [pod for pod in proxied if not outbound.exclusions(pod).none]
    backends = Backends(here)
    goals = [
        _Goal(service, ports, _addresses(service, backends))
        for service, ports in strict_services(services, here, view.then.policies())
    ]
    mentions = Mentions((goal.service.name for goal in goals), view.target)
    yield from _outbound(callers, goals, mentions)
    yield from _early(proxied, goals, mentions)
    return f"{many(len(here), 'pod')}, and {many(len(callers), 'caller')} with outbound exclusions"


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
                fix=_recapture(pod, port),
                severity=Severity.WARNING,
            )


def _recapture(pod: Pod, port: int) -> str:
    """Only this port comes back; what else is excluded stays so."""
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


def _outbound(callers: Iterable[Pod], goals: list[_Goal], mentions: Mentions) -> Iterator[Finding]:
    """A caller whose settings name Service and port is cut off; of the others nobody knows (incidents.md 2)."""
    refs = {goal.service.name: goal.service.ref for goal in goals}
    seen: set[Ref] = set()
    possible: dict[tuple[Ref, int, str], list[str]] = {}
    for pod in callers:
        owner = workload(pod)
        if owner in seen:
            continue
        seen.add(owner)
        left_out = outbound.exclusions(pod)
        past: dict[tuple[str, int], str] = {}
        for goal in goals:
            for port in goal.ports:
                if reason := left_out.reason(port, goal.addresses):
                    past[goal.service.name, port] = reason
        if not past:
            continue
        named = {(m.service, m.port): m.text for m in mentions.of(pod.spec, pod.namespace) if m.port is not None}
        for (name, port), reason in past.items():
            if text := named.get((name, port)):
                yield _cut(pod, f"{name}:{port}", port, reason, text)
            else:
                possible.setdefault((refs[name], port, reason), []).append(str(owner))
    for (ref, port, reason), names in possible.items():
        yield _perhaps(ref, port, reason, names)


def _early(pods: Iterable[Pod], goals: list[_Goal], mentions: Mentions) -> Iterator[Finding]:
    """Only where the text names a port: a mere name is often looked up, not called."""
    ports = {goal.service.name: goal.ports for goal in goals}
    seen: set[Ref] = set()
    for pod in pods:
        containers = outbound.early(pod)
        owner = workload(pod)
        if not containers or owner in seen:
            continue
        seen.add(owner)
        for container in containers:
            alone = msgspec.structs.replace(pod.spec, containers=(), init_containers=(container,))
            called = {(m.service, m.port): m.text for m in mentions.of(alone, pod.namespace)}
            for (name, port), text in called.items():
                if port in ports[name]:
                    yield Finding(
                        ref=owner,
                        field=f"spec.template.spec.initContainers[{container.name}]",
                        measured=f"calls {name}:{port} before its sidecar runs",
                        limit="a native sidecar, which runs first",
                        where=(text, "its next pod would not start: STRICT refuses plaintext"),
                        fix=f"turn native sidecars on (ENABLE_NATIVE_SIDECARS of istiod), then {restart(owner)}; or, "
                        f"when it only looks whether the port is open: --waive '{META.id}={owner}' --reason TEXT",
                    )


def _cut(pod: Pod, goal: str, port: int, annotation: str, text: str) -> Finding:
    owner = workload(pod)
    stated = pod.annotations.get(annotation)
    if annotation == outbound.EXCLUDE_PORTS and stated is not None:
        fix = patch_template(owner, "annotations", annotation, _without(stated, str(port)))
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
