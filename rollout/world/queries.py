"""Every PromQL text of the product: what a series means is decided here and nowhere else.

Each function turns a Scope into a text and stands in `REGISTRY` with sample arguments, so that a suite can put all of
them to a real server. The rules come from istio.md 6 and from DESIGN.md "Evidence: rules that naive queries break".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, ParamSpec

import msgspec

from rollout.model.traffic import Family

P = ParamSpec("P")


class Scope(msgspec.Struct, frozen=True):
    """Which namespaces a query is about; `match` holds further matchers, such as `cluster="eu1"`."""

    namespaces: tuple[str, ...]
    match: str = ""


class SightMetric(StrEnum):
    """What shows that a proxy is scraped, best first."""

    UPTIME = "envoy_server_uptime"
    BUILD = "istio_build"
    UP = "up"


class Counter(StrEnum):
    """What a proxy says of its listeners; all three are in Istio's default stats (istio.md 6.4)."""

    TAKEN = "taken"
    REJECTED = "rejected"
    DRAINING = "draining"


#: The labels of an edge, as the destination reports it.
EDGE = (
    "source_workload",
    "source_workload_namespace",
    "source_principal",
    "destination_workload",
    "destination_workload_namespace",
    "destination_service",
    "connection_security_policy",
)

#: The labels of an edge in the watch: how it ended is classified by `watch`, because flags are a set (istio.md 6.1).
RESULT = (
    "source_workload",
    "source_workload_namespace",
    "destination_workload",
    "destination_workload_namespace",
    "destination_service",
    "destination_service_namespace",
    "response_code",
    "response_flags",
    "grpc_response_status",
)

REQUESTS = "istio_requests_total"
OPENED = "istio_tcp_connections_opened_total"
CLOSED = "istio_tcp_connections_closed_total"
RECEIVED = "istio_tcp_received_bytes_total"
SENT = "istio_tcp_sent_bytes_total"

#: What counts for volume, and what proves existence: a long-lived connection shows in bytes alone, and one whose
#: handshake the application does itself shows in `closed` alone (istio.md 6.4).
VOLUME = {Family.HTTP: REQUESTS, Family.TCP: OPENED}
EXISTENCE = {Family.HTTP: (REQUESTS,), Family.TCP: (OPENED, CLOSED, RECEIVED, SENT)}

_AT_DESTINATION = 'reporter=~"destination|waypoint"'
_AT_SOURCE = 'reporter="source"'
_PLAINTEXT = 'connection_security_policy!="mutual_tls"'
_LISTENERS = {
    Counter.TAKEN: ("envoy_listener_manager_listener_modified", "envoy_listener_manager_listener_in_place_updated"),
    Counter.REJECTED: ("envoy_listener_manager_lds_update_rejected",),
    Counter.DRAINING: (
        "envoy_listener_manager_total_listeners_draining",
        "envoy_listener_manager_total_filter_chains_draining",
    ),
}

REGISTRY: dict[str, Callable[..., str]] = {}
SAMPLES: dict[str, tuple[tuple[Any, ...], ...]] = {}


def examples() -> Iterator[tuple[str, str]]:
    """Name and text of every query with each of its sample arguments."""
    for name, function in REGISTRY.items():
        for arguments in SAMPLES[name]:
            yield name, function(*arguments)


_ONE = Scope(("production",))
_TWO = Scope(("production", "payments"), 'cluster="eu1"')


def _registered(*samples: tuple[Any, ...]) -> Callable[[Callable[P, str]], Callable[P, str]]:
    def register(function: Callable[P, str]) -> Callable[P, str]:
        REGISTRY[function.__name__] = function
        SAMPLES[function.__name__] = samples
        return function

    return register


def quote(text: str) -> str:
    r"""A PromQL string: `a"b` becomes `"a\"b"`."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def escape(text: str) -> str:
    """The text as a part of an RE2 expression that matches just it."""
    return "".join(f"\\{char}" if char in r".+*?()|[]{}^$" + "\\" else char for char in text)


def _among(label: str, values: tuple[str, ...]) -> str:
    if len(values) == 1:
        return f"{label}={quote(values[0])}"
    return f"{label}=~{quote('|'.join(escape(value) for value in values))}"


def _select(metric: str, scope: Scope, *matchers: str) -> str:
    match = scope.match.strip().strip("{},").strip()
    return f"{metric}{{{','.join([*matchers, *([match] if match else [])])}}}"


def _scraped(metric: str, scope: Scope) -> str:
    return _select(metric, scope, _among("namespace", scope.namespaces))


def _window(seconds: float) -> str:
    return f"{max(1, round(seconds))}s"


# Sight


@_registered((_ONE, SightMetric.UPTIME), (_TWO, SightMetric.BUILD), (_TWO, SightMetric.UP))
def sight(scope: Scope, metric: SightMetric) -> str:
    """The time of the newest sample, per pod; a failed scrape does not count."""
    return f"max by (namespace, pod) ({_newest(metric, scope)})"


def _newest(metric: SightMetric, scope: Scope) -> str:
    series = _scraped(metric, scope)
    newest = f"timestamp({series})"
    if metric is SightMetric.UP:
        newest = f"({newest} unless ({series} == 0))"  # timestamp() of a comparison is the query's own time
    return newest


@_registered((_ONE, SightMetric.UPTIME), (_TWO, SightMetric.UP))
def identities(scope: Scope, metric: SightMetric) -> str:
    """As `sight`, per series with all of its labels: by one of them the proxies of two clusters are told apart."""
    return _newest(metric, scope)


@_registered((_ONE, SightMetric.UPTIME, 600), (_TWO, SightMetric.UP, 120))
def scrapes(scope: Scope, metric: SightMetric, window: float) -> str:
    """How many samples the best scraped proxy of each namespace has in the window."""
    return f"max by (namespace) (count_over_time({_scraped(metric, scope)}[{_window(window)}]))"


@_registered((_ONE, SightMetric.UPTIME, 120), (_TWO, SightMetric.BUILD, 120))
def samples(scope: Scope, metric: SightMetric, window: float) -> str:
    """How many samples of each pod lie in the window: with fewer than two there is no increase."""
    return f"max by (namespace, pod) (count_over_time({_scraped(metric, scope)}[{_window(window)}]))"


@_registered((_ONE, SightMetric.UPTIME), (_TWO, SightMetric.BUILD))
def presence(scope: Scope, metric: SightMetric) -> str:
    """How many proxies of each namespace were scraped; asked over a range, it shows the holes."""
    return f"count by (namespace) (count by (namespace, pod) ({_scraped(metric, scope)}))"


@_registered((_ONE, SightMetric.UPTIME, 86400, 300), (_TWO, SightMetric.BUILD, 3600, 300))
def attendance(scope: Scope, metric: SightMetric, window: float, step: float) -> str:
    """At how many steps of the window each pod was scraped, whatever the scrape interval was then."""
    series = f"count by (namespace, pod) ({_scraped(metric, scope)})"
    return f"count_over_time(({series})[{_window(window)}:{_window(step)}])"


# Evidence


def _inbound(metric: str, scope: Scope, *matchers: str) -> str:
    return _select(
        metric, scope, _AT_DESTINATION, _among("destination_workload_namespace", scope.namespaces), *matchers
    )


@_registered((_ONE, Family.HTTP, 86400), (_TWO, Family.TCP, 86400))
def volume(scope: Scope, family: Family, window: float) -> str:
    """Requests or connections by edge; a series born in the window may count 0 here: see `existence`."""
    series = _inbound(VOLUME[family], scope)
    return f"sum by ({', '.join(EDGE)}) (increase({series}[{_window(window)}]))"


@_registered((_ONE, Family.HTTP, 87000), (_TWO, Family.TCP, 87000), (_ONE, Family.HTTP, 3600, True))
def existence(scope: Scope, family: Family, window: float, plaintext: bool = False) -> str:
    """How many raw series of an edge moved or were born in the window.

    increase() is 0 for a series born in the window, and one born and dead in it is at neither end; one that only
    stood still over a gap of the scrapes is not new. So each raw series is asked before any aggregation.
    """
    extra = (_PLAINTEXT,) if plaintext else ()
    terms = " or ".join(_moved(_inbound(metric, scope, *extra), window) for metric in EXISTENCE[family])
    return f"count by ({', '.join(EDGE)}) ({terms})"


def _moved(series: str, window: float) -> str:
    w = _window(window)
    return (
        f"increase({series}[{w}]) > 0 or (max_over_time({series}[{w}]) > 0 unless "
        f"(last_over_time({series}[2h] offset {w}) == min_over_time({series}[{w}])))"
    )


@_registered((_ONE,), (_TWO,))
def open_connections(scope: Scope) -> str:
    """TCP connections open now, by edge, also those older than any window (observed.md j)."""
    by = f"sum by ({', '.join(EDGE)})"
    opened, closed = (f"{by} ({_inbound(metric, scope)})" for metric in (OPENED, CLOSED))
    return f"(({opened} - {closed}) or {opened}) > 0"


@_registered((_ONE,), (_TWO,))
def unlabelled(scope: Scope) -> str:
    """Inbound series of a namespace's pods that lack a label which the evidence rests on (Telemetry tag overrides)."""
    pods = _among("namespace", scope.namespaces)
    name = f'__name__=~"{REQUESTS}|{OPENED}"'
    terms = (
        _select("", scope, name, pods, 'reporter!="source"', missing)
        for missing in ('reporter=""', 'destination_workload_namespace=""', 'connection_security_policy=""')
    )
    return " or ".join(f"count by (namespace) ({term})" for term in terms)


# Watch


def _towards(metric: str, scope: Scope, window: float) -> str:
    """At the source the destination's namespace may be unknown, so three labels are asked (istio.md 6.1)."""
    names = "|".join(escape(name) for name in scope.namespaces)
    host = quote(rf".*\.({names})(\.svc.*)?")
    matchers = (
        _among("destination_workload_namespace", scope.namespaces),
        _among("destination_service_namespace", scope.namespaces),
        f"destination_service=~{host}",
    )
    return " or ".join(
        f"increase({_select(metric, scope, _AT_SOURCE, matcher)}[{_window(window)}])" for matcher in matchers
    )


@_registered((_ONE, 120), (_TWO, 120))
def tried(scope: Scope, window: float) -> str:
    """Requests as the callers' proxies and gateways saw them, by edge and result."""
    return f"sum by ({', '.join(RESULT)}) ({_towards(REQUESTS, scope, window)})"


@_registered((_ONE, 120), (_TWO, 120))
def arrived(scope: Scope, window: float) -> str:
    """Requests as the destinations saw them, by edge and result."""
    return f"sum by ({', '.join(RESULT)}) (increase({_inbound(REQUESTS, scope)}[{_window(window)}]))"


@_registered((_ONE, 120), (_TWO, 120))
def connected(scope: Scope, window: float) -> str:
    """TCP connections that the callers' proxies opened, by edge."""
    return f"sum by ({', '.join(RESULT)}) ({_towards(OPENED, scope, window)})"


@_registered((_ONE, 120), (_TWO, 120))
def disconnected(scope: Scope, window: float) -> str:
    """TCP connections that ended at the callers' proxies, by edge and flags (UR, UF: istio.md 6.5)."""
    return f"sum by ({', '.join(RESULT)}) ({_towards(CLOSED, scope, window)})"


@_registered((_ONE, 120), (_TWO, 120))
def accepted(scope: Scope, window: float) -> str:
    """TCP connections that the destinations took, by edge."""
    return f"sum by ({', '.join(RESULT)}) (increase({_inbound(OPENED, scope)}[{_window(window)}]))"


@_registered((_ONE, 120), (_TWO, 120))
def received(scope: Scope, window: float) -> str:
    """Bytes that the destinations received over TCP, by edge: the sign of life of a pooled connection."""
    return f"sum by ({', '.join(RESULT)}) (increase({_inbound(RECEIVED, scope)}[{_window(window)}]))"


@_registered((_ONE, 120), (_TWO, 120))
def passthrough(scope: Scope, window: float) -> str:
    """Requests to bare addresses, which name no namespace: the address tells whose pod it was (istio.md 6.5)."""
    series = _select(
        REQUESTS,
        scope,
        _AT_SOURCE,
        'destination_service_name="PassthroughCluster"',
        r'destination_service=~"[0-9a-f.:\\[\\]]+"',
    )
    return f"sum by ({', '.join(RESULT)}) (increase({series}[{_window(window)}]))"


@_registered((_ONE, 120), (_TWO, 120))
def reset(scope: Scope, window: float) -> str:
    """TCP connections to bare addresses that the far end cut, by caller; unlike requests they name no address.

    STRICT answers plaintext so (istio.md 6.5: UR). `scope` gives its matchers alone: the callers are anywhere.
    """
    series = _select(
        CLOSED,
        scope,
        _AT_SOURCE,
        'destination_service_name="PassthroughCluster"',
        'response_flags=~"(.+,)?U[RC](,.+)?"',
    )
    return f"sum by (source_workload, source_workload_namespace) (increase({series}[{_window(window)}]))"


@_registered((_ONE, ("orders.example.com",), 120), (_TWO, ("orders.example.com", "b.example.com"), 120))
def webhook_failures(scope: Scope, names: tuple[str, ...], window: float) -> str:
    """Calls of admission webhooks that failed on their way, as kube-apiserver counts them, by webhook.

    It is scraped in no namespace of the scope, only its matchers count. A series born in the window counts whole.
    """
    w, among = _window(window), _among("name", names)
    rejected = _select(
        "apiserver_admission_webhook_rejection_count", scope, among, 'error_type="calling_webhook_error"'
    )
    passed = _select("apiserver_admission_webhook_fail_open_count", scope, among)
    terms = " or ".join(f"({m} unless {m} offset {w}) or increase({m}[{w}])" for m in (rejected, passed))
    return f"sum by (name) ({terms})"


#: The watch's questions, by the name that `watch.Fold` knows their answers under.
WATCHED: dict[str, Callable[[Scope, float], str]] = {
    "tried": tried,
    "arrived": arrived,
    "connected": connected,
    "disconnected": disconnected,
    "accepted": accepted,
    "received": received,
    "passthrough": passthrough,
    "reset": reset,
}
#: The label that tells to which question a row of a joint query belongs.
PART = "part"


def _joint(texts: Mapping[str, str]) -> str:
    """Several questions as one. Each row is labelled before the union, which would take equal labels for one series."""
    return " or ".join(f'label_replace({text}, "{PART}", "{name}", "", "")' for name, text in texts.items())


@_registered((_ONE, 120), (_TWO, 120), (_ONE, 60, ("tried", "passthrough")))
def watched(scope: Scope, window: float, parts: tuple[str, ...] = tuple(WATCHED)) -> str:
    """The watch's questions as one query."""
    return _joint({name: WATCHED[name](scope, window) for name in parts})


#: What is asked of sight: the newest sample, the samples of ten and of two minutes, and those of the watch's window.
SEEN = ("newest", "long", "short", "window")


@_registered((_ONE, SightMetric.UPTIME, 300), (_TWO, SightMetric.UP, 120), (_ONE, SightMetric.BUILD, 60, ("newest",)))
def seen(scope: Scope, metric: SightMetric, window: float, parts: tuple[str, ...] = SEEN) -> str:
    """`sight`, `scrapes` twice and `samples` as one query."""
    texts = {
        "newest": sight(scope, metric),
        "long": scrapes(scope, metric, 600),
        "short": scrapes(scope, metric, 120),
        "window": samples(scope, metric, window),
    }
    return _joint({name: texts[name] for name in parts})


# Propagation


@_registered((_ONE, Counter.TAKEN), (_TWO, Counter.REJECTED, 90), (_ONE, Counter.DRAINING))
def listeners(scope: Scope, counter: Counter, offset: float = 0) -> str:
    """A listener counter per pod, now or `offset` seconds earlier."""
    names = _LISTENERS[counter]
    name = f'__name__=~"{"|".join(names)}"'
    series = _select("", scope, name, _among("namespace", scope.namespaces))
    return f"sum by (namespace, pod) ({series}{f' offset {_window(offset)}' if offset else ''})"
