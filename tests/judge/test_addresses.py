"""Callers that went over to pod addresses, which TCP does not name."""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from rollout.judge.addresses import beside, moved
from rollout.judge.slow import lost
from rollout.model.judgement import Baseline, EdgeBaseline, EdgeSample, Observation, Scaling, Verdict, WorkloadBaseline
from rollout.model.traffic import Family, Party, Sight
from rollout.world.baseline import fold_baseline
from tests.world.mesh_fakes import NOW

SHOP, DB = Party("web", "shop"), Party("production", "db")
HOST = "db.production.svc.cluster.local"
BUSY = EdgeBaseline(SHOP, DB, HOST, Family.TCP, tried=2.0, arrived=2.0, received_bytes=200.0)
POOL = EdgeBaseline(SHOP, DB, HOST, Family.TCP, tried=0.0, arrived=0.01, received_bytes=200.0)
SLOW = EdgeBaseline(SHOP, DB, HOST, Family.TCP, tried=1 / 240, arrived=1 / 240, longest_pause=240.0)
HTTP = EdgeBaseline(SHOP, DB, HOST, Family.HTTP, tried=2.0, arrived=2.0)
NONE: dict[str, float] = {}


def _baseline(*edges: EdgeBaseline, resets: dict[str, float] = NONE) -> Baseline:
    workloads = (WorkloadBaseline("StatefulSet production/db", 3, 3),)
    sight = Sight(("p",), ("p",))
    return Baseline(
        at=NOW - timedelta(hours=1), window=3600.0, sight=sight, edges=edges, resets=resets, workloads=workloads
    )


def _seen(resets: float, *edges: EdgeSample, seconds: float = 120.0, **more: Any) -> Observation:
    return Observation(
        at=NOW, window=seconds, sight=Sight(("p",), ("p",)), edges=edges, resets={str(SHOP): resets}, **more
    )


def _edge(known: EdgeBaseline, **numbers: float) -> EdgeSample:
    return EdgeSample(known.source, known.destination, known.service, known.family, **numbers)


@pytest.mark.parametrize(
    ("known", "seconds", "resets", "found"),
    [
        (BUSY, 120.0, 10, 1),
        (BUSY, 120.0, 9, 0),
        (HTTP, 120.0, 10, 1),  # a container port that no Service has: the sidecar passes it on as TCP
        (POOL, 120.0, 3, 1),
        (POOL, 120.0, 2, 0),
        (SLOW, 120.0, 20, 0),
        (SLOW, 900.0, 3, 1),
        (SLOW, 300.0, 3, 0),
    ],
)
def test_a_silent_edge_and_resets_of_its_caller(known: EdgeBaseline, seconds: float, resets: float, found: int) -> None:
    """A pool needs few, a slow edge a window longer than its pauses."""
    signals = list(moved(_baseline(known), _seen(resets, seconds=seconds)))
    assert found == len(signals)
    assert [True] * found == [s.breached for s in signals]
    assert [Verdict.HEALTHY] * found == [s.verdict for s in signals]
    assert [f"{SHOP} -> {DB} ({known.family})"] * found == [s.where for s in signals]


@pytest.mark.parametrize("alive", [{"tried": 1}, {"arrived": 1}, {"received_bytes": 1}])
def test_an_edge_that_lives_is_not_lost(alive: dict[str, float]) -> None:
    """One end saw something: whoever is reset there, this edge goes on. It is told at the end."""
    baseline, observation = _baseline(BUSY), _seen(50, _edge(BUSY, **alive))
    assert [] == list(moved(baseline, observation))
    (said,) = beside(baseline, observation)
    assert said.startswith("50 connections of web/shop to bare addresses were reset")


def test_resets_that_were_usual_before() -> None:
    """Two a minute before the flip, and no more than chance adds to them."""
    baseline = _baseline(BUSY, resets={str(SHOP): 0.1})
    assert [] == list(moved(baseline, _seen(35)))
    assert () == beside(baseline, _seen(35))
    (signal,) = moved(baseline, _seen(36))
    assert "fewer than 36 resets while the edge is silent" == signal.limit


def test_a_caller_that_stopped_has_none() -> None:
    """Silence alone is reported, and no reason."""
    assert [] == list(moved(_baseline(BUSY), _seen(0)))


@pytest.mark.parametrize("gone", ["db", "shop"])
def test_what_somebody_scaled_to_nothing_is_excused(gone: str) -> None:
    """Neither the destination nor the caller."""
    caller = msgspec.structs.replace(BUSY, source=Party("production", "shop"))
    baseline = _baseline(caller)
    workloads = (*baseline.workloads, WorkloadBaseline("Deployment production/shop", 2, 2))
    baseline = msgspec.structs.replace(baseline, workloads=workloads)
    ref = {"db": "StatefulSet production/db", "shop": "Deployment production/shop"}[gone]
    observation = msgspec.structs.replace(
        _seen(0), resets={"production/shop": 50.0}, scalings=(Scaling(ref, 0, "kubectl", NOW),)
    )
    assert [] == list(moved(baseline, observation))
    assert 1 == len(list(moved(baseline, msgspec.structs.replace(observation, scalings=()))))


def test_a_long_window_needs_no_second_one() -> None:
    """It is a regression at once, and only with full sight."""
    (signal,) = lost(_baseline(SLOW), _seen(4, seconds=900.0, queries={"reset": "text"}))
    assert (Verdict.REGRESSED, "text", "900s") == (signal.verdict, signal.query, signal.window)
    assert () == lost(_baseline(SLOW), _seen(4, seconds=900.0, steady=False))


def test_the_baseline_keeps_the_highest_rate_of_its_own_callers() -> None:
    """Of the whole mesh's resets, those of callers that have an edge here."""
    edge = _edge(BUSY, tried=240, arrived=240)
    quiet = msgspec.structs.replace(_seen(0, edge), resets=MappingProxyType({}))
    windows = [quiet, _seen(12, edge), _seen(6, edge)]
    windows = [msgspec.structs.replace(w, resets={**w.resets, "other/caller": 99.0}) for w in windows]
    assert {"web/shop": 0.1} == fold_baseline(windows, NOW, 360.0, windows[0].sight).resets
