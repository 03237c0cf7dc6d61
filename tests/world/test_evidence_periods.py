"""Evidence counts only where every CronJob that may call in plaintext has run, and old enough workloads are named."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from rollout.model.kubernetes import CronJob, MutatingWebhookConfiguration, Namespace, Object, Service
from rollout.model.traffic import Evidence, EvidenceVerdict
from rollout.record.spec import Fixed
from rollout.world.collector import collect
from rollout.world.evidence import settle
from rollout.world.reads import Traffic
from rollout.world.world import World
from tests.world.mesh_fakes import NOW, FakeCluster, LabMetrics, NoAnalyzer, deployment, istio_labels, pod, scrapes

LOOK_BACK = 3 * 86400.0
DAY = timedelta(days=1)
START = NOW - timedelta(seconds=LOOK_BACK)
STEP = 60
SERVICE = msgspec.convert(
    {"metadata": {"name": "orders", "namespace": "production"}, "spec": {"selector": {"app": "orders"}}}, Service
)
URL = {"name": "URL", "value": "http://orders.production:8080/export"}


def _mesh(*pods: str) -> LabMetrics:
    metrics = LabMetrics()
    times = scrapes(START - timedelta(hours=3), NOW, STEP)
    for name in ("orders-7d9-abc", *pods):
        metrics.write("envoy_server_uptime", {"namespace": "production", "pod": name}, [(t, 1.0) for t in times])
    rising = [(t, (t - START + timedelta(days=9)).total_seconds()) for t in times]
    metrics.write("istio_requests_total", istio_labels("web/shop"), rising)
    return metrics


def _look(metrics: LabMetrics, *objects: Object, **read: Any) -> Evidence:
    asked = Traffic("production", LOOK_BACK, **{"periods": True, **read})
    cluster = FakeCluster(*objects, *(() if any(o.ref.kind == "Deployment" for o in objects) else (deployment(),)))
    if not any(o.ref.kind == "Pod" for o in objects):
        cluster.objects = (*cluster.objects, pod())
    value = collect([asked], cluster, metrics, NoAnalyzer(), World(), NOW)[asked].value
    assert isinstance(value, Evidence), value
    return value


def _job(schedule: str, namespace: str = "billing", **changes: Any) -> CronJob:
    """A CronJob that names orders, created long ago; keywords: labels, env, zone, suspend, created, ran."""
    container = {"name": "job", "env": changes.get("env", [URL])}
    template = {"metadata": {"labels": changes.get("labels", {})}, "spec": {"containers": [container]}}
    raw = {
        "metadata": {
            "name": "report", "namespace": namespace,
            "creationTimestamp": changes.get("created", NOW - timedelta(days=90)),
        },
        "spec": {
            "schedule": schedule, "timeZone": changes.get("zone"), "suspend": changes.get("suspend", False),
            "jobTemplate": {"spec": {"template": template}},
        },
        "status": {"lastScheduleTime": changes.get("ran")},
    }  # fmt: skip
    return msgspec.convert(raw, CronJob)


def test_a_daily_job_that_ran_within_the_look_back_is_no_obstacle() -> None:
    """Three nights, all PERMISSIVE."""
    assert _look(_mesh(), SERVICE, _job("0 3 * * *")).verdict is EvidenceVerdict.CLEAN


def test_a_weekly_job_that_is_not_due_within_three_days_makes_no_data_with_a_date() -> None:
    """NOW is a Tuesday; Friday's run is proven ten minutes later."""
    evidence = _look(_mesh(), SERVICE, _job("0 3 * * FRI"))
    assert evidence.verdict is EvidenceVerdict.NO_DATA
    assert evidence.enough_at == datetime(2026, 3, 13, 3, 10, tzinfo=NOW.tzinfo)
    assert evidence.reason.startswith(
        "CronJob billing/report (0 3 * * FRI, without a sidecar; job env URL: http://orders.production:8080/export): "
        "it was not due within the time that counts"
    )
    assert 'sidecar.istio.io/inject: "true"' in evidence.reason


def test_the_only_run_in_strict_time_does_not_count() -> None:
    """Six hours of three days may be lost, but not those in which the job runs."""
    night = datetime(2026, 3, 8, 3, 0, tzinfo=NOW.tzinfo)
    hole = ((night - timedelta(hours=3), night + timedelta(hours=3)),)
    assert _look(_mesh(), SERVICE, _job("0 3 * * SUN")).verdict is EvidenceVerdict.CLEAN
    assert _look(_mesh(), SERVICE, _job("0 3 * * SUN"), holes=hole).verdict is EvidenceVerdict.NO_DATA
    assert _look(_mesh(), SERVICE, _job("0 3 * * *"), holes=hole).verdict is EvidenceVerdict.CLEAN


def test_a_job_that_the_time_zone_moves_into_the_hole_does_not_count() -> None:
    """Sunday 03:00 in Auckland is Saturday 14:00 UTC: before the look-back."""
    assert _look(_mesh(), SERVICE, _job("0 3 * * SUN", zone="Pacific/Auckland")).verdict is EvidenceVerdict.CLEAN
    zoned = _job("0 1 * * SUN", zone="Pacific/Auckland")
    assert _look(_mesh(), SERVICE, zoned).verdict is EvidenceVerdict.CLEAN
    assert _look(_mesh(), SERVICE, _job("0 0 * * SUN", zone="Pacific/Auckland")).verdict is EvidenceVerdict.NO_DATA


@pytest.mark.parametrize(
    ("job", "why"),
    [
        (_job("0 3 * * FRI", labels={"sidecar.istio.io/inject": "true"}), "it has a sidecar"),
        (_job("0 3 * * FRI", suspend=True), "it does not run"),
        (_job("0 3 * * FRI", env=[{"name": "URL", "value": "http://ledger.payments/"}]), "it calls somebody else"),
        (_job("0 3 * * FRI", ran=NOW - timedelta(hours=5)), "the controller says that it ran"),
        (_job("what is this", ran=NOW - timedelta(hours=5)), "the controller says that it ran"),
    ],
)
def test_jobs_that_do_not_matter(job: CronJob, why: str) -> None:
    """A sidecar, suspension, another target, a run by hand."""
    assert _look(_mesh(), SERVICE, job).verdict is EvidenceVerdict.CLEAN, why


def test_a_job_of_the_namespace_matters_though_it_names_nobody() -> None:
    """It reaches its neighbours by their short names, from a file perhaps."""
    assert _look(_mesh(), _job("0 3 * * FRI", "production", env=[])).verdict is EvidenceVerdict.NO_DATA
    assert _look(_mesh(), _job("0 3 * * FRI", "billing", env=[])).verdict is EvidenceVerdict.CLEAN


def test_what_the_injector_would_do_decides_who_has_a_sidecar() -> None:
    """The namespace's label, and the webhook that answers for it."""
    hook = {"name": "namespace.sidecar-injector.istio.io",
            "namespaceSelector": {"matchLabels": {"istio-injection": "enabled"}}}  # fmt: skip
    webhook = msgspec.convert({"metadata": {"name": "injector"}, "webhooks": [hook]}, MutatingWebhookConfiguration)
    labels = {"istio-injection": "enabled"}
    home = msgspec.convert({"metadata": {"name": "billing", "labels": labels}}, Namespace)
    job = _job("0 3 * * FRI")
    assert _look(_mesh(), SERVICE, job, webhook, home).verdict is EvidenceVerdict.CLEAN
    assert _look(_mesh(), SERVICE, job, home).verdict is EvidenceVerdict.CLEAN
    other = msgspec.convert({"metadata": {"name": "billing"}}, Namespace)
    assert _look(_mesh(), SERVICE, job, webhook, other).verdict is EvidenceVerdict.NO_DATA


def test_a_job_created_after_its_last_due_time_has_not_run() -> None:
    """Sunday's run was before it was there."""
    job = _job("0 3 * * SUN", created=NOW - timedelta(days=1))
    assert _look(_mesh(), SERVICE, job).verdict is EvidenceVerdict.NO_DATA


def test_a_schedule_that_nobody_understands_is_no_proof() -> None:
    """No data, and no date either."""
    evidence = _look(_mesh(), SERVICE, _job("what is this"))
    assert (evidence.verdict, evidence.enough_at) == (EvidenceVerdict.NO_DATA, None)
    assert "'what is this' is not understood" in evidence.reason


def test_only_the_whole_look_back_asks_for_periods() -> None:
    """The last minutes before the flip hold no nightly run."""
    assert _look(_mesh(), SERVICE, _job("0 3 * * FRI"), periods=False).verdict is EvidenceVerdict.CLEAN


def test_a_repaired_caller_does_not_hide_a_job_that_never_ran() -> None:
    """Without its plaintext the look-back still proves nothing of the other."""
    metrics = _mesh()
    born = [(t, 1.0 + (t > START + timedelta(hours=1))) for t in scrapes(START - timedelta(hours=3), NOW, STEP)]
    metrics.write("istio_requests_total", istio_labels("unknown"), born)
    evidence = _look(metrics, SERVICE, _job("0 3 * * FRI"))
    assert evidence.verdict is EvidenceVerdict.PLAINTEXT
    fix = Fixed(edge=evidence.offenders[0].edge.key, at=START + timedelta(hours=2), reason="gone")
    later = {"start": START + timedelta(hours=3), "end": NOW + timedelta(hours=3)}
    assert settle(msgspec.structs.replace(evidence, **later), [fix]).verdict is EvidenceVerdict.NO_DATA
    ran = _look(metrics, SERVICE, _job("0 3 * * *"))
    assert settle(msgspec.structs.replace(ran, **later), [fix]).verdict is EvidenceVerdict.CLEAN


def test_plaintext_is_known_to_a_scrape_or_two() -> None:
    """Not to the hour: a call at 23:17 and one at 04:42."""
    metrics = _mesh()
    calls = [NOW.replace(day=8, hour=23, minute=17), NOW.replace(day=9, hour=4, minute=42)]
    times = scrapes(START - timedelta(hours=3), NOW, STEP)
    metrics.write(
        "istio_requests_total", istio_labels("unknown"), [(t, 5.0 + sum(t >= c for c in calls)) for t in times]
    )
    offender = _look(metrics, SERVICE).offenders[0]
    first, last = offender.edge.first, offender.edge.last
    assert first is not None
    assert last is not None
    assert timedelta(0) <= calls[0] - first <= timedelta(minutes=4)
    assert timedelta(0) <= last - calls[1] <= timedelta(minutes=3)
    assert offender.grain <= 2.5 * STEP
    assert offender.clean_from == last + timedelta(seconds=LOOK_BACK)


def test_a_closer_look_costs_a_few_short_queries_and_only_where_there_is_plaintext() -> None:
    """However many edges there are."""
    metrics = _mesh()
    _look(metrics, SERVICE)
    clean = len(metrics.asked)
    times = scrapes(START - timedelta(hours=3), NOW, STEP)
    for n in range(12):
        at = START + timedelta(hours=3 * n + 2)
        labels = istio_labels(f"old/caller-{n}", connection_security_policy="none")
        metrics.write("istio_requests_total", labels, [(t, 5.0 + (t >= at)) for t in times])
    metrics.asked.clear()
    evidence = _look(metrics, SERVICE)
    assert len(evidence.offenders) == 12
    short = [query for query in metrics.asked if "[150s]" in query]  # two and a half steps of a minute
    assert len(short) == 4
    assert len(metrics.asked) - clean <= 4 + 3


def test_a_closer_look_that_is_too_heavy_leaves_the_hour() -> None:
    """It only helps to explain."""
    metrics = _mesh()
    times = scrapes(START - timedelta(hours=3), NOW, STEP)
    metrics.write("istio_requests_total", istio_labels("unknown"), [(t, 5.0 + (t >= NOW - DAY)) for t in times])
    metrics.heaviest = lambda query: "[150s]" in query
    offender = _look(metrics, SERVICE).offenders[0]
    assert (offender.grain, offender.edge.last) == (3600.0, NOW - DAY)


def test_a_young_workload_is_named_with_its_age_and_who_is_clean_already() -> None:
    """And the date; those beside it need not be asked again."""
    young = deployment("returns", created=NOW - timedelta(days=1))
    pods = (pod(), pod("returns-1", workload="returns", created=NOW - timedelta(days=1)))
    evidence = _look(_mesh("returns-1"), *pods, deployment(), young)
    assert evidence.verdict is EvidenceVerdict.NO_DATA
    assert evidence.enough_at == NOW - timedelta(days=1) + timedelta(seconds=0.9 * LOOK_BACK)
    assert evidence.reason.endswith(
        ": Deployment production/returns exists only since 2026-03-09 12:00 UTC (24.0 hours); "
        "clean already: Deployment production/orders"
    )


def test_a_new_replica_set_of_an_old_deployment_restarts_no_clock() -> None:
    """Pods are re-created every day; the workload is as old as before."""
    fresh = pod(created=NOW - timedelta(minutes=10), labels={"pod-template-hash": "7d9"})
    evidence = _look(_mesh(), fresh, deployment(generation=7))
    assert (evidence.verdict, evidence.holes) == (EvidenceVerdict.CLEAN, ())


def _two() -> LabMetrics:
    """Namespaces that a nameless caller called a day ago, and no more."""
    metrics = _mesh()
    times = scrapes(START - timedelta(hours=3), NOW, STEP)
    metrics.write("envoy_server_uptime", {"namespace": "billing", "pod": "ledger-1"}, [(t, 1.0) for t in times])
    for namespace in ("production", "billing"):
        labels = istio_labels("unknown", destination_workload_namespace=namespace)
        metrics.write("istio_requests_total", labels, [(t, 5.0 + (t >= NOW - DAY)) for t in times])
    return metrics


def _grains(metrics: LabMetrics) -> list[float]:
    reads = [Traffic(name, LOOK_BACK) for name in ("production", "billing")]
    cluster = FakeCluster(pod(), pod("ledger-1", "billing", workload="ledger"))
    found = collect(reads, cluster, metrics, NoAnalyzer(), World(), NOW)
    return [found[read].value.offenders[0].grain for read in reads]


def test_namespaces_look_closer_into_the_same_hour_together() -> None:
    """What it costs does not grow with them."""
    metrics = _two()
    assert [150.0, 150.0] == _grains(metrics)
    assert 1 == len([query for query in metrics.asked if "[150s]" in query])


def test_a_look_that_is_too_heavy_for_all_is_made_for_each() -> None:
    """One that alone is too heavy leaves the hour to itself only."""
    metrics = _two()
    metrics.heaviest = lambda query: "[150s]" in query and "billing" in query and "production" in query
    assert [150.0, 150.0] == _grains(metrics)
    metrics.heaviest = lambda query: "[150s]" in query and "billing" in query
    assert [150.0, 3600.0] == _grains(metrics)
