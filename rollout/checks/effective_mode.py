"""Every port of every pod will be STRICT, or is a named exception.

Why: PeerAuthentications override each other. The oldest one without a selector decides for the namespace, one that
selects the workload decides before it, and its port modes before that. Such a leftover stays in force after the flip,
and the namespace would be called STRICT while a port accepts plaintext. portLevelMtls counts container ports: with a
Service's port in it, the port that it was meant for is not kept open.

Fix: take the override out, so that the port follows the namespace, or list the policy under `exempt:` with a reason
when the port must go on accepting plaintext.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.checks.words import many
from rollout.mesh.injection import captured, captured_port, live
from rollout.mesh.peer_authentication import Effective, Policies, without_effect
from rollout.mesh.services import reaching, selects, target_ports
from rollout.mesh.workloads import workload
from rollout.model.finding import Finding, Severity
from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.kubernetes import Pod, Ref, Service
from rollout.record.state import State

META = Meta("effective-mode", State.PERMISSIVE, __doc__)
READS = (Pod, PeerAuthentication, Service)


def check(view: View) -> Findings:
    """One finding per policy and field that keeps a port from STRICT, and one per policy without effect."""
    policies = view.then.policies()
    pods = [pod for pod in view.then.of(Pod, view.target) if live(pod) and captured(pod)]
    selecting = {policy.ref for policy in view.then.of(PeerAuthentication, view.target) if policy.selector}
    open_fields: dict[tuple[Ref, str, Mode], dict[str, None]] = {}
    for pod in pods:
        for port in (0, *policies.ports(pod)):
            if port and not captured_port(pod, port):
                continue
            found = policies.effective(pod, port)
            if found.mode is not Mode.STRICT:
                ref, field = _place(found, pod, port, policies)
                open_fields.setdefault((ref, field, found.mode), {})[str(workload(pod))] = None
    for (ref, field, mode), workloads in open_fields.items():
        yield _open(ref, field, mode, tuple(workloads), wide=ref not in selecting)
    yield from _misplaced(pods, policies, view.then.of(Service, view.target))
    here = view.then.of(PeerAuthentication, view.target)
    for policy, why in without_effect(here, view.target, view.then.of(Pod, view.target), view.root_namespace):
        yield Finding(
            ref=policy.ref,
            measured="without effect",
            where=(why,),
            fix=_removal(policy),
            severity=Severity.WARNING,
        )
    return f"the modes of {many(len(pods), 'pod')} after the flip"


def _misplaced(pods: Iterable[Pod], policies: Policies, services: tuple[Service, ...]) -> Iterator[Finding]:
    """A Service's port where the container's belongs (incidents.md 3, pa-port-confusion)."""
    seen: set[tuple[Ref, str]] = set()
    for pod in pods:
        policy = policies.workload_policy(pod)
        for key in policy.spec.port_level_mtls if policy else ():
            target = _behind(int(key), pod, services) if key.isdigit() else None
            if policy is None or target is None or (policy.ref, key) in seen:
                continue
            port, name = target
            mode = policy.spec.port_level_mtls[key].mode
            if mode in (Mode.STRICT, Mode.UNSET) or policies.effective(pod, port).mode is not Mode.STRICT:
                continue
            seen.add((policy.ref, key))
            patch = f'{{"spec":{{"portLevelMtls":{{"{key}":null,"{port}":{{"mode":"{mode}"}}}}}}}}'
            yield Finding(
                ref=policy.ref,
                field=f"spec.portLevelMtls.{key}",
                measured=f"{key} is the port of Service {name}, not of a container",
                limit=f"container port {port}",
                where=("portLevelMtls counts container ports, so nothing keeps this mode", str(workload(pod))),
                fix=f"kubectl patch peerauthentication {policy.name} -n {policy.namespace} --type merge -p '{patch}'",
            )


def _behind(port: int, pod: Pod, services: tuple[Service, ...]) -> tuple[int, str] | None:
    """The container port and the Service that lead from this number elsewhere; None where it may be a container's."""
    containers = (*pod.spec.containers, *pod.spec.init_containers)
    declared = any(p.container_port == port for c in containers for p in c.ports)
    if declared or any(True for _ in reaching(services, pod, port)):
        return None
    ends = ((target_ports(p, pod), s.name) for s in services if selects(s, pod) for p in s.spec.ports if p.port == port)
    return next(((target, name) for target, name in ends if target is not None), None)


def _removal(policy: PeerAuthentication) -> str:
    """A selector without pods may wait for some that are scaled to zero: look first."""
    delete = f"kubectl delete peerauthentication {policy.name} -n {policy.namespace}"
    if not policy.selector:
        return delete
    labels = ",".join(f"{key}={value}" for key, value in sorted(policy.selector.items()))
    return f"when `kubectl get all -n {policy.namespace} -l {labels}` shows nothing that needs it: {delete}"


def _place(found: Effective, pod: Pod, port: int, policies: Policies) -> tuple[Ref, str]:
    """The object and the field that a human would change; nobody decided: the namespace lacks a policy."""
    if found.decided_by is None:
        return Ref("Namespace", "", pod.namespace), ""
    selecting = policies.workload_policy(pod)
    if port and selecting is not None and selecting.ref == found.decided_by:
        own = selecting.spec.port_level_mtls.get(str(port))
        if own is not None and own.mode is not Mode.UNSET:
            return found.decided_by, f"spec.portLevelMtls.{port}.mode"
    return found.decided_by, "spec.mtls.mode"


def _open(ref: Ref, field: str, mode: Mode, workloads: tuple[str, ...], *, wide: bool) -> Finding:
    decided = "no policy decides" if ref.kind == "Namespace" else ""
    return Finding(
        ref=ref,
        field=field,
        measured=f"{mode} after the flip for {many(len(workloads), 'workload')}",
        limit="STRICT",
        where=tuple(text for text in (decided, *workloads) if text),
        fix=f"rollout migrate {ref.namespace or ref.name}" if wide else _fix(ref, field),
    )


def _fix(ref: Ref, field: str) -> str:
    """What overrides goes; never STRICT by hand, which no gate would guard and no watch would see."""
    if field == "spec.mtls.mode":
        spec = '"mtls":null'
    else:
        port = field.split(".")[2]
        spec = f'"portLevelMtls":{{"{port}":null}}'
    patch = f"'{{\"spec\":{{{spec}}}}}'"
    return (
        f"kubectl patch peerauthentication {ref.name} -n {ref.namespace} --type merge -p {patch}; "
        f"or exempt {str(ref)!r} with a reason"
    )
