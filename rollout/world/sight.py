"""Is every proxy scraped? Without that an empty answer means nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from rollout.mesh.injection import injected, live
from rollout.model.kubernetes import Pod
from rollout.model.traffic import Sight
from rollout.ports import Sample
from rollout.world.queries import SightMetric

_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_LABEL_SETS = re.compile(r"\{([^{}]*)\}")
#: Service discovery finds a new pod only after a while; until then its silence says nothing.
DISCOVERY = 30.0
#: Until a namespace was measured.
USUAL_INTERVAL = 30.0


def proxies(pods: Iterable[Pod]) -> tuple[Pod, ...]:
    """The live pods with a sidecar."""
    return tuple(pod for pod in pods if live(pod) and injected(pod))


def interval_of(long_window: float, long_count: float, short_window: float, short_count: float) -> float:
    """The scrape interval in seconds, from how many samples lie in two windows.

    The long window is the exact one. Where all proxies are younger than it, it counts too few; the short one tells.
    """
    if long_count <= 0:
        return short_window / short_count if short_count > 0 else USUAL_INTERVAL
    interval = long_window / long_count
    if short_count > 0 and interval > 2 * short_window / short_count:
        return short_window / short_count
    return interval


def sight_of(
    pods: Iterable[Pod], newest: Mapping[str, float], metric: SightMetric, interval: float, at: datetime
) -> Sight:
    """Which proxies have a sample younger than two scrapes.

    Args:
        pods: of one namespace.
        newest: the time of each pod's newest sample, seconds since the epoch.
        metric: what was looked at.
        interval: the scrape interval in seconds.
        at: Prometheus' own time.
    """
    found = timedelta(seconds=2 * interval + DISCOVERY)
    expected = tuple(
        sorted(
            pod.name
            for pod in proxies(pods)
            if pod.name in newest
            or pod.metadata.creation_timestamp is None
            or at - pod.metadata.creation_timestamp > found
        )
    )
    now = at.timestamp()
    fresh = {name for name, time in newest.items() if now - time <= 2 * interval + 1}
    ours = [newest[name] for name in expected if name in newest]
    latest = max(ours, default=None)
    return Sight(
        expected=expected,
        seen=tuple(name for name in expected if name in fresh),
        metric=metric,
        interval=interval,
        newest=None if latest is None else datetime.fromtimestamp(latest, UTC),
        skew=0.0 if latest is None else now - latest,
    )


def partial_answer(warnings: Iterable[str]) -> str:
    """The warning that says that data is missing, '' for none; PromQL's own annotations say nothing of the kind."""
    return next((w for w in warnings if not w.lower().startswith(("promql info", "promql warning"))), "")


def concerning(warnings: Iterable[str], match: str) -> tuple[str, ...]:
    """The warnings without those of a store that is provably not ours.

    Thanos names the labels of a store that did not answer. Where each of them contradicts one of our own matchers
    (`cluster="eu1"`), nothing of ours is missing.
    """
    ours = dict(_LABEL.findall(match))
    return tuple(dict.fromkeys(w for w in warnings if not _foreign(w, ours)))


def _foreign(warning: str, ours: Mapping[str, str]) -> bool:
    stores = _LABEL_SETS.findall(warning.partition("LabelSets:")[2])
    return bool(ours and stores) and all(
        any(ours.get(name, value) != value for name, value in _LABEL.findall(store)) for store in stores
    )


def by_pod(samples: Iterable[Sample]) -> dict[str, dict[str, float]]:
    """namespace -> pod -> value."""
    found: dict[str, dict[str, float]] = {}
    for sample in samples:
        namespace, pod = sample.labels.get("namespace", ""), sample.labels.get("pod", "")
        found.setdefault(namespace, {})[pod] = sample.value
    return found


def by_namespace(samples: Iterable[Sample]) -> dict[str, float]:
    """namespace -> value."""
    return {sample.labels.get("namespace", ""): sample.value for sample in samples}
