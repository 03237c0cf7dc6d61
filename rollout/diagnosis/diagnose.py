"""All layers of a question, in order; each says what it can, whatever happened to the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from rollout.checks.registry import checks
from rollout.diagnosis import authorization, policy
from rollout.diagnosis.analyzing import analyzed, of_results
from rollout.diagnosis.asking import Analysis, all_checks, guarded, layer_of
from rollout.diagnosis.certificates import certificates
from rollout.diagnosis.conclusion import conclude
from rollout.diagnosis.inforce import compared
from rollout.diagnosis.injection import injection
from rollout.diagnosis.insync import in_sync
from rollout.diagnosis.patterns import logs
from rollout.diagnosis.probe import probe
from rollout.diagnosis.probing import Probed
from rollout.diagnosis.question import OfNamespace, OfPod, Pair
from rollout.diagnosis.reading import Found
from rollout.diagnosis.telling import Seen
from rollout.mesh.certificates import Side
from rollout.mesh.injection import live, proxy_container
from rollout.mesh.secrets import pem
from rollout.model.diagnosis import Diagnosis, Layer, LayerResult
from rollout.model.finding import CheckResult, Status
from rollout.model.istio import MeshConfig
from rollout.model.kubernetes import ConfigMap, Pod
from rollout.model.traffic import Evidence
from rollout.world.certificates import ROOT_CERT
from rollout.world.world import KindUnreadable, Needs, World

#: Checks that are another layer's than the policies'.
_LAYERS = {
    "injection": Layer.INJECTION,
    "proxy-versions": Layer.INJECTION,
    "workloads-to-come": Layer.INJECTION,
    "authorization-policies": Layer.AUTHORIZATION,
    "istioctl-analyze": Layer.ANALYZE,
}
#: They ask for what the run needs; the layers show modes, certificates and what istiod knows as they are.
_NOT_ASKED = frozenset({"certificates", "effective-mode", "proxies-in-sync"})
#: Pods of which certificates and logs are read.
FEW = 20


def proxies(pods: Iterable[Pod]) -> tuple[Pod, ...]:
    """The live pods with a proxy, whose certificates and logs say something; not more than `FEW`."""
    return tuple(pod for pod in pods if live(pod) and proxy_container(pod) is not None)[:FEW]


def of_call(
    question: OfPod | Pair,
    found: Found,
    seen: Seen,
    mesh: MeshConfig,
    analysis: Analysis,
    now: datetime,
    probed: Probed | None = None,
) -> Diagnosis:
    """The diagnosis of a pod or a pair; `probed` is what came of a test call, None where nobody asked for one.

    Raises:
        UsageError: the Service has no such port.
    """
    pods = (*((found.client,) if found.client else ()), *found.servers)

    def in_force(layer: LayerResult, servers: Iterable[Pod]) -> LayerResult:
        return compared(layer, found.world, seen.modes, servers, mesh, now)

    layers = [guarded(Layer.INJECTION, lambda: injection(found.world, _distinct(pods), mesh))]
    if isinstance(question, Pair):
        layers.append(guarded(Layer.POLICY, lambda: in_force(policy.of_pair(found, question, mesh), found.servers)))
        rules = guarded(Layer.AUTHORIZATION, lambda: _rules(found, question, mesh))
    else:
        layers.append(guarded(Layer.POLICY, lambda: in_force(policy.of_pod(found, mesh), found.servers)))
        rules = guarded(Layer.AUTHORIZATION, lambda: authorization.of_pod(found.world, found.servers[0], mesh))
    layers[-1] = in_sync(layers[-1], seen, _distinct(pods))
    layers += _told(found.world, _distinct(pods), seen, mesh, now)
    layers += [rules, analyzed(found, analysis)]
    if isinstance(question, Pair) and probed is not None:
        server = found.service.ref if found.service else found.servers[0].ref
        layers = [*probe(probed, _verdicts(found, question, mesh), layers, server)]
    return conclude(str(question), layers)


def of_namespace(
    question: OfNamespace, world: World, seen: Seen, mesh: MeshConfig, analysis: Analysis, now: datetime
) -> Diagnosis:
    """The diagnosis of a namespace as a server, of a world in which every kind of the checks was read."""
    namespace = question.namespace
    by_layer: dict[Layer, list[CheckResult]] = {layer: [] for layer in Layer}
    of_traffic = sorted(check.meta.id for check in checks() if Evidence in check.reads)
    for result in all_checks(world, namespace, mesh, analysis, now):
        if result.check not in _NOT_ASKED and result.check not in of_traffic:
            by_layer[_LAYERS.get(result.check, Layer.POLICY)].append(result)
    left = f"not asked, for want of traffic: {', '.join(of_traffic)} (rollout plan {namespace})"
    try:
        pods = world.of(Pod, namespace)
    except KindUnreadable:
        pods = ()
    layers = [
        layer_of(Layer.INJECTION, by_layer[Layer.INJECTION]),
        in_sync(
            guarded(
                Layer.POLICY,
                lambda: compared(
                    policy.of_namespace(world, namespace, mesh, by_layer[Layer.POLICY], left),
                    world,
                    seen.modes,
                    pods,
                    mesh,
                    now,
                ),
            ),
            seen,
            pods,
        ),
        *_told(world, pods, seen, mesh, now),
        guarded(
            Layer.AUTHORIZATION,
            lambda: authorization.of_namespace(world, namespace, pods, mesh, by_layer[Layer.AUTHORIZATION]),
        ),
        of_results(by_layer[Layer.ANALYZE], analysis),
    ]
    return conclude(str(question), layers)


def _distinct(pods: Iterable[Pod]) -> tuple[Pod, ...]:
    return tuple({pod.ref: pod for pod in pods}.values())


def _rules(found: Found, pair: Pair, mesh: MeshConfig) -> LayerResult:
    assert found.client is not None, "a pair has a client"
    port = policy.dialled(pair, found.service)
    verdicts = policy.verdicts(found, port, mesh)
    if not verdicts:
        return LayerResult(layer=Layer.AUTHORIZATION, status=Status.UNKNOWN, reason="no pod answers")
    return authorization.of_pair(found.world, verdicts, pair, port, found.client, mesh)


def _verdicts(found: Found, pair: Pair, mesh: MeshConfig) -> tuple[policy.Verdict, ...]:
    """Of layer 2; none where it could not be read, which the layer says itself."""
    try:
        return policy.verdicts(found, policy.dialled(pair, found.service), mesh)
    except KindUnreadable:
        return ()


def _told(
    world: World, pods: Sequence[Pod], seen: Seen, mesh: MeshConfig, now: datetime
) -> tuple[LayerResult, LayerResult]:
    """The two layers of which only the proxies know."""
    asked = proxies(pods)
    roots = _mesh_roots(world)
    sides = [
        Side(pod=pod, held=seen.certificates.get(pod.ref, "was not read"), mesh_root=roots.get(pod.namespace))
        for pod in asked
    ]
    texts = {pod.ref: seen.logs.get(pod.ref, "was not read") for pod in asked}
    return certificates(sides, mesh, now), logs(texts, _known(world, pods), seen.cut)


def _known(world: World, pods: Sequence[Pod]) -> Sequence[Pod]:
    """Whose addresses have a name: callers may be of any namespace that was read."""
    try:
        return world.of(Pod)
    except (KindUnreadable, Needs):
        return pods


def _mesh_roots(world: World) -> dict[str, tuple[bytes, ...]]:
    """The roots of `istio-ca-root-cert` by namespace, where they were read."""
    try:
        maps = world.of(ConfigMap)
    except (KindUnreadable, Needs):
        return {}
    return {each.namespace: pem(each.data.get("root-cert.pem", "").encode()) for each in maps if each.name == ROOT_CERT}
