"""What the watch sees of a namespace beside its workloads and its traffic: Jobs, failed probes, failed webhook calls.

All of it helps and none of it is needed: what may not be read, or is not scraped, is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rollout.errors import ClusterError, MetricsError
from rollout.model.kubernetes import Job, MutatingWebhookConfiguration, Object, Pod, ValidatingWebhookConfiguration
from rollout.model.kubernetes.happenings import Happening
from rollout.world import queries
from rollout.world.queries import Scope
from rollout.world.reads import Beside, BesideAnswer, Objects, Observed
from rollout.world.sources import Sources
from rollout.world.world import Unreadable

T = TypeVar("T", bound=Object)

#: With more namespaces than these, one list of the whole cluster costs less.
FEW = 5
UNHEALTHY = "Unhealthy"


def read_beside(reads: Sequence[Observed], sources: Sources) -> dict[Beside, BesideAnswer]:
    """An answer for the namespace of each read; they differ in nothing else."""
    names = tuple(sorted({read.namespace for read in reads}))
    window, match = reads[0].window, reads[0].match
    pods = sources.world.readings.get(Objects(Pod))
    if pods is not None and isinstance(pods.value, Unreadable):  # an API that is away is not asked again and again
        return {Beside(name): BesideAnswer(window=window) for name in names}
    jobs, events = _listed(Job, names, sources), _listed(Happening, names, sources)
    hooks = {name: webhooks(name, sources) for name in names}
    failed = failures([hook for found in hooks.values() for hook in found], match, window, sources)
    return {
        Beside(name): BesideAnswer(
            jobs=tuple(job for job in jobs if job.namespace == name),
            events=tuple(e for e in events if e.namespace == name and e.reason == UNHEALTHY),
            webhooks={hook: failed[hook] for hook in hooks[name] if hook in failed},
            window=window,
            query=queries.webhook_failures(Scope((name,), match), hooks[name], window) if hooks[name] else "",
        )
        for name in names
    }


def _listed(kind: type[T], names: Sequence[str], sources: Sources) -> tuple[T, ...]:
    """Listed anew each time: what the collection before saw is old."""
    found: list[T] = []
    for name in names if len(names) <= FEW else ("",):
        try:
            found += sources.cluster.list(kind, namespace=name)
        except ClusterError:
            return ()
    return tuple(found)


def webhooks(namespace: str, sources: Sources) -> tuple[str, ...]:
    """The admission webhooks that the namespace serves, by their name in the metrics."""
    configurations: tuple[ValidatingWebhookConfiguration | MutatingWebhookConfiguration, ...] = (
        *sources.readable(ValidatingWebhookConfiguration),
        *sources.readable(MutatingWebhookConfiguration),
    )
    return tuple(
        sorted(
            hook.name
            for configuration in configurations
            for hook in configuration.webhooks
            if hook.client_config.service is not None and hook.client_config.service.namespace == namespace
        )
    )


def failures(names: Iterable[str], match: str, window: float, sources: Sources) -> dict[str, float]:
    """Failed calls within `window` seconds, by webhook; empty where kube-apiserver is not scraped."""
    wanted = tuple(dict.fromkeys(names))
    if not wanted:
        return {}
    try:
        answer = sources.metrics.query(queries.webhook_failures(Scope((), match), wanted, window), sources.at)
    except MetricsError:
        return {}
    return {sample.labels.get("name", ""): sample.value for sample in answer.samples}
