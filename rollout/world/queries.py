"""Every PromQL text of the product (with `scrapes`): what a series means is decided here and nowhere else.

Each function turns a Scope into a text and stands in `REGISTRY` with sample arguments, so that a suite can put all of
them to a real server. The rules come from istio.md 6 and from DESIGN.md "Evidence: rules that naive queries break".
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from rollout.model.traffic import Family
from rollout.world import promql
from rollout.world.promql import BARE as _BARE
from rollout.world.promql import OLD as _OLD
from rollout.world.promql import ONE as _ONE
from rollout.world.promql import PAIRS, PART, REGISTRY, SAMPLES, Scope, escape, examples, quote, renamed, usual
from rollout.world.promql import TWO as _TWO
from rollout.world.promql import among as _among
from rollout.world.promql import joint as _joint
from rollout.world.promql import registered as _registered
from rollout.world.promql import select as _select
from rollout.world.promql import window as _window
from rollout.world.scrapes import (
    SEEN,
    SightMetric,
    attendance,
    identities,
    presence,
    samples,
    scrapes,
    seen,
    sight,
    ways,
)

__all__ = [
    "PART", "REGISTRY", "SAMPLES", "SEEN", "Scope", "SightMetric", "attendance", "escape", "examples", "identities",
    "presence", "quote", "samples", "scrapes", "seen", "sight",
]  # fmt: skip


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

#: By the label; and, where it is not on every report, by the policy: `unknown` is all that a caller's Envoy ever says,
#: and what the server's never does (istio.md 6.2). `unattributed` asks for what that leaves open.
_AT_DESTINATION = {
    True: 'reporter=~"destination|waypoint"',
    False: 'reporter!="source",connection_security_policy=~"mutual_tls|none"',
}
_AT_SOURCE = {
    True: 'reporter="source"',
    False: 'reporter!~"destination|waypoint",connection_security_policy="unknown"',
}
_NO_REPORTER = 'reporter=""'
_PLAINTEXT = 'connection_security_policy!="mutual_tls"'
_EDGES = f'__name__=~"{REQUESTS}|{OPENED}|{CLOSED}|{RECEIVED}|{SENT}"'
_LISTENERS = {
    Counter.TAKEN: ("envoy_listener_manager_listener_modified", "envoy_listener_manager_listener_in_place_updated"),
    Counter.REJECTED: ("envoy_listener_manager_lds_update_rejected",),
    Counter.DRAINING: (
        "envoy_listener_manager_total_listeners_draining",
        "envoy_listener_manager_total_filter_chains_draining",
    ),
}

# Scrapes

#: What `conventions` calls the reports without the label.
NO_REPORTER = "no reporter"
#: What `unlabelled` calls them.
REPORTER = "reporter"
CONVENTIONS = (*(" ".join(pair) for pair in PAIRS), NO_REPORTER)


@_registered((_ONE,), (_TWO,), (_ONE, ("namespace pod",)))
def conventions(scope: Scope, parts: tuple[str, ...] = CONVENTIONS) -> str:
    """How many series show the namespaces' proxies, by metric and (in PART) pair of labels; and those without reporter.

    The pair is `NAMESPACE_LABEL POD_LABEL`.
    """
    here = _among("destination_workload_namespace", scope.namespaces)
    bare = f"count({_select('', scope, _EDGES, here, _NO_REPORTER)})"
    asked = {**ways(scope), NO_REPORTER: bare}
    return _joint({part: asked[part] for part in parts})


# Evidence


def _inbound(metric: str, scope: Scope, *matchers: str) -> str:
    here = _among("destination_workload_namespace", scope.namespaces)
    return _select(metric, scope, _AT_DESTINATION[scope.labels.reporter], here, *matchers)


@_registered((_ONE, Family.HTTP, 86400), (_TWO, Family.TCP, 86400), (_BARE, Family.HTTP, 86400))
def volume(scope: Scope, family: Family, window: float) -> str:
    """Requests or connections by edge; a series born in the window may count 0 here: see `existence`."""
    series = _inbound(VOLUME[family], scope)
    return f"sum by ({', '.join(EDGE)}) (increase({series}[{_window(window)}]))"


@_registered(
    (_ONE, Family.HTTP, 87000),
    (_TWO, Family.TCP, 87000),
    (_ONE, Family.HTTP, 3600, True),
    (_BARE, Family.TCP, 3600, True),
)
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


@_registered((_ONE,), (_TWO,), (_BARE,))
def open_connections(scope: Scope) -> str:
    """TCP connections open now, by edge, also those older than any window (observed.md j)."""
    by = f"sum by ({', '.join(EDGE)})"
    opened, closed = (f"{by} ({_inbound(metric, scope)})" for metric in (OPENED, CLOSED))
    return f"(({opened} - {closed}) or {opened}) > 0"


@_registered((_ONE, 3600), (_TWO, 3600), (_OLD, 3600), (_BARE, 3600))
def unlabelled(scope: Scope, window: float) -> str:
    """Inbound series of the window that lack a label which the evidence rests on, by namespace, with its name in PART.

    A Telemetry tag override drops one at the proxy, relabelling at the scrape, and an aggregation the scrape's as well:
    such a series says of no namespace that it is not its own, and comes without one.
    """
    own, place, w = scope.labels.namespace, "destination_workload_namespace", _window(window)
    scraped, policy = _among(own, scope.namespaces), 'connection_security_policy=""'
    asked = {
        REPORTER: (place, (_among(place, scope.namespaces), _NO_REPORTER)),
        place: (own, (scraped, 'reporter!="source"', f'{place}=""')),
        policy.partition("=")[0]: (own, (scraped, 'reporter!="source"', policy)),
        f"{own} and {place}": (own, (f'{own}=""', 'reporter!="source"', f'{place}=""')),
    }
    counts = {
        name: renamed(f"count by ({label}) (last_over_time({_select('', scope, _EDGES, *matchers)}[{w}]))",
                      label, "namespace")
        for name, (label, matchers) in asked.items()
    }  # fmt: skip
    return _joint(counts)


@_registered((_BARE, 3600), (Scope(("production",), "", _BARE.labels), 60))
def unattributed(scope: Scope, window: float) -> str:
    """Series of the window of which the policy does not tell who reports, by who could.

    A caller's Envoy names its own namespace, in which it is scraped; a ztunnel that took plaintext says `unknown` too,
    and is scraped in its own.
    """
    place = "destination_workload_namespace"
    unknown = 'connection_security_policy!~"(mutual_tls|none)?"'
    series = _select("", scope, _EDGES, _among(place, scope.namespaces), 'reporter!="source"', unknown)
    by = f"{place}, source_workload_namespace, {scope.labels.namespace}, reporter"
    return f"count by ({by}) (last_over_time({series}[{_window(window)}]))"


@_registered((_ONE,), (_TWO,), (_BARE,))
def extent(scope: Scope) -> str:
    """How many raw series the look-back of these namespaces goes through, as of now."""
    here = _among("destination_workload_namespace", scope.namespaces)
    return f"count({_select('', scope, _EDGES, _AT_DESTINATION[scope.labels.reporter], here)})"


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
        f"increase({_select(metric, scope, _AT_SOURCE[scope.labels.reporter], matcher)}[{_window(window)}])"
        for matcher in matchers
    )


@_registered((_ONE, 120), (_TWO, 120), (_BARE, 120))
def tried(scope: Scope, window: float) -> str:
    """Requests as the callers' proxies and gateways saw them, by edge and result."""
    return f"sum by ({', '.join(RESULT)}) ({_towards(REQUESTS, scope, window)})"


@_registered((_ONE, 120), (_TWO, 120), (_BARE, 120))
def arrived(scope: Scope, window: float) -> str:
    """Requests as the destinations saw them, by edge and result."""
    return f"sum by ({', '.join(RESULT)}) (increase({_inbound(REQUESTS, scope)}[{_window(window)}]))"


@_registered((_ONE, 120), (_TWO, 120), (_BARE, 120))
def connected(scope: Scope, window: float) -> str:
    """TCP connections that the callers' proxies opened, by edge."""
    return f"sum by ({', '.join(RESULT)}) ({_towards(OPENED, scope, window)})"


@_registered((_ONE, 120), (_TWO, 120), (_BARE, 120))
def disconnected(scope: Scope, window: float) -> str:
    """TCP connections that ended at the callers' proxies, by edge and flags (UR, UF: istio.md 6.5)."""
    return f"sum by ({', '.join(RESULT)}) ({_towards(CLOSED, scope, window)})"


@_registered((_ONE, 120), (_TWO, 120), (_BARE, 120))
def accepted(scope: Scope, window: float) -> str:
    """TCP connections that the destinations took, by edge."""
    return f"sum by ({', '.join(RESULT)}) (increase({_inbound(OPENED, scope)}[{_window(window)}]))"


@_registered((_ONE, 120), (_TWO, 120), (_BARE, 120))
def received(scope: Scope, window: float) -> str:
    """Bytes that the destinations received over TCP, by edge: the sign of life of a pooled connection."""
    return f"sum by ({', '.join(RESULT)}) (increase({_inbound(RECEIVED, scope)}[{_window(window)}]))"


@_registered((_ONE, 120), (_TWO, 120), (_BARE, 120))
def passthrough(scope: Scope, window: float) -> str:
    """Requests to bare addresses, which name no namespace: the address tells whose pod it was (istio.md 6.5)."""
    series = _select(
        REQUESTS,
        scope,
        _AT_SOURCE[scope.labels.reporter],
        'destination_service_name="PassthroughCluster"',
        r'destination_service=~"[0-9a-f.:\\[\\]]+"',
    )
    return f"sum by ({', '.join(RESULT)}) (increase({series}[{_window(window)}]))"


@_registered((_ONE, 120), (_TWO, 120), (_BARE, 120))
def reset(scope: Scope, window: float) -> str:
    """TCP connections to bare addresses that the far end cut, by caller; unlike requests they name no address.

    STRICT answers plaintext so (istio.md 6.5: UR). `scope` gives its matchers alone: the callers are anywhere.
    """
    series = _select(
        CLOSED,
        scope,
        _AT_SOURCE[scope.labels.reporter],
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


@_registered((_ONE, 120), (_TWO, 120), (_ONE, 60, ("tried", "passthrough")), (_BARE, 120))
def watched(scope: Scope, window: float, parts: tuple[str, ...] = tuple(WATCHED)) -> str:
    """The watch's questions as one query."""
    return _joint({name: WATCHED[name](scope, window) for name in parts})


# Propagation


@_registered((_ONE, Counter.TAKEN), (_TWO, Counter.REJECTED, 90), (_ONE, Counter.DRAINING), (_OLD, Counter.TAKEN, 90))
def listeners(scope: Scope, counter: Counter, offset: float = 0) -> str:
    """A listener counter per pod, now or `offset` seconds earlier."""
    names = _LISTENERS[counter]
    name = f'__name__=~"{"|".join(names)}"'
    series = _select("", scope, name, _among(scope.labels.namespace, scope.namespaces))
    earlier = f" offset {_window(offset)}" if offset else ""
    return usual(f"sum by ({promql.by_pod(scope.labels)}) ({series}{earlier})", scope.labels)
