"""Reads what proxies hold, of a few pods: one of each workload of a namespace, and one of each caller that has a name.

Every pod costs a command in its container, so that a namespace of thousands costs as much as one of ten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from rollout.errors import ClusterError, Forbidden, RolloutError
from rollout.mesh.certificates import Side
from rollout.mesh.injection import live, proxy_container
from rollout.mesh.secrets import Held, Summary, held, pem, summary
from rollout.mesh.workloads import workload
from rollout.model.kubernetes import ConfigMap, Pod, Ref, Resource
from rollout.model.traffic import Evidence
from rollout.ports import Proxies, Right
from rollout.world.reads import Certificates, Traffic
from rollout.world.sources import Sources, unreadable
from rollout.world.world import Unreadable

#: Pods of the namespace, and pods of its callers.
SERVERS, CLIENTS = 10, 10
#: Where istiod puts the mesh's root certificate (istio.md 12).
ROOT_CERT = "istio-ca-root-cert"


def rights(namespace: str) -> tuple[Right, ...]:
    """To run a command in a pod of this namespace; a WebSocket needs both verbs since Kubernetes 1.35."""
    resource = Resource("", ("v1",), "pods/exec", "PodExecOptions")
    return tuple(Right(verb, resource, namespace) for verb in ("get", "create"))


class Certified(msgspec.Struct, frozen=True):
    """What was told at a time; `left` pods were not asked."""

    at: datetime
    sides: tuple[Side, ...]
    left: int = 0


def told(pod: Ref, proxies: Proxies) -> Held | Summary:
    """The whole chain; else /certs, which proves less.

    Raises:
        RolloutError: neither can be read; it says why the first could not.
    """
    try:
        return held(proxies.config_dump(pod))
    except Forbidden:
        raise
    except RolloutError as first:
        try:
            return summary(proxies.certs(pod))
        except RolloutError:
            raise first from None


def read_certificates(
    read: Certificates, proxies: Proxies | None, sources: Sources, now: datetime
) -> Certified | Unreadable:
    """An answer for one namespace; nothing more is asked of a namespace where exec is forbidden."""
    if proxies is None:
        return Unreadable("nothing here asks proxies")
    try:
        own = _one_each(sources.within(Pod, read.namespace))
        callers = [pod for pod in _callers(read.namespace, sources) if pod.namespace != read.namespace]
    except ClusterError as error:
        return unreadable(error)
    asked = [*own[:SERVERS], *callers[:CLIENTS]]
    roots: dict[str, tuple[bytes, ...] | None] = {}
    refused: dict[str, str] = {}
    sides: list[Side] = []
    for pod in asked:
        answer: Held | Summary | str = refused.get(pod.namespace, "")
        if not answer:
            try:
                answer = told(pod.ref, proxies)
            except RolloutError as error:
                answer = error.problem
                if isinstance(error, Forbidden):
                    refused[pod.namespace] = error.problem
        if pod.namespace not in roots:
            roots[pod.namespace] = _root(pod.namespace, sources)
        sides.append(Side(pod=pod, held=answer, mesh_root=roots[pod.namespace]))
    return Certified(now, tuple(sides), len(own) + len(callers) - len(asked))


def _one_each(pods: Iterable[Pod]) -> list[Pod]:
    """The first live pod with a proxy of each workload."""
    found: dict[Ref, Pod] = {}
    for pod in sorted(pods, key=lambda pod: pod.name):
        if live(pod) and proxy_container(pod) is not None:
            found.setdefault(workload(pod), pod)
    return list(found.values())


def _callers(namespace: str, sources: Sources) -> Iterator[Pod]:
    """Of the workloads that the evidence names, where it has been read."""
    names = {
        (edge.source.namespace, edge.source.workload)
        for read, reading in sources.world.readings.items()
        if isinstance(read, Traffic) and read.namespace == namespace and isinstance(reading.value, Evidence)
        for edge in reading.value.edges
        if edge.source.named
    }
    for space in sorted({name[0] for name in names}):
        for pod in _one_each(sources.readable(Pod, space)):
            if (space, workload(pod).name) in names:
                yield pod


def _root(namespace: str, sources: Sources) -> tuple[bytes, ...] | None:
    try:
        found = sources.cluster.get(ConfigMap, namespace, ROOT_CERT)
    except ClusterError:
        return None
    return pem(found.data.get("root-cert.pem", "").encode())
