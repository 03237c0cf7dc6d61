"""What happens between a decoded object and the store: defaults, managedFields, checks, admission, generation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from rollout.lab.api import fields
from rollout.lab.api.defaults import admitted, defaulted
from rollout.lab.api.kinds import Resource
from rollout.lab.api.names import metadata_causes
from rollout.lab.api.objects import generated, name_of, namespace_of, new_uid, stamp, terminating
from rollout.lab.api.schema import builtin_causes, custom_causes, pruned, unchecked, without_empties, without_nulls
from rollout.lab.api.status import (
    ApiError,
    Json,
    already_exists,
    details,
    forbidden_value,
    invalid,
    not_found,
    qualified,
)
from rollout.lab.api.updates import check_update

if TYPE_CHECKING:
    from rollout.lab.api.storage import Change
    from rollout.lab.api.store import Store

Emit = Callable[["Change"], None]


@dataclass
class Request:
    """How a write was asked for."""

    manager: str
    version: str
    user: str = ""
    dry_run: bool = False
    subresource: str = ""
    warnings: list[str] = field(default_factory=list)


def missing(resource: Resource, name: str) -> ApiError:
    """404 for an object of a kind."""
    return not_found(resource.plural, resource.group, name)


def create(store: Store, resource: Resource, namespace: str, document: Json, request: Request) -> Json:
    """Create an object as an HTTP client asked for it; returns what was (or would be) stored.

    Raises:
        ApiError: 400, 403, 404, 409, 422, 500.
    """
    if "status" in resource.subresources and resource.kind != "Node":
        document = {key: value for key, value in document.items() if key != "status"}
    obj = prepared(resource, namespace, document)
    obj["metadata"].pop("managedFields", None)
    own(resource, {"metadata": {}}, obj, request, store.stamp())
    with store.transaction() as emit:
        _check_namespace(store, resource, namespace, obj)
        give_name(obj)
        obj = _mutated(store, resource, admitted(resource.kind, obj))
        begin_life(resource, obj, store.now())
        _validate(resource, obj, None)
        _warn(resource, obj, request)
        there = store.storage.get(resource.key, namespace, name_of(obj))
        if there is not None:
            raise already_exists(resource.plural, resource.group, name_of(obj), terminating=terminating(there))
        admit(store, resource, "CREATE", obj, None, request)
        if request.dry_run:
            return obj
        change = store.storage.put(resource.key, obj)
        emit(change)
        return change.obj


def _mutated(store: Store, resource: Resource, obj: Json) -> Json:
    """What mutating webhooks make of a new object; what they add gets defaults, too."""
    for webhook in store.mutating:
        changed = webhook(resource.kind, obj)
        obj = obj if changed is obj else defaulted(resource.kind, without_nulls(changed))
    return obj


def prepared(resource: Resource, namespace: str, document: Json) -> Json:
    """A copy of an object as it would be stored: pruned, in its namespace, with defaults."""
    obj = without_empties(pruned(resource.kind, without_nulls(document)))  # a copy: defaults are written into it
    if namespace:
        obj["metadata"]["namespace"] = namespace
    else:
        obj["metadata"].pop("namespace", None)
    return obj if resource.custom else defaulted(resource.kind, obj)


def own(resource: Resource, old: Json, obj: Json, request: Request, time: str) -> None:
    """Write the managedFields of `obj`, which replaces `old`."""
    before, after = _scope(resource, old, request), _scope(resource, obj, request)
    difference = fields.Difference(before, after, kind=resource.kind, custom=resource.custom)
    entries = fields.updated(
        obj["metadata"].get("managedFields") or [],
        difference,
        manager=request.manager,
        api_version=resource.api_version(request.version),
        subresource=request.subresource,
        time=time,
    )
    if entries:
        obj["metadata"]["managedFields"] = entries
    else:
        obj["metadata"].pop("managedFields", None)


def _scope(resource: Resource, obj: Json, request: Request) -> Json:
    """The part of an object that this request may own."""
    if "status" in resource.subresources and not request.subresource:
        return {key: value for key, value in obj.items() if key != "status"}
    return obj


def _check_namespace(store: Store, resource: Resource, namespace: str, obj: Json) -> None:
    if not resource.namespaced:
        return
    parent = store.storage.get(("", "namespaces"), "", namespace)
    if parent is None:
        raise not_found("namespaces", "", namespace)
    if terminating(parent):
        name = name_of(obj)
        found = details(name, resource.group, resource.plural)
        why = f"namespace {namespace} is being terminated"
        found["causes"] = [{"reason": "NamespaceTerminating", "message": why, "field": "metadata.namespace"}]
        text = f"unable to create new content in namespace {namespace} because it is being terminated"
        word = qualified(resource.plural, resource.group)
        raise ApiError(403, "Forbidden", f'{word} "{name}" is forbidden: {text}', found)


def give_name(obj: Json) -> None:
    """Make a name from generateName."""
    meta = obj["metadata"]
    if not meta.get("name") and meta.get("generateName"):
        meta["name"] = generated(meta["generateName"])


def begin_life(resource: Resource, obj: Json, now: datetime) -> None:
    """Give a new object its uid, creationTimestamp and generation, whatever its writer said."""
    meta = obj["metadata"]
    for word in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion", "generation"):
        meta.pop(word, None)
    meta["uid"] = new_uid()
    meta["creationTimestamp"] = stamp(now)
    if resource.generation:
        meta["generation"] = 1


def _validate(resource: Resource, obj: Json, old: Json | None) -> None:
    meta = obj["metadata"]
    causes = metadata_causes(resource.plural, meta, custom=resource.custom)
    if resource.custom:
        if any(cause.reason == "FieldValueRequired" for cause in causes):
            causes.append(unchecked())
        causes += custom_causes(resource.kind, obj)
    else:
        causes += builtin_causes(resource.kind, obj, old)
    if causes:
        raise invalid(resource.kind, resource.group, name_of(obj), causes)


def _warn(resource: Resource, obj: Json, request: Request) -> None:
    if resource.kind == "Pod":
        request.warnings += _pod_deprecations(obj)
    if not resource.custom:
        return
    for word in obj["metadata"].get("finalizers") or []:
        if "/" not in word:
            request.warnings.append(
                f'metadata.finalizers: "{word}": prefer a domain-qualified finalizer name to avoid accidental '
                "conflicts with other finalizer writers"
            )


def _pod_deprecations(obj: Json) -> Iterator[str]:
    for key in (obj.get("spec") or {}).get("nodeSelector") or {}:
        if key in ("beta.kubernetes.io/os", "beta.kubernetes.io/arch"):
            better = key.removeprefix("beta.")
            yield f'spec.nodeSelector[{key}]: deprecated since v1.14; use "{better}" instead'
    for key in obj["metadata"].get("annotations") or {}:
        if key == "seccomp.security.alpha.kubernetes.io/pod":
            yield f'metadata.annotations[{key}]: non-functional in v1.27+; use the "seccompProfile" field instead'


def admit(
    store: Store, resource: Resource, operation: str, obj: Json | None, old: Json | None, request: Request
) -> None:
    """Ask the webhooks.

    Raises:
        ApiError: 403 with a webhook's words, or what a failing webhook leads to.
    """
    from rollout.lab.api.objects import present
    from rollout.lab.api.store import AdmissionRequest

    if not store.admission:
        return
    subject = obj if obj is not None else old
    assert subject is not None
    asked = AdmissionRequest(
        operation=operation,
        resource=resource,
        namespace=namespace_of(subject),
        name=name_of(subject),
        obj=None if obj is None else present(resource, obj, request.version),
        old=None if old is None else present(resource, old, request.version),
        user=request.user,
        dry_run=request.dry_run,
        subresource=request.subresource,
    )
    for webhook in store.admission:
        refusal = webhook(asked)
        if isinstance(refusal, ApiError):
            raise refusal
        if refusal is not None:
            raise ApiError(400, "", refusal)


def update(
    store: Store,
    resource: Resource,
    namespace: str,
    name: str,
    make: Callable[[Json], Json],
    request: Request,
    *,
    patch: bool,
) -> Json:
    """Replace an object by what `make` turns the stored one into; returns what was (or would be) stored.

    Raises:
        ApiError: 404, 409, 422.
    """
    with store.transaction() as emit:
        old = store.storage.get(resource.key, namespace, name)
        if old is None:
            raise missing(resource, name)
        obj = prepared(resource, namespace, make(old))
        check_update(resource, old, obj, patch=patch)
        obj = merged(resource, old, obj, request)
        take_over(resource, old, obj, request, store.stamp())
        obj["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if obj == old:
            admit(store, resource, "UPDATE", obj, old, request)
            return old
        grow(resource, old, obj)
        _validate(resource, obj, old)
        _check_finalizers(resource, old, obj)
        _warn(resource, obj, request)
        admit(store, resource, "UPDATE", obj, old, request)
        if request.dry_run:
            return obj
        if terminating(obj) and finished(resource, obj):
            emit(store.storage.remove(resource.key, obj))
            return obj
        change = store.storage.put(resource.key, obj)
        emit(change)
        return change.obj


def merged(resource: Resource, old: Json, obj: Json, request: Request) -> Json:
    """Keep what this request may not write: the status, or everything else."""
    has_status = "status" in resource.subresources
    if request.subresource == "status":
        kept = {key: value for key, value in old.items() if key not in ("status", "metadata")}
        meta = dict(old["metadata"]) if resource.custom else dict(obj["metadata"])
        if resource.custom and "managedFields" in obj["metadata"]:
            meta["managedFields"] = obj["metadata"]["managedFields"]
        kept["metadata"] = meta
        if "status" in obj:
            kept["status"] = obj["status"]
        obj = kept
    elif has_status:
        obj = {key: value for key, value in obj.items() if key != "status"}
        if "status" in old:
            obj["status"] = old["status"]
    meta = obj["metadata"]
    for word in ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if word in old["metadata"]:
            meta[word] = old["metadata"][word]
        else:
            meta.pop(word, None)
    if resource.kind == "Namespace":
        obj["spec"] = old.get("spec", {})
    elif resource.kind == "Pod" and not request.subresource:
        obj["spec"] = {**{k: v for k, v in old["spec"].items() if k in ("priority", "preemptionPolicy")}, **obj["spec"]}
    return obj


def take_over(resource: Resource, old: Json, obj: Json, request: Request, time: str) -> None:
    """Write managedFields of an update. `[{}]` resets them, and what has none is not tracked again."""
    given = obj["metadata"].get("managedFields")
    if given == [{}]:
        obj["metadata"].pop("managedFields")
        return
    entries = given or old["metadata"].get("managedFields") or []
    obj["metadata"]["managedFields"] = entries
    if entries or not old["metadata"].get("managedFields", [1]):
        own(resource, old, obj, request, time)
    else:
        obj["metadata"].pop("managedFields")


def grow(resource: Resource, old: Json, obj: Json) -> None:
    """Count the generation up when more than metadata and status changed."""
    if not resource.generation:
        return
    skip = ("metadata", "status") if "status" in resource.subresources else ("metadata",)
    before = {key: value for key, value in old.items() if key not in skip}
    after = {key: value for key, value in obj.items() if key not in skip}
    if before != after:
        obj["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def _check_finalizers(resource: Resource, old: Json, obj: Json) -> None:
    if not terminating(old):
        return
    before = old["metadata"].get("finalizers") or []
    fresh = [word for word in obj["metadata"].get("finalizers") or [] if word not in before]
    if fresh:
        words = ", ".join(f'"{word}"' for word in fresh)
        why = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{words}}}"
        cause = forbidden_value("metadata.finalizers", why)
        raise invalid(resource.kind, resource.group, name_of(obj), [cause, cause])


def finished(resource: Resource, obj: Json) -> bool:
    """Whether nothing keeps a terminating object any longer."""
    meta = obj["metadata"]
    if meta.get("finalizers") or (meta.get("deletionGracePeriodSeconds") or 0) > 0:
        return False
    return not (resource.kind == "Namespace" and (obj.get("spec") or {}).get("finalizers"))
