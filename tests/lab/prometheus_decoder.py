"""Reads a body of remote write; shares nothing with the encoder."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

Decoded = tuple[dict[str, str], list[int], list[float]]


def unsnapped(block: bytes) -> bytes:
    """A snappy block of literals with two bytes of length each."""
    size, at = number(block, 0)
    out = b""
    while at < len(block):
        assert block[at] == 61 << 2
        length = int.from_bytes(block[at + 1 : at + 3], "little") + 1
        out += block[at + 3 : at + 3 + length]
        at += 3 + length
    assert size == len(out)
    return out


def number(raw: bytes, at: int) -> tuple[int, int]:
    """A varint and where it ends."""
    value = shift = 0
    while True:
        value |= (raw[at] & 0x7F) << shift
        shift += 7
        at += 1
        if raw[at - 1] < 0x80:
            return value, at


def fields(raw: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and content of each field of a message."""
    at = 0
    while at < len(raw):
        tag, at = number(raw, at)
        match tag & 7:
            case 0:
                value, at = number(raw, at)
                yield tag >> 3, value
            case 1:
                yield tag >> 3, raw[at : at + 8]
                at += 8
            case 2:
                size, at = number(raw, at)
                yield tag >> 3, raw[at : at + size]
                at += size
            case wire:
                pytest.fail(f"wire type {wire}")


def decoded(body: bytes) -> list[Decoded]:
    """The series of a request."""
    return [_series(raw) for _, raw in fields(unsnapped(body)) if isinstance(raw, bytes)]


def _series(raw: bytes) -> Decoded:
    labels: dict[str, str] = {}
    times, values = [], []
    for field, part in fields(raw):
        assert isinstance(part, bytes)
        content = dict(fields(part))
        if field == 1:
            assert isinstance(content[1], bytes)
            assert isinstance(content[2], bytes)
            labels[content[1].decode()] = content[2].decode()
        else:
            assert isinstance(content[1], bytes)
            assert isinstance(content[2], int)
            values.append(struct.unpack("<d", content[1])[0])
            times.append(content[2])
    assert sorted(labels) == list(labels)
    return labels, times, values
