"""--metrics-match is part of the command line: what Prometheus cannot parse of it is said before anything else is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rollout.errors import BadQuery, MetricsError, UsageError
from rollout.ports import Metrics
from rollout.world.queries import Scope, SightMetric, presence


def understood(args: Any, namespaces: Sequence[str], metrics: Metrics, now: datetime) -> None:
    """Ask one cheap query with the matchers; whatever else is wrong with this Prometheus the run says better.

    Raises:
        UsageError: with them Prometheus refuses it, without them it does not.
    """
    if not args.metrics_match.strip():
        return
    try:
        _asked(args.metrics_match, namespaces, metrics, now)
    except BadQuery as error:
        try:
            _asked("", namespaces, metrics, now)
        except MetricsError:
            return
        raise UsageError(
            f"{args.metrics_match!r} is no list of label matchers: {error.problem}",
            limit='NAME="VALUE", with commas between them; =, !=, =~ or !~',
            where="--metrics-match",
            next=f"rollout {args.command} {namespaces[0]} --metrics-match=",
        ) from error
    except MetricsError:
        return


def _asked(match: str, namespaces: Sequence[str], metrics: Metrics, now: datetime) -> None:
    metrics.query(presence(Scope(tuple(sorted(namespaces)), match), SightMetric.UP), now)
