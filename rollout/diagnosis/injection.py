"""Layer 1: these pods run the sidecar, and their traffic is captured: the injection check, asked of exactly them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rollout.diagnosis.asking import layer_of, one_check
from rollout.model.diagnosis import Layer, LayerResult
from rollout.model.finding import CheckResult
from rollout.model.istio import MeshConfig
from rollout.model.kubernetes import Pod
from rollout.world.world import World


def injection(world: World, pods: Iterable[Pod], mesh: MeshConfig) -> LayerResult:
    """Of a world that holds no other pods."""
    asked = tuple(pods)
    namespaces = dict.fromkeys(pod.namespace for pod in asked)
    results = [_named(one_check("injection", world, namespace, mesh), namespace) for namespace in namespaces]
    return layer_of(Layer.INJECTION, results, () if asked else ("no pod is asked about",))


def _named(result: CheckResult, namespace: str) -> CheckResult:
    """Of a pair the namespaces may differ."""
    return msgspec.structs.replace(result, reason=f"{result.reason}, {namespace}" if result.reason else "")
