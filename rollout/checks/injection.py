"""Every pod runs the sidecar, and its inbound traffic is captured.

Why: PeerAuthentication acts in the sidecar. A pod without one goes on accepting plaintext whatever the policy says,
and clients that expect mutual TLS cannot reach a pod whose label or capture says otherwise.

Fix: turn injection on for the namespace and restart the workloads; existing pods never change by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.checks.words import many
from rollout.mesh.injection import (
    EXCLUDE_PORTS,
    INCLUDE_PORTS,
    TLS_MODE_LABEL,
    addressable,
    ambient,
    captured_port,
    gateway,
    injected,
    live,
    missing_cause,
    proxy_container,
    uncaptured_because,
    would_inject,
)
from rollout.mesh.services import reaching
from rollout.mesh.workloads import patch_template, restart, workload
from rollout.model.finding import Finding, Severity
from rollout.model.kubernetes import (
    CronJob,
    Deployment,
    Metadata,
    MutatingWebhookConfiguration,
    Namespace,
    OwnerReference,
    Pod,
    PodTemplate,
    Ref,
    Service,
    StatefulSet,
)
from rollout.record.state import State

META = Meta("injection", State.VERIFYING, __doc__)
READS = (Pod, Namespace, MutatingWebhookConfiguration, Service, Deployment, StatefulSet, CronJob)


def check(view: View) -> Findings:
    """One finding per live pod that is not injected, not captured or not addressable."""
    target = view.target
    namespaces = {namespace.name: namespace for namespace in view.now.of(Namespace)}
    namespace = namespaces.get(target) or Namespace(metadata=Metadata(name=target))
    webhooks = view.now.of(MutatingWebhookConfiguration)
    services = view.now.of(Service, target)
    pods = [pod for pod in view.now.of(Pod, target) if live(pod)]
    for pod in pods:
        if gateway(pod):
            yield Finding(
                ref=pod.ref, measured="a gateway, which PeerAuthentication does not touch", severity=Severity.INFO
            )
        elif not injected(pod):
            yield _missing(pod, namespace, webhooks)
        else:
            yield from _uncaptured(pod, services)
    running = {workload(pod) for pod in pods}
    for absent in _templates(view):
        idle = workload(absent) not in running
        if idle and not ambient(absent, namespace) and not would_inject(absent, namespace, webhooks):
            yield _to_come(absent, namespace, webhooks)
    count = sum(1 for pod in pods if injected(pod))
    return f"{count} of {many(len(pods), 'live pod')} with the sidecar" if pods else "the namespace has no live pod"


def _templates(view: View) -> Iterator[Pod]:
    """One pod as each workload would make it: jobs between two runs and what is scaled to zero have none now."""
    kinds: list[tuple[Ref, PodTemplate]] = []
    kinds += [(found.ref, found.spec.template) for found in view.now.of(Deployment, view.target)]
    kinds += [(found.ref, found.spec.template) for found in view.now.of(StatefulSet, view.target)]
    kinds += [(found.ref, found.spec.job_template.spec.template) for found in view.now.of(CronJob, view.target)]
    for ref, template in kinds:
        metadata = Metadata(
            name=ref.name,
            namespace=ref.namespace,
            labels=template.metadata.labels,
            annotations=template.metadata.annotations,
            owner_references=(OwnerReference(kind=ref.kind, name=ref.name, controller=True),),
        )
        yield Pod(metadata=metadata, spec=template.spec)


def _to_come(pod: Pod, namespace: Namespace, webhooks: tuple[MutatingWebhookConfiguration, ...]) -> Finding:
    cause = missing_cause(pod, namespace, webhooks)
    return Finding(
        ref=workload(pod),
        field="spec.template",
        measured="no pod now, and the next one gets no sidecar",
        limit="an injected sidecar",
        where=(cause.sentence,),
        fix=cause.fix,
        severity=Severity.WARNING,
    )


def _missing(pod: Pod, namespace: Namespace, webhooks: tuple[MutatingWebhookConfiguration, ...]) -> Finding:
    if ambient(pod, namespace):
        return Finding(
            ref=pod.ref,
            measured="ambient is not supported yet",
            limit="a sidecar",
            where=("ztunnel carries this pod's traffic; it is enrolled by istio.io/dataplane-mode",),
            fix=f"leave {namespace.name} out of this run, or accept it: --waive 'injection={pod.ref}' --reason TEXT",
        )
    cause = missing_cause(pod, namespace, webhooks)
    half = proxy_container(pod) is not None
    return Finding(
        ref=pod.ref,
        field="spec.containers",
        measured="istio-proxy without the injector's annotation" if half else "no istio-proxy container",
        limit="an injected sidecar",
        where=(cause.sentence, f"belongs to {workload(pod)}"),
        fix=cause.fix,
    )


def _uncaptured(pod: Pod, services: Iterable[Service]) -> Findings:
    owner = workload(pod)
    if why := uncaptured_because(pod):
        yield Finding(
            ref=pod.ref,
            field="metadata.annotations",
            measured=f"inbound traffic is not captured, {why}",
            limit="captured by the sidecar",
            where=(f"belongs to {owner}",),
            fix=_capture(pod, why),
        )
        return ""
    if not addressable(pod):
        value = pod.labels.get(TLS_MODE_LABEL)
        yield Finding(
            ref=pod.ref,
            field=f"metadata.labels[{TLS_MODE_LABEL}]",
            measured="absent" if value is None else value,
            limit="istio",
            where=("clients send plaintext to a pod without it, which STRICT refuses", f"belongs to {owner}"),
            fix=restart(owner) if value is None else patch_template(owner, "labels", TLS_MODE_LABEL, None),
        )
    for port in sorted({p.container_port for c in pod.spec.containers for p in c.ports if p.protocol == "TCP"}):
        if captured_port(pod, port):
            continue
        if through := [service.name for service, _ in reaching(services, pod, port)]:
            yield Finding(
                ref=pod.ref,
                field="metadata.annotations",
                measured=f"port {port} is not captured",
                limit="captured by the sidecar",
                where=("it accepts plaintext under STRICT too", f"Services that lead to it: {', '.join(through)}"),
                fix=_recapture(pod, port),
                severity=Severity.WARNING,
            )
    return ""


def _capture(pod: Pod, why: str) -> str:
    """The deed that brings the capture back: the annotation that turned it off goes."""
    owner = workload(pod)
    annotation, colon, _ = why.partition(":")
    if colon and annotation in pod.annotations:
        return patch_template(owner, "annotations", annotation, None)
    return f"remove what turns the capture off in the mesh's defaults ({why}), then {restart(owner)}"


def _recapture(pod: Pod, port: int) -> str:
    """Only this port comes back; what else is excluded stays so."""
    owner = workload(pod)
    excluded = [part.strip() for part in pod.annotations.get(EXCLUDE_PORTS, "").split(",")]
    if str(port) in excluded:
        rest = ",".join(part for part in excluded if part not in ("", str(port)))
        return patch_template(owner, "annotations", EXCLUDE_PORTS, rest or None)
    if included := pod.annotations.get(INCLUDE_PORTS):
        return patch_template(owner, "annotations", INCLUDE_PORTS, f"{included},{port}")
    return f"take port {port} out of what the mesh's defaults exclude (global.proxy), then {restart(owner)}"
