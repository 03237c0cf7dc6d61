"""Every pod runs the sidecar, and its inbound traffic is captured.

Why: PeerAuthentication acts in the sidecar. A pod without one goes on accepting plaintext whatever the policy says,
and clients that expect mutual TLS cannot reach a pod whose label or capture says otherwise.

Fix: turn injection on for the namespace and restart the workloads; existing pods never change by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.checks.words import many
from rollout.mesh.injection import (
    EXCLUDE_INTERFACES,
    TLS_MODE_LABEL,
    UNINITIALIZED,
    address,
    addressable,
    ambient,
    gateway,
    injected,
    live,
    missing_cause,
    proxy_container,
    recaptured_interface,
    uncaptured_because,
)
from rollout.mesh.workloads import patch_template, restart, workload
from rollout.model.finding import Finding, Severity
from rollout.model.kubernetes import (
    Metadata,
    MutatingWebhookConfiguration,
    Namespace,
    Pod,
)
from rollout.record.state import State

META = Meta("injection", State.VERIFYING, __doc__)
READS = (Pod, Namespace, MutatingWebhookConfiguration)


def check(view: View) -> Findings:
    """One finding per live pod that is not injected, not captured or not addressable."""
    target = view.target
    namespaces = {namespace.name: namespace for namespace in view.now.of(Namespace)}
    namespace = namespaces.get(target) or Namespace(metadata=Metadata(name=target))
    webhooks = view.now.of(MutatingWebhookConfiguration)
    pods = [pod for pod in view.now.of(Pod, target) if live(pod)]
    for pod in pods:
        if gateway(pod):
            yield Finding(
                ref=pod.ref, measured="a gateway, which PeerAuthentication does not touch", severity=Severity.INFO
            )
        elif not injected(pod):
            yield _missing(pod, namespace, webhooks)
        else:
            yield from _uncaptured(pod)
    count = sum(1 for pod in pods if injected(pod))
    return f"{count} of {many(len(pods), 'live pod')} with the sidecar" if pods else "the namespace has no live pod"


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


def _uncaptured(pod: Pod) -> Iterator[Finding]:
    owner = workload(pod)
    if why := uncaptured_because(pod):
        yield Finding(
            ref=pod.ref,
            field=f"metadata.{'labels' if why.startswith(UNINITIALIZED) else 'annotations'}",
            measured=f"inbound traffic is not captured, {why}",
            limit="captured by the sidecar",
            where=(f"belongs to {owner}",),
            fix=_capture(pod, why),
        )
        return
    if not addressable(pod):
        value = pod.labels.get(TLS_MODE_LABEL)
        yield Finding(
            ref=pod.ref,
            field=f"metadata.labels[{TLS_MODE_LABEL}]",
            measured="absent" if value is None else value,
            limit="istio",
            where=("clients send plaintext to a pod without it, which STRICT refuses", f"belongs to {owner}"),
            fix=address(pod),
        )


def _capture(pod: Pod, why: str) -> str:
    """The deed that brings the capture back: the annotation that turned it off goes, or the pod that was born wrong."""
    owner = workload(pod)
    if why.startswith(UNINITIALIZED):
        return f"kubectl delete pod {pod.name} -n {pod.namespace}"
    if why.startswith(EXCLUDE_INTERFACES):
        return recaptured_interface(pod)
    annotation, colon, _ = why.partition(":")
    if colon and annotation in pod.annotations:
        return patch_template(owner, "annotations", annotation, None)
    return f"remove what turns the capture off in the mesh's defaults ({why}), then {restart(owner)}"
