"""Subresources that are no status: scale, binding, eviction, finalize, and the service proxy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rollout.lab.api import writing
from rollout.lab.api.deleting import delete
from rollout.lab.api.http import HttpAnswer, HttpRequest, ServiceHandler, json_answer
from rollout.lab.api.kinds import Resource
from rollout.lab.api.objects import present
from rollout.lab.api.options import DeleteOptions
from rollout.lab.api.patching import patched
from rollout.lab.api.rbac import User
from rollout.lab.api.routes import Route
from rollout.lab.api.status import ApiError, Json, bad_request, conflict, method_not_allowed

if TYPE_CHECKING:
    from rollout.lab.api.handlers import Api

_CREATED: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def answer(api: Api, request: HttpRequest, at: Route, resource: Resource, user: User) -> HttpAnswer:
    """Answer a request for one of them.

    Raises:
        ApiError: 400, 404, 405 or 409.
    """
    if api.store.storage.get(resource.key, at.namespace, at.name) is None:
        raise writing.missing(resource, at.name)
    dry_run = "dryRun" in request.query
    asked = writing.Request(request.parameter("fieldManager") or request.user_agent, at.version, user.name, dry_run)
    match (at.subresource, at.verb):
        case ("scale", "get" | "update" | "patch"):
            return _scale(api, request, at, resource, asked)
        case ("binding", "create"):
            return _bind(api, request, at, resource, asked)
        case ("eviction", "create"):
            delete(api.store, resource, at.namespace, at.name, DeleteOptions(dry_run=dry_run), asked)
            api.note(at, asked, None, at.name)
            return json_answer(201, _CREATED)
        case ("finalize", "update"):
            return _finalize(api, request, at, resource, asked)
        case _:
            raise method_not_allowed()


def _scale(api: Api, request: HttpRequest, at: Route, resource: Resource, asked: writing.Request) -> HttpAnswer:
    obj = api.store.storage.get(resource.key, at.namespace, at.name) or {}
    if at.verb != "get":
        if at.verb == "patch":
            body: Any = patched(request, at, resource, "Ignore", [])[0]
        else:
            body = _json(request)
        replicas = (body.get("spec") or {}).get("replicas") if isinstance(body, dict) else None
        if not isinstance(replicas, int) or replicas < 0:
            raise bad_request("spec.replicas must be a whole number of at least 0")

        def make(old: Json) -> Json:
            return {**old, "spec": {**old["spec"], "replicas": replicas}}

        obj = writing.update(api.store, resource, at.namespace, at.name, make, asked, patch=True)
        api.note(at, asked, body, at.name)
    return json_answer(200, _scale_document(obj))


def _scale_document(obj: Json) -> Json:
    meta = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    labels = ((obj["spec"].get("selector") or {}).get("matchLabels")) or {}
    selector = ",".join(f"{key}={labels[key]}" for key in sorted(labels))
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: meta[key] for key in kept if key in meta},
        "spec": {"replicas": obj["spec"].get("replicas", 0)},
        "status": {"replicas": (obj.get("status") or {}).get("replicas", 0), "selector": selector},
    }


def _bind(api: Api, request: HttpRequest, at: Route, resource: Resource, asked: writing.Request) -> HttpAnswer:
    body = _json(request)
    node = str((body.get("target") or {}).get("name") or "")
    store = api.store
    with store.transaction() as emit:
        old = store.storage.get(resource.key, at.namespace, at.name)
        if old is None:
            raise writing.missing(resource, at.name)
        there = old["spec"].get("nodeName")
        if there:
            why = f'pod {at.name} is already assigned to node "{there}"'
            raise conflict("pods/binding", "", at.name, why)
        if not asked.dry_run:
            emit(store.storage.put(resource.key, _scheduled(old, node, store.stamp())))
    api.note(at, asked, body, at.name)
    return json_answer(201, _CREATED)


def _scheduled(old: Json, node: str, time: str) -> Json:
    status = old.get("status") or {}
    bound = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": time}
    conditions = [*(status.get("conditions") or []), bound]
    return {**old, "spec": {**old["spec"], "nodeName": node}, "status": {**status, "conditions": conditions}}


def _finalize(api: Api, request: HttpRequest, at: Route, resource: Resource, asked: writing.Request) -> HttpAnswer:
    """Replace a namespace's spec.finalizers; without any, a terminating one goes."""
    body = _json(request)
    store = api.store
    with store.transaction() as emit:
        old = store.storage.get(resource.key, "", at.name)
        if old is None:
            raise writing.missing(resource, at.name)
        left = (body.get("spec") or {}).get("finalizers") or []
        labels = {"kubernetes.io/metadata.name": at.name, **((body.get("metadata") or {}).get("labels") or {})}
        meta = {**old["metadata"], "labels": labels}
        meta.pop("annotations", None)
        obj = {**old, "metadata": meta, "spec": {"finalizers": left} if left else {}}
        writing.own(resource, {**old, "spec": obj["spec"]}, obj, asked, store.stamp())
        if not asked.dry_run:
            if meta.get("deletionTimestamp") and not left:
                emit(store.storage.remove(resource.key, obj))
            else:
                change = store.storage.put(resource.key, obj)
                emit(change)
                obj = change.obj
    api.note(at, asked, body, at.name)
    return json_answer(200, present(resource, obj, at.version))


def _json(request: HttpRequest) -> Json:
    from rollout.lab.api.decode import parse

    try:
        body, _ = parse(request.body, request.media)
    except ValueError as error:
        raise bad_request(str(error)) from error
    if not isinstance(body, dict):
        raise bad_request("the body is no object")
    return body


def proxy(services: Mapping[str, ServiceHandler], request: HttpRequest, at: Route) -> HttpAnswer:
    """Hand a request on to an in-process service.

    Raises:
        ApiError: 503 when no such service answers.
    """
    words = at.name.split(":")
    if len(words) == 3 and words[0] in ("http", "https", ""):
        words = words[1:]
    name, port = words[0], words[1] if len(words) > 1 else ""
    handler = services.get(f"{name}.{at.namespace}:{port}")
    if handler is None:
        text = f'no endpoints available for service "{at.name}"'
        raise ApiError(503, "ServiceUnavailable", text)
    headers = {key: values[0] for key, values in request.headers.items() if values}
    status, media, body = handler(request.method, "/" + at.rest, request.query, headers, request.body)
    return HttpAnswer(status, body, media)
