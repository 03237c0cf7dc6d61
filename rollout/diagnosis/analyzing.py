"""Layer 6: what `istioctl analyze` finds about just these objects; without it, what of that is known all the same."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from rollout.diagnosis.asking import Analysis, layer_of, one_check
from rollout.diagnosis.reading import Found
from rollout.mesh.services import selects
from rollout.mesh.workloads import workload
from rollout.model.diagnosis import Layer, LayerResult
from rollout.model.finding import CheckResult, Status
from rollout.model.istio import MeshConfig
from rollout.model.kubernetes import Pod, Ref, Service
from rollout.ports import AnalyzerMessage
from rollout.world.world import KindUnreadable, Unreadable

#: What the analyzers find (istio.md 8.1), and whether the layers above find it, too.
WITHOUT = (
    "known without it, in layer 1: pods without a proxy, and namespaces without injection (IST0103, IST0102)",
    (
        "only istioctl finds schema errors (IST0106), objects that are named and missing (IST0101), misplaced or "
        "unknown annotations (IST0107, IST0108), and gateways' credentials that are missing (IST0161)"
    ),
)
#: Others of these kinds are no part of the question; a policy or a rule may be.
_RUNNING = frozenset(
    {"Pod", "Service", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "Rollout"}
)


def of_results(results: Collection[CheckResult], analysis: Analysis) -> LayerResult:
    """The layer of the check's results: skipped where there is no istioctl, unknown where it failed."""
    layer = layer_of(Layer.ANALYZE, results)
    if not isinstance(analysis, Unreadable):
        return layer
    if analysis.absent:
        return msgspec.structs.replace(layer, status=Status.SKIPPED, reason=analysis.reason, lines=WITHOUT)
    return msgspec.structs.replace(layer, status=Status.UNKNOWN, reason=analysis.reason, lines=WITHOUT)


def analyzed(found: Found, analysis: Analysis) -> LayerResult:
    """The messages about these pods, their workloads, Services and namespaces, and about rules and policies there."""
    pods = _pods(found)
    called = [found.service.namespace] if found.service else []
    namespace = (called or [pod.namespace for pod in found.servers])[0]
    if isinstance(analysis, tuple):
        ours, spaces = _refs(found), {*called, *(pod.namespace for pod in pods)}
        analysis = tuple(message for message in analysis if _about(message, ours, spaces))
    return of_results([one_check("istioctl-analyze", found.world, namespace, MeshConfig(), analysis)], analysis)


def _pods(found: Found) -> tuple[Pod, ...]:
    return (*((found.client,) if found.client else ()), *found.servers)


def _refs(found: Found) -> set[Ref]:
    pods = _pods(found)
    owners = {Ref(o.kind, pod.namespace, o.name) for pod in pods for o in pod.metadata.owner_references}
    services = {found.service.ref} if found.service else set()
    if found.client is None:
        try:
            services = {s.ref for s in found.world.of(Service) if any(selects(s, pod) for pod in pods)}
        except KindUnreadable:
            services = set()
    return {pod.ref for pod in pods} | {workload(pod) for pod in pods} | owners | services


def _about(message: AnalyzerMessage, ours: set[Ref], namespaces: set[str]) -> bool:
    ref = message.ref
    if ref is None:
        return True
    if ref.kind == "Namespace":
        return ref.name in namespaces
    return ref in ours if ref.kind in _RUNNING else True
