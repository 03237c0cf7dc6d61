"""What one collection asks with, and what it has learned already, so that nothing is asked twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

import msgspec

from rollout.errors import (
    ClusterError,
    Forbidden,
    MetricsRefused,
    NoProgram,
    NotFound,
    QueryTooHeavy,
    RolloutError,
    Unauthorized,
)
from rollout.model.kubernetes import ConfigMap, Object, Pod
from rollout.model.look import Announce, ScrapeLabels, nobody
from rollout.model.traffic import Sight
from rollout.ports import Cluster, Metrics, Right, Sample
from rollout.world.conventions import detected
from rollout.world.queries import PART, SEEN, Scope, SightMetric, seen
from rollout.world.reads import Labelling, Objects, Read
from rollout.world.sight import by_namespace, by_pod, interval_of, sight_of
from rollout.world.suspects import CONFIG_MAPS
from rollout.world.world import Reading, Unreadable, World

T = TypeVar("T", bound=Object)


def unreadable(error: RolloutError, right: Right | None = None) -> Unreadable:
    """The error as an answer; a missing right is named, a refused credential is permanent."""
    reason = error.problem
    if isinstance(error, Forbidden) and right is not None:
        reason = f"not permitted: {right} ({error.problem})"
    return Unreadable(
        reason=reason,
        outcome=error.outcome,
        absent=isinstance(error, NotFound | NoProgram),
        permanent=isinstance(error, Unauthorized | Forbidden | MetricsRefused),
        next=error.next,
    )


class Sights(msgspec.Struct, frozen=True):
    """The sight of each namespace, and Prometheus' warnings on the way."""

    of: dict[str, Sight]
    warnings: tuple[str, ...] = ()
    #: namespace -> pod -> samples in the window that was asked for.
    counted: dict[str, dict[str, float]] = {}


class Sources:
    """Ports and what is known; lives for one collection."""

    def __init__(self, cluster: Cluster, metrics: Metrics, world: World, announce: Announce = nobody) -> None:
        """Ask nothing yet; `announce` hears of what takes long."""
        self.cluster = cluster
        self.metrics = metrics
        self.world = world
        self.announce = announce
        self._at: datetime | None = None
        self._objects: dict[tuple[type[Object], str], tuple[Object, ...]] = {}
        self._sights: dict[tuple[Scope, float], Sights] = {}
        self._labels: dict[str, ScrapeLabels | None] = {}

    @property
    def at(self) -> datetime:
        """Prometheus' own clock, asked once. Raises MetricsError."""
        if self._at is None:
            self._at = self.metrics.now()
        return self._at

    def learn(self, answers: Mapping[Read, Reading]) -> None:
        """Use what this collection has just read."""
        self.world = self.world.plus(answers)

    def labels(self, namespaces: Iterable[str], match: str) -> ScrapeLabels:
        """How Prometheus names what it scrapes: as it was found once, else asked; the usual where nothing is scraped.

        Raises:
            MetricsError: Prometheus does not answer.
        """
        if match not in self._labels:
            known = self.world.readings.get(Labelling(match))
            if known is not None:
                return known.value  # type: ignore[no-any-return]
            self._labels[match] = detected(namespaces, match, self.metrics, self.at)
        return self._labels[match] or ScrapeLabels()

    def unreported(self, labels: ScrapeLabels, match: str) -> ScrapeLabels:
        """`reporter` is not on every report: so for what comes after, too, as the label may go at any time."""
        less = msgspec.structs.replace(labels, reporter=False)
        if self._labels.get(match) is not None or Labelling(match) in self.world.readings:
            self._labels[match] = less
        return less

    def found(self) -> dict[Labelling, ScrapeLabels]:
        """What this collection found out by itself, for the next one."""
        return {Labelling(match): labels for match, labels in self._labels.items() if labels is not None}

    def scope(self, namespaces: Iterable[str], match: str) -> Scope:
        """For queries about these namespaces. Raises MetricsError."""
        names = tuple(sorted(set(namespaces)))
        return Scope(names, match, self.labels(names, match))

    def within(self, kind: type[T], namespace: str) -> tuple[T, ...]:
        """The objects of a kind in a namespace: as read, else listed there.

        Raises:
            ClusterError: it cannot be listed either.
        """
        known = self.world.readings.get(Objects(kind))
        if known is not None and not isinstance(known.value, Unreadable):
            return self.world.of(kind, namespace)
        key = (kind, namespace)
        if key not in self._objects:
            self._objects[key] = self.cluster.list(kind, namespace=namespace)
        return self._objects[key]  # type: ignore[return-value]

    def readable(self, kind: type[T], namespace: str = "") -> tuple[T, ...]:
        """As `within`, but nothing where it cannot be read: for what only helps to explain."""
        known = self.world.readings.get(Objects(kind))
        if known is not None and isinstance(known.value, Unreadable) and (known.value.absent or not namespace):
            return ()
        try:
            return self.within(kind, namespace)
        except ClusterError:
            return ()

    def joint(
        self, text: Callable[[tuple[str, ...]], str], parts: tuple[str, ...]
    ) -> tuple[dict[str, list[Sample]], tuple[str, ...]]:
        """The answers to several questions by their names, and Prometheus' warnings.

        They are asked as one query, and one by one where that is too heavy (or too long for something on the way).

        Args:
            text: the query for some of the questions; its rows name theirs in the label PART.
            parts: their names.

        Raises:
            MetricsError: Prometheus does not answer.
        """
        try:
            answers = [self.metrics.query(text(parts), self.at)]
        except QueryTooHeavy:
            answers = [self.metrics.query(text((name,)), self.at) for name in parts]
        found: dict[str, list[Sample]] = {name: [] for name in parts}
        for sample in (sample for answer in answers for sample in answer.samples):
            found[sample.labels[PART]].append(sample)
        return found, tuple(dict.fromkeys(warning for answer in answers for warning in answer.warnings))

    def sights(self, namespaces: Iterable[str], match: str, window: float = 0.0) -> Sights:
        """Sight of each namespace: by the best metric that knows any of its pods; with `window`, the samples in it.

        Raises:
            RolloutError: pods cannot be listed, or Prometheus does not answer.
        """
        scope = self.scope(namespaces, match)
        if (scope, window) not in self._sights:
            self._sights[scope, window] = self._look(scope, window)
        return self._sights[scope, window]

    def _look(self, scope: Scope, window: float) -> Sights:
        found: dict[str, Sight] = {}
        counted: dict[str, dict[str, float]] = {}
        warnings: list[str] = []
        missing = list(scope.namespaces)
        parts = SEEN if window else SEEN[:-1]
        for metric in SightMetric:
            if not missing:
                break
            rows, said = self.joint(
                partial(seen, Scope(tuple(missing), scope.match, scope.labels), metric, window), parts
            )
            newest, samples = by_pod(rows["newest"]), by_pod(rows.get("window", ()))
            long, short = by_namespace(rows["long"]), by_namespace(rows["short"])
            warnings.extend(said)
            last = metric is SightMetric.UP
            chosen = [name for name in missing if newest.get(name) or last]
            for name in chosen:
                interval = interval_of(600, long.get(name, 0), 120, short.get(name, 0))
                pods = self.within(Pod, name)
                found[name] = sight_of(pods, newest.get(name, {}), metric, interval, self.at)
                counted[name] = samples.get(name, {})
            missing = [name for name in missing if name not in found]
        return Sights(found, tuple(dict.fromkeys(warnings)), counted)


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
