"""CronJobs that may call in plaintext: evidence counts only when each of them has run where its call would be seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from rollout.mesh.injection import INJECT, NAMESPACE_INJECTION, REVISION, would_inject
from rollout.model.kubernetes import (
    ConfigMap,
    CronJob,
    Metadata,
    MutatingWebhookConfiguration,
    Namespace,
    Pod,
    Service,
)
from rollout.model.traffic import UNKNOWN, Edge, Family, Party
from rollout.world.holes import Span, outside
from rollout.world.schedule import first, parse
from rollout.world.suspects import Clues, suspects

#: A run has called, and was scraped, so long after it was due.
RUN = timedelta(minutes=10)
#: No schedule is looked for further ahead.
AHEAD = timedelta(days=400)


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A CronJob without a sidecar that may call the namespace; `because` is what makes one think so.

    `since` is its creation; `ran` the controller's own word on its last run.
    """

    ref: str
    schedule: str
    zone: str = ""
    since: datetime | None = None
    ran: datetime | None = None
    because: str = ""


def batches(
    namespace: str,
    jobs: Iterable[CronJob],
    services: Iterable[Service],
    maps: Sequence[ConfigMap],
    namespaces: Iterable[Namespace],
    webhooks: Sequence[MutatingWebhookConfiguration],
) -> tuple[Batch, ...]:
    """Those that name a Service of the namespace, or live there; a suspended one does not run."""
    homes = {item.name: item for item in namespaces}
    bare = [job for job in jobs if not job.spec.suspend and not _sidecar(job, homes.get(job.namespace), webhooks)]
    called = [service for service in services if service.namespace == namespace]
    found = []
    for job in bare:
        because = _because(job, called, maps)
        if not because and job.namespace == namespace:
            because = "it lives in the namespace"
        if because:
            found.append(
                Batch(
                    ref=str(job.ref),
                    schedule=job.spec.schedule,
                    zone=job.spec.time_zone or "",
                    since=job.metadata.creation_timestamp,
                    ran=job.status.last_schedule_time,
                    because=because,
                )
            )
    return tuple(found)


def _sidecar(job: CronJob, home: Namespace | None, webhooks: Sequence[MutatingWebhookConfiguration]) -> bool:
    template = job.spec.job_template.spec.template
    meta = Metadata(
        name=job.name,
        namespace=job.namespace,
        labels=template.metadata.labels,
        annotations=template.metadata.annotations,
    )
    if home is not None and webhooks:
        return would_inject(Pod(metadata=meta, spec=template.spec), home, webhooks)
    if (wanted := meta.labels.get(INJECT) or meta.annotations.get(INJECT)) is not None:
        return wanted == "true"
    labels = home.metadata.labels if home is not None else {}
    return labels.get(NAMESPACE_INJECTION) == "enabled" or REVISION in labels


def _because(job: CronJob, services: Iterable[Service], maps: Sequence[ConfigMap]) -> str:
    for service in services:
        edge = Edge(
            Party(UNKNOWN, UNKNOWN), Party(service.namespace, UNKNOWN), f"{service.name}.{service.namespace}",
            Family.HTTP, "none",
        )  # fmt: skip
        clues = Clues(services=(service,), cron_jobs=(job,), config_maps=tuple(maps))
        if found := next((s for s in suspects(edge, clues) if s.who == str(job.ref)), None):
            return found.because
    return ""


def unproven(batch: Batch, holes: Sequence[Span], start: datetime, end: datetime) -> tuple[str, datetime | None]:
    """Why no run of it would have been seen, and when one will have been; ('', None) where one was."""
    usable = outside(holes, start, end - RUN, timedelta(0))
    if batch.ran is not None and any(low <= batch.ran <= high for low, high in usable):
        return "", None
    try:
        schedule = parse(batch.schedule, batch.zone)
    except ValueError:
        return f"its schedule {batch.schedule!r} is not understood, and its last run is not within the time", None
    born = batch.since or start
    moment = timedelta(microseconds=1)
    if any(first(schedule, max(low, born) - moment, high) for low, high in usable):
        return "", None
    due = first(schedule, end - RUN, end + AHEAD)
    return "it was not due within the time that counts", None if due is None else due + RUN


def without_run(
    found: Iterable[Batch], holes: Sequence[Span], start: datetime, end: datetime
) -> tuple[str, datetime | None]:
    """The sentence on all CronJobs without a run, and when the last of them will have had one."""
    said, times, never = [], [], False
    for batch in found:
        why, due = unproven(batch, holes, start, end)
        if why:
            zone = f" {batch.zone}" if batch.zone else ""
            said.append(f"{batch.ref} ({batch.schedule}{zone}, without a sidecar; {batch.because}): {why}")
            times += [due] if due else []
            never = never or due is None
    if not said:
        return "", None
    fix = f'wait for its run, or give its pod template the label {INJECT}: "true"'
    more = f"; and {len(said) - 2} more" if len(said) > 2 else ""
    return f"{'; '.join(said[:2])}{more}; {fix}", None if never else max(times)
