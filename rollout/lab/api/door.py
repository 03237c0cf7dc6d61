"""The in-process door to the store: scenarios and the simulated mesh write here, and no webhook or right is asked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rollout.lab.api import writing
from rollout.lab.api.defaults import admitted
from rollout.lab.api.kinds import Resource
from rollout.lab.api.objects import bare, name_of, stamp
from rollout.lab.api.status import Json, already_exists

if TYPE_CHECKING:
    from rollout.lab.api.store import Store


def seeded(store: Store, resource: Resource, document: Json, *, created: datetime | None, manager: str) -> Json:
    """Create an object through the door."""
    namespace = resource.within(str(document.get("metadata", {}).get("namespace") or "default"))
    status = document.get("status")
    obj = writing.prepared(resource, namespace, bare(document))
    version = str(document["apiVersion"]).rpartition("/")[2]
    request = writing.Request(manager=manager, version=version)
    obj["metadata"].pop("managedFields", None)
    writing.own(resource, {"metadata": {}}, obj, request, stamp(created or store.now()))
    with store.transaction() as emit:
        writing.give_name(obj)
        uid = obj["metadata"].get("uid")
        obj = admitted(resource.kind, obj)
        writing.begin_life(resource, obj, created or store.now())
        if uid:
            obj["metadata"]["uid"] = uid
        if status is not None:
            obj["status"] = {**(obj.get("status") or {}), **status} if isinstance(status, dict) else status
        if store.storage.get(resource.key, namespace, name_of(obj)) is not None:
            raise already_exists(resource.plural, resource.group, name_of(obj))
        change = store.storage.put(resource.key, obj)
        emit(change)
        return change.obj


def door_update(
    store: Store,
    resource: Resource,
    namespace: str,
    name: str,
    make: Callable[[Json], Any],
    manager: str,
    subresource: str,
) -> Json:
    """Change an object through the door; without a subresource its status may change too."""
    request = writing.Request(manager=manager, version=resource.versions[0], subresource=subresource)
    with store.transaction() as emit:
        old = store.storage.get(resource.key, namespace, name)
        if old is None:
            raise writing.missing(resource, name)
        made = make(old)
        obj = writing.prepared(resource, namespace, made)
        status = obj.get("status")
        obj = writing.merged(resource, old, obj, request)
        if status is not None:
            obj["status"] = status
        writing.take_over(resource, old, obj, request, store.stamp())
        obj["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if obj == old:
            return old
        writing.grow(resource, old, obj)
        change = store.storage.put(resource.key, obj)
        emit(change)
        return change.obj


def empty_namespace(store: Store, namespace: str, emit: writing.Emit) -> None:
    """Remove everything in a namespace, as its controller does before the namespace goes."""
    for resource in store.kinds.resources:
        if resource.namespaced:
            for obj in store.storage.select(resource.key, namespace):
                emit(store.storage.remove(resource.key, obj))
