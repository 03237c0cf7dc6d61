"""What else a judgement may meet: daemons, missing objects, and a regression that explains itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from rollout.judge.callers import lost_at_the_end, without_sidecar
from rollout.judge.edges import pools, silence
from rollout.judge.kubernetes import changes, cluster_signals
from rollout.judge.signals import APIS, REPLICAS
from rollout.judge.slow import lost
from rollout.model.judgement import Baseline, EdgeBaseline, EdgeSample, Observation, Scaling, WorkloadBaseline
from rollout.model.kubernetes import APIService, DaemonSet, Deployment, Node, Object, Pod, PodSpec, StatefulSet
from rollout.model.traffic import Family, Party, Sight
from rollout.world.baseline import counts, pods_of
from rollout.world.reads import Beside, BesideAnswer, Objects
from rollout.world.world import Reading, Unreadable, World
from tests.world.mesh_fakes import NOW, deployment, pod

KINDS = (Deployment, StatefulSet, DaemonSet, Pod, Node, APIService)


def _world(*objects: Object, unreadable: type[Object] | None = None) -> World:
    answers: dict[Any, Any] = {kind: tuple(o for o in objects if isinstance(o, kind)) for kind in KINDS}
    if unreadable:
        answers[unreadable] = Unreadable("forbidden")
    readings: dict[Any, Reading] = {Objects(kind): Reading(NOW, value) for kind, value in answers.items()}
    return World({**readings, Beside("production"): Reading(NOW, BesideAnswer())})


def _baseline(**changes: Any) -> Baseline:
    return Baseline(at=NOW - timedelta(hours=1), window=3600, sight=Sight((), ()), **changes)


def _daemon(available: int, generation: int = 1) -> DaemonSet:
    raw = {
        "metadata": {"name": "agent", "namespace": "production", "generation": generation},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}},
        "status": {"desiredNumberScheduled": 3, "numberAvailable": available, "observedGeneration": 1},
    }
    return msgspec.convert(raw, DaemonSet)


def test_a_daemon_set_has_one_replica_a_node() -> None:
    """As many are desired as are scheduled; while it rolls out it is not judged."""
    before = _baseline(workloads=(WorkloadBaseline("DaemonSet production/agent", 3, 3),))
    assert counts(_daemon(2)) == (3, 2)
    found, why = cluster_signals(before, _world(_daemon(2)), "production", NOW)
    replicas = [(signal.measured, signal.breached) for signal in found if signal.name == REPLICAS]
    assert (replicas, why) == ([("2 of 3 replicas available", True)], "")
    assert cluster_signals(before, _world(_daemon(2, generation=2)), "production", NOW) == ((), "")


def test_a_workload_without_a_selector_has_no_pods() -> None:
    """An empty selector would take all of them."""
    bare = msgspec.structs.replace(deployment(), spec=msgspec.structs.replace(deployment().spec, selector=None))
    assert pods_of(bare, [pod()]) == ()
    assert pods_of(deployment(), [pod()]) == (pod(),)


def test_an_aggregated_api_that_was_removed_or_cannot_be_read_is_no_regression() -> None:
    """Somebody took it away, or the right is gone."""
    before = _baseline(available_apis=("v1.metrics",))
    api = msgspec.convert({"metadata": {"name": "v1.metrics"}}, APIService)
    for world, expected in ((_world(api), [True]), (_world(), []), (_world(unreadable=APIService), [])):
        found, _ = cluster_signals(before, world, "production", NOW)
        assert [signal.breached for signal in found if signal.name == APIS] == expected


def test_a_scaling_through_the_subresource_is_a_change() -> None:
    """kubectl scale writes no other field."""
    field = {
        "manager": "kubectl", "operation": "Update", "subresource": "scale", "time": NOW,
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
    }  # fmt: skip
    raw = {
        "metadata": {"name": "orders", "namespace": "production", "managedFields": [field]},
        "spec": {"replicas": 2},
    }
    said = ("Deployment production/orders scaled to 2 at 12:00 by kubectl",)
    assert changes([msgspec.convert(raw, Deployment)], NOW - timedelta(minutes=1)) == said
    assert changes([msgspec.convert(raw, Deployment)], NOW + timedelta(minutes=1)) == ()


def test_callers_without_a_sidecar_need_the_pods() -> None:
    """Where pods cannot be listed nothing is said, and pods that are over are nobody's."""
    shop = Party("web", "shop")
    known = EdgeBaseline(shop, Party("production", "orders"), "orders.production.svc.cluster.local", Family.HTTP, 1, 1)
    observation = Observation(at=NOW, window=120, sight=Sight((), ()))
    bare = msgspec.structs.replace(pod("shop-1", "web", workload="shop"), spec=PodSpec())
    over = msgspec.structs.replace(bare, status=msgspec.structs.replace(bare.status, phase="Succeeded"))
    baseline = _baseline(edges=(known,))
    assert 1 == len(list(without_sidecar(baseline, observation, _world(bare))))
    assert [] == list(without_sidecar(baseline, observation, _world(over)))
    assert [] == list(without_sidecar(baseline, observation, _world(bare, unreadable=Pod)))


def test_a_pool_of_something_scaled_to_nothing_is_excused() -> None:
    """Its connections break, and nobody cut them."""
    db = Party("production", "db")
    known = EdgeBaseline(Party("web", "shop"), db, "db.production.svc.cluster.local", Family.TCP, received_bytes=9)
    edge = EdgeSample(known.source, db, known.service, Family.TCP, tried=5, failed=5)
    baseline = _baseline(edges=(known,), workloads=(WorkloadBaseline("StatefulSet production/db", 1, 1),))
    observation = Observation(at=NOW, window=120, sight=Sight((), ()), edges=(edge,))
    gone = msgspec.structs.replace(observation, scalings=(Scaling("StatefulSet production/db", 0),))
    assert [True] == [signal.breached for signal in pools(baseline, observation)]
    assert [] == list(pools(baseline, gone))


@pytest.mark.parametrize("tried", [None, 15])
def test_a_pool_that_opens_nothing_or_much_is_judged_elsewhere(tried: float | None) -> None:
    """A connection that stays open is silence; many that fail are survival."""
    db = Party("production", "db")
    known = EdgeBaseline(Party("web", "shop"), db, "db.production.svc.cluster.local", Family.TCP, received_bytes=9)
    edge = EdgeSample(known.source, db, known.service, Family.TCP, tried=tried or 0, failed=tried or 0)
    observation = Observation(at=NOW, window=120, sight=Sight((), ()), edges=(edge,) if tried else ())
    assert [] == list(pools(_baseline(edges=(known,)), observation))


def test_a_slow_edge_that_nobody_knew_proves_nothing() -> None:
    """All of its attempts failed, and so may those before the flip have."""
    edge = EdgeSample(Party("web", "shop"), Party("production", "db"), "db", Family.TCP, tried=5, failed=5)
    observation = Observation(at=NOW, window=900, sight=Sight(("p",), ("p",)), edges=(edge,))
    assert () == lost(_baseline(), observation)


@pytest.mark.parametrize(
    ("source", "open_to", "breached"),
    [
        (Party("unknown", "unknown"), (Party("production", "stock"),), False),
        (Party("unknown", "unknown"), (), True),
        (Party("web", "shop"), (Party("production", "stock"),), True),
    ],
)
def test_a_caller_without_a_sidecar_that_falls_silent(
    source: Party, open_to: tuple[Party, ...], breached: bool
) -> None:
    """Where a port of what it called still takes plaintext, the flip did not cut it: it stopped, or was repaired."""
    known = EdgeBaseline(source, Party("production", "stock"), "stock", Family.HTTP, arrived=1.0, at_source=False)
    observation = Observation(at=NOW, window=120, sight=Sight((), ()))
    assert [breached] == [s.breached for s in silence(_baseline(edges=(known,)), observation, open_to)]


def test_callers_that_have_no_sidecar_at_the_end_are_named() -> None:
    """Too late to be heard falling silent; a nameless caller has no pods, and an unreadable cluster says nothing."""
    shop = EdgeBaseline(Party("web", "shop"), Party("production", "orders"), "orders", Family.HTTP, 1, 1)
    nameless = msgspec.structs.replace(shop, source=Party("unknown", "unknown"))
    baseline = _baseline(edges=(shop, nameless))
    meshed = pod("shop-1", "web", workload="shop")
    said = ("web/shop runs without a sidecar now, and STRICT refuses plaintext",)
    assert said == lost_at_the_end(baseline, _world(pod("shop-1", "web", workload="shop", sidecar=False)))
    assert () == lost_at_the_end(baseline, _world(meshed))
    assert () == lost_at_the_end(baseline, _world())
    assert () == lost_at_the_end(baseline, _world(unreadable=Pod))
