"""The query parameters of a request, checked as the server checks them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from rollout.lab.api.decode import parse
from rollout.lab.api.http import HttpRequest
from rollout.lab.api.kinds import Resource
from rollout.lab.api.selectors import matcher, parse_fields, parse_labels
from rollout.lab.api.status import (
    ApiError,
    Cause,
    Json,
    bad_request,
    bad_value,
    forbidden_value,
    go,
    invalid,
    too_long,
    unsupported,
)

_META = "meta.k8s.io"
_VALIDATIONS = ("", "Ignore", "Strict", "Warn")
_TRUE = ("1", "true", "True")


@dataclass(frozen=True)
class WriteOptions:
    """dryRun, fieldManager and fieldValidation of a create, update or patch."""

    dry_run: bool
    manager: str
    validation: str


def write_options(request: HttpRequest, kind: str) -> WriteOptions:
    """The options of a write; `kind` is CreateOptions, UpdateOptions or PatchOptions.

    Raises:
        ApiError: 422.
    """
    causes = _dry_run_causes(request.query.get("dryRun", []))
    manager = request.parameter("fieldManager")
    if len(manager) > 128:
        causes.append(too_long("fieldManager", 128))
    for at, char in enumerate(manager):
        if not char.isprintable():
            causes.append(bad_value("fieldManager", manager, f"invalid character U+{ord(char):04X} (at position {at})"))
            break
    if kind == "PatchOptions" and request.parameter("force") and request.media != "application/apply-patch+yaml":
        causes.append(forbidden_value("force", "may not be specified for non-apply patch"))
    validation = request.parameter("fieldValidation")
    if validation not in _VALIDATIONS:
        causes.append(unsupported("fieldValidation", validation, _VALIDATIONS))
    if causes:
        raise invalid(kind, _META, "", causes)
    return WriteOptions("dryRun" in request.query, manager or request.user_agent, validation or "Warn")


def _dry_run_causes(values: list[str]) -> list[Cause]:
    if all(value == "All" for value in values):
        return []
    return [Cause("FieldValueNotSupported", f'Unsupported value: {go(values)}: supported values: "All"', "dryRun")]


@dataclass(frozen=True)
class DeleteOptions:
    """What a delete was asked to do."""

    dry_run: bool = False
    uid: str | None = None
    revision: str | None = None
    grace: int | None = None
    propagation: str = ""


_POLICIES = ("Foreground", "Background", "Orphan", "nil")


def delete_options(request: HttpRequest) -> DeleteOptions:
    """DeleteOptions from the body, else from the query.

    Raises:
        ApiError: 400 or 422.
    """
    body = _delete_body(request)
    if body is None:
        body = {}
        if "gracePeriodSeconds" in request.query:
            body["gracePeriodSeconds"] = number(request, "gracePeriodSeconds")
        if "propagationPolicy" in request.query:
            body["propagationPolicy"] = request.parameter("propagationPolicy")
    if "dryRun" in request.query:
        body["dryRun"] = request.query["dryRun"]
    causes = _dry_run_causes(body.get("dryRun") or [])
    policy = body.get("propagationPolicy")
    if policy is not None and body.get("orphanDependents") is not None:
        causes.append(
            bad_value("propagationPolicy", policy, "orphanDependents and deletionPropagation cannot be both set")
        )
    if policy is not None and policy not in _POLICIES[:3]:
        causes.append(unsupported("propagationPolicy", policy, _POLICIES))
    if causes:
        raise invalid("DeleteOptions", _META, "", causes)
    conditions = body.get("preconditions") or {}
    return DeleteOptions(
        dry_run=bool(body.get("dryRun")),
        uid=conditions.get("uid"),
        revision=conditions.get("resourceVersion"),
        grace=body.get("gracePeriodSeconds"),
        propagation=policy or ("Orphan" if body.get("orphanDependents") else ""),
    )


def _delete_body(request: HttpRequest) -> Json | None:
    if not request.body:
        return None
    try:
        body, _ = parse(request.body, request.media)
    except ValueError as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error
    if not isinstance(body, dict):
        raise bad_request("couldn't get version/kind; json parse error: json: cannot unmarshal into Go value")
    kind = body.get("kind", "DeleteOptions")
    if kind != "DeleteOptions":
        scheme = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"
        text = f'no kind "{kind}" is registered for version "{body.get("apiVersion", "")}" in scheme "{scheme}"'
        raise bad_request(text)
    return dict(body)


def number(request: HttpRequest, name: str) -> int:
    """A whole number in the query, 0 when absent.

    Raises:
        ApiError: 400.
    """
    text = request.parameter(name)
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?\d+", text):
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


_DURATION = re.compile(r"[+-]?(?:0|(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+)")


def check_timeout(request: HttpRequest) -> None:
    """Refuse a `timeout` that is no duration; a good one changes nothing here, where answers come at once.

    Raises:
        ApiError: 400.
    """
    text = request.parameter("timeout")
    if text and not _DURATION.fullmatch(text):
        unit = re.fullmatch(r"[+-]?\d+(?:\.\d*)?", text)
        why = f"missing unit in duration {go(text)}" if unit else f"invalid duration {go(text)}"
        raise bad_request(f"invalid timeout specified in the request URL - time: {why}")


@dataclass(frozen=True)
class ListOptions:
    """What a list or a watch asks for."""

    matches: Callable[[Json], bool]
    selective: bool
    single: bool
    limit: int
    token: str
    revision: str
    match: str
    watch: bool
    timeout: int
    bookmarks: bool
    initial: bool


def list_options(request: HttpRequest, resource: Resource, *, watch: bool = False) -> ListOptions:
    """The options of a list, watch or deletecollection.

    Raises:
        ApiError: 400 or 422.
    """
    asked = request.query.get("watch", ["0"])[0]
    watch = watch or asked not in ("0", "false", "")
    limit, timeout = number(request, "limit"), number(request, "timeoutSeconds")
    labels, fields = parse_labels(request.parameter("labelSelector")), parse_fields(request.parameter("fieldSelector"))
    known = ("metadata.name", "metadata.namespace", *resource.fields)
    for term in fields:
        if term.path not in known:
            raise bad_request(_unknown_field(resource, term.path))
        if re.search(r"(?<!\\)=", term.value):
            raise bad_request("invalid field selector: unescaped character in value: 61")
    revision, match = request.parameter("resourceVersion"), request.parameter("resourceVersionMatch")
    initial = request.query.get("sendInitialEvents")
    causes = _match_causes(match, revision, initial, watch=watch)
    if causes:
        raise invalid("ListOptions", _META, "", causes)
    if revision and not revision.isdigit():
        raise _bad_revision(revision, watch=watch)
    return ListOptions(
        matches=matcher(labels, fields),
        selective=bool(labels or fields),
        single=any(term.path == "metadata.name" and term.equal for term in fields),
        limit=max(limit, 0),
        token=request.parameter("continue"),
        revision=revision,
        match=match,
        watch=watch,
        timeout=timeout,
        bookmarks=request.parameter("allowWatchBookmarks") in _TRUE,
        initial=bool(initial) and initial is not None and initial[0] in _TRUE,
    )


def _unknown_field(resource: Resource, path: str) -> str:
    if not resource.custom and not resource.fields:
        return f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'
    return f"field label not supported: {path}"


def _bad_revision(revision: str, *, watch: bool) -> ApiError:
    text = f'resourceVersion: Invalid value: "{revision}": strconv.ParseUint: parsing "{revision}": invalid syntax'
    if watch:
        return ApiError(500, "", text)
    return bad_request(f"invalid resource version: {text}")


def _match_causes(match: str, revision: str, initial: list[str] | None, *, watch: bool) -> list[Cause]:
    field = "resourceVersionMatch"
    if not watch:
        causes = []
        if initial is not None:
            causes.append(forbidden_value("sendInitialEvents", "sendInitialEvents is forbidden for list"))
        if match and not revision:
            causes.append(forbidden_value(field, f"{field} is forbidden unless resourceVersion is provided"))
        elif match not in ("", "Exact", "NotOlderThan"):
            causes.append(unsupported(field, match, ("Exact", "NotOlderThan", "")))
        elif match == "Exact" and revision == "0":
            causes.append(forbidden_value(field, f'{field} "exact" is forbidden for resourceVersion "0"'))
        return causes
    if initial is None:
        if match:
            return [forbidden_value(field, f"{field} is forbidden for watch unless sendInitialEvents is provided")]
        return []
    causes = []
    if match != "NotOlderThan":
        causes.append(forbidden_value(field, f"sendInitialEvents requires setting {field} to NotOlderThan"))
        if match:
            causes.append(unsupported(field, match, ("NotOlderThan",)))
    return causes
