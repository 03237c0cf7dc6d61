"""managedFields: who wrote which field last.

Only `Update` operations: the lab has no server-side apply. An entry names the fields that its manager set and that
nobody changed since; a write that changes nothing changes no entry.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from rollout.lab.api.shapes import ATOMIC, SET_LISTS, always, port_keys
from rollout.lab.api.status import Json

Path = tuple[str, ...]
_ABSENT = object()
_SYSTEM = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "managedFields",
    }
)


class Difference:
    """What a write changed: paths set or changed, and paths taken away."""

    def __init__(self, old: Json, new: Json, *, kind: str, custom: bool) -> None:
        """Compare two objects; for a built-in kind the always-present parts count as there."""
        self.changed: set[Path] = set()
        self.removed: set[Path] = set()
        self._custom = custom
        self._top(old, new, {} if custom else always(kind))

    def _top(self, old: Json, new: Json, skeleton: dict[str, object]) -> None:
        for key in {*old, *new} - {"apiVersion", "kind", "metadata"}:
            was = old.get(key, skeleton.get(key, _ABSENT))
            self._compare(was, new.get(key, _ABSENT), ("f:" + key,), skeleton.get(key))
        old_meta, new_meta = old.get("metadata") or {}, new.get("metadata") or {}
        for key in {*old_meta, *new_meta} - _SYSTEM:
            path = ("f:metadata", "f:" + key)
            self._compare(old_meta.get(key, _ABSENT), new_meta.get(key, _ABSENT), path, None)

    def _compare(self, old: Any, new: Any, path: Path, skeleton: object) -> None:
        if old == new and old is not _ABSENT:
            return
        if new is _ABSENT:
            if old is not _ABSENT and old is not None:
                self.removed.add(path)
            return
        if self._granular(new, path):
            self._children(old, new, path, skeleton)
        else:
            self.changed.add(path)

    def _children(self, old: Any, new: Any, path: Path, skeleton: object) -> None:
        if old is _ABSENT:
            self.changed.add(path)
        before = dict(self._items(old, path)) if isinstance(old, dict | list) else {}
        after = dict(self._items(new, path))
        parts = skeleton if isinstance(skeleton, dict) else {}
        for word in {**before, **after}:
            below = parts.get(word.removeprefix("f:")) if word.startswith("f:") else None
            there = word.startswith("f:") and word.removeprefix("f:") in parts
            was = before.get(word, (None if below is None else {}) if there else _ABSENT)
            self._compare(was, after.get(word, _ABSENT), (*path, word), below)

    def _granular(self, value: Any, path: Path) -> bool:
        name = path[-1].removeprefix("f:")
        if isinstance(value, dict):
            return bool(value) and (self._custom or (name not in ATOMIC and path[-2:-1] != ("f:ownerReferences",)))
        if isinstance(value, list):
            return bool(value) and self._keys(name, path) is not None
        return False

    def _keys(self, name: str, path: Path) -> tuple[str, ...] | None:
        if path[0] == "f:metadata":
            return {"ownerReferences": ("uid",), "finalizers": ()}.get(name)
        if self._custom:
            return None
        return port_keys(path) if name == "ports" else SET_LISTS.get(name)

    def _items(self, value: Any, path: Path) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            yield from (("f:" + key, item) for key, item in value.items())
            return
        keys = self._keys(path[-1].removeprefix("f:"), path)
        for item in value:
            if keys and isinstance(item, dict):
                named = {key: item.get(key, _DEFAULTS.get(key)) for key in keys}
                yield "k:" + json.dumps(named, separators=(",", ":"), sort_keys=True), item
            else:
                yield "v:" + json.dumps(item, separators=(",", ":")), item


_DEFAULTS: dict[str, Any] = {"protocol": "TCP"}


def to_paths(fields: Json) -> set[Path]:
    """The members of a `fieldsV1` document."""
    return set(_walk(fields, ()))


def _walk(fields: Json, prefix: Path) -> Iterator[Path]:
    for word, below in fields.items():
        if word == ".":
            yield prefix
        elif below:
            yield from _walk(below, (*prefix, word))
        else:
            yield (*prefix, word)


def to_fields(paths: Iterable[Path]) -> Json:
    """The `fieldsV1` document of some members."""
    document: Json = {}
    for path in sorted(paths):
        here = document
        for word in path:
            here = here.setdefault(word, {})
        here["."] = {}
    return _strip(document)


def _strip(document: Json) -> Json:
    if set(document) == {"."}:
        return {}
    return {word: _strip(below) if word != "." else {} for word, below in document.items()}


def updated(
    entries: list[Json], difference: Difference, *, manager: str, api_version: str, subresource: str, time: str
) -> list[Json]:
    """managedFields after a write by `manager`.

    Args:
        entries: managedFields before.
        difference: what the write changed.
        manager: who wrote.
        api_version: the version it was written in.
        subresource: `status`, or ''.
        time: RFC 3339.
    """
    own = (manager, "Update", api_version, subresource)
    result: list[Json] = []
    mine: Json | None = None
    for entry in entries:
        key = (entry.get("manager"), entry.get("operation"), entry.get("apiVersion"), entry.get("subresource", ""))
        members = to_paths(entry.get("fieldsV1") or {})
        kept = {path for path in members if not _touches(path, difference.removed)}
        if key == own:
            kept |= difference.changed
            if difference.changed:
                entry = {**entry, "time": time}  # noqa: PLW2901
            mine = entry
        else:
            kept -= difference.changed
        if kept:
            result.append({**entry, "fieldsV1": to_fields(kept)} if kept != members else entry)
    if mine is None and difference.changed:
        fresh: Json = {"manager": manager, "operation": "Update", "apiVersion": api_version, "time": time}
        fresh |= {"fieldsType": "FieldsV1", "fieldsV1": to_fields(difference.changed)}
        if subresource:
            fresh["subresource"] = subresource
        result.append(fresh)
    return result


def _touches(path: Path, removed: set[Path]) -> bool:
    return any(path[: len(gone)] == gone for gone in removed)
