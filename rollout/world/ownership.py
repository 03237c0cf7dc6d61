"""Whose proxies does Prometheus show? One that holds two clusters would mix their evidence.

A pod is foreign when it has samples younger than two scrapes and the API server does not know it; one that was deleted
a moment ago looks the same for a while, so who asks looks twice. Where a label differs, it tells them apart at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from rollout.errors import ClusterError, MetricsError
from rollout.model.kubernetes import Pod
from rollout.model.traffic import Sight
from rollout.ports import Right
from rollout.world import queries
from rollout.world.promql import NAMESPACE_LABELS, POD_LABELS
from rollout.world.queries import SightMetric, quote
from rollout.world.reads import Ownership, OwnershipAnswer
from rollout.world.sources import Sources, unreadable
from rollout.world.world import Unreadable

#: External labels by which people tell clusters apart, the usual one first.
CLUSTER = ("cluster", "cluster_name", "cluster_id", "k8s_cluster", "kubernetes_cluster", "clusterName")
#: What belongs to a pod or to how it is scraped, and so tells nothing of its cluster.
_OF_POD = frozenset({
    "__name__", *NAMESPACE_LABELS, *POD_LABELS, "instance", "node", "container", "endpoint", "job", "service", "app",
    "version", "revision", "pod_template_hash", "component", "tag",
})  # fmt: skip

Rows = Sequence[tuple[Mapping[str, str], float]]


def read_ownership(reads: Sequence[Ownership], sources: Sources) -> dict[Ownership, OwnershipAnswer | Unreadable]:
    """Answers for reads that differ in nothing but the namespace."""
    try:
        rows, sights = _asked([read.namespace for read in reads], reads[0].match, sources)
        return {read: _answer(read, rows[read.namespace], sights[read.namespace], sources) for read in reads}
    except MetricsError as error:
        why = unreadable(error)
    except ClusterError as error:
        why = unreadable(error, Right("list", Pod.RESOURCE))
    return dict.fromkeys(reads, why)


def _asked(names: Iterable[str], match: str, sources: Sources) -> tuple[dict[str, Rows], dict[str, Sight]]:
    """The proxies' series of each namespace with the time of their newest sample: one query per metric."""
    scope = sources.scope(names, match)
    sights = sources.sights(scope.namespaces, match).of
    rows: dict[str, list[tuple[Mapping[str, str], float]]] = {name: [] for name in scope.namespaces}
    for metric in sorted({sight.metric for sight in sights.values()}):
        part = sources.scope((name for name in scope.namespaces if sights[name].metric == metric), match)
        for sample in sources.metrics.query(queries.identities(part, SightMetric(metric)), sources.at).samples:
            rows[sample.labels.get("namespace", "")].append((sample.labels, sample.value))
    return {name: tuple(found) for name, found in rows.items()}, sights


def _answer(read: Ownership, rows: Rows, sight: Sight, sources: Sources) -> OwnershipAnswer:
    name, match = read.namespace, read.match
    if match and sight.expected and not sight.seen:
        everything, sights = _asked([name], "", sources)
        fresh = newest(everything[name], sights[name].interval, sources.at)
        match = ""
    else:
        fresh = newest(rows, sight.interval, sources.at)
    foreign = strangers(fresh, {pod.name for pod in sources.within(Pod, name)})
    if foreign:  # those that came since the pods were read are ours
        foreign = strangers(fresh, {pod.name for pod in sources.cluster.list(Pod, namespace=name)})
    return OwnershipAnswer(
        expected=len(sight.expected),
        seen=len(sight.seen),
        foreign=foreign,
        ours=telling(fresh, foreign),
        clusters=clusters(fresh),
        query=queries.identities(sources.scope((name,), match), SightMetric(sight.metric)),
    )


def newest(rows: Rows, interval: float, at: datetime) -> tuple[Mapping[str, str], ...]:
    """The labels of the series with a sample younger than two scrapes, of pods."""
    return tuple(labels for labels, time in rows if labels.get("pod") and at.timestamp() - time <= 2 * interval + 1)


def strangers(fresh: Iterable[Mapping[str, str]], known: Iterable[str]) -> tuple[str, ...]:
    """The pods that the API server does not know."""
    return tuple(sorted({labels["pod"] for labels in fresh} - set(known)))


def telling(fresh: Sequence[Mapping[str, str]], foreign: Sequence[str]) -> str:
    """The matcher that our series fulfil and the foreign ones do not; '' for none.

    A pod of ours may have a namesake elsewhere (a StatefulSet's), so pods with two values of the label do not speak.
    """
    others = () if not foreign else sorted({name for labels in fresh for name in labels} - _OF_POD - set(CLUSTER))
    for name in (*CLUSTER, *others):
        values: dict[str, set[str]] = {}
        for labels in fresh:
            values.setdefault(labels["pod"], set()).add(labels.get(name, ""))
        theirs = {value for pod in foreign for value in values[pod]}
        own = {next(iter(found)) for pod, found in values.items() if pod not in foreign and len(found) == 1}
        if len(own) != 1 or own & theirs or (not theirs and own == {""}):
            continue
        if name in CLUSTER or len(theirs) == 1:
            return f"{name}={quote(next(iter(own)))}"
    return ""


def clusters(fresh: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """Matchers of the clusters that share the namespace, by the first label that names more than one."""
    for name in CLUSTER:
        values = sorted({labels[name] for labels in fresh if labels.get(name)})
        if len(values) > 1:
            return tuple(f"{name}={quote(value)}" for value in values)
    return ()
