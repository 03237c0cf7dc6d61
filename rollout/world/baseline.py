"""A namespace before the flip: many small windows of the watch's own queries folded into what is usual there.

Pure. It lives here and not in `judge`, because the collector answers `Before` with it and imports point down only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime
from types import MappingProxyType

import msgspec

from rollout.mesh.injection import live
from rollout.model.judgement import Baseline, EdgeBaseline, EdgeSample, Observation, Scaling, WorkloadBaseline
from rollout.model.kubernetes import APIService, DaemonSet, Pod, Workload
from rollout.model.traffic import Family, Party, Sight

#: A ratio over fewer events says nothing.
ENOUGH = 10

EdgeKey = tuple[Party, str, Family]


def edge_key(edge: EdgeSample | EdgeBaseline) -> EdgeKey:
    """What an edge before and an edge now are compared by; the source may not know the workload."""
    return (edge.source, edge.service, edge.family)


def available(condition_holder: APIService) -> bool:
    """The Available condition is True."""
    return any(c.type == "Available" and c.status == "True" for c in condition_holder.status.conditions)


def counts(workload: Workload) -> tuple[int, int]:
    """Desired and available replicas."""
    if isinstance(workload, DaemonSet):
        return workload.status.desired_number_scheduled, workload.status.number_available
    desired = workload.spec.replicas
    return (1 if desired is None else desired), workload.status.available_replicas


def fold_scaling(workload: Workload, pods: Iterable[Pod] = ()) -> Scaling:
    """Who wrote spec.replicas last; an autoscaler does it through the controller manager."""
    writes = sorted(
        (field.time, field.manager, field.subresource == "scale")
        for field in workload.metadata.managed_fields
        if field.time is not None and "f:replicas" in field.fields.get("f:spec", {})
    )
    at, by, alone = writes[-1] if writes else (None, "", False)
    born = (p.metadata.creation_timestamp for p in pods_of(workload, pods) if live(p))
    oldest = min((time for time in born if time is not None), default=None)
    return Scaling(str(workload.ref), counts(workload)[0], by, at, alone, oldest)


def pods_of(workload: Workload, pods: Iterable[Pod]) -> tuple[Pod, ...]:
    """The pods that the workload's selector matches."""
    selector = workload.spec.selector
    if selector is None:
        return ()
    return tuple(p for p in pods if p.namespace == workload.namespace and selector.matches(p.metadata.labels))


def restarts(pods: Iterable[Pod]) -> int:
    """Restarts of all containers."""
    return sum(
        status.restart_count
        for pod in pods
        for status in (*pod.status.container_statuses, *pod.status.init_container_statuses)
    )


def fold_workloads(workloads: Iterable[Workload], pods: Sequence[Pod]) -> tuple[WorkloadBaseline, ...]:
    """Replicas and restarts before the flip."""
    return tuple(
        WorkloadBaseline(str(workload.ref), *counts(workload), restarts(pods_of(workload, pods)))
        for workload in workloads
    )


def fold_apis(services: Iterable[APIService], namespace: str) -> tuple[str, ...]:
    """The aggregated APIs that the namespace serves, and that are available."""
    return tuple(
        sorted(
            service.name
            for service in services
            if service.spec.service is not None and service.spec.service.namespace == namespace and available(service)
        )
    )


def fold_baseline(
    windows: Sequence[Observation],
    at: datetime,
    window: float,
    sight: Sight,
    workloads: tuple[WorkloadBaseline, ...] = (),
    apis: tuple[str, ...] = (),
    webhooks: Mapping[str, float] = MappingProxyType({}),
) -> Baseline:
    """What was usual over `windows`, which follow each other and make up `window` seconds.

    `webhooks` are the failed calls within `window`, by name.
    """
    seen = [{edge_key(edge): edge for edge in observation.edges} for observation in windows]
    keys = {key: edge for edges in seen for key, edge in edges.items()}
    requests = sum(o.destination_requests for o in windows)
    errors = sum(o.destination_errors for o in windows)
    ratios = [o.destination_errors / o.destination_requests for o in windows if o.destination_requests >= ENOUGH]
    return Baseline(
        at=at,
        window=window,
        sight=sight,
        edges=tuple(_edge(keys[key], [edges.get(key) for edges in seen], window) for key in sorted(keys)),
        workloads=workloads,
        available_apis=apis,
        destination_errors=errors / requests if requests else 0.0,
        destination_noise=max(ratios, default=0.0),
        webhooks={name: failed / window for name, failed in webhooks.items()},
        resets=_resets(windows, {str(edge.source) for edge in keys.values()}),
    )


def _resets(windows: Iterable[Observation], callers: Set[str]) -> dict[str, float]:
    """Of the callers: the highest rate over one window."""
    found: dict[str, float] = {}
    for observation in windows:
        for name in observation.resets.keys() & callers:
            found[name] = max(found.get(name, 0.0), observation.resets[name] / observation.window)
    return dict(sorted(found.items()))


def _edge(like: EdgeSample, windows: Sequence[EdgeSample | None], seconds: float) -> EdgeBaseline:
    empty = msgspec.structs.replace(like, tried=0.0, failed=0.0, arrived=0.0, refused=0.0, received_bytes=0.0)
    seen = [sample or empty for sample in windows]
    tried, failed, arrived, refused, received = (
        sum(getattr(sample, name) for sample in seen)
        for name in ("tried", "failed", "arrived", "refused", "received_bytes")
    )
    named = next((sample.destination for sample in seen if sample.destination.named), like.destination)
    return EdgeBaseline(
        source=like.source,
        destination=named,
        service=like.service,
        family=like.family,
        tried=tried / seconds,
        arrived=arrived / seconds,
        errors=_share(failed, tried),
        noise=max((_share(s.failed, s.tried) for s in seen if s.tried >= ENOUGH), default=0.0),
        longest_pause=_longest_pause(seen, seconds / max(1, len(windows))),
        at_source=tried > 0,
        received_bytes=received / seconds,
        refused=_share(refused, arrived),
        refused_noise=max((_share(s.refused, s.arrived) for s in seen if s.arrived >= ENOUGH), default=0.0),
    )


def _share(part: float, whole: float) -> float:
    return min(1.0, part / whole) if whole else 0.0


def _longest_pause(samples: Sequence[EdgeSample], step: float) -> float:
    longest = current = 0
    for sample in samples:
        current = 0 if sample.tried or sample.arrived or sample.received_bytes else current + 1
        longest = max(longest, current)
    return longest * step
