"""What the look-back says, asked of a Prometheus that evaluates the real queries over written samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from rollout.errors import Forbidden, MetricsRefused, MetricsUnreachable, Outcome, Unreachable
from rollout.model.kubernetes import ConfigMap, Object, Pod, Service
from rollout.model.traffic import Evidence, EvidenceVerdict, Family
from rollout.record.spec import Fixed
from rollout.world.collector import collect
from rollout.world.evidence import settle
from rollout.world.reads import Ownership, Read, Traffic
from rollout.world.world import Unreadable, World
from tests.world.mesh_fakes import NOW, FakeCluster, LabMetrics, NoAnalyzer, deployment, istio_labels, pod, scrapes

DAYS = 3
LOOK_BACK = DAYS * 86400.0
START = NOW - timedelta(days=DAYS)
STEP = 60


def _mesh(start: datetime = START - timedelta(hours=3), end: datetime = NOW, hole: Any = None) -> LabMetrics:
    """A Prometheus that scraped the proxy of orders all the time, but for the hole."""
    metrics = LabMetrics()
    times = [t for t in scrapes(start, end, STEP) if not (hole and hole[0] < t < hole[1])]
    metrics.write(
        "envoy_server_uptime",
        {"namespace": "production", "pod": "orders-7d9-abc"},
        [(t, (t - start).total_seconds()) for t in times],
    )
    return metrics


def _calls(
    metrics: LabMetrics,
    labels: Mapping[str, str],
    value: Callable[[datetime], float],
    start: datetime = START - timedelta(hours=3),
    end: datetime = NOW,
    name: str = "istio_requests_total",
) -> None:
    metrics.write(name, labels, [(t, value(t)) for t in scrapes(start, end, STEP)])


def _rising(time: datetime) -> float:
    return (time - START + timedelta(days=9)).total_seconds()


def _look(metrics: LabMetrics, *objects: Object, **read: Any) -> Evidence:
    asked = Traffic("production", LOOK_BACK, **read)
    cluster = FakeCluster(pod(), deployment(), *objects)
    value = collect([asked], cluster, metrics, NoAnalyzer(), World(), NOW)[asked].value
    assert isinstance(value, Evidence), value
    return value


def test_mutual_traffic_throughout_is_clean() -> None:
    """All callers have a proxy, all proxies were scraped."""
    metrics = _mesh()
    _calls(metrics, istio_labels("web/shop"), _rising)
    evidence = _look(metrics)
    assert (evidence.verdict, evidence.reason, evidence.holes) == (EvidenceVerdict.CLEAN, "", ())
    assert evidence.share(Family.HTTP) == 1.0
    assert evidence.edges[0].key == "web/shop -> production/orders"
    assert evidence.edges[0].volume == pytest.approx(LOOK_BACK, rel=0.01)


def test_a_scraped_namespace_without_traffic_is_idle() -> None:
    """Idle is not the same as no data."""
    evidence = _look(_mesh())
    assert evidence.verdict is EvidenceVerdict.IDLE
    assert evidence.idle == ("Deployment production/orders",)


def test_one_plaintext_call_that_gave_birth_to_its_series_is_found() -> None:
    """increase() is 0 for it on every day."""
    metrics = _mesh()
    _calls(metrics, istio_labels("web/shop"), _rising)
    _calls(metrics, istio_labels("unknown"), lambda _: 1.0, start=START + timedelta(hours=30))
    evidence = _look(metrics)
    assert evidence.verdict is EvidenceVerdict.PLAINTEXT
    assert [str(offender.edge.source) for offender in evidence.offenders] == ["unknown"]
    last = evidence.offenders[0].edge.last
    assert last is not None
    assert START + timedelta(hours=30) <= last <= START + timedelta(hours=31)


def test_a_series_born_and_dead_within_the_window_is_found() -> None:
    """It is at neither end of its day."""
    metrics = _mesh()
    begin = START + timedelta(hours=30)
    _calls(metrics, istio_labels("unknown"), lambda _: 5.0, start=begin, end=begin + timedelta(minutes=10))
    assert _look(metrics).verdict is EvidenceVerdict.PLAINTEXT


def test_a_call_at_the_seam_of_two_slices_is_found() -> None:
    """Slices overlap, else the midnight job falls between two days."""
    metrics = _mesh()
    seam = NOW - timedelta(days=1)
    _calls(metrics, istio_labels("unknown"), lambda t: 1.0 + (t > seam))
    assert _look(metrics).verdict is EvidenceVerdict.PLAINTEXT


def test_a_plaintext_series_that_stood_still_is_history() -> None:
    """What happened before the look-back counts for nothing, also over a gap of the scrapes."""
    metrics = _mesh()
    labels = istio_labels("unknown")
    _calls(metrics, labels, lambda _: 7.0, end=NOW - timedelta(hours=30))
    _calls(metrics, labels, lambda _: 7.0, start=NOW - timedelta(hours=29))
    _calls(metrics, istio_labels("web/shop"), _rising)
    assert _look(metrics).verdict is EvidenceVerdict.CLEAN


def test_a_connection_open_now_counts_whatever_its_age() -> None:
    """opened - closed finds connections older than any window."""
    metrics = _mesh()
    tcp = istio_labels("unknown", response_code="")
    _calls(metrics, tcp, lambda _: 5.0, name="istio_tcp_connections_opened_total")
    _calls(metrics, tcp, lambda _: 3.0, name="istio_tcp_connections_closed_total")
    evidence = _look(metrics)
    assert evidence.verdict is EvidenceVerdict.PLAINTEXT
    assert (evidence.offenders[0].edge.family, evidence.offenders[0].edge.open) == (Family.TCP, 2.0)


def test_a_long_lived_connection_shows_in_its_bytes() -> None:
    """Nothing was opened or closed in the window, and the counters of both are gone."""
    metrics = _mesh()
    tcp = istio_labels("web/shop", response_code="", connection_security_policy="none")
    _calls(metrics, tcp, _rising, name="istio_tcp_received_bytes_total")
    assert _look(metrics).verdict is EvidenceVerdict.PLAINTEXT


def test_ztunnels_unknown_policy_is_plaintext() -> None:
    """ztunnel never says `none`."""
    metrics = _mesh()
    tcp = istio_labels("unknown", response_code="", connection_security_policy="unknown")
    _calls(metrics, tcp, _rising, name="istio_tcp_connections_opened_total")
    assert _look(metrics).verdict is EvidenceVerdict.PLAINTEXT


def test_the_callers_own_reports_do_not_count() -> None:
    """At the source the policy is always unknown."""
    metrics = _mesh()
    _calls(metrics, istio_labels("web/shop"), _rising)
    _calls(metrics, istio_labels("web/shop", reporter="source", connection_security_policy="unknown"), _rising)
    assert _look(metrics).verdict is EvidenceVerdict.CLEAN


def test_a_proxy_that_is_not_scraped_is_no_data() -> None:
    """An empty answer without sight means nothing."""
    evidence = _look(_mesh(end=NOW - timedelta(minutes=20)))
    assert evidence.verdict is EvidenceVerdict.NO_DATA
    assert "orders-7d9-abc" in evidence.reason


def test_a_short_retention_is_no_data_with_a_date() -> None:
    """Half of the look-back is there: nine tenths will be after 0.4 of it."""
    evidence = _look(_mesh(start=NOW - timedelta(days=DAYS / 2)))
    assert evidence.verdict is EvidenceVerdict.NO_DATA
    assert evidence.enough_at is not None
    assert abs(evidence.enough_at - (NOW + timedelta(days=DAYS * 0.4))) < timedelta(minutes=10)


def test_strict_time_is_a_hole_that_the_rest_may_outweigh() -> None:
    """Six hours of three days are less than a tenth, ten hours are more."""
    metrics = _mesh()
    _calls(metrics, istio_labels("web/shop"), _rising)
    begin = NOW - timedelta(days=1)
    assert _look(metrics, holes=((begin, begin + timedelta(hours=6)),)).verdict is EvidenceVerdict.CLEAN
    evidence = _look(metrics, holes=((begin, begin + timedelta(hours=10)),))
    assert (evidence.verdict, round(evidence.covered, 2)) == (EvidenceVerdict.NO_DATA, 0.86)


def test_the_clock_starts_when_plaintext_began_to_be_accepted() -> None:
    """Under DISABLE or STRICT the metrics prove nothing."""
    metrics = _mesh()
    _calls(metrics, istio_labels("web/shop"), _rising)
    since = NOW - timedelta(hours=12)
    evidence = _look(metrics, since=since)
    assert evidence.verdict is EvidenceVerdict.NO_DATA
    assert evidence.enough_at == since + timedelta(days=DAYS * 0.9)
    assert "accepted only since" in evidence.reason


def test_plaintext_of_the_time_before_proves_nothing() -> None:
    """Under DISABLE all of it was plaintext; what goes on after the raise counts."""
    since = NOW - timedelta(hours=12)
    metrics = _mesh()
    labels = istio_labels("web/shop", connection_security_policy="none")
    _calls(metrics, labels, lambda t: _rising(min(t, since + timedelta(seconds=50))))
    _calls(metrics, istio_labels("web/shop"), _rising, start=since)
    evidence = _look(metrics, since=since)
    assert (evidence.verdict, evidence.plaintext) == (EvidenceVerdict.NO_DATA, ())
    still = istio_labels("web/old", connection_security_policy="none")
    _calls(metrics, still, lambda t: 1.0 + (t > since + timedelta(hours=2)))
    evidence = _look(metrics, since=since)
    assert [str(edge.source) for edge in evidence.plaintext] == ["web/old"]


def test_namespaces_with_the_same_clock_ask_together() -> None:
    """And what one of them still does in plaintext is no edge of the other."""
    since = NOW - timedelta(hours=12)
    metrics = _mesh()
    metrics.write(
        "envoy_server_uptime",
        {"namespace": "payments", "pod": "ledger-7d9-abc"},
        [(t, 1.0) for t in scrapes(START - timedelta(hours=3), NOW, STEP)],
    )
    for target in ("production/orders", "payments/ledger"):
        before = istio_labels("web/shop", target, connection_security_policy="none")
        _calls(metrics, before, lambda t: _rising(min(t, since + timedelta(seconds=50))))
    still = istio_labels("web/old", "payments/ledger", connection_security_policy="none")
    _calls(metrics, still, lambda t: 1.0 + (t > since + timedelta(hours=2)))
    cluster = FakeCluster(pod(), pod("ledger-7d9-abc", "payments", workload="ledger"))
    reads = [Traffic(name, LOOK_BACK, since=since) for name in ("production", "payments")]
    answers = collect(reads, cluster, metrics, NoAnalyzer(), World(), NOW)
    both = len(metrics.asked)
    assert [[str(e.source) for e in answers[read].value.plaintext] for read in reads] == [[], ["web/old"]]
    metrics.asked.clear()
    collect(reads[1:], cluster, metrics, NoAnalyzer(), World(), NOW)
    assert both - len(metrics.asked) in (0, 1)  # the closer look at a last sighting is each namespace's own


def test_a_workloads_clock_starts_at_its_creation() -> None:
    """A new Deployment has not yet met its weekly caller."""
    metrics = _mesh()
    _calls(metrics, istio_labels("web/shop"), _rising)
    created = NOW - timedelta(days=1)
    cluster = FakeCluster(pod(), deployment(created=created))
    read = Traffic("production", LOOK_BACK)
    evidence = collect([read], cluster, metrics, NoAnalyzer(), World(), NOW)[read].value
    assert (evidence.verdict, evidence.enough_at) == (EvidenceVerdict.NO_DATA, created + timedelta(days=DAYS * 0.9))
    assert "Deployment production/orders exists only since" in evidence.reason


@pytest.mark.parametrize("label", ["connection_security_policy", "destination_workload_namespace"])
def test_a_dropped_label_is_no_data(label: str) -> None:
    """Telemetry can remove tags; their absence is no absence of plaintext."""
    metrics = _mesh()
    _calls(metrics, istio_labels("web/shop", **{label: ""}), _rising)
    evidence = _look(metrics)
    assert evidence.verdict is EvidenceVerdict.NO_DATA
    assert f"{label} is missing in the metrics; keep it: no labeldrop" in evidence.reason


def test_a_partial_answer_is_no_data_and_an_annotation_is_not() -> None:
    """Thanos answers with 200 and a warning."""
    metrics = _mesh()
    _calls(metrics, istio_labels("web/shop"), _rising)
    metrics.warnings = ("PromQL info: metric might not be a counter",)
    assert _look(metrics).verdict is EvidenceVerdict.CLEAN
    metrics.warnings = ("no store matched for this query",)
    assert _look(metrics).verdict is EvidenceVerdict.NO_DATA


def test_a_daily_caller_is_seen_as_one_and_can_be_fixed() -> None:
    """One period without plaintext is enough for it, and coming back blocks at once."""
    metrics = _mesh()
    jobs = [NOW - timedelta(days=n, hours=9.5) for n in (2, 1)] + [NOW - timedelta(hours=9.5)]
    _calls(metrics, istio_labels("unknown"), lambda t: 40.0 + sum(t >= job for job in jobs))
    evidence = _look(metrics)
    offender = evidence.offenders[0]
    assert offender.rhythm == "daily around 02:30"
    key = offender.edge.key

    def with_fix(at: datetime, end: datetime = NOW) -> EvidenceVerdict:
        later = msgspec.structs.replace(evidence, end=end)
        return settle(later, [Fixed(edge=key, at=at, reason="sidecar added")]).verdict

    fixed = NOW - timedelta(hours=9)
    assert with_fix(fixed) is EvidenceVerdict.PLAINTEXT
    assert with_fix(fixed, NOW + timedelta(hours=20)) is EvidenceVerdict.IDLE
    assert with_fix(NOW - timedelta(hours=20), NOW + timedelta(hours=20)) is EvidenceVerdict.PLAINTEXT
    other = settle(evidence, [Fixed(edge="web/shop -> production/orders", at=fixed, reason="another one")])
    assert (evidence.offenders, evidence.warnings) == (other.offenders, other.warnings)


def test_evidence_that_is_short_counts_where_somebody_accepts_it() -> None:
    """From where Prometheus begins to know, and how much that is stands beside it; else it is no data."""
    metrics = _mesh(start=NOW - timedelta(hours=30))
    _calls(metrics, istio_labels("web/shop"), _rising, start=NOW - timedelta(hours=30))
    assert _look(metrics).verdict is EvidenceVerdict.NO_DATA
    found = _look(metrics, short=True)
    assert found.verdict is EvidenceVerdict.CLEAN
    assert ("short evidence: Prometheus knows 30.0 hours of the 3.0 days asked for",) == found.warnings


def test_sight_is_asked_once_for_all_that_need_it() -> None:
    """In one collection; a later one looks anew."""

    def asked(*reads: Read) -> int:
        metrics = _mesh()
        collect(reads, FakeCluster(pod(), deployment()), metrics, NoAnalyzer(), World(), NOW)
        return len(metrics.asked)

    one, other = Traffic("production", LOOK_BACK), Ownership("production")
    assert asked(one, other) < asked(one) + asked(other)


def test_a_heavy_query_is_asked_in_halves() -> None:
    """A big Prometheus times out over a day."""
    metrics = _mesh()
    _calls(metrics, istio_labels("web/shop"), _rising)
    metrics.heaviest = lambda query: "[86400s]" in query or "[87000s]" in query
    assert _look(metrics).verdict is EvidenceVerdict.CLEAN
    metrics.heaviest = lambda query: "istio_requests_total" in query
    read = Traffic("production", LOOK_BACK)
    value = collect([read], FakeCluster(pod()), metrics, NoAnalyzer(), World(), NOW)[read].value
    assert isinstance(value, Unreadable)
    assert value.reason == "query timed out"


def test_a_proxy_that_was_long_not_scraped_is_no_data() -> None:
    """Though the others of its namespace were, and it is now."""
    metrics = _mesh()
    labels = {"namespace": "production", "pod": "orders-7d9-two"}
    for start, end in ((START, NOW - timedelta(days=2)), (NOW - timedelta(days=1), NOW)):
        metrics.write("envoy_server_uptime", labels, [(t, 1.0) for t in scrapes(start, end, STEP)])
    evidence = _look(metrics, pod("orders-7d9-two"))
    assert evidence.verdict is EvidenceVerdict.NO_DATA
    assert "orders-7d9-two missed 1.0 days" in evidence.reason or "orders-7d9-two missed 2" in evidence.reason


def test_a_nameless_caller_comes_with_its_suspects() -> None:
    """The objects are read only then, also the ConfigMap that names the Service."""
    metrics = _mesh()
    _calls(metrics, istio_labels("web/shop"), _rising)
    service = msgspec.convert(
        {"metadata": {"name": "orders", "namespace": "production"}, "spec": {"selector": {"app": "orders"}}}, Service
    )
    config = msgspec.convert(
        {"metadata": {"name": "settings", "namespace": "legacy"}, "data": {"url": "http://orders.production/"}},
        ConfigMap,
    )
    source = {"configMapKeyRef": {"name": "settings", "key": "url"}}
    caller = pod("old-1", "legacy", workload="old", sidecar=False, env=[{"name": "URL", "valueFrom": source}])
    read = Traffic("production", LOOK_BACK)
    cluster = FakeCluster(pod(), service, config, caller)
    collect([read], cluster, metrics, NoAnalyzer(), World(), NOW)
    assert "ingresses" not in cluster.lists
    _calls(metrics, istio_labels("unknown"), _rising)
    offender = collect([read], cluster, metrics, NoAnalyzer(), World(), NOW)[read].value.offenders[0]
    assert [(s.who, s.because) for s in offender.suspects] == [
        ("Deployment legacy/old", "ConfigMap legacy/settings url: http://orders.production/")
    ]
    cluster.refuse["configmaps"] = Unreachable("timeout")
    assert isinstance(collect([read], cluster, metrics, NoAnalyzer(), World(), NOW)[read].value, Evidence)


def test_many_namespaces_cost_the_queries_of_one() -> None:
    """And what belongs to one does not show in the other."""
    metrics = _mesh()
    metrics.write(
        "envoy_server_uptime",
        {"namespace": "payments", "pod": "ledger-7d9-abc"},
        [(t, 1.0) for t in scrapes(START - timedelta(hours=3), NOW, STEP)],
    )
    _calls(metrics, istio_labels("unknown", "payments/ledger"), _rising)
    _calls(metrics, istio_labels("web/shop"), _rising)
    cluster = FakeCluster(pod(), pod("ledger-7d9-abc", "payments", workload="ledger"))
    reads = [Traffic("production", LOOK_BACK), Traffic("payments", LOOK_BACK)]
    answers = collect(reads, cluster, metrics, NoAnalyzer(), World(), NOW)
    both = len(metrics.asked)
    assert [answers[read].value.verdict for read in reads] == [EvidenceVerdict.CLEAN, EvidenceVerdict.PLAINTEXT]
    metrics.asked.clear()
    collect(reads[1:], cluster, metrics, NoAnalyzer(), World(), NOW)
    assert both - len(metrics.asked) in (0, 1)  # the closer look at a last sighting is each namespace's own


def test_what_cannot_be_asked_is_unreadable_and_says_why() -> None:
    """Never an exception, never an empty answer."""
    read = Traffic("production", LOOK_BACK)
    metrics, cluster = _mesh(), FakeCluster(pod())
    metrics.fails = MetricsUnreachable("no answer from Prometheus")
    away = collect([read], cluster, metrics, NoAnalyzer(), World(), NOW)[read].value
    assert (away.reason, away.permanent, away.outcome) == ("no answer from Prometheus", False, Outcome.CANNOT_SEE)
    metrics.fails = MetricsRefused("401 from Prometheus")
    assert collect([read], cluster, metrics, NoAnalyzer(), World(), NOW)[read].value.permanent
    metrics.fails = None
    cluster.refuse["pods"] = Forbidden("forbidden")
    denied = collect([read], cluster, metrics, NoAnalyzer(), World(), NOW)[read].value
    assert (denied.outcome, "list pods" in denied.reason) == (Outcome.BLOCKED, True)
    assert Pod.RESOURCE.name == "pods"
