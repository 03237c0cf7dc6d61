"""The journal: one ConfigMap a run, one data key an event, and the mirror (DESIGN.md, "The journal").

An append is a merge patch of one key with the resourceVersion as fence, so two writers cannot both succeed. Who loses
reads again: what is his own arrived although the answer was lost; requests are heard; any other fact means that the
run was taken over. Keys are `e00000007`, with a letter behind it where somebody's request took the number first.

Ticks are held back and merged: written when the verdict changes, before any other fact, and every five minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import msgspec

from rollout.adapters import configmap
from rollout.adapters.configmap import (
    PREFIX,
    SELECTOR,
    as_request,
    decode_fact,
    events_of,
    is_finished,
    lines_of,
    patch_body,
)
from rollout.adapters.known import Known
from rollout.adapters.mirror import Mirror
from rollout.adapters.news import News
from rollout.adapters.retry import Sleep, retrying
from rollout.errors import (
    ClusterError,
    Conflict,
    Exists,
    NotFound,
    NotOurs,
    Overloaded,
    RecordError,
    Rejected,
    Unreachable,
)
from rollout.model.kubernetes import ConfigMap
from rollout.ports import Cluster, Heard
from rollout.record.codec import encode
from rollout.record.events import NOTES, Ended, Event, Fact, Note, Requested, Started, Ticks
from rollout.record.run import merge_ticks

#: Ticks wait at most for this long, in the time of the events.
FLUSH = timedelta(minutes=5)
#: Finished runs that stay in a namespace.
KEEP = 10
#: Fences lost in a row before an append gives up.
TRIES = 5


class ConfigMapJournal:
    """`ports.Journal` over a cluster.

    Args:
        cluster: where the ConfigMaps live.
        folder: of the mirrors, such as `mirror.state_folder()`.
        sleep: waits between tries of a write; the fence makes it safe to repeat. None: each is sent once.
    """

    def __init__(self, cluster: Cluster, folder: Path, sleep: Sleep | None = None) -> None:
        """Know no run yet."""
        self._try: Callable[[Callable[[], ConfigMap]], ConfigMap] = retrying(sleep) if sleep else _once
        self.mirror = Mirror(folder)
        self._cluster = cluster
        self._runs: dict[str, Known] = {}
        self._news = News(cluster)

    def create(self, first: Fact) -> None:
        """Begin a run; again is as good as once when it is the same event."""
        if not isinstance(first, Started):
            raise RecordError("a journal begins with the run's spec", where=f"event {first.seq}")
        known = Known(first.spec.run, first.spec.record_namespace, followed=True)
        line = encode(first)
        known.unsent[known.free(first.seq)] = line
        self._create(known)
        self.mirror.append(known.run, line)
        self._runs[known.run] = known

    def append(self, run: str, namespace: str, event: Event) -> None:
        """Append a fact, or a note (to the mirror only). See `ports.Journal`."""
        if isinstance(event, NOTES):
            self.mirror.append(run, encode(event))
            return
        known = self._ready(run, namespace)
        line = encode(event)  # type: ignore[arg-type]  # the port takes any Event
        again = line in known.kept
        try:
            self._append(known, event, again=again)
        except ClusterError:
            known.kept.add(line)
            raise
        known.kept.discard(line)
        if isinstance(event, Ended):
            self._runs.pop(run, None)
            self._prune(namespace, run)

    def _append(self, known: Known, event: Event, *, again: bool) -> None:
        """`again`: it waits already, since an append of it failed; then only what waits is sent."""
        if again:
            self._send(known, "")
            return
        if isinstance(event, Ticks):
            self._tick(known, event)
            return
        if known.pending is not None:
            self._queue(known, known.pending)
            known.pending = None
        self._send(known, self._queue(known, event))

    def flush(self, run: str = "") -> None:
        """Write the ticks that wait, and whatever the cluster has not got yet: of this run, or ('') of every run.

        Raises:
            Heard, NotOurs, ClusterError: as `append`; the first of them, after every run was tried.
        """
        errors: list[Exception] = []
        for known in [known for name, known in self._runs.items() if run in ("", name)]:
            if known.pending is not None:
                self._queue(known, known.pending)
                known.pending = None
            try:
                self._send(known, "")
            except (Heard, NotOurs, ClusterError) as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def load(self, run: str, namespace: str) -> tuple[Fact | Note, ...]:
        """All facts, from the cluster.

        The next append continues behind them, unless this process writes the run already: then reading it again must
        not make it believe that somebody else's facts are its own.
        """
        found = self._get(run, namespace)
        facts = tuple(event for event, _ in events_of(found))
        if not facts:
            raise RecordError(
                f"ConfigMap {namespace}/{PREFIX}{run} holds no journal", next="delete it if nobody needs it"
            )
        before = self._runs.get(run)
        if before is None or not before.followed:
            self._runs[run] = Known(run, namespace, found.metadata.resource_version, lines_of(found))
        return facts

    def runs(self, namespace: str) -> tuple[tuple[str, str], ...]:
        """Run ids with their ConfigMap's namespace, oldest first."""
        found = self._cluster.list(ConfigMap, namespace=namespace, selector=SELECTOR)
        named = [c for c in found if c.name.startswith(PREFIX)]
        named.sort(key=lambda c: (str(c.metadata.creation_timestamp or ""), c.name))
        return tuple((c.name.removeprefix(PREFIX), c.namespace) for c in named)

    def moved(self, runs: Sequence[tuple[str, str]]) -> frozenset[str]:
        """Those that somebody else may have written to."""
        return self._news.moved(runs, self._runs)

    def request(self, run: str, namespace: str, request: Requested) -> None:
        """Append a request behind whatever is there, with the next number."""
        tried: set[str] = set()
        lost: Unreachable | None = None
        for _ in range(TRIES):
            found = self._get(run, namespace)
            if tried & set(found.data.values()):
                return
            if lost is not None:
                raise lost
            seq = max((event.seq for event, _ in events_of(found)), default=0) + 1
            line = encode(msgspec.structs.replace(request, seq=seq))
            tried.add(line)
            try:
                self._patch(run, namespace, found.metadata.resource_version, {f"e{seq:08d}": line})
            except Conflict:
                continue
            except Unreachable as error:
                lost = error
                continue
            return
        raise Conflict(
            f"the journal of {run} changed {TRIES} times while the request was written",
            where=f"ConfigMap {namespace}/{PREFIX}{run}",
            next="try again",
        )

    def folder(self, run: str) -> str:
        """The mirror's folder."""
        return str(self.mirror.folder(run))

    def _ready(self, run: str, namespace: str) -> Known:
        if run not in self._runs:
            self.load(run, namespace)
        known = self._runs[run]
        if not known.followed:
            self.mirror.follow(run, [(decode_fact(line), line) for line in known.written.values()])
            known.followed = True
        return known

    def _tick(self, known: Known, event: Ticks) -> None:
        """Hold a tick back, or write it; requests are heard with every tick, or a stop would wait five minutes."""
        self._listen(known)
        before = known.pending, known.last
        current = ""
        if known.last is not None and merge_ticks(known.last, event) is not None:
            merged = event if known.pending is None else merge_ticks(known.pending, event)
            known.pending = merged
            if merged is not None and merged.until - merged.since >= FLUSH:
                known.pending = None
                current = self._queue(known, merged)
        else:
            if known.pending is not None:
                self._queue(known, known.pending)
                before = None, known.last
            known.pending = None
            current = self._queue(known, event)
        known.last = event
        try:
            self._send(known, current)
        except Heard:
            known.pending, known.last = before
            raise

    def _queue(self, known: Known, event: Event) -> str:
        """Into the mirror, and among what the cluster is to get; return its key."""
        line = encode(event)  # type: ignore[arg-type]  # the port takes any Event
        key = known.free(event.seq)
        known.unsent[key] = line
        known.mark = self.mirror.append(known.run, line)
        return key

    def _send(self, known: Known, current: str) -> None:
        """Write everything unsent; `current` alone is dropped when somebody else's requests come first."""
        for _ in range(TRIES):
            if not known.unsent:
                return
            try:
                self._write(known, known.unsent)
            except Conflict:
                self._again(known, self._get(known.run, known.namespace), current)
            except NotFound:
                self._anew(known, current)
            except Unreachable as error:
                self._arrived(known, current, error)
            except Rejected:
                if len(known.unsent) == 1:
                    raise
                self._singly(known, current)
                return
        if known.unsent:
            raise Conflict(
                f"the journal of {known.run} changed {TRIES} times while it was written",
                where=f"ConfigMap {known.namespace}/{PREFIX}{known.run}",
            )

    def _singly(self, known: Known, current: str) -> None:
        """One of several is refused (too large, say): it must not keep the others out of the record for ever."""
        refused: Rejected | None = None
        for key, line in list(known.unsent.items()):
            try:
                self._write(known, {key: line})
            except Rejected as error:
                refused = error if key == current else refused
        if refused is not None:
            raise refused

    def _write(self, known: Known, data: dict[str, str]) -> None:
        found = self._patch(known.run, known.namespace, known.version, data)
        known.version = found.metadata.resource_version
        known.written |= data
        known.unsent = {key: line for key, line in known.unsent.items() if key not in data}

    def _patch(self, run: str, namespace: str, version: str, data: dict[str, str]) -> ConfigMap:
        body = patch_body(version, data)
        return self._try(lambda: self._cluster.patch(ConfigMap, namespace, PREFIX + run, body))

    def _arrived(self, known: Known, current: str, error: Unreachable) -> None:
        """The answer was lost: pass if the write is there after all, else raise the error."""
        if isinstance(error, Overloaded):
            raise error
        try:
            found = self._get(known.run, known.namespace)
        except ClusterError:
            raise error from None
        self._again(known, found, current)
        if known.unsent:
            raise error

    def _listen(self, known: Known) -> None:
        """Hear requests without writing; silence is no reason to stop, since nothing had to be written."""
        try:
            found = self._get(known.run, known.namespace)
        except ClusterError:
            return
        if found.metadata.resource_version != known.version:
            self._again(known, found, "")

    def _again(self, known: Known, found: ConfigMap, current: str) -> None:
        """Compare what is there with what we know, after somebody (perhaps we ourselves) wrote."""
        there = lines_of(found)
        requests: dict[str, Requested] = {}
        for key, line in there.items():
            if line in (known.written.get(key), known.unsent.get(key)):
                known.unsent.pop(key, None)
                known.written[key] = line
                continue
            event = as_request(line)
            if event is None or key in known.written:
                self._lost(known, current, key)
            else:
                requests[key] = event
        for key in known.written.keys() - there.keys():
            known.unsent[key] = known.written.pop(key)
        known.version = found.metadata.resource_version
        if requests:
            self._hear(known, requests, current, there)

    def _hear(self, known: Known, requests: dict[str, Requested], current: str, there: dict[str, str]) -> None:
        if current in known.unsent:
            self._drop(known, current)
        for key, event in requests.items():
            ours = known.unsent.pop(key, None)
            known.written[key] = there[key]
            if ours is not None:
                known.unsent[known.free(event.seq)] = ours
            self.mirror.append(known.run, there[key])
        raise Heard(list(requests.values()))

    def _lost(self, known: Known, current: str, key: str) -> None:
        if current in known.unsent:
            self._drop(known, current)
        raise NotOurs(
            f"another process goes on with run {known.run}: it wrote event {key}",
            where=f"ConfigMap {known.namespace}/{PREFIX}{known.run}",
            next=f"rollout status {known.run}",
        )

    def _drop(self, known: Known, current: str) -> None:
        del known.unsent[current]
        self.mirror.cut(known.run, known.mark)

    def _anew(self, known: Known, current: str) -> None:
        """The ConfigMap was deleted: the run goes on in a new one."""
        try:
            self._create(known)
        except Exists:
            self._again(known, self._get(known.run, known.namespace), current)

    def _create(self, known: Known) -> None:
        data = known.written | known.unsent
        try:
            found = self._cluster.create(ConfigMap, known.namespace, configmap.body(known.run, data))
        except (Exists, Unreachable) as error:
            found = self._there(known, data, error)
        known.version = found.metadata.resource_version
        known.written, known.unsent = data, {}

    def _there(self, known: Known, data: dict[str, str], error: ClusterError) -> ConfigMap:
        """What a creation of ours left behind although its answer was lost; the error if it is not ours."""
        try:
            found = self._get(known.run, known.namespace)
        except ClusterError:
            raise error from None
        if lines_of(found) != data:
            raise error
        return found

    def _get(self, run: str, namespace: str) -> ConfigMap:
        return self._cluster.get(ConfigMap, namespace, PREFIX + run)

    def _prune(self, namespace: str, run: str) -> None:
        """Delete old finished runs; what cannot be read or deleted stays, a run's end does not hang on it."""
        try:
            found = self._cluster.list(ConfigMap, namespace=namespace, selector=SELECTOR)
            finished = [c for c in found if is_finished(c)]
            finished.sort(key=lambda c: (str(c.metadata.creation_timestamp or ""), c.name), reverse=True)
            for old in finished[KEEP:]:
                if old.name == PREFIX + run:
                    continue
                self._cluster.delete(ConfigMap, old.namespace or namespace, old.name, uid=old.metadata.uid)
        except ClusterError:
            return


def _once(write: Callable[[], ConfigMap]) -> ConfigMap:
    return write()
