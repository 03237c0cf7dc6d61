"""The look-back comes from a store of history, which may lag; the live Prometheus knows the newest hours."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from rollout.model.traffic import Evidence, EvidenceVerdict
from rollout.world.collector import collect
from rollout.world.reads import Traffic
from rollout.world.sight import concerning, partial_answer
from rollout.world.world import World
from tests.world.mesh_fakes import NOW, FakeCluster, LabMetrics, NoAnalyzer, istio_labels, pod, scrapes

LOOK_BACK = 2 * 86400.0
START = NOW - timedelta(seconds=LOOK_BACK)
STEP = 60.0
#: The live Prometheus keeps six hours, the store lags by two.
KEPT, LAGS = NOW - timedelta(hours=6), NOW - timedelta(hours=2)


def _two() -> tuple[LabMetrics, LabMetrics]:
    live, past = LabMetrics(name="live"), LabMetrics(name="past")
    live.history = past
    uptime = {"namespace": "production", "pod": pod().name}
    live.write("envoy_server_uptime", uptime, [(t, 1.0) for t in scrapes(KEPT, NOW, STEP)])
    past.write("envoy_server_uptime", uptime, [(t, 1.0) for t in scrapes(START - timedelta(hours=3), LAGS, STEP)])
    return live, past


def _seen(source: str, policy: str, count: Callable[[datetime], float], live: LabMetrics, past: LabMetrics) -> None:
    """The same counter as both keep it."""
    labels = istio_labels(source, "production/orders", connection_security_policy=policy)
    live.write("istio_requests_total", labels, [(t, count(t)) for t in scrapes(KEPT, NOW, STEP)])
    past.write("istio_requests_total", labels, [(t, count(t)) for t in scrapes(START - timedelta(hours=3), LAGS, STEP)])


def _evidence(live: LabMetrics, **more: object) -> Evidence:
    read = Traffic("production", LOOK_BACK, **more)  # type: ignore[arg-type]
    found = collect([read], FakeCluster(pod()), live, NoAnalyzer(), World(), NOW)[read].value
    assert isinstance(found, Evidence)
    return found


def _busy(time: datetime) -> float:
    return time.timestamp() / 10


@pytest.mark.parametrize("ago", [1.0, 3.5, 30.0], ids=["the store lags", "both know", "only the store"])
@pytest.mark.parametrize("since", [None, NOW - timedelta(hours=46)])
def test_plaintext_is_seen_whoever_knows_it(ago: float, since: datetime | None) -> None:
    """And its time, in either place."""
    live, past = _two()
    at = NOW - timedelta(hours=ago)
    _seen("web/shop", "mutual_tls", _busy, live, past)
    _seen("web/old", "none", lambda t: 5.0 + 3 * (t > at), live, past)
    found = _evidence(live, since=since)
    assert ["web/old"] == [str(edge.source) for edge in found.plaintext]
    (edge,) = found.plaintext
    assert edge.last is not None
    assert abs((edge.last - at).total_seconds()) <= 3600


def test_what_stood_still_is_not_born_where_the_live_one_begins() -> None:
    """A counter older than the live Prometheus' memory starts there with its value, and is no new plaintext."""
    live, past = _two()
    _seen("web/shop", "mutual_tls", _busy, live, past)
    _seen("web/old", "none", lambda _: 14.0, live, past)
    assert EvidenceVerdict.CLEAN is _evidence(live).verdict


def test_connections_open_now_are_asked_of_the_live_one() -> None:
    """The store would not know of them for hours."""
    live, past = _two()
    _seen("web/shop", "mutual_tls", _busy, live, past)
    _evidence(live)
    assert [q for q in live.asked if "closed_total" in q and "over_time" not in q and "count(" not in q]
    assert not [q for q in past.asked if "closed_total" in q and "over_time" not in q]


OTHER = 'receive series from Addr: 10.0.0.7:10901 LabelSets: {cluster="us1", replica="a"},{cluster="us1"}: EOF'
OURS = 'receive series from Addr: 10.0.0.8:10901 LabelSets: {cluster="eu1", replica="a"}: EOF'
MIXED = 'receive series from Addr: 10.0.0.9:10901 LabelSets: {cluster="us1"},{cluster="eu1"}: EOF'


@pytest.mark.parametrize(
    ("warning", "match", "tolerated"),
    [
        (OTHER, 'cluster="eu1"', True),
        (OTHER, '{cluster="eu1"}', True),
        (OTHER, "", False),
        (OTHER, 'cluster=~"eu1|us1"', False),
        (OTHER, 'tenant="a"', False),
        (OURS, 'cluster="eu1"', False),
        (MIXED, 'cluster="eu1"', False),
        ("No StoreAPIs matched for this query", 'cluster="eu1"', False),
    ],
)
def test_a_missing_store_is_tolerated_only_where_it_is_provably_not_ours(
    warning: str, match: str, tolerated: bool
) -> None:
    """By the labels that it names."""
    assert ("" if tolerated else warning) == partial_answer(concerning([warning], match))


def test_a_label_that_was_dropped_an_hour_ago_is_missed_though_the_store_lags() -> None:
    """The live Prometheus is asked for the newest hours."""
    live, past = _two()
    _seen("web/shop", "mutual_tls", _busy, live, past)
    bare = istio_labels("web/shop", "production/orders", connection_security_policy="")
    live.write("istio_requests_total", bare, [(t, _busy(t)) for t in scrapes(NOW - timedelta(hours=1), NOW, STEP)])
    found = _evidence(live)
    assert EvidenceVerdict.NO_DATA == found.verdict
    assert "connection_security_policy is missing in the metrics" in found.reason
