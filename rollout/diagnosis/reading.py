"""What the layers of a pod or a pair need, asked for by name, namespace and label: never a list of all pods.

So a diagnosis takes as many requests in a cluster of 5,000 pods as in one of 50; only the pods of the very Service come
in pages. The result is a World that holds these objects alone: what it lacks was not asked for.
"""

from __future__ import annotations

import difflib
from datetime import datetime
from typing import TypeVar

import msgspec

from rollout.diagnosis.question import Name, OfPod, Pair
from rollout.errors import ClusterError, NotFound, UsageError
from rollout.model.gateways import VirtualService
from rollout.model.istio import AuthorizationPolicy, DestinationRule, MeshConfig, PeerAuthentication
from rollout.model.kubernetes import (
    ConfigMap,
    CronJob,
    Deployment,
    MutatingWebhookConfiguration,
    Namespace,
    Object,
    Pod,
    Service,
    StatefulSet,
)
from rollout.ports import Cluster, Right
from rollout.world.certificates import ROOT_CERT
from rollout.world.reads import Objects, Read
from rollout.world.sources import unreadable
from rollout.world.world import Reading, Unreadable, World

T = TypeVar("T", bound=Object)

#: The injection check also looks at what workloads would make; here it is asked about pods that exist.
_NOT_ASKED: tuple[type[Object], ...] = (Deployment, StatefulSet, CronJob)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a question is about, in a world of these objects.

    `service` is None where a pod is called by its own address, or nothing is called.
    """

    world: World
    servers: tuple[Pod, ...]
    client: Pod | None = None
    service: Service | None = None


def read(question: OfPod | Pair, cluster: Cluster, mesh: MeshConfig, now: datetime) -> Found:
    """Ask for the objects of a pod or a pair.

    Raises:
        UsageError: the pod or the Service does not exist.
        ClusterError: the pod or the Service itself cannot be read.
    """
    if isinstance(question, OfPod):
        pod = _pod(cluster, question.pod)
        services = _lists(Service, cluster, (pod.namespace,))
        own_rules = (pod.namespace, mesh.root_namespace)
        return Found(world=_world(cluster, mesh, now, (pod,), {pod.namespace}, services, own_rules), servers=(pod,))
    client = _pod(cluster, question.client)
    service, servers = _called(cluster, question.server)
    own = {client.namespace, question.server.namespace}
    pods = {pod.ref: pod for pod in (client, *servers)}
    dialled: tuple[Service, ...] = (service,) if service else ()
    rules = (client.namespace, question.server.namespace, mesh.root_namespace)
    world = _world(cluster, mesh, now, tuple(pods.values()), own, dialled, rules, server=question.server.namespace)
    return Found(world=world, servers=servers, client=client, service=service)


def _called(cluster: Cluster, name: Name) -> tuple[Service | None, tuple[Pod, ...]]:
    try:
        service = cluster.get(Service, name.namespace, name.name)
    except NotFound:
        return None, (_pod(cluster, name, "Service or pod", Service),)
    selector = ",".join(f"{key}={value}" for key, value in sorted(service.spec.selector.items()))
    return service, cluster.list(Pod, namespace=name.namespace, selector=selector) if selector else ()


def _pod(cluster: Cluster, name: Name, what: str = "pod", listed: type[Pod | Service] = Pod) -> Pod:
    """The pod, or what else there is: `listed` are those that are taken for `what`."""
    try:
        return cluster.get(Pod, name.namespace, name.name)
    except NotFound as error:
        known = [each.name for each in cluster.list(listed, namespace=name.namespace)]
        raise _unknown(what, name, known, f"kubectl get {listed.RESOURCE.plural} -n {name.namespace}") from error


def _unknown(what: str, name: Name, known: list[str], command: str) -> UsageError:
    near = [each for each in sorted(known) if each.startswith(f"{name.name}-")][:3]
    near = near or difflib.get_close_matches(name.name, known, n=3)
    meant = " or ".join(f"{each}.{name.namespace}" for each in near)
    return UsageError(
        f"there is no {what} {name.name} in {name.namespace}" + (f"; did you mean {meant}?" if meant else ""),
        next=command,
    )


def _world(
    cluster: Cluster,
    mesh: MeshConfig,
    now: datetime,
    pods: tuple[Pod, ...],
    namespaces: set[str],
    services: tuple[Service, ...] | Unreadable,
    rules: tuple[str, ...],
    server: str = "",
) -> World:
    policed = (mesh.root_namespace, server or pods[0].namespace)
    own = sorted(namespaces)
    listed = _lists(DestinationRule, cluster, rules)
    subsets = not isinstance(listed, Unreadable) and any(s.traffic_policy for r in listed for s in r.spec.subsets)
    answers: dict[type[Object], object] = {
        Pod: pods,
        Service: services,
        Namespace: _gets(Namespace, cluster, [("", name) for name in own]),
        MutatingWebhookConfiguration: _lists(MutatingWebhookConfiguration, cluster, ("",)),
        PeerAuthentication: _lists(PeerAuthentication, cluster, policed),
        DestinationRule: listed,
        VirtualService: _lists(VirtualService, cluster, ("",)) if subsets else (),
        AuthorizationPolicy: _lists(AuthorizationPolicy, cluster, policed),
        ConfigMap: _gets(ConfigMap, cluster, [(name, ROOT_CERT) for name in own]),
        **dict.fromkeys(_NOT_ASKED, ()),
    }
    readings: dict[Read, Reading] = {Objects(kind): Reading(now, value) for kind, value in answers.items()}
    return World(readings)


def _lists(kind: type[T], cluster: Cluster, namespaces: tuple[str, ...]) -> tuple[T, ...] | Unreadable:
    """Of all these namespaces, or why one could not be read: half of the policies would be a wrong answer."""
    found: list[T] = []
    try:
        for namespace in dict.fromkeys(namespaces):
            found += cluster.list(kind, namespace=namespace)
    except ClusterError as error:
        return unreadable(error, Right("list", kind.RESOURCE))
    return tuple(found)


def _gets(kind: type[T], cluster: Cluster, keys: list[tuple[str, str]]) -> tuple[T, ...] | Unreadable:
    """Those that exist."""
    found: list[T] = []
    for namespace, name in keys:
        try:
            found.append(cluster.get(kind, namespace, name))
        except NotFound:
            continue
        except ClusterError as error:
            return unreadable(error, Right("get", kind.RESOURCE, namespace, name))
    return tuple(found)
