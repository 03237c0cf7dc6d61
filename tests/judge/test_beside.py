"""Jobs, probes and webhooks, compared with what was so before the flip."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from rollout.judge import SIGNALS
from rollout.judge.signals import JOBS, OF_CLUSTER, PROBES, WEBHOOKS
from rollout.judge.verdict import judge
from rollout.model.judgement import Baseline, EdgeSample, Judgement, Observation, Verdict, WorkloadBaseline
from rollout.model.kubernetes import APIService, DaemonSet, Deployment, Job, Node, Object, Pod, StatefulSet
from rollout.model.kubernetes.happenings import Happening
from rollout.model.traffic import Family, Party, Sight
from rollout.record.run import Watch
from rollout.world.reads import Beside, BesideAnswer, Objects
from rollout.world.world import Reading, World
from tests.world.mesh_fakes import NOW, deployment, pod

FLIP = NOW - timedelta(minutes=10)
EDGE = EdgeSample(Party("web", "shop"), Party("production", "orders"), "orders", Family.HTTP, tried=60, arrived=60)
SEEN = Observation(at=NOW, window=120.0, sight=Sight(("p",), ("p",), newest=NOW), edges=(EDGE,))


def _job(name: str, ended: timedelta | None, ok: bool = True, **changes: Any) -> Job:
    """A Job of CronJob report that ended then, relative to the flip; keywords: failed, owner, reason."""
    condition = {
        "type": "Complete" if ok else "Failed", "status": "True", "reason": changes.get("reason", ""),
        "lastTransitionTime": None if ended is None else FLIP + ended,
    }  # fmt: skip
    raw = {
        "metadata": {
            "name": name, "namespace": "production",
            "creationTimestamp": FLIP + (ended or timedelta(minutes=8)) - timedelta(minutes=1),
            "ownerReferences": [{"kind": "CronJob", "name": "report", "controller": True}] * changes.get("owner", 1),
        },
        "status": {"failed": changes.get("failed", 0), "conditions": [] if ended is None else [condition]},
    }  # fmt: skip
    return msgspec.convert(raw, Job)


def _event(name: str, first: timedelta, last: timedelta, count: int = 3) -> Happening:
    raw = {
        "metadata": {"name": f"{name}.1", "namespace": "production"},
        "involvedObject": {"kind": "Pod", "namespace": "production", "name": name},
        "reason": "Unhealthy", "message": "Readiness probe failed: connection reset by peer", "count": count,
        "firstTimestamp": FLIP + first, "lastTimestamp": NOW - last,
    }  # fmt: skip
    return msgspec.convert(raw, Happening)


def _judge(answer: BesideAnswer, *objects: Object, twice: bool = True, **baseline: Any) -> Judgement:
    kinds = (Deployment, StatefulSet, DaemonSet, Pod, Node, APIService)
    found = objects or (deployment(), pod())
    readings: dict[Any, Reading] = {
        Objects(kind): Reading(NOW, tuple(o for o in found if isinstance(o, kind))) for kind in kinds
    }
    readings[Beside("production")] = Reading(NOW, answer)
    before = Baseline(
        at=FLIP, window=3600.0, sight=SEEN.sight, workloads=(WorkloadBaseline("Deployment production/orders", 1, 1),),
        **baseline,
    )  # fmt: skip
    watch = Watch(began=FLIP)
    judgement = judge(before, SEEN, watch, World(readings), "production", NOW)
    if not twice:
        return judgement
    assert judgement.verdict is not Verdict.REGRESSED
    watch = msgspec.structs.replace(watch, breached=judgement.breached, sample=NOW)
    return judge(before, SEEN, watch, World(readings), "production", NOW + timedelta(seconds=30))


def _regressed(judgement: Judgement) -> list[str]:
    return [signal.key for signal in judgement.signals if signal.verdict is Verdict.REGRESSED]


BEFORE = (_job("report-1", timedelta(hours=-2)), _job("report-2", timedelta(hours=-1)))


def test_a_job_that_fails_after_the_flip_where_all_before_succeeded_is_a_regression() -> None:
    """On two ticks, with both Jobs named."""
    late = _job("report-3", timedelta(minutes=4), ok=False, reason="BackoffLimitExceeded")
    judgement = _judge(BesideAnswer(jobs=(*BEFORE, late)))
    assert ["jobs:CronJob production/report"] == _regressed(judgement)
    assert "report-3 failed at 11:54 (BackoffLimitExceeded), limit succeeds, as report-2 did" in judgement.sentence


@pytest.mark.parametrize(
    ("jobs", "why"),
    [
        ((*BEFORE, _job("report-3", timedelta(minutes=4))), "it succeeded"),
        ((BEFORE[0], _job("report-2", timedelta(hours=-1), ok=False), _job("report-3", timedelta(minutes=4), ok=False)),
         "it failed before the flip, too"),
        ((_job("report-3", timedelta(minutes=4), ok=False),), "nothing to compare it with"),
        ((*BEFORE, _job("report-3", timedelta(seconds=50), ok=False, failed=1)), "the flip itself cut it once"),
        ((*BEFORE, _job("report-3", None)), "it still runs"),
        ((*BEFORE, _job("report-3", None, failed=2)), "it tries again"),
        ((*BEFORE, _job("report-3", timedelta(minutes=2), ok=False), _job("report-4", timedelta(minutes=6))),
         "the next one succeeded"),
        ((*(_job(j.name, timedelta(hours=-1), owner=0) for j in BEFORE),
          _job("by-hand", timedelta(minutes=4), ok=False, owner=0)), "nobody's Jobs are no series"),
    ],
)  # fmt: skip
def test_jobs_that_are_no_regression(jobs: tuple[Job, ...], why: str) -> None:
    """Only a change for the worse is one."""
    assert [] == _regressed(_judge(BesideAnswer(jobs=jobs))), why


def test_a_job_under_way_at_the_flip_that_fails_again_is_a_regression() -> None:
    """The second try was not cut by the drain."""
    late = _job("report-3", timedelta(seconds=50), ok=False, failed=2)
    assert ["jobs:CronJob production/report"] == _regressed(_judge(BesideAnswer(jobs=(*BEFORE, late))))


def test_three_failed_pods_are_a_failed_job_before_it_gives_up() -> None:
    """With six tries and a growing back-off that would come long after the watch."""
    judgement = _judge(BesideAnswer(jobs=(*BEFORE, _job("report-3", None, failed=3))))
    assert ["jobs:CronJob production/report"] == _regressed(judgement)
    assert "report-3: 3 pods failed, none succeeded" in judgement.sentence


ONE = _event(pod().name, timedelta(minutes=1), timedelta(minutes=1))


def test_a_probe_that_began_to_fail_after_the_flip_is_a_regression() -> None:
    """Though the pod is still Ready."""
    judgement = _judge(BesideAnswer(events=(ONE,)))
    assert ["probe-failures:Deployment production/orders"] == _regressed(judgement)
    assert "probes of 1 of 1 pods fail since the flip: Readiness probe failed" in judgement.sentence


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (_event(pod().name, timedelta(minutes=-5), timedelta(minutes=1), 9), "it failed before the flip, too"),
        (_event(pod().name, timedelta(minutes=1), timedelta(minutes=1), 2), "two failures are a hiccup"),
        (_event(pod().name, timedelta(minutes=1), timedelta(minutes=5)), "it is over"),
        (_event("orders-new", timedelta(minutes=9), timedelta(0)), "a pod of after the flip is starting"),
    ],
)
def test_probes_that_are_no_regression(event: Happening, why: str) -> None:
    """Noise, history, and other causes."""
    assert [] == _regressed(_judge(BesideAnswer(events=(event,)))), why


@pytest.mark.parametrize(("failing", "regressed"), [(1, False), (2, True)])
def test_half_of_the_pods_are_needed(failing: int, regressed: bool) -> None:
    """One of three has its own trouble."""
    pods = [pod(f"orders-{n}") for n in range(3)]
    events = tuple(_event(f"orders-{n}", timedelta(minutes=1), timedelta(minutes=1)) for n in range(failing))
    judgement = _judge(BesideAnswer(events=events), deployment(replicas=3), *pods)
    assert regressed is bool(_regressed(judgement))


def test_a_pod_on_a_drained_node_is_excused() -> None:
    """Whoever drains it ends it."""
    node = msgspec.convert({"metadata": {"name": "n1"}, "spec": {"unschedulable": True}}, Node)
    assert [] == _regressed(_judge(BesideAnswer(events=(ONE,)), deployment(), pod(), node))


@pytest.mark.parametrize(
    ("failed", "usual", "regressed"),
    [
        (3.0, {}, True),
        (2.0, {}, False),
        (5.0, {"v.example.com": 4 / 120}, False),
        (30.0, {"v.example.com": 4 / 120}, True),
    ],
)
def test_failed_webhook_calls_are_compared_with_what_was_usual(
    failed: float, usual: dict[str, float], regressed: bool
) -> None:
    """Three in the window, and more than four deviations above the baseline."""
    answer = BesideAnswer(webhooks={"v.example.com": failed}, window=120.0, query="q")
    judgement = _judge(answer, webhooks=usual)
    assert (["webhooks:webhook v.example.com"] if regressed else []) == _regressed(judgement)


def test_what_was_not_read_gives_no_signal() -> None:
    """Without the rights, or before the first tick."""
    judgement = _judge(BesideAnswer())
    assert [] == [signal for signal in judgement.signals if signal.name in (JOBS, PROBES, WEBHOOKS)]


def test_a_breach_that_is_over_is_forgotten_without_a_new_sample() -> None:
    """They are the cluster's signals: Prometheus may be away."""
    first = _judge(BesideAnswer(events=(ONE,)), twice=False)
    assert ("probe-failures:Deployment production/orders",) == first.breached
    assert () == _judge(BesideAnswer(), twice=False).breached
    assert {JOBS, PROBES, WEBHOOKS} <= set(OF_CLUSTER) <= set(SIGNALS)


def test_events_of_the_newer_kind_are_read_alike() -> None:
    """series and eventTime instead of count and two stamps."""
    raw = {"reason": "Unhealthy", "eventTime": FLIP, "series": {"count": 7, "lastObservedTime": NOW}}
    newer = msgspec.convert(raw, Happening)
    assert (7, FLIP, NOW) == (newer.times, newer.first, newer.last)
    assert isinstance(newer.last, datetime)


def test_a_condition_that_is_no_end_does_not_hide_the_end_of_a_job() -> None:
    """It was suspended for a while, and then failed."""
    before = _job("report-1", -timedelta(minutes=30))
    failed = _job("report-2", timedelta(minutes=5), ok=False, failed=3)
    resumed = msgspec.structs.replace(failed.status.conditions[0], type="Suspended")
    status = msgspec.structs.replace(failed.status, conditions=(resumed, *failed.status.conditions))
    answer = BesideAnswer(jobs=(before, msgspec.structs.replace(failed, status=status)))
    assert _regressed(_judge(answer)) == _regressed(_judge(BesideAnswer(jobs=(before, failed)))) != []
