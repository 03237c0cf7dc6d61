"""Reads what happens now, before the flip, and to the listeners, for many namespaces with the queries of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import msgspec

from rollout.errors import ClusterError, MetricsError, QueryTooHeavy
from rollout.mesh.workloads import workload
from rollout.model.judgement import Baseline, Observation, Scaling
from rollout.model.kubernetes import APIService, DaemonSet, Deployment, Pod, StatefulSet, Workload
from rollout.model.traffic import Party, Sight
from rollout.ports import Right, Series
from rollout.world import queries
from rollout.world.baseline import fold_apis, fold_baseline, fold_scaling, fold_workloads
from rollout.world.beside import failures, webhooks
from rollout.world.queries import Counter, Scope
from rollout.world.reads import Before, Observed, Propagation, PropagationAnswer
from rollout.world.sight import DISCOVERY, by_pod, concerning, proxies
from rollout.world.sources import Sources, unreadable
from rollout.world.watch import Fold, Rows
from rollout.world.world import Unreadable

R = TypeVar("R", Observed, Before, Propagation)
V = TypeVar("V")

#: Those of which the last interval is asked, too.
RECENT = ("tried", "arrived", "connected", "disconnected", "passthrough")
#: A baseline window holds at least four scrapes, and two minutes; there are at most sixty of them.
SCRAPES, SHORTEST, WINDOWS = 4, 120.0, 60


def guarded(reads: Sequence[R], read: Callable[[], dict[R, V]]) -> dict[R, V | Unreadable]:
    """The answers, or the same Unreadable for all of the reads."""
    try:
        return dict(read())
    except MetricsError as error:
        why = unreadable(error)
    except ClusterError as error:
        why = unreadable(error, Right("list", Pod.RESOURCE))
    return dict.fromkeys(reads, why)


def _scope(reads: Sequence[R], sources: Sources) -> Scope:
    return sources.scope([read.namespace for read in reads], reads[0].match)


def _addresses(scope: Scope, sources: Sources) -> dict[str, Party]:
    return {
        pod.status.pod_ip: Party(name, workload(pod).name)
        for name in scope.namespaces
        for pod in sources.within(Pod, name)
        if pod.status.pod_ip and not pod.spec.host_network
    }


def read_observed(reads: Sequence[Observed], sources: Sources) -> dict[Observed, Observation | Unreadable]:
    """Observations for reads that differ in nothing but the namespace."""

    def read() -> dict[Observed, Observation]:
        scope, window = _scope(reads, sources), reads[0].window
        sights = sources.sights(scope.namespaces, scope.match, window)
        addresses = _addresses(scope, sources)
        tables, warnings = _tables(tuple(queries.WATCHED), scope, window, sources)
        fold = Fold(scope.namespaces, addresses).take(tables)
        # Two intervals hold two samples, and so the increase of the last interval.
        latest, _ = _tables(RECENT, scope, 2 * max(sight.interval for sight in sights.of.values()), sources)
        recent = Fold(scope.namespaces, addresses).take(latest)
        said = concerning((*sights.warnings, *warnings), scope.match)
        found = {}
        for item in reads:
            name = item.namespace
            seen = fold.observation(name, sources.at, window, sights.of[name], _texts(name, scope, window), said)
            steady = _steady(name, window, sights.of[name], sights.counted[name], sources)
            seen = msgspec.structs.replace(seen, steady=steady, scalings=_scalings(name, sources))
            found[item] = recent.with_recent(seen, name)
        return found

    return guarded(reads, read)


def _tables(
    names: tuple[str, ...], scope: Scope, window: float, sources: Sources
) -> tuple[dict[str, Rows], tuple[str, ...]]:
    found, warnings = sources.joint(partial(queries.watched, scope, window), names)
    return {name: [(sample.labels, sample.value) for sample in rows] for name, rows in found.items()}, warnings


def _steady(namespace: str, window: float, sight: Sight, there: dict[str, float], sources: Sources) -> bool:
    """Every proxy that lived through the window has at least half of the samples that it should have."""
    least = max(2.0, 0.5 * window / sight.interval)
    before = sources.at - timedelta(seconds=window + DISCOVERY)
    return all(
        there.get(pod.name, 0) >= least
        for pod in proxies(sources.within(Pod, namespace))
        if pod.name in sight.expected and (pod.metadata.creation_timestamp or before) <= before
    )


def _scalings(namespace: str, sources: Sources) -> tuple[Scaling, ...]:
    kinds: tuple[type[Workload], ...] = (Deployment, StatefulSet)
    pods = sources.within(Pod, namespace)
    return tuple(fold_scaling(item, pods) for kind in kinds for item in sources.readable(kind, namespace))


def _texts(namespace: str, scope: Scope, window: float) -> dict[str, str]:
    """The queries as a person repeats them: for the one namespace."""
    one = Scope((namespace,), scope.match, scope.labels)
    return {name: query(one, window) for name, query in queries.WATCHED.items()}


def read_before(reads: Sequence[Before], sources: Sources) -> dict[Before, Baseline | Unreadable]:
    """Baselines for reads that differ in nothing but the namespace: one range query each, in small windows."""

    def read() -> dict[Before, Baseline]:
        scope, window = _scope(reads, sources), reads[0].window
        sights = sources.sights(scope.namespaces, scope.match)
        step = min(window, max(SHORTEST, SCRAPES * max(s.interval for s in sights.of.values()), window / WINDOWS))
        number = max(1, round(window / step))
        moments = _moments(scope, step, number, sources)
        addresses = _addresses(scope, sources)
        folds = [Fold(scope.namespaces, addresses).take(moments.get(n, {})) for n in range(number)]
        return {read: _baseline(read, folds, step, sights.of[read.namespace], sources) for read in reads}

    return guarded(reads, read)


def _moments(scope: Scope, step: float, number: int, sources: Sources) -> dict[int, dict[str, Rows]]:
    """Window number -> query -> rows."""
    end = sources.at
    first = end - timedelta(seconds=step * (number - 1))
    moments: dict[int, dict[str, list[tuple[dict[str, str], float]]]] = {}
    for series in _ranges(scope, step, first, end, sources):
        for time, value in series.points:
            index = round((time - first).total_seconds() / step)
            rows = moments.setdefault(index, {}).setdefault(series.labels[queries.PART], [])
            rows.append((series.labels, value))
    return {index: dict(tables) for index, tables in moments.items()}


def _ranges(scope: Scope, step: float, first: datetime, end: datetime, sources: Sources) -> Iterable[Series]:
    """All the watch's questions at once, or one by one where that is too heavy."""
    try:
        return sources.metrics.query_range(queries.watched(scope, step), first, end, step).series
    except QueryTooHeavy:
        asked = (queries.watched(scope, step, (name,)) for name in queries.WATCHED)
        return [s for text in asked for s in sources.metrics.query_range(text, first, end, step).series]


def _baseline(read: Before, folds: Sequence[Fold], step: float, sight: Sight, sources: Sources) -> Baseline:
    namespace, at = read.namespace, sources.at
    windows = [fold.observation(namespace, at, step, sight, {}, ()) for fold in folds]
    workloads: tuple[Workload, ...] = tuple(
        item for kind in (Deployment, StatefulSet, DaemonSet) for item in sources.readable(kind, namespace)
    )
    return fold_baseline(
        windows,
        at,
        step * len(folds),
        sight,
        fold_workloads(workloads, sources.within(Pod, namespace)),
        fold_apis(sources.readable(APIService), namespace),
        failures(webhooks(namespace, sources), read.match, step * len(folds), sources),
    )


def read_propagation(
    reads: Sequence[Propagation], sources: Sources
) -> dict[Propagation, PropagationAnswer | Unreadable]:
    """Proofs for reads that differ in nothing but the namespace."""

    def read() -> dict[Propagation, PropagationAnswer]:
        scope, since = _scope(reads, sources), reads[0].since
        sights = sources.sights(scope.namespaces, scope.match)

        def at(counter: Counter, when: datetime) -> dict[str, dict[str, float]]:
            return by_pod(sources.metrics.query(queries.listeners(scope, counter), when).samples)

        now = {counter: at(counter, sources.at) for counter in Counter}
        then = {counter: at(counter, since) for counter in (Counter.TAKEN, Counter.REJECTED)}
        return {read: _proof(read, now, then, sights.of[read.namespace], sources) for read in reads}

    return guarded(reads, read)


Table = dict[Counter, dict[str, dict[str, float]]]


def _proof(read: Propagation, now: Table, then: Table, sight: Sight, sources: Sources) -> PropagationAnswer:
    here = {counter: values.get(read.namespace, {}) for counter, values in now.items()}
    before = {counter: values.get(read.namespace, {}) for counter, values in then.items()}
    born = {p.name: p.metadata.creation_timestamp for p in proxies(sources.within(Pod, read.namespace))}
    names = sorted(born)
    return PropagationAnswer(
        updated=tuple(
            name
            for name in names
            if _moved(here[Counter.TAKEN].get(name), before[Counter.TAKEN].get(name), born[name], read.since)
        ),
        rejected=tuple(
            name for name in names if here[Counter.REJECTED].get(name, 0) > before[Counter.REJECTED].get(name, 0)
        ),
        draining=tuple(name for name in names if here[Counter.DRAINING].get(name, 0) > 0),
        unseen=tuple(name for name in names if name not in here[Counter.TAKEN] or name in sight.missing),
        new=tuple(name for name in names if name not in before[Counter.TAKEN]),
        newest=sight.newest,
        query=queries.listeners(sources.scope((read.namespace,), read.match), Counter.TAKEN),
    )


def _moved(now: float | None, then: float | None, born: datetime | None, since: datetime) -> bool:
    """Risen since; or fallen, because the proxy started anew and took the present configuration on its way up."""
    if now is None:
        return False
    if then is None:
        return born is not None and born > since
    return now != then
