"""The few protobuf bodies that kubectl sends (`create ns`, `auth can-i`, …), read into objects.

Answers are JSON, which kubectl accepts; only a refusal to a client that takes nothing but protobuf is written in it.
A kind that is not in the table is refused with 415 by the caller.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rollout.lab.api.status import Json

MAGIC = b"k8s\0"
MEDIA = "application/vnd.kubernetes.protobuf"

_Schema = dict[int, tuple[str, Any]]
_STRINGS = "strings"
_STRING = "string"
_MAP = "map"
_BOOL = "bool"
_META: _Schema = {
    1: ("name", _STRING),
    2: ("generateName", _STRING),
    3: ("namespace", _STRING),
    5: ("uid", _STRING),
    6: ("resourceVersion", _STRING),
    11: ("labels", _MAP),
    12: ("annotations", _MAP),
    14: ("finalizers", _STRINGS),
}
_RESOURCE: _Schema = {
    1: ("namespace", _STRING),
    2: ("verb", _STRING),
    3: ("group", _STRING),
    4: ("version", _STRING),
    5: ("resource", _STRING),
    6: ("subresource", _STRING),
    7: ("name", _STRING),
}
_PATH: _Schema = {1: ("path", _STRING), 2: ("verb", _STRING)}
_ACCESS: _Schema = {1: ("resourceAttributes", _RESOURCE), 2: ("nonResourceAttributes", _PATH)}
_KINDS: dict[str, _Schema] = {
    "Namespace": {1: ("metadata", _META)},
    "ConfigMap": {1: ("metadata", _META), 2: ("data", _MAP), 4: ("immutable", _BOOL)},
    "ServiceAccount": {1: ("metadata", _META)},
    "SelfSubjectReview": {1: ("metadata", _META)},
    "SelfSubjectAccessReview": {1: ("metadata", _META), 2: ("spec", _ACCESS)},
    "SelfSubjectRulesReview": {1: ("metadata", _META), 2: ("spec", {1: ("namespace", _STRING)})},
}


def decode(body: bytes) -> Json | None:
    """The object in a protobuf body; None when its kind is not in the table.

    Raises:
        ValueError: no protobuf of Kubernetes.
    """
    if not body.startswith(MAGIC):
        msg = "the body is not in Kubernetes' protobuf form"
        raise ValueError(msg)
    envelope = dict(_fields(body[len(MAGIC) :]))
    types = {number: value.decode() for number, value in _fields(envelope.get(1, b""))}
    kind = types.get(2, "")
    if kind not in _KINDS:
        return None
    return {"apiVersion": types.get(1, ""), "kind": kind, **_message(envelope.get(2, b""), _KINDS[kind])}


def encode_status(status: Json) -> bytes:
    """A Status with its message, reason and code."""
    texts = (b"", status["status"].encode(), status["message"].encode(), str(status.get("reason", "")).encode())
    raw = b"".join(_piece(number, text) for number, text in enumerate(texts, start=1))
    raw += b"\x30" + _varint_bytes(status["code"])
    types = _piece(1, b"v1") + _piece(2, b"Status")
    return MAGIC + _piece(1, types) + _piece(2, raw)


def _piece(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint_bytes(len(data)) + data


def _varint_bytes(value: int) -> bytes:
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*result, value])


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            msg = "truncated protobuf"
            raise ValueError(msg)
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(field number, value): bytes for length-delimited fields, an int for varints."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
                yield tag >> 3, value
            case 2:
                length, at = _varint(data, at)
                yield tag >> 3, data[at : at + length]
                at += length
            case 1:
                at += 8
            case 5:
                at += 4
            case _:
                msg = "unknown wire type"
                raise ValueError(msg)


def _message(data: bytes, schema: _Schema) -> Json:
    result: Json = {}
    for number, value in _fields(data):
        if number not in schema:
            continue
        name, kind = schema[number]
        if kind is _STRING:
            if value:
                result[name] = value.decode()
        elif kind is _STRINGS:
            result.setdefault(name, []).append(value.decode())
        elif kind is _BOOL:
            result[name] = bool(value)
        elif kind is _MAP:
            entry = dict(_fields(value))
            result.setdefault(name, {})[entry.get(1, b"").decode()] = entry.get(2, b"").decode()
        else:
            result[name] = _message(value, kind)
    return result
