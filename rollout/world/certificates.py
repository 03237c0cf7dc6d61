"""Reads what proxies hold, of a few pods: one of each workload of a namespace, and one of each caller that has a name.

Every pod costs a command in its container, so that a namespace of thousands costs as much as one of ten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from rollout.errors import ClusterError, Forbidden, RolloutError, Unreachable
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

#: Pods of a namespace, and pods of its callers; and so many of each in one collection of many namespaces.
SERVERS, CLIENTS = 10, 10
TOGETHER = 60
#: After so many pods that did not answer nobody else is asked: the rest of the world must not grow old meanwhile.
FAILURES = 2
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
    read: Certificates, proxies: Proxies | None, sources: Sources, now: datetime, beside: int = 1
) -> Certified | Unreadable:
    """An answer for one namespace, one of `beside` that are asked together.

    Nothing more is asked of a namespace where exec is forbidden.
    """
    if proxies is None:
        return Unreadable("nothing here asks proxies")
    try:
        own = _one_each(sources.within(Pod, read.namespace))
        callers = [pod for pod in _callers(read.namespace, sources) if pod.namespace != read.namespace]
    except ClusterError as error:
        return unreadable(error)
    share = TOGETHER // beside
    asked = [*own[: min(SERVERS, max(1, share))], *callers[: min(CLIENTS, share)]]
    roots: dict[str, tuple[bytes, ...] | None] = {}
    ask = Asking(proxies)
    sides: list[Side] = []
    for pod in asked:
        answer = ask(pod.ref)
        if pod.namespace not in roots:
            roots[pod.namespace] = _root(pod.namespace, sources)
        sides.append(Side(pod=pod, held=answer, mesh_root=roots[pod.namespace]))
    return Certified(now, tuple(sides), len(own) + len(callers) - len(asked))


class Asking:
    """Asks one pod after the other, and stops where it is no use: exec is forbidden, or nobody answers."""

    def __init__(self, proxies: Proxies) -> None:
        """Nobody was asked yet."""
        self._proxies = proxies
        self._refused: dict[str, str] = {}
        self._failed: list[str] = []

    def __call__(self, pod: Ref) -> Held | Summary | str:
        """What a pod's proxy holds, or why it is not known."""
        if pod.namespace in self._refused:
            return self._refused[pod.namespace]
        if len(self._failed) >= FAILURES:
            return f"not asked any more: {self._failed[0]}"
        try:
            return told(pod, self._proxies)
        except Forbidden as error:
            self._refused[pod.namespace] = error.problem
            return error.problem
        except Unreachable as error:
            self._failed.append(error.problem)
            return error.problem
        except RolloutError as error:
            return error.problem


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
