"""Reads the look-back of many namespaces with the queries of one: a day at a time, a heavy one in halves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from rollout.errors import ClusterError, MetricsError
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
from rollout.model.look import Pace, Taken
from rollout.model.traffic import Edge, Evidence, Family, Sight, Suspect
from rollout.ports import Answer, Right
from rollout.world import queries
from rollout.world.asking import LAG, Asking
from rollout.world.batches import Batch, batches
from rollout.world.conventions import DROPPED, untold
from rollout.world.evidence import (
    OVERLAP,
    EdgeId,
    Known,
    Part,
    Slice,
    conclude,
    edge_of,
    halving,
    identity,
    merge,
    slices,
)
from rollout.world.holes import Span, gaps, known_from, outside
from rollout.world.looks import looked
from rollout.world.queries import Scope, SightMetric
from rollout.world.reads import Traffic
from rollout.world.sight import concerning, proxies
from rollout.world.sightings import HOUR, Sighting, sightings, step_of, wanted
from rollout.world.sources import Sights, Sources, config_maps, unreadable
from rollout.world.suspects import Clues, references, suspects
from rollout.world.world import Unreadable
from rollout.world.young import spell

#: Prometheus forgets a sample after five minutes: finer steps show nothing more.
STEP = 300.0
#: A pod is in Prometheus' service discovery only after a while.
START = timedelta(minutes=2)
#: After a change the old connections still have their drain, and their last scrape.
SETTLE = timedelta(minutes=5)
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
        self.end = sources.at
        self.scope = sources.scope([read.namespace for read in reads], reads[0].match)
        self.start = self.end - timedelta(seconds=reads[0].look_back)
        self.ask = Asking(sources)

    def answers(self) -> dict[Traffic, Evidence | Unreadable]:
        sights = self.sources.sights(self.scope.namespaces, self.scope.match)
        self.ask.warnings.extend(sights.warnings)
        lacking = self._lacking()
        parts = self._slices(sights)
        edges = merge(parts, self.ask.instant(queries.open_connections(self.scope), live=True), self.end)
        untold = self._untold()
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
                unlabelled=(*lacking.get("", ()), *lacking.get(name, ())),
                untold=untold.get(name, ""),
                workloads=self._workloads(name),
                hours={key: times for key, times in kept[asked].items() if times},
                ends=ends[asked],
                batches=jobs.get(name, ()),
                suspects=_suspects(mine[asked], clues),
                warnings=concerning(self.ask.warnings, read.match),
                query=queries.existence(self._scope((name,)), Family.HTTP, read.look_back, True),
            )
            proven = conclude(read, self.end, known)
            said = (*proven.warnings, *_shortened(asked, read), *(() if self.scope.labels.reporter else (DROPPED,)))
            answers[asked] = msgspec.structs.replace(proven, warnings=said)
        self.sources.announce(Taken(self.ask.count))
        return answers

    def _slices(self, sights: Sights) -> list[Part]:
        """The long queries; before them it is said how much is asked."""
        spans, metrics = slices(self.start, self.end), len({sight.metric for sight in sights.of.values()})
        self.sources.announce(self.ask.look(self.scope, self._seconds, len(spans), metrics))
        parts: list[Part] = []
        for done, span in enumerate(spans, 1):
            parts += self._parts(span)
            self.sources.announce(Pace(done, len(spans), self.ask.count))
        return parts

    @property
    def _seconds(self) -> float:
        return (self.end - self.start).total_seconds()

    def _scope(self, namespaces: tuple[str, ...]) -> Scope:
        return msgspec.structs.replace(self.scope, namespaces=namespaces)

    def _lacking(self) -> dict[str, tuple[str, ...]]:
        """The labels that are missing somewhere in the look-back, by namespace; '' where it is missing itself.

        Without `reporter` the policy tells who reports, from here on.
        """
        found: dict[str, dict[str, None]] = {}
        for row in self.ask.over(queries.unlabelled, self.scope, self.start):
            if row.labels[queries.PART] == queries.REPORTER:
                labels = self.sources.unreported(self.scope.labels, self.scope.match)
                self.scope = msgspec.structs.replace(self.scope, labels=labels)
            else:
                found.setdefault(row.labels.get("namespace", ""), {})[row.labels[queries.PART]] = None
        return {namespace: tuple(labels) for namespace, labels in found.items()}

    def _untold(self) -> dict[str, str]:
        """Reports without `reporter` that may be the destination's, by its namespace."""
        labels = self.scope.labels
        return {} if labels.reporter else untold(self.ask.over(queries.unattributed, self.scope, self.start), labels)

    def _existing(self, scope: Scope, family: Family, end: datetime, wide: float, *, plaintext: bool = False) -> Answer:
        """What was there in the `wide` seconds before `end`; a store of history may lag, so the newest hours twice."""
        answer = self.ask.instant(queries.existence(scope, family, wide, plaintext), end)
        if not self.ask.elsewhere or self.end - end >= LAG:
            return answer
        newest = min(wide, (LAG - (self.end - end)).total_seconds())
        live = self.ask.instant(queries.existence(scope, family, newest, plaintext), end, live=True)
        return Answer((*answer.samples, *live.samples), answer.warnings)

    def _parts(self, span: Slice) -> Iterator[Part]:
        for family in Family:
            yield from halving(span, lambda part, family=family: [self._part(part, family)])  # type: ignore[misc]

    def _part(self, span: Slice, family: Family) -> Part:
        wide = span.seconds + OVERLAP.total_seconds()
        existing = self._existing(self.scope, family, span.end, wide)
        volume = self.ask.instant(queries.volume(self.scope, family, span.seconds), span.end)
        return Part(span, family, existing, volume)

    def _hours(
        self, namespaces: tuple[str, ...], edges: dict[str, tuple[Edge, ...]]
    ) -> dict[EdgeId, tuple[datetime, ...]]:
        """The hours of each plaintext edge: costs a second look, so only where there is one."""
        scope = self._scope(namespaces)
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
        answers = [self.ask.ranged(promql, first, span.end, HOUR.total_seconds())]
        newest = max(first, self.end - LAG)
        if self.ask.elsewhere and newest <= span.end:
            answers.append(self.ask.ranged(promql, newest, span.end, HOUR.total_seconds(), live=True))
        every = [series for answer in answers for series in answer.series]
        return [(identity(edge_of(series.labels, family)), time) for series in every for time, _ in series.points]

    def _ends(
        self, hours: Mapping[Traffic, Mapping[EdgeId, tuple[datetime, ...]]], sights: Sights
    ) -> dict[Traffic, dict[EdgeId, Sighting]]:
        """When each plaintext edge was seen first and last."""
        steps = {read: step_of(sights.of[read.namespace].interval) for read in hours}
        seen = looked(self.ask, self.scope, hours, steps)
        return {
            read: sightings(known, seen, wanted(known.values()), steps[read]) if known else {}
            for read, known in hours.items()
        }

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
            seen = self._plain(self._scope(tuple(sorted(read.namespace for read in reads))), reads[0])
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
            scope = self._scope(names)
            blank |= self._gaps(scope, SightMetric(metric))
            seen = self._attended(scope, SightMetric(metric))
            for name in names:
                since = known_from(blank[name], self.start, self.end, SHORTEST) if name in short else self.start
                missed[name] = self._missed(name, seen, sights.of[name], since)
        return blank, missed

    def _gaps(self, scope: Scope, metric: SightMetric) -> dict[str, tuple[Span, ...]]:
        step = max(STEP, self._seconds / 5000)
        answer = self.ask.ranged(queries.presence(scope, metric), self.start, self.end, step)
        times = {series.labels.get("namespace", ""): [time for time, _ in series.points] for series in answer.series}
        between = timedelta(seconds=step)
        return {name: gaps(times.get(name, []), self.start, self.end, between) for name in scope.namespaces}

    def _attended(self, scope: Scope, metric: SightMetric) -> dict[tuple[str, str], float]:
        total: dict[tuple[str, str], float] = {}

        def count(span: Slice) -> list[Answer]:
            return [self.ask.instant(queries.attendance(scope, metric, span.seconds, STEP), span.end)]

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
