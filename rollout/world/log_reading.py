"""Reads the access logs of a namespace's proxies: bounded in pods, bytes and time, and says what that leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from rollout.errors import ClusterError, Forbidden, NotFound
from rollout.mesh.injection import PROXY, captured, live
from rollout.mesh.workloads import workload
from rollout.model.callers import AccessLog
from rollout.model.kubernetes import Pod, Resource
from rollout.model.traffic import Edge
from rollout.ports import LogPart, Logs, Right
from rollout.world.access_log import logged, parse
from rollout.world.addresses import Addresses
from rollout.world.callers import Seen, callers, nameless
from rollout.world.sight import proxies

POD_LOGS = Resource("", ("v1",), "pods/log", "Pod")
#: A line of Istio's text format is rarely shorter, so that the newest lines fit into the bytes.
_LINE = 400
#: A smaller part of a log tells nothing.
_LEAST = 16 * 1024


class Bounds(msgspec.Struct, frozen=True):
    """How much is read: of the last `since`, `pods` pods and `size` bytes at most."""

    since: timedelta
    pods: int
    size: int


def right(namespace: str) -> Right:
    """What reading needs."""
    return Right("get", POD_LOGS, namespace)


def chosen(pods: Iterable[Pod], namespace: str, edges: Iterable[Edge]) -> tuple[Pod, ...]:
    """The pods whose proxies may know, in the order in which they are read.

    Workloads that a nameless caller reached come first; within them a pod of each in turn, so that a bound leaves out
    pods rather than workloads.
    """
    called = {edge.destination.workload for edge in edges if nameless(edge)}
    mine = [pod for pod in proxies(pods) if pod.namespace == namespace and live(pod) and captured(pod)]
    turns: dict[str, int] = {}
    ranked = []
    for pod in sorted(mine, key=lambda pod: pod.name):
        name = workload(pod).name
        turns[name] = turns.get(name, -1) + 1
        ranked.append((name not in called, turns[name], name, pod))
    return tuple(entry[3] for entry in sorted(ranked, key=lambda entry: entry[:3]))


class _Reading:
    """What has been read so far."""

    def __init__(self, bounds: Bounds) -> None:
        self.left = bounds.size
        self.parts: list[tuple[Pod, LogPart]] = []
        self.unread: list[str] = []


def read_access_logs(
    namespace: str, pods: Sequence[Pod], addresses: Addresses, source: Logs, bounds: Bounds, now: datetime
) -> AccessLog:
    """Callers without mesh TLS, from the logs of these pods (`chosen`); what cannot be read is a sentence."""
    reading = _Reading(bounds)
    taken = pods[: bounds.pods]
    for number, pod in enumerate(taken):
        if not _read(pod, len(taken) - number, source, bounds, reading):
            break
    if len(pods) > bounds.pods:
        more = len(pods) - bounds.pods
        reading.unread.append(f"{more} of {len(pods)} pods with a sidecar; all of them: --max-pods {len(pods)}")
    seen: list[Seen] = []
    foreign = 0
    for pod, part in reading.parts:
        for line in filter(logged, part.lines):
            record = parse(line)
            if record is None:
                foreign += 1
            else:
                seen.append((pod, record))
    return AccessLog(
        namespace=namespace,
        since=now - bounds.since,
        asked=now,
        pods=len(reading.parts),
        lines=sum(len(part.lines) for _, part in reading.parts),
        size=sum(part.size for _, part in reading.parts),
        records=len(seen),
        foreign=foreign,
        callers=callers(seen, addresses),
        unread=tuple(reading.unread),
    )


def _read(pod: Pod, left: int, source: Logs, bounds: Bounds, reading: _Reading) -> bool:
    """One pod's log with its share of the bytes; False when no other needs to be tried."""
    share = max(reading.left // left, min(_LEAST, reading.left))
    if share < 1:
        reading.unread.append(f"{left} pods, since the bytes were used up: a larger --max-bytes")
        return False
    lines = max(1, share // _LINE)
    try:
        part = source.logs(pod.namespace, pod.name, PROXY, since=bounds.since.total_seconds(), lines=lines, limit=share)
    except Forbidden:
        reading.unread.append(f"any log: not permitted: {right(pod.namespace)}; rollout rbac --for evidence prints it")
        return False
    except NotFound:
        reading.unread.append(f"{pod.name}: it is gone")
        return True
    except ClusterError as error:
        reading.unread.append(f"{pod.name}: {error.problem}")
        return True
    reading.left -= part.size
    reading.parts.append((pod, part))
    if part.cut:
        reading.unread.append(f"{pod.name}: its newest lines, after {share:,} bytes: a larger --max-bytes")
    elif part.older:
        first = next((record.at for line in part.lines if logged(line) and (record := parse(line))), None)
        until = f" before {first:%Y-%m-%d %H:%M} UTC" if first else ""
        reading.unread.append(f"{pod.name}: lines{until}, {lines:,} newer ones were read: a larger --max-bytes")
    return True
