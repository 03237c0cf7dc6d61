"""A remote-write request made by hand: the tests need one message of one protocol, and no package for it.

The body is `prometheus.WriteRequest` (protocol buffers) in a snappy *block* whose chunks are all literals:
valid snappy that compresses nothing, which loopback does not mind.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence

Samples = tuple[Mapping[str, str], Sequence[int], Sequence[float]]
"""Labels with `__name__`, timestamps in milliseconds (rising), values."""

_LITERAL_LIMIT = 65_536  # what a two-byte length can say


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1  # a negative int64 is its two's complement on ten bytes
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _block(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _series(labels: Mapping[str, str], times_ms: Sequence[int], values: Sequence[float]) -> bytes:
    """One `TimeSeries`; the receiver wants the labels sorted by name."""
    parts = [_block(1, _block(1, name.encode()) + _block(2, labels[name].encode())) for name in sorted(labels)]
    parts += [
        _block(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(time_ms))
        for time_ms, value in zip(times_ms, values, strict=True)
    ]
    return _block(1, b"".join(parts))


def _snappy(raw: bytes) -> bytes:
    out = bytearray(_varint(len(raw)))
    for start in range(0, len(raw), _LITERAL_LIMIT):
        chunk = raw[start : start + _LITERAL_LIMIT]
        out += bytes([61 << 2]) + struct.pack("<H", len(chunk) - 1) + chunk
    return bytes(out)


def bodies(series: Iterable[Samples], *, limit: int = 4_000_000) -> Iterator[bytes]:
    """The bodies of as many requests as it takes to stay below `limit` bytes each, one series never split."""
    raw = bytearray()
    for labels, times_ms, values in series:
        raw += _series(labels, times_ms, values)
        if len(raw) > limit:
            yield _snappy(bytes(raw))
            raw.clear()
    if raw:
        yield _snappy(bytes(raw))
