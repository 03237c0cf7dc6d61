"""In which form an answer goes out: whole objects, metadata only, or the table that kubectl prints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rollout.lab.api.http import HttpRequest
from rollout.lab.api.kinds import Resource
from rollout.lab.api.status import ApiError, Json

_ALL = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
_STREAMS = ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"


class Form(NamedTuple):
    """`as_`: '' for whole objects, else Table, PartialObjectMetadata or PartialObjectMetadataList, in a `version`."""

    media: str
    as_: str
    version: str = "v1"


def negotiate(request: HttpRequest, *, listing: bool, watch: bool = False) -> Form:
    """The form that the Accept header asks for.

    Raises:
        ApiError: 406.
    """
    accept = ",".join(request.headers.get("accept", [])) or "*/*"
    for media, wanted in clauses(accept):
        if media in ("*/*", ""):
            return Form("application/json", "")
        if media == "application/yaml" and not watch:
            return Form(media, "")
        if media != "application/json":
            continue
        as_ = wanted.get("as", "")
        if not as_:
            return Form(media, "")
        if wanted.get("g") != "meta.k8s.io" or wanted.get("v") not in ("v1", "v1beta1"):
            continue
        if as_ in ("Table", "PartialObjectMetadata", "PartialObjectMetadataList"):
            return Form(media, as_, wanted["v"])
    raise not_acceptable(accept, watch=watch, reading=listing and request.method == "GET")


def clauses(accept: str) -> list[tuple[str, dict[str, str]]]:
    """(media type, its parameters) of an Accept header, the best quality first."""
    found: list[tuple[float, str, dict[str, str]]] = []
    for clause in accept.split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        wanted = dict(part.partition("=")[::2] for part in parameters)
        try:
            quality = float(wanted.get("q", "1"))
        except ValueError:
            quality = 0.0
        found.append((quality, media, wanted))
    found.sort(key=lambda item: -item[0])
    return [(media, wanted) for _, media, wanted in found]


def check_form(form: Form, resource: Resource, *, listing: bool) -> None:
    """Refuse the list form of one object, and the single form of a list.

    Raises:
        ApiError: 406.
    """
    if form.as_ == ("PartialObjectMetadata" if listing else "PartialObjectMetadataList"):
        package = "unstructured.Unstructured" if resource.custom else f"core.{resource.kind}"
        what = f"is a list (*{package}List)" if listing else f"is not a list (*{package})"
        raise ApiError(406, "NotAcceptable", f"you requested {form.as_}, but the requested object {what}")


def not_acceptable(accept: str, *, watch: bool, reading: bool) -> ApiError:
    """406: in one of two wordings, by where in the server it is noticed."""
    if watch:
        kinds = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
        return ApiError(406, "NotAcceptable", f"only the following media types are accepted: {kinds}")
    if "json" in accept:
        return ApiError(406, "NotAcceptable", f"only the following media types are accepted: {_ALL}")
    text = f"406: Not Acceptable\n\nAvailable representations: {_ALL}{_STREAMS if reading else ''}"
    return ApiError(406, "NotAcceptable", text, {})


def partial(obj: Json, version: str = "v1") -> Json:
    """Only the metadata of an object."""
    return {"kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{version}", "metadata": obj["metadata"]}


def list_document(resource: Resource, version: str, items: Iterable[Json], meta: Json, form: Form) -> Json:
    """A list of stored objects; `meta` has resourceVersion, and continue where there are more."""
    api_version = resource.api_version(version)
    if form.as_ == "PartialObjectMetadataList":
        found = [partial(obj, form.version) for obj in items]
        api = f"meta.k8s.io/{form.version}"
        return {"kind": form.as_, "apiVersion": api, "metadata": meta, "items": found or None}
    if resource.custom:
        head = {"apiVersion": api_version, "kind": resource.kind}
        whole = [{**head, **obj} for obj in items]
        return {
            "apiVersion": api_version,
            "items": whole,
            "kind": resource.kind + "List",
            "metadata": {"continue": "", **meta},
        }
    return {"kind": resource.kind + "List", "apiVersion": api_version, "metadata": meta, "items": list(items)}
