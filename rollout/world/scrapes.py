"""The queries about scrapes, whether and how each proxy is scraped: a part of `queries`, which has them all."""

from __future__ import annotations

from enum import StrEnum

from rollout.world.promql import (
    BARE,
    OLD,
    ONE,
    PAIRS,
    TWO,
    Scope,
    among,
    by_pod,
    joint,
    registered,
    select,
    usual,
)
from rollout.world.promql import window as duration


class SightMetric(StrEnum):
    """What shows that a proxy is scraped, best first."""

    UPTIME = "envoy_server_uptime"
    BUILD = "istio_build"
    UP = "up"


def _scraped(metric: str, scope: Scope) -> str:
    return select(metric, scope, among(scope.labels.namespace, scope.namespaces))


def ways(scope: Scope) -> dict[str, str]:
    """Queries for how many series of each metric show the namespaces' proxies, by `NAMESPACE_LABEL POD_LABEL`."""
    metrics = f'__name__=~"{"|".join(SightMetric)}"'

    def shown(own: str, pod: str) -> str:
        series = select("", scope, metrics, among(own, scope.namespaces), f'{pod}!=""')
        return f"count by (__name__) ({series})"

    return {" ".join(pair): shown(*pair) for pair in PAIRS}


@registered((ONE, SightMetric.UPTIME), (TWO, SightMetric.BUILD), (TWO, SightMetric.UP), (OLD, SightMetric.UP))
def sight(scope: Scope, metric: SightMetric) -> str:
    """The time of the newest sample, per pod; a failed scrape does not count."""
    return usual(f"max by ({by_pod(scope.labels)}) ({_newest(metric, scope)})", scope.labels)


def _newest(metric: SightMetric, scope: Scope) -> str:
    series = _scraped(metric, scope)
    newest = f"timestamp({series})"
    if metric is SightMetric.UP:
        newest = f"({newest} unless ({series} == 0))"  # timestamp() of a comparison is the query's own time
    return newest


@registered((ONE, SightMetric.UPTIME), (TWO, SightMetric.UP), (OLD, SightMetric.UPTIME))
def identities(scope: Scope, metric: SightMetric) -> str:
    """As `sight`, per series with all of its labels: by one of them the proxies of two clusters are told apart."""
    return usual(_newest(metric, scope), scope.labels)


@registered((ONE, SightMetric.UPTIME, 600), (TWO, SightMetric.UP, 120), (OLD, SightMetric.UP, 120))
def scrapes(scope: Scope, metric: SightMetric, window: float) -> str:
    """How many samples the best scraped proxy of each namespace has in the window."""
    own = scope.labels.namespace
    most = f"max by ({own}) (count_over_time({_scraped(metric, scope)}[{duration(window)}]))"
    return usual(most, scope.labels, pods=False)


@registered((ONE, SightMetric.UPTIME, 120), (TWO, SightMetric.BUILD, 120), (BARE, SightMetric.UP, 120))
def samples(scope: Scope, metric: SightMetric, window: float) -> str:
    """How many samples of each pod lie in the window: with fewer than two there is no increase."""
    most = f"max by ({by_pod(scope.labels)}) (count_over_time({_scraped(metric, scope)}[{duration(window)}]))"
    return usual(most, scope.labels)


@registered((ONE, SightMetric.UPTIME), (TWO, SightMetric.BUILD), (OLD, SightMetric.UPTIME))
def presence(scope: Scope, metric: SightMetric) -> str:
    """How many proxies of each namespace were scraped; asked over a range, it shows the holes."""
    pods = f"count by ({by_pod(scope.labels)}) ({_scraped(metric, scope)})"
    return usual(f"count by ({scope.labels.namespace}) ({pods})", scope.labels, pods=False)


@registered(
    (ONE, SightMetric.UPTIME, 86400, 300), (TWO, SightMetric.BUILD, 3600, 300), (BARE, SightMetric.UPTIME, 3600, 300)
)
def attendance(scope: Scope, metric: SightMetric, window: float, step: float) -> str:
    """At how many steps of the window each pod was scraped, whatever the scrape interval was then."""
    series = f"count by ({by_pod(scope.labels)}) ({_scraped(metric, scope)})"
    return usual(f"count_over_time(({series})[{duration(window)}:{duration(step)}])", scope.labels)


#: What is asked of sight: the newest sample, the samples of ten and of two minutes, and those of the watch's window.
SEEN = ("newest", "long", "short", "window")


@registered(
    (ONE, SightMetric.UPTIME, 300), (TWO, SightMetric.UP, 120), (ONE, SightMetric.BUILD, 60, ("newest",)),
    (OLD, SightMetric.UPTIME, 120),
)  # fmt: skip
def seen(scope: Scope, metric: SightMetric, window: float, parts: tuple[str, ...] = SEEN) -> str:
    """`sight`, `scrapes` twice and `samples` as one query."""
    texts = {
        "newest": sight(scope, metric),
        "long": scrapes(scope, metric, 600),
        "short": scrapes(scope, metric, 120),
        "window": samples(scope, metric, window),
    }
    return joint({name: texts[name] for name in parts})
