"""Kubernetes' JSON to values and back, forgiving where servers differ, exact where they insist."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec

from rollout.errors import ClusterError
from rollout.model.kubernetes import Object, Ref

T = TypeVar("T", bound=Object)


class ListMeta(msgspec.Struct, frozen=True):
    """metadata of a list."""

    continue_: str | None = msgspec.field(name="continue", default=None)


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A page of a list; some servers write null for an empty one."""

    items: tuple[T, ...] | None = None
    metadata: ListMeta = ListMeta()


class _RawPage(msgspec.Struct, frozen=True):
    items: tuple[msgspec.Raw, ...] | None = None
    metadata: ListMeta = ListMeta()


class _Head(msgspec.Struct, frozen=True):
    metadata: dict[str, Any] | None = None


@cache
def _decoder(shape: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(shape)


def microtime(at: datetime) -> str:
    """MicroTime of a Lease: six digits always, or the server refuses it (servers.md, Traps 2)."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def decode_object(kind: type[T], body: bytes, where: str) -> T:
    """One object.

    Raises:
        ClusterError: it is none, with the field that does not fit.
    """
    try:
        found: T = _decoder(kind).decode(body)
    except msgspec.MsgspecError:
        return _again(kind, body, where)
    return found


def decode_page(kind: type[T], body: bytes, where: str) -> tuple[tuple[T, ...], str]:
    """A page's objects, and the token of the next page ('' at the end).

    Raises:
        ClusterError: it is no list, or one of its objects does not fit; the sentence names it.
    """
    try:
        page: Page[T] = _decoder(Page[kind]).decode(body)  # type: ignore[valid-type]
    except msgspec.MsgspecError:
        raw = _decode(_RawPage, body, where)
    else:
        return page.items or (), page.metadata.continue_ or ""
    return tuple(_again(kind, item, where) for item in raw.items or ()), raw.metadata.continue_ or ""


def decode(shape: type[Any], body: bytes, where: str) -> Any:
    """Any other answer.

    Raises:
        ClusterError: it does not fit.
    """
    return _decode(shape, body, where)


def _again(kind: type[T], body: bytes | msgspec.Raw, where: str) -> T:
    """Decode once more with nulls taken as absent, as the API's conventions have it."""
    found: T
    try:
        found = msgspec.convert(_without_nulls(msgspec.json.decode(body)), kind)
    except msgspec.MsgspecError as error:
        raise ClusterError(
            f"{_named(kind, body)} cannot be read: {error}",
            where=where,
            next="is this a Kubernetes API server, or a proxy's page?",
        ) from error
    return found


def _decode(shape: type[Any], body: bytes, where: str) -> Any:
    try:
        return _decoder(shape).decode(body)  # type: ignore[arg-type]
    except msgspec.MsgspecError as error:
        raise ClusterError(
            f"the server's answer is no Kubernetes object: {error}",
            where=where,
            next="is this a Kubernetes API server, or a proxy's login page?",
        ) from error


def _named(kind: type[Object], body: bytes | msgspec.Raw) -> str:
    try:
        metadata = msgspec.json.decode(body, type=_Head).metadata or {}
    except msgspec.MsgspecError:
        return f"an answer that should be a {kind.RESOURCE.kind}"
    return str(Ref(kind.RESOURCE.kind, metadata.get("namespace") or "", metadata.get("name") or "?"))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    return value
