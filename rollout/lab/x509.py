"""X.509 certificates on P-256, written with the standard library alone: enough for a mesh of the lab's own.

DER by ITU-T X.690, certificates by RFC 5280, ECDSA by FIPS 186-4 with a nonce that follows from key and message (as in
RFC 6979, more simply). Keys come from a seed and protect nothing: never use them outside of the lab.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
_Point = tuple[int, int]


@dataclass(frozen=True)
class Key:
    """A private key on P-256 and its public point."""

    secret: int
    point: _Point

    @classmethod
    def of(cls, seed: str) -> Key:
        """The key of a seed."""
        secret = int.from_bytes(hashlib.sha256(seed.encode()).digest()) % (_N - 1) + 1
        return cls(secret, _times(secret, _G))

    def sign(self, message: bytes) -> bytes:
        """The DER of an ECDSA signature over the SHA-256 of a message."""
        digest = hashlib.sha256(message).digest()
        number = 0
        while True:
            number += 1
            text = self.secret.to_bytes(32) + digest + bytes((number % 256,))
            nonce = int.from_bytes(hashlib.sha256(text).digest()) % _N
            if not nonce:
                continue
            r = _times(nonce, _G)[0] % _N
            s = pow(nonce, -1, _N) * (int.from_bytes(digest) + r * self.secret) % _N
            if r and s:
                return _sequence(_integer(r), _integer(s))

    @property
    def public(self) -> bytes:
        """The uncompressed point."""
        return b"\4" + self.point[0].to_bytes(32) + self.point[1].to_bytes(32)


@dataclass(frozen=True)
class Certificate:
    """A certificate and what an issuer or a reader needs of it."""

    der: bytes
    key: Key
    organization: str
    serial: int
    not_before: datetime
    not_after: datetime
    uri: str = ""

    @property
    def pem(self) -> bytes:
        """As text."""
        text = base64.b64encode(self.der)
        lines = b"\n".join(text[start : start + 64] for start in range(0, len(text), 64))
        return b"-----BEGIN CERTIFICATE-----\n" + lines + b"\n-----END CERTIFICATE-----\n"


def authority(organization: str, seed: str, not_before: datetime, not_after: datetime) -> Certificate:
    """A self-signed root."""
    key = Key.of(seed)
    return _issue(organization, organization, key, key, (not_before, not_after), _ca_extensions(key))


def leaf(root: Certificate, uri: str, seed: str, not_before: datetime, not_after: datetime) -> Certificate:
    """A workload's certificate: no subject, a URI as its name, for servers and clients."""
    key = Key.of(seed)
    extensions = _leaf_extensions(uri, root.key)
    return _issue(root.organization, "", root.key, key, (not_before, not_after), extensions, uri=uri)


def _issue(
    issuer: str, subject: str, by: Key, key: Key, valid: tuple[datetime, datetime], extensions: bytes, *, uri: str = ""
) -> Certificate:
    serial = int.from_bytes(hashlib.sha256(key.public + valid[0].isoformat().encode()).digest()[:15]) | 1
    body = _sequence(
        _tagged(0xA0, _integer(2)),
        _integer(serial),
        _ECDSA_SHA256,
        _name(issuer),
        _sequence(_time(valid[0]), _time(valid[1])),
        _name(subject),
        _sequence(_sequence(_oid(1, 2, 840, 10045, 2, 1), _oid(1, 2, 840, 10045, 3, 1, 7)), _bits(key.public)),
        _tagged(0xA3, extensions),
    )
    der = _sequence(body, _ECDSA_SHA256, _bits(by.sign(body)))
    return Certificate(der, key, subject or issuer, serial, *valid, uri)


def _ca_extensions(key: Key) -> bytes:
    return _sequence(
        _extension(15, _tagged(0x03, b"\x02\x04")),  # certificates are signed with it
        _extension(19, _sequence(_tagged(0x01, b"\xff"))),
        _extension(14, _tagged(0x04, _fingerprint(key)), critical=False),
    )


def _leaf_extensions(uri: str, issuer: Key) -> bytes:
    usages = _sequence(_oid(1, 3, 6, 1, 5, 5, 7, 3, 1), _oid(1, 3, 6, 1, 5, 5, 7, 3, 2))
    return _sequence(
        _extension(15, _tagged(0x03, b"\x05\xa0")),  # signatures, key encipherment
        _extension(37, usages, critical=False),
        _extension(19, _sequence()),
        _extension(35, _sequence(_tagged(0x80, _fingerprint(issuer))), critical=False),
        _extension(17, _sequence(_tagged(0x86, uri.encode()))),  # critical, as the subject is empty
    )


def _extension(number: int, value: bytes, *, critical: bool = True) -> bytes:
    flag = _tagged(0x01, b"\xff") if critical else b""
    return _sequence(_oid(2, 5, 29, number), flag, _tagged(0x04, value))


def _fingerprint(key: Key) -> bytes:
    return hashlib.sha1(key.public, usedforsecurity=False).digest()


def _name(organization: str) -> bytes:
    if not organization:
        return _sequence()
    return _sequence(_tagged(0x31, _sequence(_oid(2, 5, 4, 10), _tagged(0x0C, organization.encode()))))


def _time(moment: datetime) -> bytes:
    at = moment.astimezone(UTC)
    if at.year < 2050:
        return _tagged(0x17, at.strftime("%y%m%d%H%M%SZ").encode())
    return _tagged(0x18, at.strftime("%Y%m%d%H%M%SZ").encode())


def _tagged(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + content


def _sequence(*parts: bytes) -> bytes:
    return _tagged(0x30, b"".join(parts))


def _integer(value: int) -> bytes:
    return _tagged(0x02, value.to_bytes(value.bit_length() // 8 + 1))


def _bits(content: bytes) -> bytes:
    return _tagged(0x03, b"\0" + content)


def _oid(first: int, second: int, *rest: int) -> bytes:
    found = bytes((first * 40 + second,))
    for number in rest:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(number & 0x7F | 0x80)
        found += bytes(reversed(groups))
    return _tagged(0x06, found)


_ECDSA_SHA256 = _sequence(_oid(1, 2, 840, 10045, 4, 3, 2))


def _plus(a: _Point | None, b: _Point | None) -> _Point | None:
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % _P == 0:
            return None
        slope = 3 * (a[0] * a[0] - 1) * pow(2 * a[1], -1, _P) % _P
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, _P) % _P
    x = (slope * slope - a[0] - b[0]) % _P
    return x, (slope * (a[0] - x) - a[1]) % _P


def _times(factor: int, point: _Point) -> _Point:
    found: _Point | None = None
    doubled: _Point | None = point
    while factor:
        if factor & 1:
            found = _plus(found, doubled)
        doubled = _plus(doubled, doubled)
        factor >>= 1
    assert found is not None, "the factor is below the group's order"
    return found
