"""Reads the look-back of many namespaces with the queries of one: a day at a time, a heavy one in halves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from rollout.errors import ClusterError, MetricsError, NotFound, QueryTooHeavy
from rollout.mesh.injection import captured, injected
from rollout.mesh.workloads import workload
from rollout.model.kubernetes import (
    APIService,
    ConfigMap,
    CronJob,
    CustomResourceDefinition,
    DaemonSet,
    Deployment,
    Ingress,
    MutatingWebhookConfiguration,
    Namespace,
    Pod,
    PodMonitor,
    Service,
    ServiceMonitor,
    StatefulSet,
    ValidatingWebhookConfiguration,
)
from rollout.model.traffic import Edge, Evidence, Family, Sight, Suspect
from rollout.ports import Answer, Right
from rollout.world import queries
from rollout.world.batches import Batch, batches
from rollout.world.evidence import OVERLAP, EdgeId, Known, Part, Slice, conclude, edge_of, identity, merge, slices
from rollout.world.holes import Span, gaps, known_from, outside
from rollout.world.queries import Scope, SightMetric
from rollout.world.reads import Traffic
from rollout.world.sight import concerning, proxies
from rollout.world.sightings import HOUR, SCRAPES, Sighting, sightings, step_of, wanted
from rollout.world.sources import Sights, Sources, unreadable
from rollout.world.suspects import CONFIG_MAPS, Clues, references, suspects
from rollout.world.world import Unreadable
from rollout.world.young import spell

T = TypeVar("T")

#: Prometheus forgets a sample after five minutes: finer steps show nothing more.
STEP = 300.0
#: Below this a slice is not halved any more.
SMALLEST = timedelta(minutes=30)
#: A pod is in Prometheus' service discovery only after a while.
START = timedelta(minutes=2)
#: After a change the old connections still have their drain, and their last scrape.
SETTLE = timedelta(minutes=5)
#: A store of history may know the newest hours late (an uploaded block holds two); the live Prometheus knows them.
LAG = timedelta(hours=3)
#: Less than this is no evidence, whatever was accepted.
SHORTEST = timedelta(hours=1)


def read_traffic(reads: Sequence[Traffic], sources: Sources) -> dict[Traffic, Evidence | Unreadable]:
    """Evidence for reads that differ in nothing but namespace, holes and since; all unreadable when a query fails."""
    try:
        return _History(reads, sources).answers()
    except MetricsError as error:
        why = unreadable(error)
    except ClusterError as error:
        why = unreadable(error, Right("list", Pod.RESOURCE))
    return dict.fromkeys(reads, why)


class _History:
    def __init__(self, reads: Sequence[Traffic], sources: Sources) -> None:
        self.reads = reads
        self.sources = sources
        self.scope = Scope(tuple(sorted({read.namespace for read in reads})), reads[0].match)
        self.end = sources.at
        self.start = self.end - timedelta(seconds=reads[0].look_back)
        self.warnings: list[str] = []
        self.past = sources.metrics.past()

    def answers(self) -> dict[Traffic, Evidence | Unreadable]:
        sights = self.sources.sights(self.scope.namespaces, self.scope.match)
        self.warnings.extend(sights.warnings)
        parts = [part for span in slices(self.start, self.end) for part in self._parts(span)]
        edges = merge(parts, self._ask(queries.open_connections(self.scope), live=True), self.end)
        unlabelled = {s.labels.get("namespace", "") for s in self._ask(queries.unlabelled(self.scope)).samples}
        plain = sorted({e.destination.namespace for found in edges.values() for e in found if not e.mutual})
        hours = self._hours(tuple(plain), edges) if plain else {}
        blank, missed = self._attendance(sights)
        mine = self._proving(edges)
        clues = self._clues(mine)
        jobs = self._batches()
        kept = {read: self._kept(read, hours) for read in self.reads}
        ends = self._ends(kept, sights)
        answers: dict[Traffic, Evidence | Unreadable] = {}
        for asked in self.reads:
            name, sight = asked.namespace, sights.of[asked.namespace]
            began = self._began(asked, blank.get(name, ()))
            read = msgspec.structs.replace(asked, look_back=(self.end - began).total_seconds())
            known = Known(
                sight=sight,
                edges=mine[asked],
                gaps=blank.get(name, ()),
                unscraped=missed.get(name, {}),
                unlabelled=name in unlabelled,
                workloads=self._workloads(name),
                hours={key: times for key, times in kept[asked].items() if times},
                ends=ends[asked],
                batches=jobs.get(name, ()),
                suspects=_suspects(mine[asked], clues),
                warnings=concerning(self.warnings, read.match),
                query=queries.existence(Scope((name,), read.match), Family.HTTP, read.look_back, True),
            )
            proven = conclude(read, self.end, known)
            said = (*proven.warnings, *_shortened(asked, read))
            answers[asked] = msgspec.structs.replace(proven, warnings=said)
        return answers

    def _ask(self, promql: str, at: datetime | None = None, *, live: bool = False) -> Answer:
        answer = (self.sources.metrics if live else self.past).query(promql, at or self.end)
        self.warnings.extend(answer.warnings)
        return answer

    def _existing(self, scope: Scope, family: Family, end: datetime, wide: float, *, plaintext: bool = False) -> Answer:
        """What was there in the `wide` seconds before `end`; a store of history may lag, so the newest hours twice."""
        answer = self._ask(queries.existence(scope, family, wide, plaintext), end)
        if self.past.address() == self.sources.metrics.address() or self.end - end >= LAG:
            return answer
        newest = min(wide, (LAG - (self.end - end)).total_seconds())
        live = self._ask(queries.existence(scope, family, newest, plaintext), end, live=True)
        return Answer((*answer.samples, *live.samples), answer.warnings)

    def _parts(self, span: Slice) -> Iterator[Part]:
        for family in Family:
            yield from halving(span, lambda part, family=family: [self._part(part, family)])  # type: ignore[misc]

    def _part(self, span: Slice, family: Family) -> Part:
        wide = span.seconds + OVERLAP.total_seconds()
        existing = self._existing(self.scope, family, span.end, wide)
        volume = self._ask(queries.volume(self.scope, family, span.seconds), span.end)
        return Part(span, family, existing, volume)

    def _hours(
        self, namespaces: tuple[str, ...], edges: dict[str, tuple[Edge, ...]]
    ) -> dict[EdgeId, tuple[datetime, ...]]:
        """The hours of each plaintext edge: costs a second look, so only where there is one."""
        scope = Scope(namespaces, self.scope.match)
        families = sorted({e.family for name in namespaces for e in edges[name] if not e.mutual})
        found: dict[EdgeId, set[datetime]] = {}
        for family in families:
            promql = queries.existence(scope, family, HOUR.total_seconds(), True)
            for span in slices(self.start, self.end):
                for key, time in halving(span, lambda part, f=family, q=promql: self._sighted(part, f, q)):  # type: ignore[misc]
                    found.setdefault(key, set()).add(time)
        return {key: tuple(sorted(times)) for key, times in found.items()}

    def _sighted(self, span: Slice, family: Family, promql: str) -> list[tuple[EdgeId, datetime]]:
        hours = max(1, round(span.seconds / HOUR.total_seconds()))
        first = span.end - (hours - 1) * HOUR
        answers = [self.past.query_range(promql, first, span.end, HOUR.total_seconds())]
        newest = max(first, self.end - LAG)
        if self.past.address() != self.sources.metrics.address() and newest <= span.end:
            answers.append(self.sources.metrics.query_range(promql, newest, span.end, HOUR.total_seconds()))
        self.warnings.extend(warning for answer in answers for warning in answer.warnings)
        every = [series for answer in answers for series in answer.series]
        return [(identity(edge_of(series.labels, family)), time) for series in every for time, _ in series.points]

    def _ends(
        self, hours: Mapping[Traffic, Mapping[EdgeId, tuple[datetime, ...]]], sights: Sights
    ) -> dict[Traffic, dict[EdgeId, Sighting]]:
        """When each plaintext edge was seen first and last: a short range per hour for all to whom it is worth it."""
        steps = {read: step_of(sights.of[read.namespace].interval) for read in hours}
        looks: dict[tuple[datetime, Family, float], set[str]] = {}
        for read, known in hours.items():
            for hour in wanted(known.values()):
                for family in {key[3] for key, times in known.items() if hour in times}:
                    looks.setdefault((hour, family, steps[read]), set()).add(read.namespace)
        seen: dict[EdgeId, list[datetime]] = {}
        for (hour, family, step), names in sorted(looks.items(), key=lambda look: look[0], reverse=True):
            for key, time in self._looked(tuple(sorted(names)), hour, family, step):
                seen.setdefault(key, []).append(time)
        return {
            read: sightings(known, seen, wanted(known.values()), steps[read]) if known else {}
            for read, known in hours.items()
        }

    def _looked(
        self, namespaces: tuple[str, ...], hour: datetime, family: Family, step: float
    ) -> Iterator[tuple[EdgeId, datetime]]:
        promql = queries.existence(Scope(namespaces, self.scope.match), family, SCRAPES * step, True)
        where = self.sources.metrics if self.end - hour < LAG - HOUR else self.past
        try:
            answer = where.query_range(promql, hour - HOUR + timedelta(seconds=step), hour, step)
        except QueryTooHeavy:  # of one alone: then the hour is close enough
            for name in namespaces if len(namespaces) > 1 else ():
                yield from self._looked((name,), hour, family, step)
            return
        self.warnings.extend(answer.warnings)
        for series in answer.series:
            key = identity(edge_of(series.labels, family))
            yield from ((key, time) for time, _ in series.points)

    def _batches(self) -> dict[str, tuple[Batch, ...]]:
        """The CronJobs that may call each namespace in plaintext, where that is asked."""
        names = sorted({read.namespace for read in self.reads if read.periods})
        of = self.sources.readable
        jobs = of(CronJob) if names else ()
        if not jobs:
            return {}
        maps = self._settings(references((), jobs))
        services, homes, webhooks = of(Service), of(Namespace), of(MutatingWebhookConfiguration)
        return {name: batches(name, jobs, services, maps, homes, webhooks) for name in names}

    def _usable(self, read: Traffic) -> tuple[Span, ...]:
        """Where plaintext would have been accepted, and so would have been seen."""
        early = [(self.start, read.since)] if read.since else []
        return outside([*read.holes, *early], self.start, self.end, SETTLE)

    def _kept(self, read: Traffic, hours: Mapping[EdgeId, tuple[datetime, ...]]) -> dict[EdgeId, tuple[datetime, ...]]:
        """Those of the namespace's edges that lie in the time that counts for this read."""
        usable = self._usable(read)
        return {
            key: tuple(time for time in times if any(low < time <= high for low, high in usable))
            for key, times in hours.items()
            if key[1].namespace == read.namespace
        }

    def _proving(self, edges: Mapping[str, tuple[Edge, ...]]) -> dict[Traffic, tuple[Edge, ...]]:
        """Without the plaintext of the time before: under DISABLE all of it was plaintext, and that says nothing.

        Namespaces with the same holes ask together.
        """
        mine = {read: edges.get(read.namespace, ()) for read in self.reads}
        alike: dict[tuple[object, ...], list[Traffic]] = {}
        for read, found in mine.items():
            if (read.holes or read.since) and any(not edge.mutual for edge in found):
                alike.setdefault((read.holes, read.since), []).append(read)
        for reads in alike.values():
            seen = self._plain(Scope(tuple(sorted(read.namespace for read in reads)), self.scope.match), reads[0])
            for read in reads:
                mine[read] = tuple(e for e in mine[read] if e.mutual or e.open or identity(e) in seen)
        return mine

    def _plain(self, scope: Scope, read: Traffic) -> set[EdgeId]:
        """The plaintext edges of the time that counts for this read."""
        seen: set[EdgeId] = set()
        for low, high in self._usable(read):
            for family in Family:
                for span in slices(low, high):

                    def ask(part: Slice, family: Family = family, low: datetime = low) -> list[EdgeId]:
                        wide = (part.end - max(low, part.start - OVERLAP)).total_seconds()
                        answer = self._existing(scope, family, part.end, wide, plaintext=True)
                        return [identity(edge_of(sample.labels, family)) for sample in answer.samples]

                    seen.update(halving(span, ask))
        return seen

    def _attendance(self, sights: Sights) -> tuple[dict[str, tuple[Span, ...]], dict[str, dict[str, float]]]:
        """Spans without any scrape, and the seconds that single pods missed, per namespace."""
        blank: dict[str, tuple[Span, ...]] = {}
        missed: dict[str, dict[str, float]] = {}
        short = {read.namespace for read in self.reads if read.short}
        for metric in sorted({sight.metric for sight in sights.of.values()}):
            names = tuple(name for name in self.scope.namespaces if sights.of[name].metric == metric)
            scope = Scope(names, self.scope.match)
            blank |= self._gaps(scope, SightMetric(metric))
            seen = self._attended(scope, SightMetric(metric))
            for name in names:
                since = known_from(blank[name], self.start, self.end, SHORTEST) if name in short else self.start
                missed[name] = self._missed(name, seen, sights.of[name], since)
        return blank, missed

    def _gaps(self, scope: Scope, metric: SightMetric) -> dict[str, tuple[Span, ...]]:
        step = max(STEP, (self.end - self.start).total_seconds() / 5000)
        answer = self.past.query_range(queries.presence(scope, metric), self.start, self.end, step)
        self.warnings.extend(answer.warnings)
        times = {series.labels.get("namespace", ""): [time for time, _ in series.points] for series in answer.series}
        between = timedelta(seconds=step)
        return {name: gaps(times.get(name, []), self.start, self.end, between) for name in scope.namespaces}

    def _attended(self, scope: Scope, metric: SightMetric) -> dict[tuple[str, str], float]:
        total: dict[tuple[str, str], float] = {}

        def count(span: Slice) -> list[Answer]:
            return [self._ask(queries.attendance(scope, metric, span.seconds, STEP), span.end)]

        for span in slices(self.start, self.end):
            for answer in halving(span, count):
                for sample in answer.samples:
                    key = (sample.labels.get("namespace", ""), sample.labels.get("pod", ""))
                    total[key] = total.get(key, 0.0) + sample.value
        return total

    def _began(self, read: Traffic, blank: Sequence[Span]) -> datetime:
        return known_from(blank, self.start, self.end, SHORTEST) if read.short else self.start

    def _missed(
        self, namespace: str, seen: dict[tuple[str, str], float], sight: Sight, start: datetime
    ) -> dict[str, float]:
        """Pods that were not scraped for more than a tenth of the look-back while they lived."""
        found: dict[str, float] = {}
        for pod in proxies(self.sources.within(Pod, namespace)):
            born = pod.metadata.creation_timestamp
            since = max(start, born + START) if born else start
            steps = self.end.timestamp() // STEP - since.timestamp() // STEP
            lost = (steps - seen.get((namespace, pod.name), 0.0)) * STEP
            allowed = max(2 * STEP, 0.1 * (self.end - start).total_seconds())
            if pod.name in sight.expected and lost > allowed:
                found[pod.name] = lost
        return found

    def _workloads(self, namespace: str) -> dict[str, datetime]:
        """The workloads that receive through a sidecar, and since when they exist."""
        pods = self.sources.within(Pod, namespace)
        serving = {workload(pod) for pod in proxies(pods) if captured(pod)}
        created: dict[str, datetime] = {}
        for kind in (Deployment, StatefulSet, DaemonSet):
            for item in self.sources.readable(kind, namespace):
                if item.ref in serving and item.metadata.creation_timestamp is not None:
                    created[str(item.ref)] = item.metadata.creation_timestamp
        return created

    def _clues(self, edges: Mapping[Traffic, tuple[Edge, ...]]) -> Clues | None:
        """Read only when there is a caller without a name; of the pods, those that it may be or may call."""
        nameless = (edge for found in edges.values() for edge in found if not (edge.mutual or edge.source.named))
        called = {edge.destination.namespace for edge in nameless}
        if not called:
            return None
        of = self.sources.readable
        pods = of(Pod) or tuple(pod for name in self.scope.namespaces for pod in of(Pod, name))
        pods = tuple(pod for pod in pods if pod.namespace in called or not injected(pod))
        jobs = of(CronJob)
        return Clues(
            pods=pods,
            services=of(Service),
            ingresses=of(Ingress),
            service_monitors=of(ServiceMonitor),
            pod_monitors=of(PodMonitor),
            mutating=of(MutatingWebhookConfiguration),
            validating=of(ValidatingWebhookConfiguration),
            api_services=of(APIService),
            definitions=of(CustomResourceDefinition),
            cron_jobs=jobs,
            config_maps=self._settings(references(pods, jobs)),
        )

    def _settings(self, names: Sequence[str]) -> tuple[ConfigMap, ...]:
        """They only help to explain, so the evidence does not depend on them."""
        try:
            return config_maps(names, self.sources)
        except ClusterError:
            return ()


def _suspects(edges: Sequence[Edge], clues: Clues | None) -> dict[EdgeId, tuple[Suspect, ...]]:
    if clues is None:
        return {}
    return {identity(edge): suspects(edge, clues) for edge in edges if not edge.mutual and not edge.source.named}


def _shortened(asked: Traffic, read: Traffic) -> tuple[str, ...]:
    if read.look_back >= asked.look_back:
        return ()
    return (f"short evidence: Prometheus knows {spell(read.look_back)} of the {spell(asked.look_back)} asked for",)


def config_maps(names: Sequence[str], sources: Sources) -> tuple[ConfigMap, ...]:
    """The ConfigMaps of these `namespace/name` that are there and may be read, at most 50.

    Raises:
        ClusterError: the API does not answer, which says nothing of any of them.
    """
    found = []
    for full in names[:CONFIG_MAPS]:
        namespace, _, name = full.partition("/")
        try:
            found.append(sources.cluster.get(ConfigMap, namespace, name))
        except ClusterError as error:
            if not isinstance(error, NotFound) and error.status != 403:
                raise
    return tuple(found)


def halving(span: Slice, ask: Callable[[Slice], Sequence[T]]) -> list[T]:
    """All answers for the span, in smaller and smaller parts while Prometheus says that it is too heavy.

    Raises:
        QueryTooHeavy: the smallest part still is.
    """
    try:
        return list(ask(span))
    except QueryTooHeavy:
        if span.end - span.start <= SMALLEST:
            raise
        return [answer for half in span.halves for answer in halving(half, ask)]
