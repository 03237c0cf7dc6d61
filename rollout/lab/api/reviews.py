"""Reviews: who am I, and may I? Nothing is stored."""

from __future__ import annotations

from typing import Any

from rollout.lab.api import fields
from rollout.lab.api.kinds import Resource
from rollout.lab.api.rbac import Attributes, Authorizer, User
from rollout.lab.api.status import Cause, Json, bad_request, bad_value, go, invalid

_GROUP = "authorization.k8s.io"


def review(authorizer: Authorizer, resource: Resource, document: Json, user: User, manager: str, time: str) -> Json:
    """The review with its status.

    Raises:
        ApiError: 400 or 422.
    """
    head = {"kind": resource.kind, "apiVersion": resource.api_version()}
    if resource.kind == "SelfSubjectReview":
        info: Json = {"username": user.name, "groups": list(user.groups)}
        if user.uid:
            info["uid"] = user.uid
        if user.extra:
            info["extra"] = {key: list(values) for key, values in user.extra.items()}
        return {**head, "metadata": {"creationTimestamp": time}, "status": {"userInfo": info}}
    spec = document.get("spec") or {}
    if resource.kind == "SelfSubjectRulesReview":
        return {**head, "metadata": {}, "spec": {}, "status": _rules(authorizer, user, spec.get("namespace") or "")}
    meta = _metadata(resource, document, spec, manager, time)
    _check(resource, meta, spec)
    subject = user
    if resource.kind != "SelfSubjectAccessReview":
        groups = tuple(spec.get("groups") or ())
        subject = User(str(spec.get("user") or ""), groups)
    allowed, reason = authorizer.allows(subject, _attributes(spec))
    status: Json = {"allowed": allowed}
    if reason:
        status["reason"] = reason
    return {**head, "metadata": meta, "spec": spec, "status": status}


def _attributes(spec: Json) -> Attributes:
    path = spec.get("nonResourceAttributes")
    if path is not None:
        return Attributes(verb=path.get("verb") or "", path=path.get("path") or "")
    asked = spec.get("resourceAttributes") or {}
    return Attributes(
        verb=asked.get("verb") or "",
        group=asked.get("group") or "",
        resource=asked.get("resource") or "",
        subresource=asked.get("subresource") or "",
        namespace=asked.get("namespace") or "",
        name=asked.get("name") or "",
    )


def _metadata(resource: Resource, document: Json, spec: Json, manager: str, time: str) -> Json:
    meta = {key: value for key, value in (document.get("metadata") or {}).items() if key in ("name", "namespace")}
    difference = fields.Difference({"metadata": {}}, {"metadata": {}, "spec": spec}, kind=resource.kind, custom=False)
    entries = fields.updated(
        [], difference, manager=manager, api_version=resource.api_version(), subresource="", time=time
    )
    return {**meta, "managedFields": entries} if entries else meta


def _check(resource: Resource, meta: Json, spec: Json) -> None:
    given = [key for key in ("resourceAttributes", "nonResourceAttributes") if spec.get(key) is not None]
    causes: list[Cause] = []
    if not given:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        causes.append(bad_value("spec.resourceAttributes", None, why))
    elif len(given) == 2:
        path = spec["nonResourceAttributes"]
        shown = {"Path": path.get("path", ""), "Verb": path.get("verb", "")}
        why = "cannot be specified in combination with resourceAttributes"
        causes.append(bad_value("spec.nonResourceAttributes", shown, why))
    if meta.get("name"):
        ordered = {"name": meta["name"], **meta}
        causes.append(Cause("FieldValueInvalid", f"Invalid value: {go(ordered)}: must be empty", "metadata"))
    if causes:
        raise invalid("", resource.group, "", causes)


def _rules(authorizer: Authorizer, user: User, namespace: str) -> Json:
    if not namespace:
        raise bad_request("no namespace on request")
    resources: list[Json] = []
    paths: list[Json] = []
    for rule, _ in authorizer.rules(user, namespace):
        if rule.get("nonResourceURLs"):
            paths.append({"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]})
        else:
            shown: dict[str, Any] = {key: rule.get(key) or [] for key in ("verbs", "apiGroups", "resources")}
            if rule.get("resourceNames"):
                shown["resourceNames"] = rule["resourceNames"]
            resources.append(shown)
    return {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}
