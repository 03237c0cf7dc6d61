"""How many plaintext edges each of many namespaces has: one set of queries for all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from rollout.model.look import ScrapeLabels
from rollout.model.traffic import Family
from rollout.ports import Metrics
from rollout.world import queries
from rollout.world.conventions import detected
from rollout.world.evidence import OVERLAP, EdgeId, Slice, edge_of, halving, identity, slices
from rollout.world.promql import Scope


def offending(namespaces: Sequence[str], look_back: timedelta, match: str, metrics: Metrics) -> dict[str, int]:
    """Plaintext edges of the look-back, by namespace; those without any are in it, too.

    Raises:
        MetricsError: Prometheus does not answer.
    """
    end = metrics.now()
    names = tuple(sorted(set(namespaces)))
    scope = Scope(names, match, detected(names, match, metrics, end) or ScrapeLabels())
    found: dict[str, set[EdgeId]] = {name: set() for name in scope.namespaces}
    for family in Family:

        def ask(part: Slice, family: Family = family) -> list[EdgeId]:
            promql = queries.existence(scope, family, part.seconds + OVERLAP.total_seconds(), True)
            return [identity(edge_of(sample.labels, family)) for sample in metrics.query(promql, part.end).samples]

        for span in slices(end - look_back, end):
            for key in halving(span, ask):
                found.setdefault(key[1].namespace, set()).add(key)
    return {name: len(found[name]) for name in scope.namespaces}
