"""Which labels a Prometheus has: the scraped pod's in each convention, and who reports where `reporter` is dropped."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import product

import pytest

from rollout.model.judgement import Observation
from rollout.model.look import ScrapeLabels
from rollout.model.traffic import Evidence, EvidenceVerdict
from rollout.ports import Sample
from rollout.world.collector import collect
from rollout.world.conventions import chosen, detected
from rollout.world.offending import offending
from rollout.world.promql import NAMESPACE_LABELS, PART, POD_LABELS
from rollout.world.reads import Labelling, Observed, Ownership, Propagation, Read, Traffic
from rollout.world.world import Reading, World
from tests.world.mesh_fakes import NOW, FakeCluster, LabMetrics, NoAnalyzer, deployment, istio_labels, pod, scrapes

DAYS = 2
LOOK_BACK = DAYS * 86400.0
FIRST = NOW - timedelta(days=DAYS, hours=3)
OURS = "orders-7d9-abc"
REQUESTS = "istio_requests_total"


def _prometheus(namespace: str = "namespace", pod_label: str = "pod") -> LabMetrics:
    """It scraped the proxy of orders all the time."""
    metrics = LabMetrics()
    metrics.write("envoy_server_uptime", {namespace: "production", pod_label: OURS}, _counted(1.0))
    return metrics


def _counted(slope: float, start: datetime = FIRST, end: datetime = NOW) -> list[tuple[datetime, float]]:
    return [(t, 5 + slope * (t - start).total_seconds()) for t in scrapes(start, end, 60)]


def _reported(metrics: LabMetrics, source: str, policy: str, scraped: str, **more: str) -> None:
    """A series without `reporter`, from FIRST to NOW."""
    labels = istio_labels(source, reporter="", connection_security_policy=policy, namespace=scraped, **more)
    metrics.write(REQUESTS, labels, _counted(0.1))


def _ask(metrics: LabMetrics, read: Read, world: World | None = None) -> object:
    cluster = FakeCluster(pod(), deployment())
    return collect([read], cluster, metrics, NoAnalyzer(), world or World(), NOW)[read].value


def _chosen(*rows: tuple[str, str, float]) -> ScrapeLabels | None:
    return chosen([Sample({"__name__": metric, PART: part}, NOW, value) for metric, part, value in rows])


def _evidence(metrics: LabMetrics) -> Evidence:
    found = _ask(metrics, Traffic("production", LOOK_BACK))
    assert isinstance(found, Evidence), found
    return found


@pytest.mark.parametrize(("namespace", "pod_label"), [*product(NAMESPACE_LABELS, POD_LABELS)])
def test_the_labels_of_the_scraped_pod_are_found_out(namespace: str, pod_label: str) -> None:
    """The two labels are chosen independently; sight, attendance, propagation and foreign pods go by them."""
    metrics = _prometheus(namespace, pod_label)
    scraped = {namespace: "production", pod_label: OURS}
    labels = {k: v for k, v in istio_labels("web/shop").items() if k not in ("namespace", "pod")} | scraped
    metrics.write(REQUESTS, labels, _counted(0.1))
    metrics.write("envoy_listener_manager_listener_modified", scraped, _counted(0.01))
    evidence = _evidence(metrics)
    assert (EvidenceVerdict.CLEAN, (OURS,), ()) == (evidence.verdict, evidence.sight.seen, evidence.warnings)
    taken = _ask(metrics, Propagation("production", NOW - timedelta(minutes=5)))
    assert ((OURS,), ()) == (taken.updated, taken.unseen)  # type: ignore[attr-defined]
    metrics.write("envoy_server_uptime", {namespace: "production", pod_label: "stranger"}, _counted(1.0))
    assert ("stranger",) == _ask(metrics, Ownership("production")).foreign  # type: ignore[attr-defined]


def test_what_was_found_once_is_not_asked_again() -> None:
    """And what nobody scrapes is no answer: asked again, it may be there."""
    read, metrics = Traffic("production", LOOK_BACK), _prometheus("kubernetes_namespace", "pod_name")
    answers = collect([read], FakeCluster(pod()), metrics, NoAnalyzer(), World(), NOW)
    assert ScrapeLabels("kubernetes_namespace", "pod_name") == answers[Labelling()].value
    before = len(metrics.asked)
    collect([read], FakeCluster(pod()), metrics, NoAnalyzer(), World().plus(answers), NOW)
    assert before - 1 == len(metrics.asked) - before
    assert Labelling() not in collect([read], FakeCluster(pod()), LabMetrics(), NoAnalyzer(), World(), NOW)


def test_a_label_that_nobody_knows_is_no_data_and_the_known_ones_are_named() -> None:
    """Relabelling is free to choose; what was looked for is said."""
    evidence = _evidence(_prometheus("namespace", "k8s_pod"))
    assert EvidenceVerdict.NO_DATA == evidence.verdict
    expected = "looked for by their labels namespace or kubernetes_namespace, and pod, kubernetes_pod_name or pod_name"
    assert expected in evidence.reason


def test_proxies_decide_and_not_the_applications_beside_them() -> None:
    """A ServiceMonitor labels its targets in its own way; the usual pair wins where both show the same."""
    classic = ("kubernetes_namespace", "kubernetes_pod_name")
    application = ("up", "namespace pod", 20.0)
    assert ScrapeLabels(*classic) == _chosen(application, ("envoy_server_uptime", " ".join(classic), 4.0))
    assert ScrapeLabels() == _chosen(application)
    both = [("istio_build", f"{own} {name}", 3.0) for own in NAMESPACE_LABELS for name in POD_LABELS]
    assert ScrapeLabels() == _chosen(*both)
    assert ScrapeLabels("namespace", "pod_name") == _chosen(*both, ("istio_build", "namespace pod_name", 4.0))
    assert _chosen(("", "no reporter", 3.0)) is None


def test_a_question_that_is_too_heavy_is_asked_in_parts() -> None:
    """With the same answer."""
    metrics = _prometheus("kubernetes_namespace", "kubernetes_pod_name")
    metrics.heaviest = lambda text: " or " in text
    assert ScrapeLabels("kubernetes_namespace", "kubernetes_pod_name") == detected(["production"], "", metrics, NOW)


def test_without_reporter_the_policy_tells_whose_report_it_is() -> None:
    """The callers' own reports know no policy; they count for nothing, and plaintext is found as before."""
    metrics = _prometheus()
    _reported(metrics, "web/shop", "unknown", "web", pod="shop-1")
    _reported(metrics, "web/shop", "mutual_tls", "production")
    clean = _evidence(metrics)
    assert (EvidenceVerdict.CLEAN, 1) == (clean.verdict, len(clean.edges))
    assert any("the label reporter is dropped" in said for said in clean.warnings)
    _reported(metrics, "web/old", "none", "production")
    assert ["web/old"] == [str(edge.source) for edge in _evidence(metrics).plaintext]
    assert {"production": 1} == offending(["production"], timedelta(days=DAYS), "", metrics)


@pytest.mark.parametrize(
    ("source", "scraped", "said"),
    [
        ("web/shop", "istio-system", "from web, scraped in istio-system"),
        ("unknown", "production", "from unknown, scraped in production"),
        ("web/shop", "", "from web, without the label namespace"),
    ],
    ids=["a ztunnel's", "nameless", "aggregated"],
)
def test_a_report_that_may_be_the_destinations_is_no_data(source: str, scraped: str, said: str) -> None:
    """A ztunnel calls the plaintext that it took `unknown`, as a caller's Envoy calls everything."""
    metrics = _prometheus()
    _reported(metrics, "web/shop", "mutual_tls", "production")
    _reported(metrics, source, "unknown", scraped)
    evidence = _evidence(metrics)
    assert EvidenceVerdict.NO_DATA == evidence.verdict
    assert f"reports with an unknown policy ({said}) may be plaintext" in evidence.reason
    assert "keep it: no labeldrop" in evidence.reason


def test_a_rule_that_came_and_went_within_the_look_back() -> None:
    """Plaintext of the days without the label is seen, though it is there again."""
    metrics = _prometheus()
    metrics.write(REQUESTS, istio_labels("web/shop"), _counted(0.1))
    bare = istio_labels("web/old", reporter="", connection_security_policy="none")
    metrics.write(REQUESTS, bare, _counted(0.1, NOW - timedelta(hours=40), NOW - timedelta(hours=30)))
    evidence = _evidence(metrics)
    assert (EvidenceVerdict.PLAINTEXT, ["web/old"]) == (evidence.verdict, [str(e.source) for e in evidence.plaintext])


def test_a_rule_that_comes_before_the_flip_is_known_to_the_watch() -> None:
    """The labels were found out before it; the evidence up to the flip notices it."""
    metrics, read = _prometheus(), Traffic("production", LOOK_BACK)
    labels = istio_labels("web/shop")
    metrics.write(REQUESTS, labels, _counted(0.1, FIRST, NOW - timedelta(minutes=10)))
    known = World().plus({Labelling(): Reading(NOW, ScrapeLabels())})
    bare = {name: value for name, value in labels.items() if name != "reporter"}
    metrics.write(REQUESTS, bare, _counted(0.1, NOW - timedelta(minutes=10)))
    answers = collect([read], FakeCluster(pod(), deployment()), metrics, NoAnalyzer(), known, NOW)
    assert ScrapeLabels(reporter=False) == answers[Labelling()].value
    seen = _ask(metrics, Observed("production", 300.0), known.plus(answers))
    assert isinstance(seen, Observation)
    assert [30] == [round(edge.arrived) for edge in seen.edges]


def test_labels_that_no_proxy_showed_are_not_kept() -> None:
    """Reports without `reporter`, and nobody scraped: plaintext is found, and the labels are asked for once more."""
    metrics, read = LabMetrics(), Traffic("production", LOOK_BACK)
    _reported(metrics, "web/old", "none", "", pod="")
    answers = collect([read], FakeCluster(pod(), deployment()), metrics, NoAnalyzer(), World(), NOW)
    evidence = answers[read].value
    assert isinstance(evidence, Evidence), evidence
    assert (EvidenceVerdict.PLAINTEXT, ["web/old"]) == (evidence.verdict, [str(e.source) for e in evidence.plaintext])
    assert Labelling() not in answers


def test_a_policy_that_was_missing_for_some_days_is_no_data() -> None:
    """Now it is there; what was in the days before nobody knows."""
    metrics = _prometheus()
    metrics.write(REQUESTS, istio_labels("web/shop"), _counted(0.1))
    bare = istio_labels("web/old", connection_security_policy="")
    metrics.write(REQUESTS, bare, _counted(0.1, NOW - timedelta(hours=40), NOW - timedelta(hours=30)))
    evidence = _evidence(metrics)
    assert EvidenceVerdict.NO_DATA == evidence.verdict
    assert "connection_security_policy is missing in the metrics" in evidence.reason


def test_an_aggregation_that_leaves_no_namespace_is_no_idle_namespace() -> None:
    """Whose traffic it was nobody can tell."""
    metrics = _prometheus()
    gone = istio_labels("web/shop", destination_workload_namespace="", namespace="", pod="")
    metrics.write(REQUESTS, gone, _counted(0.1))
    evidence = _evidence(metrics)
    assert EvidenceVerdict.NO_DATA == evidence.verdict
    assert "namespace and destination_workload_namespace is missing" in evidence.reason


def test_the_watch_joins_both_ends_without_reporter() -> None:
    """What the callers tried, and what arrived: each once."""
    metrics = _prometheus()
    _reported(metrics, "web/shop", "unknown", "web", pod="shop-1", response_code="503", response_flags="UC")
    _reported(metrics, "web/shop", "mutual_tls", "production")
    seen = _ask(metrics, Observed("production", 300.0))
    assert isinstance(seen, Observation)
    (edge,) = seen.edges
    assert [30, 30, 30, 0] == [round(n) for n in (edge.tried, edge.failed, edge.arrived, edge.refused)]
