"""What a proxy holds, from the three shapes in which it tells: never its private key.

The shapes name only what is read; the decoder skips every other field, so that a private key beside a chain becomes no
value at all. Of PEM text only CERTIFICATE blocks are taken.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from datetime import datetime

import msgspec

from rollout.errors import Outcome, RolloutError

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """PEM blocks of the workload's chain (its own first) and of the roots that it trusts; `warming`: none came yet."""

    chain: tuple[bytes, ...] = ()
    roots: tuple[bytes, ...] = ()
    warming: bool = False


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate as Envoy's /certs tells of it: without issuer and key, so that no signature can be proven."""

    uris: tuple[str, ...]
    serial: str
    not_before: datetime
    not_after: datetime


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """/certs: the chain's certificates, its own first, and the roots."""

    chain: tuple[Told, ...] = ()
    roots: tuple[Told, ...] = ()


class _Data(msgspec.Struct):
    inline_bytes: str = ""
    inline_string: str = ""
    camel_bytes: str = msgspec.field(name="inlineBytes", default="")
    camel_string: str = msgspec.field(name="inlineString", default="")


class _Certificate(msgspec.Struct):
    chain: _Data | None = msgspec.field(name="certificate_chain", default=None)
    camel_chain: _Data | None = msgspec.field(name="certificateChain", default=None)


class _Context(msgspec.Struct):
    ca: _Data | None = msgspec.field(name="trusted_ca", default=None)
    camel_ca: _Data | None = msgspec.field(name="trustedCa", default=None)


class _Secret(msgspec.Struct):
    certificate: _Certificate | None = msgspec.field(name="tls_certificate", default=None)
    camel_certificate: _Certificate | None = msgspec.field(name="tlsCertificate", default=None)
    context: _Context | None = msgspec.field(name="validation_context", default=None)
    camel_context: _Context | None = msgspec.field(name="validationContext", default=None)


class _Named(msgspec.Struct):
    name: str = ""
    secret: _Secret | None = None


class _Dump(msgspec.Struct):
    active: tuple[_Named, ...] = msgspec.field(name="dynamic_active_secrets", default=())
    camel_active: tuple[_Named, ...] = msgspec.field(name="dynamicActiveSecrets", default=())
    warming: tuple[_Named, ...] = msgspec.field(name="dynamic_warming_secrets", default=())
    camel_warming: tuple[_Named, ...] = msgspec.field(name="dynamicWarmingSecrets", default=())
    configs: tuple[_Dump, ...] = ()


class _Name(msgspec.Struct):
    uri: str = ""


class _Listed(msgspec.Struct):
    valid_from: datetime
    expiration_time: datetime
    serial_number: str = ""
    subject_alt_names: tuple[_Name, ...] = ()


class _Pair(msgspec.Struct):
    ca_cert: tuple[_Listed, ...] = ()
    cert_chain: tuple[_Listed, ...] = ()


class _Certs(msgspec.Struct):
    certificates: tuple[_Pair, ...]


_Part = Callable[[_Secret], Iterator[_Data]]


def held(text: bytes) -> Held:
    """Of `istioctl proxy-config secret -o json` or Envoy's config_dump.

    Of the secrets that are active `default` is the workload's own and `ROOTCA` what it trusts (istio.md 8.2).

    Raises:
        RolloutError: it is no such JSON, or a certificate in it is no base64.
    """
    try:
        dump = msgspec.json.decode(text, type=_Dump)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unreadable("is no JSON of Envoy's secrets", str(error)) from None
    chain: list[bytes] = []
    roots: list[bytes] = []
    warming = False
    for part in (dump, *dump.configs):
        for named in (*part.active, *part.camel_active):
            chain += _pems(named, "default", _chain_of)
            roots += _pems(named, "ROOTCA", _root_of)
        warming = warming or any(named.name == "default" for named in (*part.warming, *part.camel_warming))
    return Held(chain=tuple(chain), roots=tuple(dict.fromkeys(roots)), warming=warming and not chain)


def pem(text: bytes) -> tuple[bytes, ...]:
    """The CERTIFICATE blocks of a text, in their order; everything else in it is left where it is."""
    return tuple(_CERTIFICATE.findall(text))


def summary(text: bytes) -> Summary:
    """Of Envoy's /certs (`pilot-agent request GET certs`).

    Raises:
        RolloutError: it is no such JSON.
    """
    try:
        certs = msgspec.json.decode(text, type=_Certs)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unreadable("is no JSON of Envoy's /certs", str(error)) from None
    return Summary(
        chain=tuple(_told(listed) for pair in certs.certificates for listed in pair.cert_chain),
        roots=tuple(_told(listed) for pair in certs.certificates for listed in pair.ca_cert),
    )


def _told(listed: _Listed) -> Told:
    uris = tuple(name.uri for name in listed.subject_alt_names if name.uri)
    return Told(uris=uris, serial=listed.serial_number, not_before=listed.valid_from, not_after=listed.expiration_time)


def _pems(named: _Named, name: str, part: _Part) -> Iterator[bytes]:
    if named.name == name and named.secret is not None:
        for data in part(named.secret):
            for plain in (data.inline_string, data.camel_string):
                yield from pem(plain.encode())
            for encoded in (data.inline_bytes, data.camel_bytes):
                yield from pem(_decoded(encoded))


def _chain_of(secret: _Secret) -> Iterator[_Data]:
    for certificate in (secret.certificate, secret.camel_certificate):
        if certificate is not None:
            yield from (data for data in (certificate.chain, certificate.camel_chain) if data is not None)


def _root_of(secret: _Secret) -> Iterator[_Data]:
    for context in (secret.context, secret.camel_context):
        if context is not None:
            yield from (data for data in (context.ca, context.camel_ca) if data is not None)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _unreadable("holds a certificate that is no base64", "") from None


def _unreadable(what: str, why: str) -> RolloutError:
    """Without the text itself, in which a key may stand."""
    where = why.partition(" - at ")[2] or why.partition(" (byte ")[2].removesuffix(")")
    return RolloutError(f"what the proxy answered {what}", where=where, outcome=Outcome.CANNOT_SEE)
