"""Slow edges over the whole watch, callers that lost the sidecar, and what comes back from zero replicas."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from rollout.judge.callers import without_sidecar
from rollout.judge.edges import errors
from rollout.judge.scaling import Excused
from rollout.judge.slow import lost, unproven
from rollout.model.judgement import Baseline, EdgeBaseline, EdgeSample, Observation, Scaling, WorkloadBaseline
from rollout.model.kubernetes import Pod
from rollout.model.traffic import Family, Party, Sight
from rollout.world.reads import Objects
from rollout.world.watch import PASSTHROUGH
from rollout.world.world import Reading, World
from tests.world.mesh_fakes import NOW, pod

WEB, ORDERS = Party("production", "orders"), Party("production", "stock")
HOST = "stock.production.svc.cluster.local"
SLOW = EdgeBaseline(WEB, ORDERS, HOST, Family.HTTP, tried=1 / 240, arrived=1 / 240, longest_pause=240.0)
BASELINE = Baseline(
    at=NOW - timedelta(hours=1), window=3600.0, sight=Sight(("p",), ("p",)), edges=(SLOW,),
    workloads=(WorkloadBaseline("Deployment production/stock", 3, 3),),
)  # fmt: skip


def _seen(**numbers: float) -> EdgeSample:
    return EdgeSample(WEB, ORDERS, HOST, Family.HTTP, **numbers)


def _window(*edges: EdgeSample, seconds: float = 900.0, missing: bool = False, **more: object) -> Observation:
    sight = Sight(("p",), () if missing else ("p",))
    observation = Observation(at=NOW, window=seconds, sight=sight, edges=edges)
    return msgspec.structs.replace(observation, **more)


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ({"tried": 4, "failed": 4}, 1),
        ({"tried": 3, "failed": 3}, 1),
        ({"tried": 2, "failed": 2}, 0),
        ({"tried": 4, "failed": 3}, 0),
        ({"tried": 4, "failed": 4, "arrived": 4, "refused": 4}, 0),
        ({"tried": 4}, 0),
        ({}, 0),
    ],
)
def test_a_slow_edge_is_lost_when_every_attempt_failed(numbers: dict[str, float], found: int) -> None:
    """Attempts that nobody saw failing are not enough: a new series hides its first event."""
    assert found == len(lost(BASELINE, _window(_seen(**numbers))))


def test_what_failed_before_or_is_not_seen_whole_is_not_lost() -> None:
    """A third failed before the flip; a proxy is not scraped; the window holds too few samples."""
    bad = _seen(tried=4, failed=4)
    faulty = msgspec.structs.replace(BASELINE, edges=(msgspec.structs.replace(SLOW, errors=0.35),))
    assert () == lost(faulty, _window(bad))
    assert () == lost(BASELINE, _window(bad, missing=True))
    assert () == lost(BASELINE, _window(bad, steady=False))


def test_connections_and_pod_addresses() -> None:
    """The first broken connection makes a new series, and may be missing; pod addresses are new edges."""
    tcp = msgspec.structs.replace(SLOW, family=Family.TCP)
    baseline = msgspec.structs.replace(BASELINE, edges=(tcp,))
    broken = EdgeSample(WEB, ORDERS, HOST, Family.TCP, tried=5, failed=4)
    assert [f"{WEB} -> {ORDERS} (tcp)"] == [s.where for s in lost(baseline, _window(broken))]
    alive = msgspec.structs.replace(broken, received_bytes=10.0)
    assert () == lost(baseline, _window(alive))
    by_address = EdgeSample(WEB, ORDERS, PASSTHROUGH, Family.HTTP, tried=3, failed=3)
    assert 1 == len(lost(BASELINE, _window(by_address)))


def test_edges_that_stayed_unproven() -> None:
    """Silent in the last part, though it never paused for so long; a longer pause is proven by the whole watch."""
    name = (f"{WEB} -> {ORDERS} (http)",)
    early, nothing = _window(_seen(tried=3, arrived=3), seconds=1800.0), _window()
    assert name == unproven(BASELINE, early, nothing)
    assert () == unproven(BASELINE, early, _window(_seen(tried=3)))
    rare = msgspec.structs.replace(BASELINE, edges=(msgspec.structs.replace(SLOW, longest_pause=1200.0),))
    assert () == unproven(rare, early, nothing)
    assert name == unproven(rare, nothing, nothing)


def _with(*pods: Pod) -> World:
    return World({Objects(Pod): Reading(NOW, pods)})


def _caller(name: str, *, sidecar: bool, ready: bool = True, age: float = 600) -> Pod:
    made = pod(name, ready=ready, since=NOW - timedelta(seconds=age))
    metadata = msgspec.structs.replace(made.metadata, creation_timestamp=NOW - timedelta(seconds=age))
    spec = made.spec
    if not sidecar:
        others = tuple(c for c in spec.containers if c.name != "istio-proxy")
        inits = tuple(c for c in spec.init_containers if c.name != "istio-proxy")
        spec = msgspec.structs.replace(spec, containers=others, init_containers=inits)
        metadata = msgspec.structs.replace(metadata, annotations={})
    return msgspec.structs.replace(made, metadata=metadata, spec=spec)


def test_a_silent_caller_that_lost_its_sidecar() -> None:
    """All of its pods, for all of the window, and the edge is silent: else there is another cause."""
    bare = _caller("orders-7d9-a", sidecar=False)
    [signal] = without_sidecar(BASELINE, _window(seconds=120.0), _with(bare))
    assert signal.breached
    assert f"{WEB} -> {ORDERS} (http)" == signal.where
    quiet = _window(seconds=120.0)
    for world in (
        _with(),
        _with(bare, _caller("orders-7d9-b", sidecar=True)),
        _with(_caller("orders-7d9-a", sidecar=False, age=60)),
        _with(_caller("orders-7d9-a", sidecar=False, ready=False)),
    ):
        assert [] == list(without_sidecar(BASELINE, quiet, world))
    nameless = EdgeSample(Party("unknown", "unknown"), ORDERS, HOST, Family.HTTP, arrived=3)
    assert [] == list(without_sidecar(BASELINE, _window(_seen(arrived=1)), _with(bare)))
    assert [] == list(without_sidecar(BASELINE, _window(nameless), _with(bare)))


@pytest.mark.parametrize(
    ("by", "written", "oldest", "excused"),
    [
        ("kubectl", 100, 100, True),
        ("kubectl", 100, 7200, False),
        ("kubectl", 100, None, False),
        ("kubectl", 600, 600, False),
        ("kube-controller-manager", 100, 100, False),
    ],
)
def test_back_from_zero_replicas(by: str, written: float, oldest: float | None, excused: bool) -> None:
    """Somebody wrote it within the window, and no pod has lived through it."""
    born = NOW - timedelta(seconds=oldest) if oldest is not None else None
    at = NOW - timedelta(seconds=written)
    scaling = Scaling("Deployment production/stock", 3, by, at, oldest=born)
    assert excused == (ORDERS in Excused(BASELINE, _window(seconds=120.0, scalings=(scaling,))))


@pytest.mark.parametrize(("arrived", "refused", "said"), [(100, 40, True), (100, 0, False), (60, 0, False)])
def test_errors_that_both_ends_count_are_told_apart(arrived: float, refused: float, said: bool) -> None:
    """A refused connection would not be counted at the destination."""
    edge = _seen(tried=100, failed=40, arrived=arrived, refused=refused)
    [signal] = errors(BASELINE, _window(edge, seconds=120.0))
    assert signal.breached
    assert said == ("the callers reach it" in signal.measured)
