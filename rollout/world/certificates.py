"""Reads what proxies hold, of a few pods: one of each workload of a namespace, and one of each caller that has a name.

Every pod costs a command in its container, so that a namespace of thousands costs as much as one of ten.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
#: After so many namespaces none of whose proxies could be asked, the others are taken to be alike.
SILENT = 3
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
    reads: Sequence[Certificates], proxies: Proxies | None, sources: Sources, now: datetime
) -> dict[Certificates, Certified | Unreadable]:
    """An answer for each namespace of one collection: they share the number of proxies that are asked.

    Nothing more is asked of a namespace where exec is forbidden, and nothing of any after several without an answer.
    """
    if proxies is None:
        return dict.fromkeys(reads, Unreadable("nothing here asks proxies"))
    if not reads:
        return {}
    together = _Together(proxies, sources, now, len(reads))
    return {read: together.answer(read) for read in reads}


class _Together:
    """Several namespaces: a pod that calls many of them is asked once, and what one learns spares the others."""

    def __init__(self, proxies: Proxies, sources: Sources, now: datetime, namespaces: int) -> None:
        self._proxies, self._sources, self._now = proxies, sources, now
        self._share = TOGETHER // namespaces
        self._asked = 0
        self._told: dict[Ref, Held | Summary] = {}
        self._first: dict[str, list[Pod]] = {}
        self._callers = _callers(sources)
        self._roots: dict[str, tuple[bytes, ...] | None] = {}
        self._silent: list[str] = []

    def answer(self, read: Certificates) -> Certified | Unreadable:
        if len(self._silent) >= SILENT and not self._told:
            return Unreadable(f"not asked: no proxy of {SILENT} other namespaces could be, {self._silent[0]}")
        if read.spare and self._asked >= TOGETHER:
            why = (
                f"a plan asks {TOGETHER} proxies, which other namespaces had; `rollout plan {read.namespace}` asks here"
            )
            return Unreadable(why)
        try:
            own = self._first_of_each(self._sources.within(Pod, read.namespace), read.namespace)
            callers = self._calling(read.namespace)
        except ClusterError as error:
            return unreadable(error)
        chosen = [*own[: min(SERVERS, max(1, self._share))], *callers[: min(CLIENTS, self._share)]]
        left = len(own) + len(callers) - len(chosen)
        return Certified(self._now, tuple(self._sides(chosen, spare=read.spare)), left)

    def _calling(self, namespace: str) -> list[Pod]:
        """From other namespaces: one pod of each workload that the evidence names."""
        names = self._callers.get(namespace, set())
        return [
            pod
            for space in sorted({name.namespace for name in names} - {namespace})
            for pod in self._first_of_each(self._sources.readable(Pod, space), space)
            if Ref("Workload", space, workload(pod).name) in names
        ]

    def _first_of_each(self, pods: Iterable[Pod], namespace: str) -> list[Pod]:
        if namespace not in self._first:
            self._first[namespace] = _first_of_each(pods)
        return self._first[namespace]

    def _sides(self, pods: Iterable[Pod], *, spare: bool) -> list[Side]:
        ask = Asking(self._proxies)
        sides: list[Side] = []
        for pod in pods:
            held = self._told.get(pod.ref) or self._ask(pod.ref, ask)
            root = None if isinstance(held, str) else self._root(pod.namespace)
            sides.append(Side(pod=pod, held=held, mesh_root=root))
        silent = [side.held for side in sides if isinstance(side.held, str)]
        # Rights may differ between namespaces; a plan is content to know that several lack them.
        if silent and len(silent) == len(sides) and (spare or not ask.forbidden):
            self._silent.append(silent[0])
        return sides

    def _ask(self, pod: Ref, ask: Asking) -> Held | Summary | str:
        self._asked += 1
        answer = ask(pod)
        if not isinstance(answer, str):
            self._told[pod] = answer
        return answer

    def _root(self, namespace: str) -> tuple[bytes, ...] | None:
        if namespace not in self._roots:
            self._roots[namespace] = _root(namespace, self._sources)
        return self._roots[namespace]


class Asking:
    """Asks one pod after the other, and stops where it is no use: exec is forbidden, or nobody answers."""

    def __init__(self, proxies: Proxies) -> None:
        """Nobody was asked yet."""
        self._proxies = proxies
        self._refused: dict[str, str] = {}
        self._failed: list[str] = []

    @property
    def forbidden(self) -> bool:
        """Some namespace does not let us ask."""
        return bool(self._refused)

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


def _first_of_each(pods: Iterable[Pod]) -> list[Pod]:
    """The first live pod with a proxy of each workload."""
    found: dict[Ref, Pod] = {}
    for pod in sorted(pods, key=lambda pod: pod.name):
        if live(pod) and proxy_container(pod) is not None:
            found.setdefault(workload(pod), pod)
    return list(found.values())


def _callers(sources: Sources) -> dict[str, set[Ref]]:
    """Whom the evidence names as callers of each namespace, where it has been read; the kind is in no metric."""
    found: dict[str, set[Ref]] = {}
    for read, reading in sources.world.readings.items():
        if isinstance(read, Traffic) and isinstance(reading.value, Evidence):
            parties = (edge.source for edge in reading.value.edges if edge.source.named)
            named = {Ref("Workload", party.namespace, party.workload) for party in parties}
            found.setdefault(read.namespace, set()).update(named)
    return found


def _root(namespace: str, sources: Sources) -> tuple[bytes, ...] | None:
    try:
        found = sources.cluster.get(ConfigMap, namespace, ROOT_CERT)
    except ClusterError:
        return None
    return pem(found.data.get("root-cert.pem", "").encode())
