"""Workloads without a pod, here and those that call here, will come with a sidecar.

Why: jobs between two runs and workloads that are scaled to zero show up in no list of pods, and the latter in no
metric. A pod that comes without a sidecar accepts plaintext, and what it calls in the namespace refuses it: it fails
weeks after the flip, when somebody scales it up. (What a job calls is the business of the check plaintext-callers.)

Fix: let injection reach its pod template; see the fix of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from rollout.checks.mentions import Mentions, Named
from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.checks.words import many
from rollout.mesh.injection import ambient, live, missing_cause, would_inject
from rollout.mesh.workloads import workload
from rollout.model.finding import Finding, Severity
from rollout.model.istio import PeerAuthentication
from rollout.model.kubernetes import (
    CronJob,
    Deployment,
    Metadata,
    MutatingWebhookConfiguration,
    Namespace,
    Object,
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
    webhooks = view.then.of(MutatingWebhookConfiguration)
    strict = {service.name: ports for service, ports in view.then.strict_services()}
    mentions = Mentions(strict, view.target)
    looked = 0
    # A kind that cannot be read takes away what it would have shown, and no more.
    for bare in (view.then.joined(kinds, make) for kinds, make in _KINDS):
        looked += bare.looked
        for place in sorted({*bare.of(view.target), *bare.named.places(strict)}):
            coming, namespace = bare.found[place]
            called = mentions.of(coming.pod.spec, coming.pod.namespace)
            named = [found.text for found in called if found.port in (None, *strict.get(found.service, ()))]
            if named or coming.pod.namespace == view.target:
                yield _finding(coming, namespace, webhooks, named)
    return many(looked, "workload without a pod", "workloads without a pod")


class _Bare:
    """The workloads of all namespaces whose next pod gets no sidecar; `looked` counts those that get one, too.

    They are found once for all namespaces that they may call.
    """

    def __init__(
        self,
        coming: Iterable[_Coming],
        namespaces: Iterable[Namespace],
        webhooks: tuple[MutatingWebhookConfiguration, ...],
    ) -> None:
        homes = {namespace.name: namespace for namespace in namespaces}
        self.looked = 0
        self.found: list[tuple[_Coming, Namespace]] = []
        self._by_namespace: dict[str, list[int]] = {}
        for each in coming:
            self.looked += 1
            name = each.pod.namespace
            home = homes.get(name) or Namespace(metadata=Metadata(name=name))
            if not ambient(each.pod, home) and not would_inject(each.pod, home, webhooks):
                self._by_namespace.setdefault(name, []).append(len(self.found))
                self.found.append((each, home))
        self.named = Named(each.pod.spec for each, _ in self.found)

    def of(self, namespace: str) -> list[int]:
        """The places of a namespace's own."""
        return self._by_namespace.get(namespace, [])


def _running(pods: Iterable[Pod]) -> set[Ref]:
    """What runs now is the business of the check injection, and of the metrics."""
    return {workload(pod) for pod in pods if live(pod)}


def _scaled(
    pods: tuple[Pod, ...],
    deployments: tuple[Deployment, ...],
    stateful_sets: tuple[StatefulSet, ...],
    namespaces: tuple[Namespace, ...],
    webhooks: tuple[MutatingWebhookConfiguration, ...],
) -> _Bare:
    running = _running(pods)
    idle = (each for each in (*deployments, *stateful_sets) if each.ref not in running)
    coming = (_Coming(_pod(each.ref, each.spec.template), "when it is scaled up", unseen=True) for each in idle)
    return _Bare(coming, namespaces, webhooks)


def _scheduled(
    pods: tuple[Pod, ...],
    jobs: tuple[CronJob, ...],
    namespaces: tuple[Namespace, ...],
    webhooks: tuple[MutatingWebhookConfiguration, ...],
) -> _Bare:
    running = _running(pods)
    idle = (job for job in jobs if job.ref not in running)
    coming = (_Coming(_pod(job.ref, job.spec.job_template.spec.template), _when(job)) for job in idle)
    return _Bare(coming, namespaces, webhooks)


def _when(job: CronJob) -> str:
    return "when it is no longer suspended" if job.spec.suspend else f"at {job.spec.schedule}"


_KINDS: tuple[tuple[tuple[type[Object], ...], Callable[..., _Bare]], ...] = (
    ((Pod, Deployment, StatefulSet, Namespace, MutatingWebhookConfiguration), _scaled),
    ((Pod, CronJob, Namespace, MutatingWebhookConfiguration), _scheduled),
)


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
