"""Reads the access logs of a namespace's proxies: bounded in pods, bytes and time, and says what that leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

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
#: The mean of so many lines decides how many newest ones will fit into the bytes: those that do not are lost first.
_PROBE = 20
_MARGIN = 1.25
#: A caller that was last seen longer ago is looked for where it was seen, and not among the newest lines.
_RECENT = timedelta(minutes=15)
#: Its calls may have begun so long before that.
_BEFORE = timedelta(minutes=10)
#: The bytes of a pod that nameless callers reached, in those of any other.
_WEIGHT = 4
_SHOWN = 3
_NEVER = datetime.fromtimestamp(0, UTC)


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


def read_access_logs(
    namespace: str,
    pods: Sequence[Pod],
    edges: Iterable[Edge],
    addresses: Addresses,
    source: Logs,
    bounds: Bounds,
    now: datetime,
) -> AccessLog:
    """Callers without mesh TLS, from the logs of these pods (`chosen`); what cannot be read is a sentence.

    Of each log the newest lines are read, and those around the last sighting of each nameless caller of `edges`.
    """
    reading = _Reading(source, bounds, now)
    wanted = [edge for edge in edges if nameless(edge)]
    called = {edge.destination.workload for edge in wanted}
    taken = [(pod, _WEIGHT if workload(pod).name in called else 1) for pod in pods[: bounds.pods]]
    for number, (pod, weight) in enumerate(taken):
        if reading.forbidden or not reading.left:
            break
        share = reading.left * weight // sum(other for _, other in taken[number:])
        reading.read(pod, _starts(pod, wanted, now, bounds), share)
    seen: list[Seen] = []
    foreign = 0
    for pod, lines in reading.found:
        records = [parse(line) for line in lines if logged(line)]
        foreign += sum(record is None for record in records)
        seen += [(pod, record) for record in records if record is not None]
    return AccessLog(
        namespace=namespace,
        since=now - bounds.since,
        asked=now,
        pods=len(reading.found),
        lines=sum(len(lines) for _, lines in reading.found),
        size=bounds.size - reading.left,
        records=len(seen),
        foreign=foreign,
        callers=callers(seen, addresses),
        unread=tuple(reading.unread(pods)),
    )


def _starts(pod: Pod, edges: Iterable[Edge], now: datetime, bounds: Bounds) -> tuple[datetime | None, ...]:
    """Where to read a pod's log: None for its newest lines, and a time for each caller that was seen long ago."""
    lasts = {edge.last for edge in edges if edge.destination.workload == workload(pod).name and edge.last is not None}
    old = sorted(last for last in lasts if now - bounds.since <= last < now - _RECENT)
    newest = len(old) < len(lasts) or not lasts
    return (*((None,) if newest else ()), *(max(last - _BEFORE, now - bounds.since) for last in old))


class _Reading:
    """What was read, and what was not."""

    def __init__(self, source: Logs, bounds: Bounds, now: datetime) -> None:
        self.source, self.bounds, self.now = source, bounds, now
        self.left = bounds.size
        self.found: list[tuple[Pod, tuple[str, ...]]] = []
        self.forbidden = ""
        self.failed: list[str] = []
        self.partly: list[str] = []
        self.older: dict[str, datetime] = {}
        self.cut: list[str] = []
        self._line = 0.0

    def read(self, pod: Pod, starts: Sequence[datetime | None], share: int) -> None:
        """One pod's log, with its share of the bytes."""
        lines: dict[str, None] = {}
        for start in starts:
            try:
                part = self._part(pod, start, max(1, share // len(starts)))
            except Forbidden:
                self.forbidden = pod.namespace
                return
            except NotFound:
                self.failed.append(f"{pod.name}: the pod is gone")
                return
            except ClusterError as error:
                self.failed.append(f"{pod.name}: {error.problem}")
                return
            self.left -= min(part.size, self.left)
            lines |= dict.fromkeys(part.lines)  # two parts may overlap
            self._limits(pod, start, part)
        self.found.append((pod, tuple(lines)))

    def _part(self, pod: Pod, start: datetime | None, size: int) -> LogPart:
        if start is not None:
            return self._ask(pod, self.now - start, None, size)
        if not self._line:
            probe = self._ask(pod, self.bounds.since, _PROBE, size)
            if probe.cut or not probe.older:
                return probe
            self.left -= min(probe.size, self.left)
            size -= probe.size
        return self._ask(pod, self.bounds.since, max(1, int(size / self._line)), size)

    def _ask(self, pod: Pod, since: timedelta, lines: int | None, size: int) -> LogPart:
        part = self.source.logs(
            pod.namespace, pod.name, PROXY, since=since.total_seconds(), lines=lines, limit=max(1, size)
        )
        if part.lines:
            self._line = max(_MARGIN * part.size / len(part.lines), 1.0)
        return part

    def _limits(self, pod: Pod, start: datetime | None, part: LogPart) -> None:
        if start is not None:
            first, last = _ends(part.lines), _ends(reversed(part.lines))
            rotated = ", its log begins there" if first > start + _BEFORE else ""
            if part.cut or rotated:
                self.partly.append(f"{pod.name}: only {_stamp(first)} to {_stamp(last)}{rotated}")
        elif part.cut:
            self.cut.append(pod.name)
        elif part.older:
            self.older[pod.name] = _ends(part.lines)

    def unread(self, pods: Sequence[Pod]) -> Iterator[str]:
        """Sentences."""
        if self.forbidden:
            yield f"any more: not permitted: {right(self.forbidden)}; rollout rbac --for evidence prints the right"
        elif len(pods) > self.bounds.pods:
            more = len(pods) - self.bounds.pods
            yield f"{more} of {len(pods)} pods with a sidecar; all of them: --max-pods {len(pods)}"
        elif more := len(pods) - len(self.found) - len(self.failed):
            yield f"{more} pod{'s' if more > 1 else ''}, for want of bytes: a larger --max-bytes"
        yield from self.failed
        if self.older:
            yield f"{_names(self.older)}: lines before {_stamp(max(self.older.values()))}: a larger --max-bytes"
        if self.cut:
            yield f"{_names(self.cut)}: the newest lines, which did not fit: a larger --max-bytes"
        yield from self.partly


def _ends(lines: Iterable[str]) -> datetime:
    """The time of the first access log line; a log without any has none to lose."""
    found = (record.at for line in lines if logged(line) and (record := parse(line)) is not None)
    return next(found, _NEVER)


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _names(pods: Iterable[str]) -> str:
    names = sorted(pods)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
