"""Where objects live: one revision counter, the objects by kind, and the history that watches and pages read.

Stored objects are never changed in place: a write puts a new dict. Readers may therefore share them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from rollout.lab.api.status import Json

Key = tuple[str, str]
Name = tuple[str, str]
_HISTORY = 20_000


class Change(NamedTuple):
    """One committed write: revision, type (ADDED, MODIFIED, DELETED), the object, and what was there before."""

    revision: int
    type: str
    key: Key
    obj: Json
    before: Json | None


class Compacted(Exception):
    """The history no longer reaches back to the revision asked for."""


class Storage:
    """Objects and their history; every method is safe to call from any thread.

    Args:
        revision: the first resourceVersion minus one.
    """

    def __init__(self, revision: int = 1000) -> None:
        """Start empty."""
        self.changed = threading.Condition(threading.RLock())
        self.revision = revision
        self.compacted = revision  # pages and exact reads reach back to here
        self.forgotten = revision  # watches reach back to here
        self._objects: dict[Key, dict[Name, Json]] = {}
        self._history: list[Change] = []

    def get(self, key: Key, namespace: str, name: str) -> Json | None:
        """The stored object (shared: do not change it), or None."""
        with self.changed:
            return self._objects.get(key, {}).get((namespace, name))

    def select(self, key: Key, namespace: str = "") -> list[Json]:
        """All objects of a kind by namespace and name (shared: do not change them)."""
        with self.changed:
            found = self._objects.get(key, {})
            return [found[name] for name in sorted(found) if not namespace or name[0] == namespace]

    def at(self, key: Key, revision: int) -> dict[Name, Json]:
        """The objects of a kind as they were at a revision.

        Raises:
            Compacted: that is too long ago.
        """
        with self.changed:
            if revision < self.compacted:
                raise Compacted
            found = dict(self._objects.get(key, {}))
            for change in reversed(self._history):
                if change.revision <= revision:
                    break
                if change.key == key:
                    name = _name(change.obj)
                    if change.before is None:
                        found.pop(name, None)
                    else:
                        found[name] = change.before
            return found

    def put(self, key: Key, obj: Json) -> Change:
        """Store an object under a fresh revision, which it gets as resourceVersion."""
        with self.changed:
            before = self._objects.get(key, {}).get(_name(obj))
            stored = self._stamp(obj)
            self._objects.setdefault(key, {})[_name(obj)] = stored
            return self._commit("ADDED" if before is None else "MODIFIED", key, stored, before)

    def remove(self, key: Key, obj: Json) -> Change:
        """Take an object away; the event carries it with the revision of the deletion."""
        with self.changed:
            before = self._objects[key].pop(_name(obj))
            return self._commit("DELETED", key, self._stamp(obj), before)

    def changes(self, key: Key, after: int, left: Callable[[], float]) -> tuple[list[Change], int]:
        """The changes of a kind after a revision, and the revision up to which that is all; waits for the first one.

        Args:
            key: group and plural.
            after: a revision.
            left: how many seconds to wait at most.

        Raises:
            Compacted: the history no longer reaches back so far.
        """
        with self.changed:
            while True:
                if after < self.forgotten:
                    raise Compacted
                found = self._since(key, after)
                seconds = left()
                if found or seconds <= 0:
                    return found, self.revision
                self.changed.wait(seconds)

    def compact(self, *, watches: bool) -> None:
        """Forget the history, as etcd does every five minutes: old pages expire, and watches if asked for.

        A real server keeps a window of events in its cache, so that watches outlive a compaction for a while.
        """
        with self.changed:
            self.compacted = self.revision
            if watches:
                self.forgotten = self.revision
                self._history.clear()
            self.changed.notify_all()

    def _since(self, key: Key, after: int) -> list[Change]:
        found: list[Change] = []
        for change in reversed(self._history):
            if change.revision <= after:
                break
            if change.key == key:
                found.append(change)
        found.reverse()
        return found

    def _stamp(self, obj: Json) -> Json:
        self.revision += 1
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.revision)}}

    def _commit(self, kind: str, key: Key, obj: Json, before: Json | None) -> Change:
        change = Change(self.revision, kind, key, obj, before)
        self._history.append(change)
        if len(self._history) > _HISTORY:
            half = len(self._history) // 2
            self.compacted = self.forgotten = self._history[half - 1].revision
            del self._history[:half]
        self.changed.notify_all()
        return change


def _name(obj: Json) -> Name:
    meta = obj["metadata"]
    return (meta.get("namespace") or "", meta["name"])
