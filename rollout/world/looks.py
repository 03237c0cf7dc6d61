"""A closer look at single hours: when, within the hour, was a plaintext edge there?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import msgspec

from rollout.errors import QueryTooHeavy
from rollout.model.traffic import Family
from rollout.world import queries
from rollout.world.asking import LAG, Asking
from rollout.world.evidence import EdgeId, edge_of, identity
from rollout.world.queries import Scope
from rollout.world.reads import Traffic
from rollout.world.sightings import HOUR, SCRAPES, wanted


def looked(
    ask: Asking,
    scope: Scope,
    hours: Mapping[Traffic, Mapping[EdgeId, tuple[datetime, ...]]],
    steps: Mapping[Traffic, float],
) -> dict[EdgeId, list[datetime]]:
    """The times of each edge: a short range per hour for all namespaces to which it is worth it, newest hours first.

    Args:
        ask: counts the queries.
        scope: its matchers and labels; the namespaces are those of `hours`.
        hours: the ends of the hours in which each edge was there.
        steps: seconds between two points.
    """
    looks: dict[tuple[datetime, Family, float], set[str]] = {}
    for read, known in hours.items():
        for hour in wanted(known.values()):
            for family in {key[3] for key, times in known.items() if hour in times}:
                looks.setdefault((hour, family, steps[read]), set()).add(read.namespace)
    seen: dict[EdgeId, list[datetime]] = {}
    for (hour, family, step), names in sorted(looks.items(), key=lambda look: look[0], reverse=True):
        within = msgspec.structs.replace(scope, namespaces=tuple(sorted(names)))
        for key, time in _look(ask, within, hour, family, step):
            seen.setdefault(key, []).append(time)
    return seen


def _look(ask: Asking, scope: Scope, hour: datetime, family: Family, step: float) -> Iterator[tuple[EdgeId, datetime]]:
    promql = queries.existence(scope, family, SCRAPES * step, True)
    first = hour - HOUR + timedelta(seconds=step)
    try:
        answer = ask.ranged(promql, first, hour, step, live=ask.end - hour < LAG - HOUR)
    except QueryTooHeavy:  # of one alone: then the hour is close enough
        for name in scope.namespaces if len(scope.namespaces) > 1 else ():
            yield from _look(ask, msgspec.structs.replace(scope, namespaces=(name,)), hour, family, step)
        return
    for series in answer.series:
        key = identity(edge_of(series.labels, family))
        yield from ((key, time) for time, _ in series.points)
