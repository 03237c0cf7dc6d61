"""Asks Prometheus for a look-back: warnings kept, queries counted, and whom to ask where history is kept elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from rollout.model.look import Look
from rollout.model.traffic import Family
from rollout.ports import Answer, Metrics, RangeAnswer, Sample
from rollout.world import queries
from rollout.world.evidence import Slice, halving
from rollout.world.promql import Scope
from rollout.world.sources import Sources

#: A store of history may know the newest hours late (an uploaded block holds two); the live Prometheus knows them.
LAG = timedelta(hours=3)


class Asking:
    """The questions of one look-back."""

    def __init__(self, sources: Sources) -> None:
        """Ask nothing yet."""
        self.live: Metrics = sources.metrics
        self.past: Metrics = sources.metrics.past()
        self.elsewhere = self.past.address() != self.live.address()
        self.end = sources.at
        self.warnings: list[str] = []
        self.count = 0

    def instant(self, promql: str, at: datetime | None = None, *, live: bool = False) -> Answer:
        """Of the end of the look-back, unless a time is given."""
        self.count += 1
        answer = (self.live if live else self.past).query(promql, at or self.end)
        self.warnings.extend(answer.warnings)
        return answer

    def ranged(self, promql: str, start: datetime, end: datetime, step: float, *, live: bool = False) -> RangeAnswer:
        """A range query; `step` in seconds."""
        self.count += 1
        answer = (self.live if live else self.past).query_range(promql, start, end, step)
        self.warnings.extend(answer.warnings)
        return answer

    def over(self, query: Callable[[Scope, float], str], scope: Scope, start: datetime) -> list[Sample]:
        """What there is next to nothing of: the whole look-back at once. A store of history may lag."""
        whole = Slice(start, self.end)
        found = halving(whole, lambda span: self.instant(query(scope, span.seconds), span.end).samples)
        if self.elsewhere:
            found += self.instant(query(scope, min(whole.seconds, LAG.total_seconds())), live=True).samples
        return found

    def look(self, scope: Scope, look_back: float, slices: int, metrics: int) -> Look:
        """How much is about to be asked; `metrics` are those by which sight is known."""
        series = self.instant(queries.extent(scope), live=True).samples
        return Look(
            namespaces=len(scope.namespaces),
            series=round(sum(row.value for row in series)),
            look_back=look_back,
            slices=slices,
            queries=self.count + slices * (2 * len(Family) + metrics) + metrics + 1,
            labels=scope.labels,
        )
