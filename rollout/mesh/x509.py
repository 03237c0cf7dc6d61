"""Certificates as values, by the `cryptography` package (extra `certificates`); no private key comes here."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rollout.errors import Outcome, RolloutError

PIP = "pip install 'rollout[certificates]'"


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What of a certificate a rule reads; `fingerprint` is SHA-256 in hex, names are RFC 4514."""

    subject: str
    issuer: str
    uris: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    fingerprint: str
    pem: bytes


def available() -> bool:
    """`cryptography` is installed."""
    try:
        import cryptography.x509  # noqa: F401
    except ImportError:
        return False
    return True


def parse(block: bytes) -> Certificate:
    """One PEM block.

    Raises:
        RolloutError: it does not parse.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        found = x509.load_pem_x509_certificate(block)
        return Certificate(
            subject=found.subject.rfc4514_string(),
            issuer=found.issuer.rfc4514_string(),
            uris=_uris(found),
            not_before=found.not_valid_before_utc,
            not_after=found.not_valid_after_utc,
            fingerprint=found.fingerprint(SHA256()).hex(),
            pem=block,
        )
    except (ValueError, x509.DuplicateExtension) as error:
        raise RolloutError(
            f"a certificate does not parse: {' '.join(str(error).split())[:200]}", outcome=Outcome.CANNOT_SEE
        ) from None


def _uris(found: object) -> tuple[str, ...]:
    from cryptography import x509

    assert isinstance(found, x509.Certificate)
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(names.get_values_for_type(x509.UniformResourceIdentifier))


def issued_by(child: Certificate, parent: Certificate) -> bool:
    """The parent's name and key: its signature stands on the child."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    made = x509.load_pem_x509_certificate(child.pem)
    maker = x509.load_pem_x509_certificate(parent.pem)
    try:
        made.verify_directly_issued_by(maker)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
