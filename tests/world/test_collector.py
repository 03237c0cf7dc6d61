"""Answers to every kind of read: never an exception, and one query for many namespaces."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from rollout.errors import Conflict, Forbidden, NotFound, Outcome, Rejected, Unauthorized, Unreachable
from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.judgement import Baseline, Observation
from rollout.model.kubernetes import APIService, ConfigMap, Deployment, Ingress, Metadata, Pod, Ref
from rollout.model.look import ScrapeLabels
from rollout.model.traffic import Family, Party
from rollout.ports import Right
from rollout.record.change import Change, Policy
from rollout.world.bodies import body_of
from rollout.world.collector import collect
from rollout.world.reads import (
    Analysis,
    Before,
    Beside,
    DryRun,
    Labelling,
    Objects,
    Observed,
    Propagation,
    PropagationAnswer,
    Read,
    ReferencedConfigMaps,
    Rights,
)
from rollout.world.world import Reading, Unreadable, World
from tests.world.mesh_fakes import NOW, FakeCluster, LabMetrics, NoAnalyzer, deployment, istio_labels, pod, scrapes

REF = Ref("PeerAuthentication", "production", "default")
FLIP = Change(ref=REF, before=Policy(Mode.PERMISSIVE), after=Policy(Mode.STRICT), uid="u1")


def _answer(read: Read, cluster: FakeCluster | None = None, metrics: LabMetrics | None = None) -> Any:
    return collect([read], cluster or FakeCluster(), metrics or LabMetrics(), NoAnalyzer(), World(), NOW)[read].value


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotFound("no such kind"), (Outcome.CANNOT_SEE, True, False)),
        (Forbidden("403"), (Outcome.BLOCKED, False, True)),
        (Unauthorized("401"), (Outcome.CANNOT_SEE, False, True)),
        (Unreachable("timeout"), (Outcome.CANNOT_SEE, False, False)),
    ],
)
def test_a_kind_that_cannot_be_listed_is_an_answer(error: Any, expected: tuple[Outcome, bool, bool]) -> None:
    """Not installed, not permitted and not reachable are three things."""
    cluster = FakeCluster()
    cluster.refuse["ingresses"] = error
    value = _answer(Objects(Ingress), cluster)
    assert isinstance(value, Unreadable)
    assert (value.outcome, value.absent, value.permanent) == expected
    if isinstance(error, Forbidden):
        assert "list ingresses.networking.k8s.io in all namespaces" in value.reason


def test_every_answer_has_the_age_of_the_collection() -> None:
    """Also the unreadable ones."""
    reads: list[Read] = [Objects(Pod), Rights(()), Analysis("production"), Observed("production", 120.0)]
    cluster = FakeCluster()
    cluster.refuse["pods"] = Unreachable("timeout")
    answers = collect(reads, cluster, LabMetrics(), NoAnalyzer(), World(), NOW)
    assert {reading.at for reading in answers.values()} == {NOW}
    assert set(answers) == {*reads, Beside("production")}
    assert isinstance(answers[reads[3]].value, Unreadable)


def test_the_missing_rights_are_named() -> None:
    """Those that are there are not."""
    patch = Right("patch", PeerAuthentication.RESOURCE, "production")
    watch = Right("list", Pod.RESOURCE)
    cluster = FakeCluster()
    cluster.denied = frozenset({str(patch)})
    assert _answer(Rights((patch, watch)), cluster) == (patch,)


@pytest.mark.parametrize(
    ("denied", "reviews"),
    [((), 1), (("patch peerauthentications.security.istio.io in all namespaces",), 4)],
)
def test_a_right_that_holds_everywhere_is_asked_once(denied: tuple[str, ...], reviews: int) -> None:
    """Where it does not, once for each namespace, and the missing one is named with its own."""

    class Counting(FakeCluster):
        asked = 0

        def allowed(self, right: Right) -> bool:
            self.asked += 1
            return super().allowed(right)

    rights = [Right("patch", PeerAuthentication.RESOURCE, name) for name in ("production", "payments", "shop")]
    cluster = Counting()
    cluster.denied = frozenset({*denied, *([str(rights[1])] if denied else [])})
    reads = [Rights((right,)) for right in rights]
    answers = collect(reads, cluster, LabMetrics(), NoAnalyzer(), World(), NOW)
    assert [answers[read].value for read in reads] == [(), (rights[1],) if denied else (), ()]
    assert cluster.asked == reviews


@pytest.mark.parametrize("refusal", [Rejected("denied by kyverno"), Forbidden("denied by kyverno")])
def test_a_refused_dry_run_gives_the_servers_words(refusal: Any) -> None:
    """An admission webhook may answer 403."""
    cluster = FakeCluster()
    assert _answer(DryRun(FLIP), cluster) == ""
    assert cluster.writes == [("patch dry_run=True", {"spec": {"mtls": {"mode": "STRICT"}}})]
    cluster.refuse["peerauthentications"] = refusal
    assert _answer(DryRun(FLIP), cluster) == "denied by kyverno"
    cluster.refuse["peerauthentications"] = Unreachable("timeout")
    assert isinstance(_answer(DryRun(FLIP), cluster), Unreadable)


def test_creations_and_deletions_are_dry_run_too() -> None:
    """Each with its own verb."""
    cluster = FakeCluster()
    create = Change(ref=REF, before=None, after=Policy(Mode.PERMISSIVE))
    assert _answer(DryRun(create), cluster) == ""
    assert _answer(DryRun(create.inverse), cluster) == ""
    assert [verb for verb, _ in cluster.writes] == ["create dry_run=True", "delete dry_run=True"]
    cluster.refuse["create peerauthentications"] = Conflict("it exists")
    assert _answer(DryRun(create), cluster) == "it exists"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (Policy(Mode.STRICT), Policy(None), {"mtls": None}),
        (
            Policy(Mode.PERMISSIVE, {"8080": Mode.STRICT, "9090": Mode.STRICT}),
            Policy(Mode.STRICT, {"8080": Mode.PERMISSIVE}),
            {"mtls": {"mode": "STRICT"}, "portLevelMtls": {"8080": {"mode": "PERMISSIVE"}, "9090": None}},
        ),
        (
            Policy(Mode.STRICT, {"80": Mode.DISABLE}),
            Policy(Mode.STRICT),
            {"portLevelMtls": None},
        ),
    ],
)
def test_a_patch_names_only_what_differs(before: Policy, after: Policy, expected: Mapping[str, Any]) -> None:
    """A merge patch; null removes."""
    change = Change(ref=REF, before=before, after=after)
    assert body_of(change, "77") == {"metadata": {"resourceVersion": "77"}, "spec": expected}


def test_what_is_created_says_who_made_it() -> None:
    """And a deletion has no body."""
    change = Change(ref=REF, before=None, after=Policy(Mode.PERMISSIVE))
    labels = {"app.kubernetes.io/managed-by": "rollout"}
    assert body_of(change) == {
        "metadata": {"name": "default", "namespace": "production", "labels": labels},
        "spec": {"mtls": {"mode": "PERMISSIVE"}},
    }
    with pytest.raises(ValueError, match="no body"):
        body_of(change.inverse)


def test_config_maps_that_are_gone_or_not_permitted_are_left_out() -> None:
    """But an API that is away is not the same as no ConfigMap."""
    config = ConfigMap(metadata=Metadata(name="settings", namespace="web"))
    cluster = FakeCluster(config)
    assert _answer(ReferencedConfigMaps(("web/settings", "web/gone")), cluster) == (config,)
    cluster.refuse["configmaps"] = Forbidden("403")
    assert _answer(ReferencedConfigMaps(("web/settings",)), cluster) == ()
    cluster.refuse["configmaps"] = Unreachable("timeout")
    assert isinstance(_answer(ReferencedConfigMaps(("web/settings",)), cluster), Unreadable)


def _sighted(*pods: tuple[str, str], metric: str = "envoy_server_uptime") -> LabMetrics:
    metrics = LabMetrics()
    for namespace, name in pods:
        times = scrapes(NOW - timedelta(hours=2), NOW)
        metrics.write(metric, {"namespace": namespace, "pod": name}, [(t, 1.0) for t in times])
    return metrics


def _count(metrics: LabMetrics, name: str, labels: Mapping[str, str], per_scrape: float) -> None:
    times = scrapes(NOW - timedelta(hours=2), NOW)
    metrics.write(name, labels, [(t, per_scrape * n) for n, t in enumerate(times)])


def test_both_ends_of_an_edge_are_joined() -> None:
    """The source does not know the workload of a call that never got through; the Service joins the two."""
    metrics = _sighted(("production", "orders-7d9-abc"))
    _count(metrics, "istio_requests_total", istio_labels("web/shop"), 10)
    _count(metrics, "istio_requests_total", istio_labels("web/shop", response_code="403"), 1)
    at_source = {"reporter": "source", "namespace": "web", "pod": "shop-1", "connection_security_policy": "unknown"}
    lost = {"destination_workload": "unknown", "destination_workload_namespace": "unknown"}
    _count(metrics, "istio_requests_total", istio_labels("web/shop", **at_source), 11)
    failing = {**at_source, **lost, "response_code": "503", "response_flags": "URX,UF"}
    _count(
        metrics, "istio_requests_total", istio_labels("web/shop", **failing, destination_service_namespace="unknown"), 2
    )
    by_ip = {**at_source, **lost, "destination_service": "10.0.0.1:8080", "destination_service_namespace": "unknown"}
    by_ip |= {"destination_service_name": "PassthroughCluster"}
    _count(metrics, "istio_requests_total", istio_labels("web/cart", **by_ip), 3)
    _count(metrics, "istio_requests_total", istio_labels("web/cart", **by_ip | {"destination_service": "9.9.9.9:1"}), 3)
    value = _answer(Observed("production", 300.0), FakeCluster(pod()), metrics)
    assert isinstance(value, Observation)
    edges = {(str(edge.source), edge.service.split(".")[0]): edge for edge in value.edges}
    assert set(edges) == {("web/shop", "orders"), ("web/cart", "PassthroughCluster")}
    shop = edges["web/shop", "orders"]
    assert shop.destination == Party("production", "orders")
    per_window = 300 / 30
    assert shop.tried == pytest.approx(13 * per_window)
    assert shop.failed == pytest.approx(2 * per_window)
    assert shop.arrived == pytest.approx(11 * per_window)
    assert shop.refused == pytest.approx(1 * per_window)
    assert shop.recent_failed is not None
    assert 2 <= shop.recent_failed <= 4
    assert edges["web/cart", "PassthroughCluster"].destination == Party("production", "orders")
    assert value.destination_errors == pytest.approx(per_window)
    assert value.sight.full
    assert value.sight.interval == pytest.approx(30, rel=0.06)


def test_tcp_edges_count_breaks_at_the_source_and_bytes_at_the_destination() -> None:
    """Flags are a set: TCP writes UF,URX."""
    metrics = _sighted(("production", "orders-7d9-abc"))
    at_source = {"reporter": "source", "response_code": "", "connection_security_policy": "unknown"}
    _count(metrics, "istio_tcp_connections_opened_total", istio_labels("web/shop", **at_source), 2)
    broken = at_source | {"response_flags": "UF,URX"}
    _count(metrics, "istio_tcp_connections_closed_total", istio_labels("web/shop", **broken), 1)
    _count(metrics, "istio_tcp_connections_closed_total", istio_labels("web/shop", **at_source), 1)
    _count(metrics, "istio_tcp_received_bytes_total", istio_labels("web/shop", response_code=""), 100)
    value = _answer(Observed("production", 300.0), FakeCluster(pod()), metrics)
    (edge,) = value.edges
    assert edge.family is Family.TCP
    assert (round(edge.tried), round(edge.failed), round(edge.received_bytes)) == (20, 10, 1000)


def test_resets_by_address_name_their_caller_alone() -> None:
    """What ended well, what was refused on its way (UF alone), and nameless callers do not count."""
    metrics = _sighted(("production", "orders-7d9-abc"))
    bare = {"reporter": "source", "response_code": "", "connection_security_policy": "unknown"}
    bare |= {"destination_service": "unknown", "destination_service_name": "PassthroughCluster"}
    bare |= {"destination_service_namespace": "unknown"}
    for source, flags, per_scrape in (
        ("web/shop", "UR", 2.0), ("web/shop", "UF,UR", 1.0), ("web/shop", "-", 5.0),
        ("web/cart", "UF,URX", 4.0), ("web/cart", "-", 4.0), ("unknown/unknown", "UR", 4.0),
    ):  # fmt: skip
        labels = istio_labels(source, "unknown/unknown", **bare | {"response_flags": flags})
        _count(metrics, "istio_tcp_connections_closed_total", labels, per_scrape)
    value = _answer(Observed("production", 300.0), FakeCluster(pod()), metrics)
    assert isinstance(value, Observation)
    assert {"web/shop": 30} == {name: round(count) for name, count in value.resets.items()}
    assert "PassthroughCluster" in value.queries["reset"]
    assert () == value.edges


def test_observations_of_many_namespaces_cost_the_queries_of_one() -> None:
    """Split by the destination's namespace."""
    metrics = _sighted(("production", "orders-7d9-abc"), ("payments", "ledger-7d9-abc"))
    _count(metrics, "istio_requests_total", istio_labels("web/shop"), 10)
    _count(metrics, "istio_requests_total", istio_labels("web/shop", "payments/ledger"), 20)
    cluster = FakeCluster(pod(), pod("ledger-7d9-abc", "payments", workload="ledger", ip="10.0.0.2"))
    reads = [Observed("production", 300.0), Observed("payments", 300.0)]
    answers = collect(reads, cluster, metrics, NoAnalyzer(), World(), NOW)
    both = len(metrics.asked)
    assert [round(answers[read].value.destination_requests) for read in reads] == [100, 200]
    metrics.asked.clear()
    collect(reads[:1], cluster, metrics, NoAnalyzer(), World(), NOW)
    assert len(metrics.asked) == both


def test_a_tick_asks_three_queries_and_the_time() -> None:
    """Sight, the window, and the last interval; the clock is the fourth."""
    metrics, read = _sighted(("production", "orders-7d9-abc")), Observed("production", 120.0)
    world = World().plus(collect([read], FakeCluster(pod()), metrics, NoAnalyzer(), World(), NOW))
    assert world.get(Labelling()) == ScrapeLabels()
    metrics.asked.clear()
    assert collect([read], FakeCluster(pod()), metrics, NoAnalyzer(), world, NOW)[read].value.sight.full
    assert len(metrics.asked) == 3


def test_joint_queries_that_are_too_heavy_are_asked_one_by_one() -> None:
    """With the same answer, also of the baseline's ranges."""
    metrics, heavy = (_sighted(("production", "orders-7d9-abc")) for _ in range(2))
    for each in (metrics, heavy):
        _count(each, "istio_requests_total", istio_labels("web/shop"), 10)
        _count(each, "istio_tcp_connections_opened_total", istio_labels("web/shop"), 1)
    heavy.heaviest = lambda text: text.count("label_replace") > 1
    for read in (Observed("production", 300.0), Before("production", 600.0)):
        expected = _answer(read, FakeCluster(pod()), metrics)
        assert expected == _answer(read, FakeCluster(pod()), heavy)
        assert len(expected.edges) == 2
    assert len(heavy.asked) > len(metrics.asked)


@pytest.mark.parametrize("metric", ["envoy_server_uptime", "istio_build", "up"])
def test_sight_falls_back_and_says_on_what(metric: str) -> None:
    """envoy_server_uptime, else istio_build, else up."""
    metrics = _sighted(("production", "orders-7d9-abc"), metric=metric)
    sight = _answer(Observed("production", 120.0), FakeCluster(pod()), metrics).sight
    assert (sight.metric, sight.full) == (metric, True)


def test_sight_names_who_is_not_scraped_and_forgives_the_young() -> None:
    """A pod that was born a moment ago is not yet discovered."""
    metrics = _sighted(("production", "orders-7d9-abc"))
    young = pod("orders-7d9-new", created=NOW - timedelta(seconds=40))
    sight = _answer(Observed("production", 120.0), FakeCluster(pod(), young, pod("orders-7d9-old")), metrics).sight
    assert sight.missing == ("orders-7d9-old",)
    assert "orders-7d9-new" not in sight.expected


def test_a_window_with_few_samples_of_a_proxy_is_not_steady() -> None:
    """As after an outage of Prometheus; a pod that is younger than the window is forgiven."""
    metrics = _sighted(("production", "orders-7d9-abc"))
    late = {"namespace": "production", "pod": "orders-7d9-late"}
    metrics.write("envoy_server_uptime", late, [(NOW - timedelta(seconds=20), 1.0)])
    read = Observed("production", 300.0)
    assert _answer(read, FakeCluster(pod()), metrics).steady
    assert not _answer(read, FakeCluster(pod(), pod("orders-7d9-late")), metrics).steady
    young = pod("orders-7d9-late", created=NOW - timedelta(seconds=60))
    assert _answer(read, FakeCluster(pod(), young), metrics).steady


def test_a_failed_scrape_is_no_sight() -> None:
    """up is there with value 0."""
    metrics = LabMetrics()
    times = scrapes(NOW - timedelta(hours=1), NOW)
    metrics.write("up", {"namespace": "production", "pod": "orders-7d9-abc"}, [(t, 0.0) for t in times])
    assert not _answer(Observed("production", 120.0), FakeCluster(pod()), metrics).sight.full


def test_a_world_that_knows_the_pods_saves_the_list() -> None:
    """As read, or as read in the same collection."""
    metrics, cluster = _sighted(("production", "orders-7d9-abc")), FakeCluster()
    known = World({Objects(Pod): Reading(NOW, (pod(),))})
    read = Observed("production", 120.0)
    assert collect([read], cluster, metrics, NoAnalyzer(), known, NOW)[read].value.sight.full
    assert "pods" not in {listed.split()[0] for listed in cluster.lists}
    collect([read, Objects(Pod)], FakeCluster(pod()), metrics, NoAnalyzer(), World(), NOW)


def test_the_baseline_has_rates_noise_and_the_longest_pause() -> None:
    """Out of small windows; with replicas and aggregated APIs."""
    metrics = _sighted(("production", "orders-7d9-abc"))
    times = scrapes(NOW - timedelta(hours=2), NOW)
    at_source = {"reporter": "source", "connection_security_policy": "unknown"}
    _count(metrics, "istio_requests_total", istio_labels("web/shop"), 30)
    _count(metrics, "istio_requests_total", istio_labels("web/shop", **at_source), 30)
    quiet = [(t, 30.0 * min(n, 180)) for n, t in enumerate(times)]
    metrics.write("istio_requests_total", istio_labels("web/cart"), quiet)
    burst = [(t, 0.0 if n < 200 else 30.0) for n, t in enumerate(times)]
    metrics.write("istio_requests_total", istio_labels("web/shop", **at_source, response_code="503"), burst)
    raw = {
        "metadata": {"name": "v1.metrics"},
        "spec": {"service": {"namespace": "production", "name": "orders"}},
        "status": {"conditions": [{"type": "Available", "status": "True"}]},
    }
    api = msgspec.convert(raw, APIService)
    cluster = FakeCluster(pod(restarts=2), deployment(), api)
    value = _answer(Before("production", 3600.0), cluster, metrics)
    assert isinstance(value, Baseline)
    edges = {edge.source.workload: edge for edge in value.edges}
    shop, cart = edges["shop"], edges["cart"]
    assert (round(shop.tried, 1), round(shop.arrived, 1), shop.at_source) == (1.0, 1.0, True)
    assert 0 < shop.errors < 0.02
    assert 0.15 < shop.noise < 0.3
    assert (shop.longest_pause, cart.at_source) == (0.0, False)
    assert 1500 <= cart.longest_pause <= 2000
    assert [(w.ref, w.desired, w.available, w.restarts) for w in value.workloads] == [
        ("Deployment production/orders", 1, 1, 2)
    ]
    assert value.available_apis == ("v1.metrics",)
    assert Deployment.RESOURCE.plural == "deployments"


def test_propagation_is_proven_per_proxy() -> None:
    """Risen since the flip, rejected, draining, not seen; a proxy that started anew took the present one."""
    since = NOW - timedelta(minutes=3)
    metrics = LabMetrics()
    times = scrapes(NOW - timedelta(hours=1), NOW)
    taken = "envoy_listener_manager_listener_modified"

    def write(name: str, labels_pod: str, value: Any) -> None:
        labels = {"namespace": "production", "pod": labels_pod}
        metrics.write(name, labels, [(t, value(t)) for t in times])

    after = since + timedelta(seconds=60)
    for name in ("moved", "still", "restarted", "rejecting"):
        write("envoy_server_uptime", name, lambda _: 1.0)
    write(taken, "moved", lambda t: 3.0 + (t >= after))
    write("envoy_listener_manager_total_listeners_draining", "moved", lambda t: float(t >= after))
    write(taken, "still", lambda _: 3.0)
    write(taken, "restarted", lambda t: 9.0 if t < after else 1.0)
    write(taken, "rejecting", lambda _: 3.0)
    write("envoy_listener_manager_lds_update_rejected", "rejecting", lambda t: float(t >= after))
    names = ("moved", "still", "restarted", "rejecting", "away")
    value = _answer(Propagation("production", since), FakeCluster(*(pod(name) for name in names)), metrics)
    assert isinstance(value, PropagationAnswer)
    assert value.updated == ("moved", "restarted")
    assert (value.rejected, value.draining, value.unseen) == (("rejecting",), ("moved",), ("away",))
    assert value.newest == NOW
