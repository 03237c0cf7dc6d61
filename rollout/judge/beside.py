"""Signals of what a namespace has beside its workloads: Jobs, failed probes, failed webhook calls.

Pure. Each compares with what was so before the flip; what could not be read or is not scraped gives no signal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from math import sqrt

from rollout.judge.baseline import SIGMAS
from rollout.judge.signals import JOBS, PROBES, WEBHOOKS
from rollout.mesh.injection import live
from rollout.model.judgement import Baseline, Signal, Verdict
from rollout.model.kubernetes import Job, Pod
from rollout.model.kubernetes.happenings import Happening
from rollout.world.reads import Beside, BesideAnswer
from rollout.world.world import World

#: So many failed pods are a failed Job, long before it gives up; so many failed probes take a pod out of service.
FAILURES = 3
#: An Event this old tells nothing of now.
GOES_ON = timedelta(minutes=3)


def beside(world: World, namespace: str) -> BesideAnswer:
    """What was read with the newest window; empty when nothing was."""
    reading = world.readings.get(Beside(namespace))
    return reading.value if reading is not None and isinstance(reading.value, BesideAnswer) else BesideAnswer()


def jobs(found: Iterable[Job], since: datetime) -> Iterator[Signal]:
    """One signal per CronJob with a Job that ended, or goes on failing, after `since`."""
    owned: dict[str, list[Job]] = {}
    for job in found:
        owner = next((o for o in job.metadata.owner_references if o.controller), None)
        if owner is not None:
            owned.setdefault(f"{owner.kind} {job.namespace}/{owner.name}", []).append(job)
    for where, runs in sorted(owned.items()):
        runs.sort(key=lambda job: (job.metadata.creation_timestamp or since, job.name))
        ended = [(job, end) for job in runs if (end := _end(job)) is not None]
        before = [(job, ok) for job, (at, ok, _) in ended if at <= since]
        after = [job for job in runs if (end := _end(job)) is None or end[0] > since]
        judged = [(job, told) for job in after if (told := _told(job, since)) is not None]
        if judged and before and all(ok for _, ok in before):
            _, (measured, ok) = judged[-1]
            yield Signal(
                name=JOBS,
                where=where,
                measured=measured,
                limit=f"succeeds, as {before[-1][0].name} did before the flip",
                verdict=Verdict.HEALTHY,
                breached=not ok,
            )


def _end(job: Job) -> tuple[datetime, bool, str] | None:
    """When it ended, whether well, and why."""
    for condition in job.status.conditions:
        if condition.status == "True" and condition.type in ("Complete", "Failed") and condition.last_transition_time:
            return condition.last_transition_time, condition.type == "Complete", condition.reason
    return None


def _told(job: Job, since: datetime) -> tuple[str, bool] | None:
    """What is to be said of a Job, and whether it is well; None while it runs.

    The flip cuts work in flight, and so would the way back: one that was under way must have failed twice.
    """
    if (end := _end(job)) is not None:
        at, ok, reason = end
        said = f"{job.name} {'succeeded' if ok else 'failed'} at {at:%H:%M}" + (f" ({reason})" if reason else "")
        begun = job.metadata.creation_timestamp
        if not ok and begun is not None and begun <= since and job.status.failed <= 1:
            return f"{said}; it was under way at the flip, and cut once", True
        return said, ok
    if job.status.failed >= FAILURES and not job.status.succeeded:
        return f"{job.name}: {job.status.failed} pods failed, none succeeded", False
    return None


def probes(
    ref: str, pods: Sequence[Pod], events: Iterable[Happening], cordoned: Iterable[str], since: datetime, now: datetime
) -> Iterator[Signal]:
    """A workload's probes that began to fail after `since`, of pods that were there then, and that still do."""
    leaving = frozenset(cordoned)
    old = {
        pod.name
        for pod in pods
        if live(pod)
        and pod.spec.node_name not in leaving
        and (pod.metadata.creation_timestamp is None or pod.metadata.creation_timestamp <= since)
    }
    failed: dict[str, int] = {}
    said = ""
    for event in events:
        name, first, last = event.involved_object.name, event.first, event.last
        if name not in old or first is None or last is None or first <= since or now - last > GOES_ON:
            continue
        failed[name] = failed.get(name, 0) + event.times
        said = said or event.message
    failing = sorted(name for name, times in failed.items() if times >= FAILURES)
    limit = max(1, (len(old) + 1) // 2)
    if failed:
        yield Signal(
            name=PROBES,
            where=ref,
            measured=f"probes of {len(failing)} of {len(old)} pods fail since the flip: {said[:120]}",
            limit=f"{FAILURES} failures of fewer than {limit} pods, none of them seen before the flip",
            verdict=Verdict.HEALTHY,
            breached=len(failing) >= limit,
        )


def webhooks(baseline: Baseline, answer: BesideAnswer) -> Iterator[Signal]:
    """One signal per webhook of the namespace that kube-apiserver's counters know."""
    for name, failed in sorted(answer.webhooks.items()):
        usual = baseline.webhooks.get(name, 0.0) * answer.window
        limit = max(float(FAILURES), usual + SIGMAS * sqrt(usual))
        yield Signal(
            name=WEBHOOKS,
            where=f"webhook {name}",
            measured=f"{failed:.0f} calls failed in {answer.window:.0f}s",
            limit=f"fewer than {limit:.0f}, with {usual:.1f} usual before the flip",
            verdict=Verdict.HEALTHY,
            breached=failed >= limit,
            window=f"{answer.window:.0f}s",
            query=answer.query,
        )
