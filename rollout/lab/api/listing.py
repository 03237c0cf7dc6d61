"""Lists: selection, pages that show one moment, and tokens that expire."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from typing import NamedTuple

from rollout.lab.api.decode import go_json_error
from rollout.lab.api.kinds import Resource
from rollout.lab.api.options import ListOptions
from rollout.lab.api.status import ApiError, Json, bad_request
from rollout.lab.api.storage import Compacted, Name, Storage

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class Page(NamedTuple):
    """Stored objects, and the metadata of their list."""

    items: list[Json]
    meta: Json


class _Token(NamedTuple):
    revision: int
    start: Name


def page(storage: Storage, resource: Resource, namespace: str, options: ListOptions) -> Page:
    """One page of a list.

    Raises:
        ApiError: 400, 410 or 504.
    """
    with storage.changed:
        revision, start = _moment(storage, options)
        if revision > storage.revision:
            raise too_large(revision, storage.revision)
        try:
            if revision == storage.revision:
                candidates: Iterable[Json] = storage.select(resource.key, namespace)
            else:
                objects = storage.at(resource.key, revision)
                candidates = [objects[k] for k in sorted(objects) if not namespace or k[0] == namespace]
        except Compacted:
            if start is None:
                raise ApiError(410, "Expired", "The resourceVersion for the provided list is too old.") from None
            fresh = _encode(_Token(-1, start))
            raise ApiError(410, "Expired", _TOO_OLD, meta={"continue": fresh}) from None
    return _cut(candidates, revision, start, options)


def _moment(storage: Storage, options: ListOptions) -> tuple[int, Name | None]:
    if options.token:
        if options.revision not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        token = _decode(options.token)
        return (storage.revision if token.revision < 0 else token.revision), token.start
    if options.revision in ("", "0"):
        return storage.revision, None
    wanted = int(options.revision)
    if options.match == "Exact" or (options.limit and not options.match):
        return wanted, None
    if wanted > storage.revision:
        raise too_large(wanted, storage.revision)
    return storage.revision, None


def _cut(candidates: Iterable[Json], revision: int, start: Name | None, options: ListOptions) -> Page:
    rest = [obj for obj in candidates if start is None or _key(obj) >= start]
    meta: Json = {"resourceVersion": str(revision)}
    limit = 0 if options.revision == "0" or options.single else options.limit  # the server's cache knows no pages
    found: list[Json] = []
    for index, obj in enumerate(rest):
        if limit and len(found) == limit:
            meta["continue"] = _encode(_Token(revision, _after(found[-1])))
            if not options.selective:
                meta["remainingItemCount"] = len(rest) - index
            break
        if options.matches(obj):
            found.append(obj)
    return Page(found, meta)


def too_large(wanted: int, current: int) -> ApiError:
    """504: a revision from the future."""
    found = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    text = f"Timeout: Too large resource version: {wanted}, current: {current}"
    return ApiError(504, "Timeout", text, found, headers={"Retry-After": "1"})


def _key(obj: Json) -> Name:
    return (obj["metadata"].get("namespace") or "", obj["metadata"]["name"])


def _after(obj: Json) -> Name:
    namespace, name = _key(obj)
    return (namespace, name + "\0")


def _encode(token: _Token) -> str:
    start = "/".join(filter(None, token.start))
    document = {"v": "meta.k8s.io/v1", "rv": token.revision, "start": start}
    return base64.urlsafe_b64encode(json.dumps(document, separators=(",", ":")).encode()).decode().rstrip("=")


def _decode(text: str) -> _Token:
    raw = b""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        document = json.loads(raw)
        if document.get("v") != "meta.k8s.io/v1":
            why = f"server does not recognize this encoded version {document.get('v', '')}"
            raise bad_request(f"invalid continue token: continue key is not valid: {why}")
        namespace, slash, name = str(document["start"]).rpartition("/")
        return _Token(int(document["rv"]), (namespace if slash else "", name))
    except (binascii.Error, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"invalid character '\\u{raw[0]:04x}' looking for beginning of value" if raw else go_json_error(raw)
        raise bad_request(f"invalid continue token: continue key is not valid: {why}") from error
