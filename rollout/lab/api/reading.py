"""The body of a create or update: decoded, its types checked, unknown and duplicate fields told or refused."""

from __future__ import annotations

from rollout.lab.api import protobuf
from rollout.lab.api.decode import check_types, decode_object, secret_problem
from rollout.lab.api.http import HttpRequest
from rollout.lab.api.kinds import CORE, Resource
from rollout.lab.api.schema import unknown_fields
from rollout.lab.api.status import ApiError, Json, bad_request, bad_value, invalid

_CONVERTIBLE = frozenset(resource.kind for resource in CORE if resource.group == "")
_MEDIA = ("application/json", "application/yaml", "")
_ACCEPTED = "application/json, application/yaml, application/vnd.kubernetes.protobuf"


def unsupported_media(accepted: str) -> ApiError:
    """415."""
    text = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
    return ApiError(415, "UnsupportedMediaType", text)


def read_body(
    request: HttpRequest, resource: Resource, version: str, validation: str = "Ignore"
) -> tuple[Json, list[str]]:
    """The object in the body, with apiVersion and kind, and the warnings for fields that do not count.

    Raises:
        ApiError: 400, 415 or 422.
    """
    if request.media == protobuf.MEDIA:
        return _protobuf(request), []
    if request.media not in _MEDIA:
        raise unsupported_media(_ACCEPTED)
    document, duplicates = decode_object(request.body, request.media, resource, version)
    _check_kind(resource, version, document)
    document.setdefault("metadata", {})
    if document["metadata"] is None:
        document["metadata"] = {}
    check_types(resource, version, document)
    return document, told(resource, version, document, duplicates, validation)


def _protobuf(request: HttpRequest) -> Json:
    try:
        document = protobuf.decode(request.body)
    except (ValueError, UnicodeDecodeError) as error:
        raise bad_request(str(error)) from error
    if document is None:
        raise unsupported_media("application/json, application/yaml")
    document.setdefault("metadata", {})
    return document


def _check_kind(resource: Resource, version: str, document: Json) -> None:
    given = document.get("kind") or ""
    if given == resource.kind:
        return
    if resource.custom and given:
        meta = document.get("metadata") or {}
        cause = bad_value("kind", given, f"must be {resource.kind}")
        raise invalid(given, resource.group, str(meta.get("name") or ""), [cause])
    api_version = str(document.get("apiVersion") or resource.api_version(version))
    if given:
        why = wrong_kind(resource, api_version, given, document)
        short = api_version.rpartition("/")[2]
        raise bad_request(f'{given} in version "{short}" cannot be handled as a {resource.kind}: {why}')
    document["kind"] = resource.kind
    document["apiVersion"] = api_version


def wrong_kind(resource: Resource, api_version: str, kind: str, document: Json) -> str:
    """Why an object of another kind or version is none of this built-in kind."""
    if kind == "Secret" and api_version == "v1":
        why = secret_problem(document)
        if why:
            return why
    if api_version == resource.api_version() and kind in _CONVERTIBLE:
        return f"converting (v1.{kind}) to (core.{resource.kind}): unknown conversion"
    scheme = "k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30"
    return f'no kind "{kind}" is registered for version "{api_version}" in scheme "{scheme}"'


def told(resource: Resource, version: str, document: Json, duplicates: list[str], validation: str) -> list[str]:
    """Warnings about unknown and duplicate fields, by fieldValidation.

    Raises:
        ApiError: 400, when the writer asked for strictness.
    """
    found = [f'duplicate field "{path}"' for path in duplicates]
    found += [f'unknown field "{path}"' for path in unknown_fields(resource.kind, document)]
    if validation == "Ignore" or not found:
        return []
    if validation == "Strict":
        why = ", ".join(found)
        kind = resource.kind
        raise bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: strict decoding error: {why}')
    return found
