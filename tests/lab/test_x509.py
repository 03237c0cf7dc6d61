"""The lab's certificates are certificates: an independent library reads them and proves their signatures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509 as library
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

from rollout.lab import x509

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
YEARS = timedelta(days=3650)


def read(certificate: x509.Certificate) -> library.Certificate:
    return library.load_pem_x509_certificate(certificate.pem)


@pytest.mark.parametrize("seed", ["a", "b", "c", "d"])
def test_a_leaf_is_signed_by_its_root_and_by_no_other(seed: str) -> None:
    """Names and signature; the root signs itself."""
    root, other = (x509.authority("cluster.local", text, AT, AT + YEARS) for text in (seed, f"not {seed}"))
    leaf = x509.leaf(root, "spiffe://cluster.local/ns/a/sa/b", f"key {seed}", AT, AT + timedelta(days=1))
    read(leaf).verify_directly_issued_by(read(root))
    read(root).verify_directly_issued_by(read(root))
    with pytest.raises(InvalidSignature):
        read(leaf).verify_directly_issued_by(read(other))


def test_a_leaf_says_what_istiods_say() -> None:
    """No subject, a URI as a critical name, 24 hours, for both sides of a handshake."""
    root = x509.authority("cluster.local", "root", AT, AT + YEARS)
    found = read(x509.leaf(root, "spiffe://cluster.local/ns/a/sa/b", "key", AT, AT + timedelta(days=1)))
    names = found.extensions.get_extension_for_class(library.SubjectAlternativeName)
    assert (True, ["spiffe://cluster.local/ns/a/sa/b"]) == (
        names.critical, names.value.get_values_for_type(library.UniformResourceIdentifier)
    )  # fmt: skip
    usage = found.extensions.get_extension_for_class(library.ExtendedKeyUsage).value
    assert {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} == set(usage)
    assert not found.extensions.get_extension_for_class(library.BasicConstraints).value.ca
    assert ("", "O=cluster.local") == (found.subject.rfc4514_string(), found.issuer.rfc4514_string())
    assert (AT, AT + timedelta(days=1)) == (found.not_valid_before_utc, found.not_valid_after_utc)
    assert found.serial_number > 0


def test_a_root_may_sign_and_lives_beyond_2050() -> None:
    """RFC 5280: other times from then on."""
    until = datetime(2055, 1, 1, tzinfo=UTC)
    found = read(x509.authority("cluster.local", "root", AT, until))
    assert found.extensions.get_extension_for_class(library.BasicConstraints).value.ca
    assert found.extensions.get_extension_for_class(library.KeyUsage).value.key_cert_sign
    assert until == found.not_valid_after_utc


def test_the_same_seed_gives_the_same_certificate() -> None:
    """So that a lab can be repeated."""
    one, two = (x509.authority("cluster.local", "root", AT, AT + YEARS) for _ in range(2))
    assert one.der == two.der
