"""Whose proxies Prometheus shows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rollout.errors import Forbidden, MetricsUnreachable
from rollout.world.collector import collect
from rollout.world.ownership import clusters, strangers, telling
from rollout.world.reads import Objects, Ownership, OwnershipAnswer
from rollout.world.world import Reading, Unreadable, World
from tests.world.mesh_fakes import NOW, FakeCluster, LabMetrics, NoAnalyzer, pod, scrapes

OURS = "orders-7d9-abc"


def _write(metrics: LabMetrics, name: str, cluster: str = "", ago: timedelta = timedelta(0), **labels: str) -> None:
    named = {"namespace": "production", "pod": name, **({"cluster": cluster} if cluster else {}), **labels}
    times = scrapes(NOW - timedelta(hours=1), NOW - ago)
    metrics.write(labels.get("metric", "envoy_server_uptime"), named, [(t, 1.0) for t in times])


def _ask(metrics: LabMetrics, match: str = "", *pods: str, world: World | None = None) -> OwnershipAnswer:
    read = Ownership("production", match)
    cluster = FakeCluster(*(pod(name) for name in pods or (OURS,)))
    value = collect([read], cluster, metrics, NoAnalyzer(), world or World(), NOW)[read].value
    assert isinstance(value, OwnershipAnswer), value
    return value


def test_only_our_own_pods_are_there() -> None:
    """Nothing is foreign, and nothing needs to be told apart."""
    metrics = LabMetrics()
    _write(metrics, OURS)
    answer = _ask(metrics)
    assert (answer.expected, answer.seen, answer.foreign, answer.clusters) == (1, 1, (), ())


def test_fresh_pods_that_the_api_server_does_not_know_are_foreign_and_a_label_tells() -> None:
    """One Prometheus for two clusters, with the usual external label."""
    metrics = LabMetrics()
    _write(metrics, OURS, "eu1")
    _write(metrics, "orders-7d9-xyz", "eu2")
    answer = _ask(metrics)
    assert (answer.foreign, answer.ours) == (("orders-7d9-xyz",), 'cluster="eu1"')
    assert answer.clusters == ('cluster="eu1"', 'cluster="eu2"')
    alone = _ask(metrics, 'cluster="eu1"')
    assert (alone.expected, alone.seen, alone.foreign, alone.clusters) == (1, 1, (), ())


def test_ours_may_be_the_one_without_the_label() -> None:
    """A matcher for an absent label is the empty one."""
    metrics = LabMetrics()
    _write(metrics, OURS)
    _write(metrics, "orders-7d9-xyz", "eu2")
    assert _ask(metrics).ours == 'cluster=""'
    assert _ask(metrics, 'cluster=""').foreign == ()


def test_a_label_that_nobody_thought_of_tells_as_well() -> None:
    """But not one that belongs to the pod."""
    metrics = LabMetrics()
    _write(metrics, OURS, region="west", instance="10.0.0.1:15020", node="n1")
    _write(metrics, "orders-7d9-xyz", region="east", instance="10.0.0.2:15020", node="n2")
    assert _ask(metrics).ours == 'region="west"'


def test_without_a_label_nothing_tells() -> None:
    """The foreign pod is seen all the same."""
    metrics = LabMetrics()
    _write(metrics, OURS)
    _write(metrics, "orders-7d9-xyz", instance="10.0.0.2:15020")
    answer = _ask(metrics)
    assert (answer.foreign, answer.ours, answer.clusters) == (("orders-7d9-xyz",), "", ())


def test_a_namesake_in_another_cluster_shows_by_its_label() -> None:
    """StatefulSets number their pods alike everywhere."""
    metrics = LabMetrics()
    for cluster in ("eu1", "eu2"):
        _write(metrics, "cache-0", cluster)
    answer = _ask(metrics, "", "cache-0")
    assert (answer.foreign, answer.clusters, answer.ours) == ((), ('cluster="eu1"', 'cluster="eu2"'), "")
    _write(metrics, OURS, "eu1")
    assert _ask(metrics, "", "cache-0", OURS).ours == 'cluster="eu1"'


def test_a_pair_of_prometheus_servers_is_no_second_cluster() -> None:
    """Replicas show every pod twice."""
    metrics = LabMetrics()
    for replica in ("a", "b"):
        _write(metrics, OURS, "eu1", prometheus_replica=replica)
    answer = _ask(metrics)
    assert (answer.foreign, answer.clusters) == ((), ())


def test_a_matcher_that_finds_none_of_ours_is_answered_with_the_right_one() -> None:
    """Found without it."""
    metrics = LabMetrics()
    _write(metrics, OURS, "eu1")
    _write(metrics, "orders-7d9-xyz", "eu2")
    answer = _ask(metrics, 'cluster="eu2"')
    assert (answer.expected, answer.seen, answer.ours) == (1, 0, 'cluster="eu1"')
    assert _ask(metrics, 'cluster="eu3"').ours == 'cluster="eu1"'


@pytest.mark.parametrize(("ago", "expected"), [(30.0, ("orders-7d9-old",)), (90.0, ())])
def test_samples_older_than_two_scrapes_are_history(ago: float, expected: tuple[str, ...]) -> None:
    """A pod that was deleted some time ago is nobody's."""
    metrics = LabMetrics()
    _write(metrics, OURS)
    _write(metrics, "orders-7d9-old", ago=timedelta(seconds=ago))
    assert _ask(metrics).foreign == expected


def test_a_pod_that_came_after_the_list_is_ours() -> None:
    """The world may know the pods of a minute ago; then they are listed anew."""
    metrics = LabMetrics()
    _write(metrics, OURS)
    _write(metrics, "orders-7d9-new")
    known = World({Objects(type(pod())): Reading(NOW, (pod(OURS),))})
    assert _ask(metrics, "", OURS, "orders-7d9-new", world=known).foreign == ()
    assert _ask(metrics, "", OURS, world=known).foreign == ("orders-7d9-new",)


def test_many_namespaces_cost_the_queries_of_one() -> None:
    """And each has its own answer."""
    metrics = LabMetrics()
    _write(metrics, OURS)
    _write(metrics, "ledger-1", namespace="payments")
    _write(metrics, "ledger-2", namespace="payments")
    cluster = FakeCluster(pod(OURS), pod("ledger-1", "payments", workload="ledger"))
    reads = [Ownership("production"), Ownership("payments")]
    answers = collect(reads, cluster, metrics, NoAnalyzer(), World(), NOW)
    assert [answers[read].value.foreign for read in reads] == [(), ("ledger-2",)]
    both = len(metrics.asked)
    metrics.asked.clear()
    collect(reads[:1], cluster, metrics, NoAnalyzer(), World(), NOW)
    assert len(metrics.asked) == both


def test_what_cannot_be_asked_is_unreadable() -> None:
    """No exception, and no answer that reads as a good one."""
    read, metrics, cluster = Ownership("production"), LabMetrics(), FakeCluster(pod())
    metrics.fails = MetricsUnreachable("away")
    assert isinstance(collect([read], cluster, metrics, NoAnalyzer(), World(), NOW)[read].value, Unreadable)
    metrics.fails = None
    cluster.refuse["pods"] = Forbidden("403")
    assert isinstance(collect([read], cluster, metrics, NoAnalyzer(), World(), NOW)[read].value, Unreadable)


def test_the_rules_alone() -> None:
    """No series, and only foreign ones."""
    foreign: Any = [{"pod": "x", "cluster": "eu2"}]
    assert (telling((), ()), clusters(()), strangers((), ())) == ("", (), ())
    assert (telling(foreign, ("x",)), strangers(foreign, ())) == ("", ("x",))
