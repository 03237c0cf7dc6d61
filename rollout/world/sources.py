"""What one collection asks with, and what it has learned already, so that nothing is asked twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TypeVar

import msgspec

from rollout.errors import ClusterError, Forbidden, MetricsRefused, NotFound, RolloutError, Unauthorized
from rollout.model.kubernetes import Object, Pod
from rollout.model.traffic import Sight
from rollout.ports import Cluster, Metrics, Right
from rollout.world.queries import Scope, SightMetric, scrapes
from rollout.world.queries import sight as sight_query
from rollout.world.reads import Objects, Read
from rollout.world.sight import by_namespace, by_pod, interval_of, sight_of
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
        absent=isinstance(error, NotFound),
        permanent=isinstance(error, Unauthorized | Forbidden | MetricsRefused),
        next=error.next,
    )


class Sights(msgspec.Struct, frozen=True):
    """The sight of each namespace, and Prometheus' warnings on the way."""

    of: dict[str, Sight]
    warnings: tuple[str, ...] = ()


class Sources:
    """Ports and what is known; lives for one collection."""

    def __init__(self, cluster: Cluster, metrics: Metrics, world: World) -> None:
        """Ask nothing yet."""
        self.cluster = cluster
        self.metrics = metrics
        self.world = world
        self._at: datetime | None = None
        self._objects: dict[tuple[type[Object], str], tuple[Object, ...]] = {}
        self._sights: dict[Scope, Sights] = {}

    @property
    def at(self) -> datetime:
        """Prometheus' own clock, asked once. Raises MetricsError."""
        if self._at is None:
            self._at = self.metrics.now()
        return self._at

    def learn(self, answers: Mapping[Read, Reading]) -> None:
        """Use what this collection has just read."""
        self.world = self.world.plus(answers)

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

    def sights(self, namespaces: Iterable[str], match: str) -> Sights:
        """Sight of each namespace: by the best metric that knows any of its pods.

        Raises:
            RolloutError: pods cannot be listed, or Prometheus does not answer.
        """
        scope = Scope(tuple(sorted(set(namespaces))), match)
        if scope not in self._sights:
            self._sights[scope] = self._look(scope)
        return self._sights[scope]

    def _look(self, scope: Scope) -> Sights:
        found: dict[str, Sight] = {}
        warnings: list[str] = []
        missing = list(scope.namespaces)
        for metric in SightMetric:
            if not missing:
                break
            part = Scope(tuple(missing), scope.match)
            answer = self.metrics.query(sight_query(part, metric), self.at)
            newest = by_pod(answer)
            warnings.extend(answer.warnings)
            last = metric is SightMetric.UP
            chosen = [name for name in missing if newest.get(name) or last]
            if not chosen:
                continue
            intervals = self._intervals(Scope(tuple(chosen), scope.match), metric)
            for name in chosen:
                pods = self.within(Pod, name)
                found[name] = sight_of(pods, newest.get(name, {}), metric, intervals[name], self.at)
            missing = [name for name in missing if name not in chosen]
        return Sights(found, tuple(dict.fromkeys(warnings)))

    def _intervals(self, scope: Scope, metric: SightMetric) -> dict[str, float]:
        long, short = (
            by_namespace(self.metrics.query(scrapes(scope, metric, window), self.at)) for window in (600.0, 120.0)
        )
        return {name: interval_of(600, long.get(name, 0), 120, short.get(name, 0)) for name in scope.namespaces}
