"""Signals of the cluster's objects: they judge even while Prometheus is away.

Pure. What has another cause (a rollout, a new pod, a drained node) does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from rollout.judge.beside import beside, jobs, probes, webhooks
from rollout.judge.signals import APIS, REPLICAS, RESTARTS
from rollout.mesh.injection import live
from rollout.model.judgement import Baseline, Signal, Verdict, WorkloadBaseline
from rollout.model.kubernetes import APIService, DaemonSet, Deployment, Node, Pod, StatefulSet, Workload
from rollout.world.baseline import available, counts, fold_scaling, pods_of, restarts
from rollout.world.reads import Objects
from rollout.world.world import KindUnreadable, World

#: What a judgement reads besides the observation.
READS = tuple(Objects(kind) for kind in (Deployment, StatefulSet, DaemonSet, Pod, Node, APIService))

#: A pod that is younger, or unready for less, is starting.
START_UP = timedelta(minutes=2)
UNREADY = timedelta(seconds=60)
#: New restarts of a workload that are a loop.
LOOP = 3


def cluster_signals(baseline: Baseline, world: World, namespace: str, now: datetime) -> tuple[tuple[Signal, ...], str]:
    """The signals, and why the workloads could not be read ('' when they could)."""
    try:
        workloads: tuple[Workload, ...] = (
            *world.of(Deployment, namespace),
            *world.of(StatefulSet, namespace),
            *world.of(DaemonSet, namespace),
        )
        pods = world.of(Pod, namespace)
    except KindUnreadable as error:
        return (), str(error)
    before = {workload.ref: workload for workload in baseline.workloads}
    cordoned = _cordoned(world)
    more = beside(world, namespace)
    found: list[Signal] = []
    for workload in workloads:
        known = before.get(str(workload.ref))
        if known is not None and not _in_rollout(workload):
            own = pods_of(workload, pods)
            found.append(_replicas(workload, known, own, cordoned, now))
            found.extend(_restarts(known, own))
            found.extend(probes(known.ref, own, more.events, cordoned, baseline.at, now))
    found.extend(_apis(baseline, world))
    found.extend(jobs(more.jobs, baseline.at))
    found.extend(webhooks(baseline, more))
    return tuple(found), ""


def _cordoned(world: World) -> frozenset[str]:
    """Nodes being drained; without the right to read nodes none is known to be."""
    try:
        return frozenset(node.name for node in world.of(Node) if node.spec.unschedulable)
    except KindUnreadable:
        return frozenset()


def _in_rollout(workload: Workload) -> bool:
    if workload.status.observed_generation < workload.metadata.generation:
        return True
    if isinstance(workload, DaemonSet):
        return False
    desired, _ = counts(workload)
    return workload.status.updated_replicas < min(desired, workload.status.replicas)


def _replicas(
    workload: Workload, known: WorkloadBaseline, pods: Sequence[Pod], cordoned: frozenset[str], now: datetime
) -> Signal:
    desired, there = counts(workload)
    needed = min(known.available, desired)
    excused = sum(1 for pod in pods if not pod.ready and _excused(pod, cordoned, now))
    missing = needed - there - excused
    gone = known.available >= 2 and desired > 0 and there == 0 and excused == 0
    scaled = f"; {fold_scaling(workload).told(known.desired)}" if desired != known.desired else ""
    moving = f", {excused} starting or moving" if excused else ""
    return Signal(
        name=REPLICAS,
        where=known.ref,
        measured=f"{there} of {desired} replicas available{moving}{scaled}",
        limit=f"{needed}, as is wanted now" if needed < known.available else f"{needed}, as before the flip",
        verdict=Verdict.HEALTHY,
        breached=missing > 0,
        catastrophe=gone,
    )


def _excused(pod: Pod, cordoned: frozenset[str], now: datetime) -> bool:
    """It is unready for a reason that is not the flip, or not for long enough to tell."""
    if not live(pod) or pod.spec.node_name in cordoned:
        return True
    born = pod.metadata.creation_timestamp
    if born is not None and now - born < START_UP:
        return True
    return pod.turned is not None and now - pod.turned < UNREADY


def _restarts(known: WorkloadBaseline, pods: Sequence[Pod]) -> Iterator[Signal]:
    new = max(0, restarts(pods) - known.restarts)
    limit = max(LOOP, (len(pods) + 1) // 2)
    yield Signal(
        name=RESTARTS,
        where=known.ref,
        measured=f"{new} restarts since the flip",
        limit=f"fewer than {limit}",
        verdict=Verdict.HEALTHY,
        breached=new >= limit,
    )


def _apis(baseline: Baseline, world: World) -> Iterator[Signal]:
    if not baseline.available_apis:
        return
    try:
        services = {service.name: service for service in world.of(APIService)}
    except KindUnreadable:
        return
    for name in baseline.available_apis:
        service = services.get(name)
        if service is None:
            continue
        reasons = ", ".join(c.reason for c in service.status.conditions if c.type == "Available")
        yield Signal(
            name=APIS,
            where=f"APIService {name}",
            measured="available" if available(service) else f"not available: {reasons or 'no reason given'}",
            limit="available, as before the flip",
            verdict=Verdict.HEALTHY,
            breached=not available(service),
        )


def changes(workloads: Iterable[Workload], since: datetime) -> tuple[str, ...]:
    """`Deployment orders changed to generation 42 at 10:58`: what stands beside a regression.

    A scaling counts, too, also one that went through the subresource.
    """
    found = []
    for workload in workloads:
        wanted = fold_scaling(workload)
        if wanted.subresource and wanted.at is not None and wanted.at >= since:
            found.append(f"{workload.ref} scaled to {wanted.desired} at {wanted.at:%H:%M} by {wanted.by}")
        times = [
            field.time
            for field in workload.metadata.managed_fields
            if field.time is not None and not field.subresource and field.time >= since
        ]
        if times:
            found.append(f"{workload.ref} changed to generation {workload.metadata.generation} at {max(times):%H:%M}")
    return tuple(found)
