"""What a person scales down in mid-watch is no regression; what dies is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from rollout.judge.verdict import judge
from rollout.model.judgement import (
    Baseline,
    EdgeBaseline,
    EdgeSample,
    Judgement,
    Observation,
    Scaling,
    Verdict,
    WorkloadBaseline,
)
from rollout.model.kubernetes import APIService, DaemonSet, Deployment, Node, Object, Pod, StatefulSet
from rollout.model.kubernetes.meta import ManagedField
from rollout.model.traffic import Family, Party, Sight
from rollout.record.run import Watch
from rollout.world.baseline import fold_scaling
from rollout.world.reads import Objects
from rollout.world.world import Reading, World
from tests.world.mesh_fakes import NOW, deployment, pod

FLIP = NOW - timedelta(minutes=20)
ORDERS = "Deployment production/orders"
SERVICE = "orders.production.svc.cluster.local"
DEAD = pod("orders-1", ready=False, since=NOW - timedelta(minutes=5))


def _scaled(
    replicas: int, by: str = "kubectl", available: int = 0, ago: int = 5, subresource: str = "scale"
) -> Deployment:
    """orders, scaled by somebody."""
    field = {
        "manager": by, "operation": "Update", "time": NOW - timedelta(minutes=ago), "subresource": subresource,
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
    }  # fmt: skip
    made = deployment(replicas=replicas, available=available)
    meta = msgspec.structs.replace(made.metadata, managed_fields=(msgspec.convert(field, ManagedField),))
    return msgspec.structs.replace(made, metadata=meta)


def _judged(orders: Deployment, *objects: Object, edge: dict[str, float], family: Family = Family.HTTP) -> Judgement:
    """Twice the same: web/shop calls orders, which had three replicas."""
    kinds = (Deployment, StatefulSet, DaemonSet, Pod, Node, APIService)
    found = (orders, *objects)
    world = World({Objects(kind): Reading(NOW, tuple(o for o in found if isinstance(o, kind))) for kind in kinds})
    source, destination = Party("web", "shop"), Party("production", "orders")
    sight = Sight(("p",), ("p",), newest=NOW)
    before = Baseline(
        at=FLIP, window=3600.0, sight=sight, workloads=(WorkloadBaseline(ORDERS, 3, 3),),
        edges=(EdgeBaseline(source, destination, SERVICE, family, tried=1.0, arrived=1.0, received_bytes=9.0),),
    )  # fmt: skip
    numbers: dict[str, Any] = edge
    sample = EdgeSample(source, Party("production", "unknown"), SERVICE, family, **numbers)
    seen = Observation(at=NOW, window=120.0, sight=sight, edges=(sample,), scalings=(fold_scaling(orders),))
    watch = Watch(began=FLIP)
    first = judge(before, seen, watch, world, "production", NOW, settled=FLIP)
    later = msgspec.structs.replace(sight, newest=NOW + timedelta(seconds=30))
    watch = msgspec.structs.replace(watch, breached=first.breached, sample=NOW)
    return judge(before, msgspec.structs.replace(seen, sight=later), watch, world, "production", NOW, settled=FLIP)


CUT = {"tried": 120.0, "failed": 120.0, "arrived": 0.0}


def test_scaled_to_nothing_by_a_person_is_no_regression() -> None:
    """Its callers fail, none of its replicas is there, and all of that is what somebody wanted."""
    judgement = _judged(_scaled(0), edge=CUT)
    assert judgement.verdict is Verdict.HEALTHY
    told = [signal.measured for signal in judgement.signals if signal.where == ORDERS and signal.name == "replicas"]
    assert ["0 of 0 replicas available; Deployment production/orders scaled 3→0 at 11:55 by kubectl"] == told


def test_a_namespace_that_is_scaled_to_nothing_is_not_blindness() -> None:
    """No proxy is expected, because no replica is wanted; with one wanted somewhere, it is."""
    before = Baseline(at=FLIP, window=3600.0, sight=Sight(("p",), ("p",), newest=NOW))
    world = World(
        {Objects(kind): Reading(NOW, ()) for kind in (Deployment, StatefulSet, DaemonSet, Pod, Node, APIService)}
    )
    verdicts = []
    for desired in (0, 1):
        seen = Observation(at=NOW, window=120.0, sight=Sight((), ()), scalings=(Scaling(ORDERS, desired),))
        verdicts.append(judge(before, seen, Watch(began=FLIP), world, "production", NOW, settled=FLIP).verdict)
    assert [Verdict.NO_TRAFFIC, Verdict.CANNOT_SEE] == verdicts


def test_pods_that_die_while_three_are_wanted_are_one() -> None:
    """The same picture at the callers, and nobody scaled anything."""
    judgement = _judged(deployment(replicas=3, available=0), DEAD, edge=CUT)
    assert judgement.verdict is Verdict.REGRESSED
    keys = {signal.key for signal in judgement.signals if signal.verdict is Verdict.REGRESSED}
    assert {"replicas:Deployment production/orders", "edge-survival:web/shop -> production/orders (http)"} <= keys


@pytest.mark.parametrize("by", ["kubectl", "kube-controller-manager"])
def test_fewer_replicas_are_compared_with_what_is_wanted_now(by: str) -> None:
    """A person or an autoscaler went from three to two: two are enough, one is not."""
    calm = {"tried": 120.0, "arrived": 120.0}
    assert _judged(_scaled(2, by, available=2), edge=calm).verdict is Verdict.HEALTHY
    bad = _judged(_scaled(2, by, available=1), DEAD, edge=calm)
    assert bad.verdict is Verdict.REGRESSED
    assert f"1 of 2 replicas available; Deployment production/orders scaled 3→2 at 11:55 by {by}" in bad.sentence
    assert "limit 2, as is wanted now" in bad.sentence
    notes = {signal.note for signal in bad.signals if signal.verdict is Verdict.REGRESSED}
    assert {f"Deployment production/orders scaled to 2 at 11:55 by {by}"} == notes


def test_fewer_replicas_are_no_excuse_for_refused_callers() -> None:
    """Two of three are there, and nothing arrives."""
    assert _judged(_scaled(2, available=2, ago=15), edge=CUT).verdict is Verdict.REGRESSED


@pytest.mark.parametrize(
    ("by", "ago", "subresource", "verdict"),
    [
        ("kubectl", 2, "scale", Verdict.HEALTHY),
        ("kubectl", 5, "scale", Verdict.REGRESSED),
        ("kube-controller-manager", 2, "scale", Verdict.REGRESSED),
        ("kubectl", 2, "", Verdict.REGRESSED),
    ],
)
def test_scaled_up_again_has_time_to_start(by: str, ago: int, subresource: str, verdict: Verdict) -> None:
    """For the window and two minutes; an autoscaler follows the load, and a deployment is no scaling."""
    judgement = _judged(_scaled(3, by, available=3, ago=ago, subresource=subresource), edge=CUT)
    assert judgement.verdict is verdict


def test_a_silent_pool_of_a_workload_that_was_scaled_to_nothing_is_none_either() -> None:
    """TCP, few connections, all broken."""
    broken = {"tried": 4.0, "failed": 4.0}
    assert _judged(_scaled(0), edge=broken, family=Family.TCP).verdict is Verdict.HEALTHY
    alive = deployment(replicas=3, available=3)
    assert _judged(alive, edge=broken, family=Family.TCP).verdict is Verdict.REGRESSED


def test_edges_of_a_caller_that_was_scaled_to_nothing_are_not_silent_together() -> None:
    """Three of four edges stop at once, and somebody asked for it."""
    parties = [Party("production", name) for name in ("a", "b", "c", "d")]
    edges = tuple(
        EdgeBaseline(Party("production", "web"), p, f"{p.workload}.production", Family.HTTP, 1.0, 1.0) for p in parties
    )
    kinds = (Deployment, StatefulSet, DaemonSet, Pod, Node, APIService)
    world = World({Objects(kind): Reading(NOW, ()) for kind in kinds})
    sight = Sight(("p",), ("p",), newest=NOW)
    before = Baseline(at=FLIP, window=3600.0, sight=sight, edges=edges,
                      workloads=(WorkloadBaseline("Deployment production/web", 2, 2),))  # fmt: skip

    def silent(desired: int) -> bool:
        scalings = (Scaling("Deployment production/web", desired),)
        seen = Observation(at=NOW, window=120.0, sight=sight, scalings=scalings)
        found = judge(before, seen, Watch(began=FLIP), world, "production", NOW).breached
        return "silence:most edges" in found

    assert silent(2)
    assert not silent(0)
