"""Watches: what changed since a revision, as a stream that ends after its timeout (in real seconds or shorter)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rollout.lab.api.http import encode
from rollout.lab.api.kinds import Resource
from rollout.lab.api.options import ListOptions
from rollout.lab.api.status import ApiError, Json
from rollout.lab.api.storage import Change, Compacted, Storage

_DEFAULT_TIMEOUT = 1800.0
_HEARTBEAT = 60.0
_END = {"k8s.io/initial-events-end": "true"}

Shown = Callable[[Json, bool], Json]
"""(object, whether it is the first event) -> how it stands in the event."""


class Watch(NamedTuple):
    """One watch: of what, in which namespace, how its objects are shown, and when it should give up early.

    `second` is how many real seconds one of its timeout lasts.
    """

    resource: Resource
    namespace: str
    options: ListOptions
    shown: Shown
    bookmark: Callable[[Json], Json]
    closed: Callable[[], bool]
    second: float = 1.0


def stream(storage: Storage, watch: Watch) -> Iterator[bytes]:
    """The events as JSON lines; b'' now and then, so that the caller notices a client that left."""
    options = watch.options
    timeout = float(options.timeout or _DEFAULT_TIMEOUT) * watch.second
    deadline = time.monotonic() + timeout
    first = True
    with storage.changed:
        revision, synthetic = _start(storage, watch)
    for obj in synthetic:
        yield encode({"type": "ADDED", "object": watch.shown(obj, first)})
        first = False
    if options.bookmarks and (options.initial or options.revision == ""):
        yield _bookmark(watch, revision, _END)
    due = _next_bookmark(deadline, timeout, 2.0 * watch.second)
    while not watch.closed():
        pause = min(deadline - time.monotonic(), due - time.monotonic(), 0.5)
        until = _countdown(max(pause, 0.001))
        try:
            changes, seen = storage.changes(watch.resource.key, revision, until)
        except Compacted:
            text = f"too old resource version: {revision} ({storage.forgotten})"
            yield encode({"type": "ERROR", "object": ApiError(410, "Expired", text).body()})
            return
        for change in changes:
            kind, obj = _event(watch, change)
            if kind:
                yield encode({"type": kind, "object": watch.shown(obj, first)})
                first = False
        revision = max(revision, seen)
        if options.bookmarks and time.monotonic() >= due:
            yield _bookmark(watch, revision, None)
            due = time.monotonic() + _HEARTBEAT
        elif not changes:
            yield b""
        if time.monotonic() >= deadline:  # not before what had happened was told: the thread may have started late
            return


def _start(storage: Storage, watch: Watch) -> tuple[int, list[Json]]:
    options = watch.options
    if options.revision in ("", "0") or options.initial:
        found = [obj for obj in storage.select(watch.resource.key, watch.namespace) if options.matches(obj)]
        return storage.revision, found
    return int(options.revision), []


def _countdown(seconds: float) -> Callable[[], float]:
    end = time.monotonic() + seconds
    return lambda: end - time.monotonic()


def _next_bookmark(deadline: float, timeout: float, before: float) -> float:
    now = time.monotonic()
    return min(now + _HEARTBEAT, deadline - before) if timeout > before else deadline + 1.0


def _event(watch: Watch, change: Change) -> tuple[str, Json]:
    """How a change looks to this watch; the type is '' when it does not see it.

    What leaves the selection is DELETED as it was last selected, with the revision of the change.
    """
    namespace = change.obj["metadata"].get("namespace") or ""
    if watch.namespace and namespace != watch.namespace:
        return "", change.obj
    matches = watch.options.matches
    before = change.before is not None and matches(change.before)
    after = change.type != "DELETED" and matches(change.obj)
    if before and after:
        return "MODIFIED", change.obj
    if after:
        return "ADDED", change.obj
    if not before or change.before is None:
        return "", change.obj
    if change.type == "DELETED":
        return "DELETED", change.obj
    meta = {**change.before["metadata"], "resourceVersion": change.obj["metadata"]["resourceVersion"]}
    return "DELETED", {**change.before, "metadata": meta}


def _bookmark(watch: Watch, revision: int, annotations: dict[str, str] | None) -> bytes:
    meta: Json = {"resourceVersion": str(revision)}
    if annotations:
        meta["annotations"] = annotations
    return encode({"type": "BOOKMARK", "object": watch.bookmark(meta)})
