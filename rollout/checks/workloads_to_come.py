"""Workloads without a pod, here and those that call here, will come with a sidecar.

Why: jobs between two runs and workloads that are scaled to zero show up in no list of pods, and the latter in no
metric. A pod that comes without a sidecar accepts plaintext, and what it calls in the namespace refuses it: it fails
weeks after the flip, when somebody scales it up. (What a job calls is the business of the check plaintext-callers.)

Fix: let injection reach its pod template; see the fix of each.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from rollout.checks.mentions import Mentions
from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.checks.words import many
from rollout.mesh.injection import ambient, live, missing_cause, would_inject
from rollout.mesh.strict import strict_services
from rollout.mesh.workloads import workload
from rollout.model.finding import Finding, Severity
from rollout.model.istio import PeerAuthentication
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

META = Meta("workloads-to-come", State.CHECKING, __doc__)
READS = (
    Pod,
    Namespace,
    MutatingWebhookConfiguration,
    Deployment,
    StatefulSet,
    CronJob,
    Service,
    PeerAuthentication,
)


class _Coming(msgspec.Struct, frozen=True):
    """One pod as a workload would make it. `unseen`: no look-back can have seen it call."""

    pod: Pod
    when: str
    unseen: bool = False


def check(view: View) -> Findings:
    """One finding per workload whose next pod gets no sidecar: the target's own, and others' that call it."""
    namespaces = {namespace.name: namespace for namespace in view.then.of(Namespace)}
    webhooks = view.then.of(MutatingWebhookConfiguration)
    pods = [pod for pod in view.then.of(Pod) if live(pod)]
    here = [pod for pod in pods if pod.namespace == view.target]
    services = view.then.of(Service, view.target)
    strict = {service.name: ports for service, ports in strict_services(services, here, view.then.policies())}
    mentions = Mentions(strict, view.target)
    running = {workload(pod) for pod in pods}
    looked = 0
    for coming in _coming(view, running):
        pod = coming.pod
        looked += 1
        namespace = namespaces.get(pod.namespace) or Namespace(metadata=Metadata(name=pod.namespace))
        if ambient(pod, namespace) or would_inject(pod, namespace, webhooks):
            continue
        called = mentions.of(pod.spec, pod.namespace)
        named = [found.text for found in called if found.port in (None, *strict.get(found.service, ()))]
        if named or pod.namespace == view.target:
            yield _finding(coming, namespace, webhooks, named)
    return many(looked, "workload without a pod", "workloads without a pod")


def _coming(view: View, running: set[Ref]) -> Iterator[_Coming]:
    """What runs now is the business of the check injection, and of the metrics."""
    scaled = (*view.then.of(Deployment), *view.then.of(StatefulSet))
    for idle in scaled:
        if idle.ref not in running:
            yield _Coming(_pod(idle.ref, idle.spec.template), "when it is scaled up", unseen=True)
    for job in view.then.of(CronJob):
        if job.ref not in running:
            when = "when it is no longer suspended" if job.spec.suspend else f"at {job.spec.schedule}"
            yield _Coming(_pod(job.ref, job.spec.job_template.spec.template), when)


def _pod(ref: Ref, template: PodTemplate) -> Pod:
    metadata = Metadata(
        name=ref.name,
        namespace=ref.namespace,
        labels=template.metadata.labels,
        annotations=template.metadata.annotations,
        owner_references=(OwnerReference(kind=ref.kind, name=ref.name, controller=True),),
    )
    return Pod(metadata=metadata, spec=template.spec)


def _finding(
    coming: _Coming, namespace: Namespace, webhooks: tuple[MutatingWebhookConfiguration, ...], named: list[str]
) -> Finding:
    """Who calls surely and unseen fails after the flip."""
    cause = missing_cause(coming.pod, namespace, webhooks)
    owner = workload(coming.pod)
    blocks = coming.unseen and bool(named)
    waive = f"; or, when it may fail: --waive '{META.id}={owner}' --reason TEXT" if blocks else ""
    return Finding(
        ref=owner,
        field="spec.template",
        measured="no pod now, and the next one gets no sidecar" + (", but calls the namespace" if named else ""),
        limit="an injected sidecar",
        where=(f"it comes {coming.when}", *named[:2], cause.sentence),
        fix=f"{cause.fix}{waive}",
        severity=None if blocks else Severity.WARNING,
    )
