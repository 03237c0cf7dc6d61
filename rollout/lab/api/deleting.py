"""Deletes: at once, after a grace period, or not before the finalizers are gone."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from rollout.lab.api import writing
from rollout.lab.api.door import empty_namespace
from rollout.lab.api.kinds import Resource
from rollout.lab.api.objects import name_of, stamp, terminating
from rollout.lab.api.options import DeleteOptions
from rollout.lab.api.status import ApiError, Json, conflict, details

if TYPE_CHECKING:
    from rollout.lab.api.store import Store

_RETURNED = ("pods", "services", "serviceaccounts")
_FINALIZERS = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
_PROTECTED = ("default", "kube-system", "kube-public")


def delete(
    store: Store, resource: Resource, namespace: str, name: str, options: DeleteOptions, request: writing.Request
) -> tuple[Json | None, Json]:
    """Delete an object; returns what is answered (None: a Status) and the object as it was or is.

    Raises:
        ApiError: 403, 404 or 409, or a webhook's refusal.
    """
    if resource.plural == "namespaces" and name in _PROTECTED:
        text = f'namespaces "{name}" is forbidden: this namespace may not be deleted'
        raise ApiError(403, "Forbidden", text, details(name, "", "namespaces"))
    with store.transaction() as emit:
        old = store.storage.get(resource.key, namespace, name)
        if old is None:
            raise writing.missing(resource, name)
        precondition(resource, old, options.uid, options.revision)
        writing.admit(store, resource, "DELETE", None, old, request)
        if resource.plural == "namespaces":
            return _namespace(store, resource, old, request, emit), old
        obj = _marked(store, resource, old, options)
        if not writing.finished(resource, obj):
            if request.dry_run or obj == old:
                return obj, old
            change = store.storage.put(resource.key, obj)
            emit(change)
            return change.obj, change.obj
        if request.dry_run:
            return (old if resource.plural in _RETURNED else None), old
        if resource.plural == "pods":  # a watch sees its death sentence first, even one without a delay
            emit(store.storage.put(resource.key, obj))
        gone = store.storage.remove(resource.key, obj)
        emit(gone)
        return (gone.obj if resource.plural in _RETURNED else None), old


def _marked(store: Store, resource: Resource, old: Json, options: DeleteOptions) -> Json:
    """The object with its death sentence; unchanged when it has one already that is no later."""
    meta = dict(old["metadata"])
    grace = _grace(resource, old, options)
    if terminating(old) and grace >= (meta.get("deletionGracePeriodSeconds") or 0):
        return old
    finalizer = _FINALIZERS.get(options.propagation)
    if finalizer and not terminating(old):
        meta["finalizers"] = [*(meta.get("finalizers") or []), finalizer]
    if meta.get("finalizers") or resource.plural == "pods":
        if meta.get("generation") and not terminating(old):
            meta["generation"] += 1
        meta["deletionTimestamp"] = stamp(store.now() + timedelta(seconds=grace))
        meta["deletionGracePeriodSeconds"] = grace
    return {**old, "metadata": meta}


def _grace(resource: Resource, old: Json, options: DeleteOptions) -> int:
    """Seconds that a pod on a node has left; nothing else has any."""
    if resource.plural != "pods":
        return 0
    spec, phase = old.get("spec") or {}, (old.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    if options.grace is not None:
        return max(options.grace, 0)
    if terminating(old):
        return int(old["metadata"].get("deletionGracePeriodSeconds") or 0)
    return int(spec.get("terminationGracePeriodSeconds", 30))


def _namespace(store: Store, resource: Resource, old: Json, request: writing.Request, emit: writing.Emit) -> Json:
    if terminating(old):
        return old
    meta = {**old["metadata"], "deletionTimestamp": stamp(store.now())}
    obj = {**old, "metadata": meta, "status": {**(old.get("status") or {}), "phase": "Terminating"}}
    if request.dry_run:
        return obj
    change = store.storage.put(resource.key, obj)
    emit(change)
    if store.namespace_controller:
        empty_namespace(store, name_of(old), emit)
        emit(store.storage.remove(resource.key, change.obj))
    return change.obj


def success(resource: Resource, obj: Json) -> Json:
    """The Status of a finished delete."""
    found = details(name_of(obj), resource.group, resource.plural)
    found["uid"] = obj["metadata"]["uid"]
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": found}


def precondition(resource: Resource, obj: Json, uid: str | None, revision: str | None) -> None:
    """Refuse a delete that was meant for another object or another state of it.

    Raises:
        ApiError: 409.
    """
    meta = obj["metadata"]
    if uid is not None and uid != meta["uid"]:
        why = (
            f"the UID in the precondition ({uid}) does not match the UID in record ({meta['uid']}). The object might "
            "have been deleted and then recreated"
        )
        raise conflict(resource.kind, resource.group, name_of(obj), why)
    if revision is not None and revision != meta["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record "
            f"({meta['resourceVersion']}). The object might have been modified"
        )
        raise conflict(resource.kind, resource.group, name_of(obj), why)
