"""One tick's verdict: hysteresis, grace, precedence, and each signal at its limit."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from rollout.errors import Outcome
from rollout.judge import READS, SIGNALS, judge
from rollout.model.judgement import (
    Baseline,
    EdgeBaseline,
    EdgeSample,
    Judgement,
    Observation,
    Verdict,
    WorkloadBaseline,
)
from rollout.model.kubernetes import APIService, DaemonSet, Deployment, Node, Object, Pod, StatefulSet
from rollout.model.traffic import Family, Party, Sight
from rollout.record.run import Watch
from rollout.world.reads import Objects
from rollout.world.world import Needs, Reading, Unreadable, World
from tests.world.mesh_fakes import NOW, deployment, pod

ORDERS = Party("production", "orders")
SERVICE = "orders.production.svc.cluster.local"
WINDOW = 120.0


def _source(name: str) -> Party:
    return Party("web", name)


def _before(name: str = "shop", **changes: Any) -> EdgeBaseline:
    usual: dict[str, Any] = {"tried": 1.0, "arrived": 1.0}
    return EdgeBaseline(_source(name), ORDERS, SERVICE, changes.pop("family", Family.HTTP), **usual | changes)


def _now(name: str = "shop", tried: float = 120, arrived: float = 120, **changes: Any) -> EdgeSample:
    family = changes.pop("family", Family.HTTP)
    destination = ORDERS if arrived else Party("production", "unknown")
    return EdgeSample(_source(name), destination, SERVICE, family, tried=tried, arrived=arrived, **changes)


def _baseline(*edges: EdgeBaseline, **changes: Any) -> Baseline:
    return Baseline(at=NOW - timedelta(hours=1), window=3600, sight=Sight(("p",), ("p",)), edges=edges, **changes)


def _observation(*edges: EdgeSample, at: datetime = NOW, seen: tuple[str, ...] = ("p",), **changes: Any) -> Observation:
    return Observation(at=at, window=WINDOW, sight=Sight(("p",), seen, newest=at), edges=edges, **changes)


def _world(*objects: Object, unreadable: type[Object] | None = None) -> World:
    kinds = (Deployment, StatefulSet, DaemonSet, Pod, Node, APIService)
    answers: dict[Any, Reading] = {
        Objects(kind): Reading(NOW, tuple(o for o in objects if isinstance(o, kind))) for kind in kinds
    }
    if unreadable is not None:
        answers[Objects(unreadable)] = Reading(NOW, Unreadable("timeout"))
    return World(answers)


BEGAN = Watch(began=NOW - timedelta(minutes=10))


def _judge(baseline: Baseline, observation: Observation | Unreadable, world: World | None = None) -> Judgement:
    return judge(baseline, observation, BEGAN, world or _world(), "production", NOW)


def _twice(baseline: Baseline, observation: Observation, world: World | None = None) -> Judgement:
    first = _judge(baseline, observation, world)
    assert first.verdict is not Verdict.REGRESSED
    watch = msgspec.structs.replace(BEGAN, breached=first.breached, sample=observation.sight.newest)
    later = NOW + timedelta(seconds=30)
    sight = msgspec.structs.replace(observation.sight, newest=later)
    again = msgspec.structs.replace(observation, at=later, sight=sight)
    return judge(baseline, again, watch, world or _world(), "production", later)


def test_traffic_as_before_is_healthy() -> None:
    """With how much was judged."""
    answer = _judge(_baseline(_before(), _before("cart")), _observation(_now(), _now("cart", 2, 2)))
    assert (answer.verdict, answer.breached, answer.judged, answer.quiet) == (Verdict.HEALTHY, (), 1, 1)


def test_an_edge_that_no_longer_arrives_regresses_on_the_second_new_sample() -> None:
    """Though no error is seen anywhere at the destination."""
    answer = _twice(_baseline(_before(), _before("cart")), _observation(_now(arrived=0), _now("cart")))
    assert answer.verdict is Verdict.REGRESSED
    assert "edge-survival of web/shop -> production/orders" in answer.sentence
    assert "120 tried at the source, 0 seen at the destination" in answer.sentence


def test_the_same_sample_twice_proves_nothing() -> None:
    """New samples count, not ticks; what was breached stays so."""
    baseline, observation = _baseline(_before()), _observation(_now(arrived=0))
    first = _judge(baseline, observation)
    watch = msgspec.structs.replace(BEGAN, breached=first.breached, sample=observation.sight.newest)
    again = judge(baseline, observation, watch, _world(), "production", NOW + timedelta(seconds=30))
    assert first.breached
    assert (again.verdict, again.breached) == (Verdict.HEALTHY, first.breached)


def test_a_breach_that_is_over_is_forgotten() -> None:
    """Two in a row make a regression."""
    baseline = _baseline(_before())
    first = _judge(baseline, _observation(_now(arrived=0)))
    watch = msgspec.structs.replace(BEGAN, breached=first.breached, sample=NOW)
    good = _observation(_now(), at=NOW + timedelta(seconds=30))
    assert judge(baseline, good, watch, _world(), "production", NOW).breached == ()


@pytest.mark.parametrize(("tried", "regressed"), [(15, True), (14, False)])
def test_fifteen_attempts_are_needed(tried: float, regressed: bool) -> None:
    """Fewer may all be on their way."""
    answer = _twice(_baseline(_before()), _observation(_now(tried=tried, arrived=0)))
    assert (answer.verdict is Verdict.REGRESSED) is regressed


def test_an_edge_that_never_arrived_by_name_is_not_lost() -> None:
    """Where metadata exchange is off, the destination names nobody."""
    answer = _twice(_baseline(_before(arrived=0.0)), _observation(_now(arrived=0)))
    assert answer.verdict is Verdict.HEALTHY


def test_most_edges_lost_at_once_do_not_wait() -> None:
    """Catastrophe has no hysteresis."""
    names = ("a", "b", "c")
    baseline = _baseline(*(_before(name) for name in names))
    answer = _judge(baseline, _observation(_now("a", arrived=0), _now("b", arrived=0), _now("c")))
    assert answer.verdict is Verdict.REGRESSED
    assert "2 of 3 edges lost at once" in answer.sentence


def test_a_caller_that_stopped_is_reported_and_no_reason() -> None:
    """Silent at both ends; unless most fall silent together."""
    names = ("a", "b", "c")
    baseline = _baseline(*(_before(name) for name in names))
    one = _twice(baseline, _observation(_now("b"), _now("c")))
    assert one.verdict is Verdict.HEALTHY
    assert "the caller stopped: web/a -> production/orders" in one.sentence
    assert [signal.where for signal in one.signals if signal.name == "silence"] == ["web/a -> production/orders (http)"]
    most = _twice(baseline, _observation(_now("c")))
    assert (most.verdict, "silence of most edges" in most.sentence) == (Verdict.REGRESSED, True)


@pytest.mark.parametrize(("pause", "regressed"), [(20.0, True), (300.0, False)])
def test_an_unscraped_caller_is_compared_with_its_longest_pause(pause: float, regressed: bool) -> None:
    """Only the destination tells of it."""
    edge = _before("legacy", tried=0.0, at_source=False, longest_pause=pause)
    answer = _twice(_baseline(edge, _before()), _observation(_now()))
    assert (answer.verdict is Verdict.REGRESSED) is regressed


@pytest.mark.parametrize(
    ("failed", "errors", "regressed"),
    [(12, 0.0, True), (9, 0.0, False), (12, 0.1, False), (60, 0.1, True), (120, 1.0, False)],
)
def test_errors_at_the_source_are_compared_with_the_baselines_noise(
    failed: float, errors: float, regressed: bool
) -> None:
    """Ten bad calls at least, and more than is usual there."""
    answer = _twice(_baseline(_before(errors=errors, noise=errors)), _observation(_now(failed=failed)))
    assert (answer.verdict is Verdict.REGRESSED) is regressed


def test_a_burst_that_is_over_is_no_regression() -> None:
    """It stays in the window, but not in the last scrape interval."""
    over = _now(failed=40, recent_tried=30.0, recent_failed=0.0)
    assert _twice(_baseline(_before()), _observation(over)).verdict is Verdict.HEALTHY
    goes_on = _now(failed=40, recent_tried=30.0, recent_failed=10.0)
    assert _twice(_baseline(_before()), _observation(goes_on)).verdict is Verdict.REGRESSED


@pytest.mark.parametrize(("failed", "before", "regressed"), [(120, 0.0, True), (100, 0.0, False), (120, 1.0, False)])
def test_a_caller_of_pod_addresses_is_judged_by_what_it_sees(failed: float, before: float, regressed: bool) -> None:
    """PassthroughCluster: the destination cannot be asked, because it joins the calls to no Service."""
    edge = EdgeSample(_source("shop"), ORDERS, "PassthroughCluster", Family.HTTP, tried=120, failed=failed)
    known = EdgeBaseline(_source("shop"), ORDERS, "PassthroughCluster", Family.HTTP, tried=1, errors=before)
    answer = _twice(_baseline(*([known] if before else [])), _observation(edge))
    lost = [s for s in answer.signals if s.name == "edge-survival" and s.verdict is Verdict.REGRESSED]
    assert bool(lost) is regressed


def test_ratios_wait_until_the_window_lies_behind_the_drain() -> None:
    """The flip cuts healthy work, too."""
    baseline, observation = _baseline(_before()), _observation(_now(failed=40))
    recent = Watch(began=NOW - timedelta(seconds=60), breached=_judge(baseline, observation).breached)
    assert judge(baseline, observation, recent, _world(), "production", NOW).verdict is Verdict.HEALTHY
    old = judge(baseline, observation, recent, _world(), "production", NOW, settled=NOW - timedelta(minutes=5))
    assert old.verdict is Verdict.REGRESSED


def test_destinations_that_refuse_regress() -> None:
    """403 counts."""
    seen = _observation(_now(), destination_requests=120, destination_errors=30)
    answer = _twice(_baseline(_before()), seen)
    assert "destination-errors of all workloads: 25.0% of 120" in answer.sentence


def test_a_small_pool_that_breaks_is_caught() -> None:
    """It never makes fifteen attempts."""
    known = _before(family=Family.TCP, tried=0.01, arrived=0.01, received_bytes=900.0)
    broken = _now(tried=4, arrived=0, failed=4, family=Family.TCP)
    assert _twice(_baseline(known), _observation(broken)).verdict is Verdict.REGRESSED
    alive = _now(tried=4, arrived=0, failed=4, received_bytes=50, family=Family.TCP)
    assert _twice(_baseline(known), _observation(alive)).verdict is Verdict.HEALTHY


def test_nothing_flowed_is_no_traffic() -> None:
    """Which counts as sight."""
    answer = _judge(_baseline(), _observation())
    assert (answer.verdict, answer.verdict.sight) == (Verdict.NO_TRAFFIC, True)


def test_without_full_sight_nothing_is_lost_but_errors_at_the_source_count() -> None:
    """An unscraped destination looks like one that refuses; what is seen to be wrong is wrong."""
    baseline = _baseline(_before())
    blind = _observation(_now(arrived=0), seen=())
    assert _judge(baseline, blind).verdict is Verdict.CANNOT_SEE
    assert _twice(baseline, blind).verdict is Verdict.CANNOT_SEE
    failing = _observation(_now(failed=100), seen=())
    assert _twice(baseline, failing).verdict is Verdict.REGRESSED


def test_after_an_outage_nothing_is_lost_until_the_window_is_full() -> None:
    """One sample has no increase, and the callers may have two already."""
    names = ("a", "b", "c")
    baseline = _baseline(*(_before(name) for name in names))
    seen = _observation(*(_now(name, arrived=0) for name in names), steady=False)
    assert _twice(baseline, seen).verdict is Verdict.HEALTHY


def test_a_partial_answer_cannot_see() -> None:
    """A store that is away looks like callers that are refused; PromQL's annotations do not."""
    partly = _observation(_now(arrived=0), warnings=("no store matched",))
    assert _twice(_baseline(_before()), partly).verdict is Verdict.CANNOT_SEE
    noted = _observation(_now(), warnings=("PromQL info: metric might not be a counter",))
    assert _judge(_baseline(_before()), noted).verdict is Verdict.HEALTHY


def test_prometheus_away_cannot_see_and_keeps_the_breaches() -> None:
    """The reason is said."""
    watch = msgspec.structs.replace(BEGAN, breached=("edge-survival:x",))
    away = Unreadable("connection refused", Outcome.CANNOT_SEE)
    answer = judge(_baseline(), away, watch, _world(), "production", NOW)
    assert (answer.verdict, answer.breached) == (Verdict.CANNOT_SEE, ("edge-survival:x",))
    assert answer.sentence == "cannot see: connection refused"


WORKLOAD = (WorkloadBaseline("Deployment production/orders", 3, 3),)
DOWN = (pod("p1", ready=False), pod("p2"), pod("p3"))


def test_missing_replicas_regress_also_without_prometheus() -> None:
    """Kubernetes signals go on judging."""
    world = _world(deployment(replicas=3, available=2), *DOWN)
    baseline = _baseline(workloads=WORKLOAD)
    first = _judge(baseline, Unreadable("away"), world)
    assert first.verdict is Verdict.CANNOT_SEE
    watch = msgspec.structs.replace(BEGAN, breached=first.breached)
    second = judge(baseline, Unreadable("away"), watch, world, "production", NOW)
    assert second.verdict is Verdict.REGRESSED
    assert "2 of 3 replicas available, limit 3, as before the flip" in second.sentence


@pytest.mark.parametrize(
    ("item", "pods"),
    [
        (deployment(replicas=3, available=2, updated=1), DOWN),
        (deployment(replicas=3, available=2, generation=2, observed=1), DOWN),
        (deployment(replicas=3, available=2), (pod("p1", ready=False, created=NOW - timedelta(seconds=90)), *DOWN[1:])),
        (deployment(replicas=3, available=2), (pod("p1", ready=False, since=NOW - timedelta(seconds=50)), *DOWN[1:])),
        (deployment(replicas=3, available=2), (pod("p1", ready=False, node="drained"), *DOWN[1:])),
        (deployment(replicas=2, available=2), DOWN[1:]),
        (deployment(replicas=5, available=3), DOWN),
    ],
    ids=["rollout", "new generation", "young pod", "unready for a moment", "drained node", "scaled down", "scaled up"],
)
def test_replicas_that_are_missing_for_another_reason_do_not_count(item: Deployment, pods: tuple[Pod, ...]) -> None:
    """The flip is not the only thing that happens in a cluster."""
    node = msgspec.convert({"metadata": {"name": "drained"}, "spec": {"unschedulable": True}}, Node)
    answer = _twice(_baseline(_before(), workloads=WORKLOAD), _observation(_now()), _world(item, node, *pods))
    assert answer.verdict is Verdict.HEALTHY


def test_all_replicas_gone_do_not_wait() -> None:
    """Of a workload that had several."""
    pods = tuple(pod(f"p{n}", ready=False) for n in range(3))
    world = _world(deployment(replicas=3, available=0), *pods)
    assert _judge(_baseline(workloads=WORKLOAD), _observation(_now()), world).verdict is Verdict.REGRESSED


@pytest.mark.parametrize(("restarts", "regressed"), [(2, False), (3, True)])
def test_a_loop_of_restarts_regresses(restarts: int, regressed: bool) -> None:
    """One restart happens."""
    world = _world(deployment(replicas=3), pod("p1", restarts=restarts), pod("p2"), pod("p3"))
    answer = _twice(_baseline(_before(), workloads=WORKLOAD), _observation(_now()), world)
    assert (answer.verdict is Verdict.REGRESSED) is regressed


def test_an_aggregated_api_that_goes_away_regresses() -> None:
    """It fails for the whole cluster."""
    condition = {"type": "Available", "status": "False", "reason": "FailedDiscoveryCheck"}
    api = msgspec.convert({"metadata": {"name": "v1.metrics"}, "status": {"conditions": [condition]}}, APIService)
    answer = _twice(_baseline(_before(), available_apis=("v1.metrics",)), _observation(_now()), _world(api))
    assert "apiservices of APIService v1.metrics: not available: FailedDiscoveryCheck" in answer.sentence


def test_the_api_server_away_cannot_see() -> None:
    """But nodes that may not be read are no blindness."""
    baseline = _baseline(_before(), workloads=WORKLOAD)
    away = _judge(baseline, _observation(_now()), _world(unreadable=Deployment))
    assert (away.verdict, "timeout" in away.sentence) == (Verdict.CANNOT_SEE, True)
    assert _judge(baseline, _observation(_now()), _world(unreadable=Node)).verdict is Verdict.HEALTHY


def test_what_else_changed_stands_beside_a_regression() -> None:
    """A deployment at the same time is the likelier cause."""
    changed = msgspec.convert(
        {
            "metadata": {
                "name": "orders",
                "namespace": "production",
                "generation": 42,
                "managedFields": [{"manager": "kubectl", "time": NOW - timedelta(minutes=5)}],
            }
        },
        Deployment,
    )
    answer = _twice(_baseline(_before()), _observation(_now(arrived=0)), _world(changed))
    notes = [signal.note for signal in answer.signals if signal.verdict is Verdict.REGRESSED]
    assert notes == ["Deployment production/orders changed to generation 42 at 11:55"]


def test_a_world_without_the_objects_asks_for_them() -> None:
    """All of them at once."""
    with pytest.raises(Needs) as needs:
        judge(_baseline(), _observation(), BEGAN, World(), "production", NOW)
    assert set(needs.value.reads) == set(READS)


def test_every_signal_is_explained() -> None:
    """With measured, limit, window and query where it is asked of Prometheus."""
    queries = {"tried": "q1", "arrived": "q2"}
    answer = _judge(_baseline(_before()), _observation(_now(), destination_requests=120, queries=queries))
    assert {signal.name for signal in answer.signals} <= set(SIGNALS)
    for signal in answer.signals:
        assert (bool(signal.measured), bool(signal.limit), signal.window, bool(signal.query)) == (
            True,
            True,
            "120s",
            True,
        )


def test_a_regression_stands_without_what_else_changed_where_the_objects_cannot_be_read() -> None:
    """What is seen to be wrong is wrong."""
    answer = _twice(_baseline(_before()), _observation(_now(arrived=0)), _world(unreadable=Deployment))
    assert (answer.verdict, [s.note for s in answer.signals if s.note]) == (Verdict.REGRESSED, [])
