"""PATCH: which media type means what, and the patched object checked before anything else happens to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from rollout.lab.api.decode import parse, type_problem
from rollout.lab.api.http import HttpRequest
from rollout.lab.api.kinds import Resource
from rollout.lab.api.objects import bare, present
from rollout.lab.api.patches import json_patch, merge
from rollout.lab.api.reading import unsupported_media, wrong_kind
from rollout.lab.api.routes import Route
from rollout.lab.api.schema import META_ORDER, unknown_fields
from rollout.lab.api.status import ApiError, Json, bad_request, bad_value, invalid
from rollout.lab.api.strategic import strategic_merge

_JSON = "application/json-patch+json"
_MERGE = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"
_APPLY = "application/apply-patch+yaml"
_ENTRY_ORDER = ["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1", "subresource"]


def patched(
    request: HttpRequest, at: Route, resource: Resource, validation: str, warnings: list[str]
) -> tuple[Any, Callable[[Json], Json]]:
    """The patch, and the function that turns a stored object into the patched one.

    Raises:
        ApiError: 400 or 415; the function raises 400, 422 or 500.
    """
    media = request.media
    _check_media(media, resource)
    try:
        patch, duplicates = parse(request.body, "application/json")
    except ValueError as error:
        raise bad_request(f"error decoding patch: {error}") from error
    _check_form(media, patch)

    def make(old: Json) -> Json:
        whole = present(resource, old, at.version)
        if media == _JSON:
            made = json_patch(whole, patch)
            _null_strings(made)
        elif media == _MERGE:
            made = merge(whole, patch)
        else:
            made = strategic_merge(whole, patch)
        made.setdefault("metadata", {})
        _check(resource, at, made)
        found = [f'duplicate field "{path}"' for path in duplicates]
        found += [f'unknown field "{path}"' for path in unknown_fields(resource.kind, made)]
        if found and validation == "Strict":
            raise _not_strict(made, found, patch if media == _STRATEGIC else None, custom=resource.custom)
        if validation == "Warn":
            warnings.extend(found)
        return bare(made)

    return patch, make


def _not_strict(made: Json, found: list[str], strategic: Json | None, *, custom: bool) -> ApiError:
    """422 for fields that do not exist: with the patched object, for a strategic merge patch with the patch."""
    why = f"strict decoding error: {', '.join(found)}"
    if strategic is None:
        return _refused(made, why, custom=custom)
    return invalid("", "", "", [bad_value("patch", _go_map(strategic), why)])


def _check_form(media: str, patch: Any) -> None:
    """A list of operations, or part of an object."""
    if media == _JSON and not isinstance(patch, list):
        json_patch({}, patch)
    if media != _JSON and not isinstance(patch, dict):
        kind = "array" if isinstance(patch, list) else "string" if isinstance(patch, str) else "number"
        text = f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        raise bad_request(f"error decoding patch: {text}")


def _check_media(media: str, resource: Resource) -> None:
    allowed = (_JSON, _MERGE) if resource.custom else (_JSON, _MERGE, _STRATEGIC)
    if media in allowed:
        return
    if media == _APPLY:
        # The lab has no server-side apply: 415 says so, where a silent merge would lie.
        raise unsupported_media(", ".join(allowed))
    if resource.custom:
        raise unsupported_media(f"{_JSON}, {_MERGE}, {_APPLY}")
    raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})


def _check(resource: Resource, at: Route, made: Json) -> None:
    why = _version_problem(resource, at, made) or type_problem(resource, made)
    if why:
        raise _refused(made, why, custom=resource.custom)
    if resource.custom and made.get("apiVersion") != resource.api_version(at.version):
        wanted = resource.api_version(at.version)
        cause = bad_value("apiVersion", made.get("apiVersion"), f"must be {wanted}")
        raise invalid(resource.kind, resource.group, at.name, [cause])
    if resource.custom and made.get("kind") != resource.kind:
        cause = bad_value("kind", made.get("kind"), f"must be {resource.kind}")
        raise invalid(resource.kind, resource.group, at.name, [cause])
    namespace = made["metadata"].get("namespace") or ""
    if resource.namespaced and namespace and namespace != at.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def _version_problem(resource: Resource, at: Route, made: Json) -> str:
    if resource.custom:
        return ""
    given, kind = str(made.get("apiVersion") or ""), str(made.get("kind") or "")
    if given == resource.api_version(at.version) and kind == resource.kind:
        return ""
    return wrong_kind(resource, given, kind, made)


def _refused(made: Json, why: str, *, custom: bool) -> ApiError:
    shown = json.dumps(_ordered(made, custom=custom), separators=(",", ":"), ensure_ascii=False)
    return invalid("", "", "", [bad_value("patch", shown, why)])


def _go_map(value: Any) -> str:
    """A value as Go prints it: `map[a:1 b:[x y]]`."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_go_map(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(_go_map, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return "<nil>" if value is None else str(value)


def _ordered(made: Json, *, custom: bool) -> Json:
    """The object in the key order of the server: maps sorted, but a Go struct's metadata as it is declared."""
    result: Json = _sorted(made)
    if custom:
        return result
    meta = result.get("metadata") or {}
    result["metadata"] = {key: meta[key] for key in META_ORDER if key in meta}
    entries = meta.get("managedFields")
    if entries:
        result["metadata"]["managedFields"] = [
            {key: entry[key] for key in _ENTRY_ORDER if key in entry} for entry in entries
        ]
    return result


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _null_strings(made: Json) -> None:
    """In Go's maps of strings a null is an empty string."""
    meta = made.get("metadata")
    maps = [made.get("data")] + [meta.get(key) for key in ("labels", "annotations") if isinstance(meta, dict)]
    for values in maps:
        if isinstance(values, dict):
            values.update({key: "" for key, value in values.items() if value is None})
