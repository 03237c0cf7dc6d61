"""What is read of a namespace beside its workloads, with every look at its traffic."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from rollout.errors import Forbidden, MetricsUnreachable, Unreachable
from rollout.model.kubernetes import Job, Object, Pod, ValidatingWebhookConfiguration
from rollout.model.kubernetes.happenings import Happening
from rollout.world.collector import collect
from rollout.world.reads import Before, Beside, BesideAnswer, Objects, Observed, Read
from rollout.world.world import World
from tests.world.mesh_fakes import NOW, FakeCluster, LabMetrics, NoAnalyzer, pod, scrapes

REJECTED = "apiserver_admission_webhook_rejection_count"
PASSED = "apiserver_admission_webhook_fail_open_count"


def _made(kind: type[Object], name: str, namespace: str = "production", **parts: Any) -> Any:
    return msgspec.convert({"metadata": {"name": name, "namespace": namespace}, **parts}, kind)


def _webhook(name: str, namespace: str = "production") -> Any:
    hook = {"name": name, "clientConfig": {"service": {"namespace": namespace, "name": "gate"}}}
    return _made(ValidatingWebhookConfiguration, f"of-{name}", "", webhooks=[hook])


def _metrics() -> LabMetrics:
    metrics = LabMetrics()
    times = scrapes(NOW - timedelta(hours=2), NOW)
    metrics.write("envoy_server_uptime", {"namespace": "production", "pod": pod().name}, [(t, 1.0) for t in times])
    return metrics


def _count(metrics: LabMetrics, name: str, webhook: str, values: dict[int, float], **labels: str) -> None:
    """A counter of kube-apiserver; `values` maps minutes before now to what it is from then on."""
    begin = max(values)
    for time in scrapes(NOW - timedelta(minutes=begin), NOW):
        value = next(values[ago] for ago in sorted(values) if NOW - timedelta(minutes=ago) <= time)
        metrics.write(name, {"name": webhook, "instance": "10.0.0.1:6443", **labels}, [(time, value)])


def _ask(cluster: FakeCluster, metrics: LabMetrics | None = None, namespace: str = "production") -> BesideAnswer:
    read = Observed(namespace, 120.0)
    value = collect([read], cluster, metrics or _metrics(), NoAnalyzer(), World(), NOW)[Beside(namespace)].value
    assert isinstance(value, BesideAnswer)
    return value


def test_jobs_and_failed_probes_of_the_namespace_alone() -> None:
    """Other Events say nothing of probes."""
    events = [_made(Happening, "a", reason="Unhealthy"), _made(Happening, "b", reason="Pulled"),
              _made(Happening, "c", "payments", reason="Unhealthy")]  # fmt: skip
    answer = _ask(FakeCluster(pod(), *events, _made(Job, "report-1"), _made(Job, "other", "payments")))
    assert [["a"], ["report-1"]] == [[o.name for o in answer.events], [o.name for o in answer.jobs]]


def test_without_the_right_they_are_silently_left_out() -> None:
    """They help, and nothing depends on them."""
    cluster = FakeCluster(pod(), _made(Happening, "a", reason="Unhealthy"), _made(Job, "report-1"))
    cluster.refuse["events"] = Forbidden("403")
    answer = _ask(cluster)
    assert ((), 1) == (answer.events, len(answer.jobs))
    cluster.refuse["jobs"] = Forbidden("403")
    assert () == _ask(cluster).jobs


def test_an_api_that_is_away_is_not_asked_again() -> None:
    """Each list would be tried for some seconds, and the tick would come late."""
    cluster = FakeCluster(pod(), _made(Job, "report-1"))
    cluster.refuse["pods"] = Unreachable("timeout")
    reads: list[Read] = [Objects(Pod), Observed("production", 120.0)]
    answers = collect(reads, cluster, _metrics(), NoAnalyzer(), World(), NOW)
    assert () == answers[Beside("production")].value.jobs
    assert "jobs" not in {listed.split()[0] for listed in cluster.lists}


@pytest.mark.parametrize(("number", "lists"), [(5, 5), (6, 1)])
def test_many_namespaces_are_listed_at_once(number: int, lists: int) -> None:
    """Each has its own, whichever way they were listed."""
    names = [f"ns-{n}" for n in range(number)]
    cluster = FakeCluster(*(_made(Job, f"job-of-{name}", name) for name in names))
    reads = [Observed(name, 120.0) for name in names]
    answers = collect(reads, cluster, LabMetrics(), NoAnalyzer(), World(), NOW)
    assert lists == len([listed for listed in cluster.lists if listed.startswith("jobs")])
    assert [(f"job-of-{n}",) for n in names] == [tuple(j.name for j in answers[Beside(n)].value.jobs) for n in names]


def test_failed_webhook_calls_count_within_the_window_also_when_the_series_was_born_in_it() -> None:
    """Refused on the way, or passed unseen; a refusal by the webhook itself is its work."""
    metrics = _metrics()
    _count(metrics, REJECTED, "old.example.com", {60: 4.0, 1: 9.0}, error_type="calling_webhook_error")
    _count(metrics, PASSED, "born.example.com", {1: 7.0})
    _count(metrics, REJECTED, "judge.example.com", {60: 1.0, 1: 50.0}, error_type="no_error")
    _count(metrics, REJECTED, "calm.example.com", {60: 6.0}, error_type="calling_webhook_error")
    _count(metrics, REJECTED, "elsewhere.example.com", {60: 1.0, 1: 50.0}, error_type="calling_webhook_error")
    hooks = [_webhook(f"{name}.example.com") for name in ("old", "born", "judge", "calm")]
    answer = _ask(FakeCluster(pod(), *hooks, _webhook("elsewhere.example.com", "payments")), metrics)
    assert {"born.example.com": 7.0, "calm.example.com": 0.0} == {
        name: value for name, value in answer.webhooks.items() if name != "old.example.com"
    }
    assert answer.webhooks["old.example.com"] == pytest.approx(5.0, rel=0.35)  # increase() extrapolates
    assert "calling_webhook_error" in answer.query


def test_a_namespace_without_webhooks_asks_nothing_of_them() -> None:
    """And where kube-apiserver is not scraped, nothing is known."""
    metrics = _metrics()
    assert {} == _ask(FakeCluster(pod()), metrics).webhooks
    assert [] == [query for query in metrics.asked if "webhook" in query]
    assert {} == _ask(FakeCluster(pod(), _webhook("v.example.com")), metrics).webhooks


def test_prometheus_away_leaves_the_clusters_part() -> None:
    """Jobs and probes are judged while it is."""
    metrics = _metrics()
    metrics.fails = MetricsUnreachable("away")
    answer = _ask(FakeCluster(pod(), _made(Job, "report-1"), _webhook("v.example.com")), metrics)
    assert (1, {}) == (len(answer.jobs), answer.webhooks)


def test_the_baseline_knows_what_failed_before() -> None:
    """Per second, over its own window."""
    metrics = _metrics()
    _count(metrics, PASSED, "v.example.com", {110: 0.0, **{ago: 3.0 * (60 - ago) for ago in range(60)}})
    read = Before("production", 3600.0)
    cluster = FakeCluster(pod(), _webhook("v.example.com"))
    baseline = collect([read], cluster, metrics, NoAnalyzer(), World(), NOW)[read].value
    assert baseline.webhooks["v.example.com"] == pytest.approx(3.0 / 60, rel=0.05)
