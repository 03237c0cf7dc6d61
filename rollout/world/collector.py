"""Answers reads: one list per kind, one set of queries for all namespaces that ask the same, and never an exception.

What could not be read is an `Unreadable` in the world, because to know that is a finding, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from rollout.errors import ClusterError, Conflict, Exists, Forbidden, Gone, NotFound, Rejected, RolloutError
from rollout.mesh.synchronization import Connections
from rollout.model.istio import PeerAuthentication
from rollout.model.kubernetes import ConfigMap
from rollout.model.look import Announce, nobody
from rollout.model.synchronization import Synced
from rollout.ports import Analyzer, AnalyzerMessage, Cluster, Metrics, Proxies, Right
from rollout.world.beside import read_beside
from rollout.world.bodies import body_of
from rollout.world.certificates import read_certificates
from rollout.world.history import read_traffic
from rollout.world.live import read_before, read_observed, read_propagation
from rollout.world.ownership import read_ownership
from rollout.world.reads import (
    Analysis,
    Before,
    Certificates,
    DryRun,
    Objects,
    Observed,
    Ownership,
    Propagation,
    ProxyStatus,
    Read,
    ReferencedConfigMaps,
    Rights,
    Traffic,
)
from rollout.world.sources import Sources, config_maps, unreadable
from rollout.world.world import Reading, Unreadable, World

R = TypeVar("R", bound=Read)

#: Answers of the server that are its words on the change itself.
_REFUSALS = (Rejected, Forbidden, Conflict, Exists, Gone, NotFound)


def collect(
    reads: Iterable[Read],
    cluster: Cluster,
    metrics: Metrics,
    analyzer: Analyzer,
    world: World,
    now: datetime,
    proxies: Proxies | None = None,
    announce: Announce = nobody,
) -> dict[Read, Reading]:
    """An answer for every read, all with the age `now`.

    Args:
        reads: in any order; objects are read first, so that traffic can use them.
        world: what is known already; saves lists, and may be empty.
        now: when this collection began.
        proxies: None where nothing asks them.
        announce: hears of a look-back before its long queries, and at its end.
    """
    wanted = list(dict.fromkeys(reads))
    sources = Sources(cluster, metrics, world, announce)
    answers: dict[Read, Reading] = {}

    def keep(found: dict[Any, Any]) -> None:
        answers.update({read: Reading(now, value) for read, value in found.items()})

    keep({read: _objects(read, cluster) for read in wanted if isinstance(read, Objects)})
    if answers:
        sources.learn(dict(answers))
    keep(_rights([read for read in wanted if isinstance(read, Rights)], cluster))
    keep(_analyses([read for read in wanted if isinstance(read, Analysis)], analyzer))
    for read in wanted:
        match read:
            case DryRun():
                keep({read: _dry_run(read, cluster)})
            case ProxyStatus():
                keep({read: proxy_status(analyzer, now)})
            case ReferencedConfigMaps():
                keep({read: _config_maps(read, sources)})
            case _:
                pass
    for found in _together(wanted, sources):
        keep(found)
    sources.learn(dict(answers))  # who calls is in the traffic
    keep(_certificates([read for read in wanted if isinstance(read, Certificates)], proxies, sources, now))
    return answers


def _certificates(
    reads: Sequence[Certificates], proxies: Proxies | None, sources: Sources, now: datetime
) -> dict[Certificates, Any]:
    """Proxies are asked one by one; several namespaces share the number of those that are."""
    return read_certificates(reads, proxies, sources, now)


def _together(wanted: Sequence[Read], sources: Sources) -> Iterator[dict[Any, Any]]:
    """What is asked of Prometheus: no rollback queues behind eight days of history."""
    for observed in _alike(wanted, Observed, lambda read: (read.window, read.match)):
        yield dict(read_observed(observed, sources))
        yield dict(read_beside(observed, sources))
    for taken in _alike(wanted, Propagation, lambda read: (read.since, read.match)):
        yield dict(read_propagation(taken, sources))
    for owned in _alike(wanted, Ownership, lambda read: (read.match, read.again)):
        yield dict(read_ownership(owned, sources))
    for before in _alike(wanted, Before, lambda read: (read.window, read.match)):
        yield dict(read_before(before, sources))
    for traffic in _alike(wanted, Traffic, lambda read: (read.look_back, read.match)):
        yield dict(read_traffic(traffic, sources))
    yield dict(sources.found())


def _alike(reads: Iterable[Read], kind: type[R], key: Callable[[R], Hashable]) -> Iterable[Sequence[R]]:
    groups: dict[Hashable, list[R]] = {}
    for read in reads:
        if isinstance(read, kind):
            groups.setdefault(key(read), []).append(read)
    return groups.values()


def _objects(read: Objects, cluster: Cluster) -> tuple[Any, ...] | Unreadable:
    try:
        return cluster.list(read.kind)
    except ClusterError as error:
        return unreadable(error, Right("list", read.kind.RESOURCE))


def _rights(reads: Sequence[Rights], cluster: Cluster) -> dict[Rights, tuple[Right, ...] | Unreadable]:
    """The missing rights of each read. One review a right, however many reads name it.

    A right that is asked for in several namespaces is asked for in all of them first (a review without a namespace
    means that), so that the usual cluster role costs what one namespace costs.
    """
    known: dict[Right, bool] = {}

    def allowed(right: Right) -> bool:
        if right not in known:
            known[right] = cluster.allowed(right)
        return known[right]

    distinct = {right for read in reads for right in read.rights if right.namespace}
    asked = Counter(everywhere(right) for right in distinct)

    def missing(read: Rights) -> tuple[Right, ...] | Unreadable:
        try:
            return tuple(
                right
                for right in read.rights
                if not (asked[everywhere(right)] > 1 and allowed(everywhere(right))) and not allowed(right)
            )
        except ClusterError as error:
            return unreadable(error)

    return {read: missing(read) for read in reads}


def everywhere(right: Right) -> Right:
    """The same right in all namespaces."""
    return msgspec.structs.replace(right, namespace="")


def _dry_run(read: DryRun, cluster: Cluster) -> str | Unreadable:
    """'' or the server's words; an admission webhook refuses with 403 as well as with 4xx."""
    change, ref = read.change, read.change.ref
    try:
        if change.after is None:
            cluster.delete(PeerAuthentication, ref.namespace, ref.name, uid=change.uid, dry_run=True)
        elif change.before is None:
            cluster.create(PeerAuthentication, ref.namespace, body_of(change), dry_run=True)
        else:
            cluster.patch(PeerAuthentication, ref.namespace, ref.name, body_of(change), dry_run=True)
    except _REFUSALS as refusal:
        return refusal.problem
    except ClusterError as error:
        return unreadable(error)
    return ""


def _analyses(
    reads: Sequence[Analysis], analyzer: Analyzer
) -> dict[Analysis, tuple[AnalyzerMessage, ...] | Unreadable]:
    """One run for all namespaces that are asked about together."""
    if not reads:
        return {}
    try:
        found = analyzer.analyze([read.namespace for read in reads])
    except RolloutError as error:
        return dict.fromkeys(reads, unreadable(error))
    return {read: found[read.namespace] for read in reads}


def proxy_status(analyzer: Analyzer, now: datetime) -> Connections | Unreadable:
    """What istiod knows of its proxies, as of `now`."""
    try:
        return Connections(Synced(now, analyzer.proxy_status()))
    except RolloutError as error:
        return unreadable(error)


def _config_maps(read: ReferencedConfigMaps, sources: Sources) -> tuple[ConfigMap, ...] | Unreadable:
    try:
        return config_maps(read.names, sources)
    except ClusterError as error:
        return unreadable(error, Right("get", ConfigMap.RESOURCE))
