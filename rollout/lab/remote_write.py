"""Prometheus' remote write, the sending side: samples as bodies of `POST /api/v1/write`.

A body is `prometheus.WriteRequest` (protocol buffers) in a snappy *block* whose chunks are all literals: valid snappy
that compresses nothing, which loopback does not mind. Nine days of scrapes are millions of samples, so the samples of
a series are laid out in strides of equal length instead of one by one.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

Samples = tuple[Mapping[str, str], Sequence[int], Sequence[float]]
"""Labels with `__name__`, timestamps in milliseconds (rising), values."""

HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}

_LITERAL_LIMIT = 65_536  # what a two-byte length can say
_VALUE, _TIME = 3, 12  # where they begin in a sample's stride: two tags stand before, one between
_TIME_BYTES = 6  # seven bits each: until the year 2109; a time that needs fewer is written overlong
_STRIDE = _TIME + _TIME_BYTES


def bodies(series: Iterable[Samples], *, limit: int = 4_000_000) -> Iterator[bytes]:
    """The bodies of as many requests as it takes to stay near `limit` bytes each, one series never split.

    Raises:
        ValueError: a time before 1970 or after 2109.
    """
    raw = bytearray()
    for labels, times_ms, values in series:
        raw += _series(labels, times_ms, values)
        if len(raw) > limit:
            yield _snappy(bytes(raw))
            raw.clear()
    if raw:
        yield _snappy(bytes(raw))


def _varint(number: int) -> bytes:
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
    pairs = [_block(1, _block(1, name.encode()) + _block(2, labels[name].encode())) for name in sorted(labels)]
    return _block(1, b"".join(pairs) + _samples(times_ms, values))


def _samples(times_ms: Sequence[int], values: Sequence[float]) -> bytes:
    """The `Sample` messages of a series: tag and length, value (double), time (varint)."""
    doubles = array("d", values)
    if len(doubles) != len(times_ms):
        raise ValueError(f"{len(times_ms)} times and {len(doubles)} values")
    if sys.byteorder == "big":
        doubles.byteswap()
    packed = doubles.tobytes()
    out = bytearray(_of_grid(times_ms) if isinstance(times_ms, range) else _without_values(times_ms))
    for byte in range(8):
        out[_VALUE + byte :: _STRIDE] = packed[byte::8]
    return bytes(out)


def _without_values(times_ms: Sequence[int]) -> bytes:
    if times_ms and not 0 <= min(times_ms) <= max(times_ms) < 1 << 7 * _TIME_BYTES:
        raise ValueError(f"a time outside 1970 to 2109: {min(times_ms)} to {max(times_ms)} ms")
    out = bytearray(bytes((0x12, _STRIDE - 2, 0x09, *[0] * 8, 0x10, *[0] * _TIME_BYTES)) * len(times_ms))
    for byte in range(_TIME_BYTES):
        more = 0x80 if byte < _TIME_BYTES - 1 else 0
        out[_TIME + byte :: _STRIDE] = bytes([time >> 7 * byte & 0x7F | more for time in times_ms])
    return bytes(out)


_of_grid = lru_cache(maxsize=32)(_without_values)  # all series of a target share their grid


def _snappy(raw: bytes) -> bytes:
    out = bytearray(_varint(len(raw)))
    for start in range(0, len(raw), _LITERAL_LIMIT):
        chunk = raw[start : start + _LITERAL_LIMIT]
        out += bytes([61 << 2]) + struct.pack("<H", len(chunk) - 1) + chunk
    return bytes(out)
