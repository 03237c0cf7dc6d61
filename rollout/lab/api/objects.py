"""Small facts about stored objects: how they are shown, named and dated.

A stored object has no apiVersion and kind: the version is the reader's choice.
"""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime

from rollout.lab.api.kinds import Resource
from rollout.lab.api.status import Json

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_PREFIX_LIMIT = 58


def stamp(moment: datetime) -> str:
    """RFC 3339 in whole seconds, as in metadata."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def present(resource: Resource, obj: Json, version: str = "") -> Json:
    """The object with apiVersion and kind (a shallow copy)."""
    return {"apiVersion": resource.api_version(version), "kind": resource.kind, **obj}


def bare(document: Json) -> Json:
    """The object as it is stored."""
    return {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}


def generated(prefix: str) -> str:
    """A name from a generateName."""
    return prefix[:_PREFIX_LIMIT] + "".join(secrets.choice(_ALPHABET) for _ in range(5))


def new_uid() -> str:
    """A uid."""
    return str(uuid.uuid4())


def name_of(obj: Json) -> str:
    """metadata.name."""
    return str(obj["metadata"].get("name") or "")


def namespace_of(obj: Json) -> str:
    """metadata.namespace, '' for a cluster-scoped object."""
    return str(obj["metadata"].get("namespace") or "")


def terminating(obj: Json) -> bool:
    """Whether the object waits for its finalizers."""
    return bool(obj["metadata"].get("deletionTimestamp"))
