"""Certificates as istiod makes them, and the three shapes in which a proxy tells of them."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.diagnosis.makers import NOW

DAY = timedelta(days=1)
LEDGER = "spiffe://cluster.local/ns/payments/sa/ledger"
WEB = "spiffe://cluster.local/ns/shop/sa/web"


class Authority:
    """A root, or an intermediate of one."""

    def __init__(
        self, name: str = "root", above: Authority | None = None, *, until: datetime = NOW + 3650 * DAY
    ) -> None:
        """Make key and certificate."""
        self.key = generate_private_key(SECP256R1())
        self.name = _name(name)
        signer = above or self
        self.certificate = _signed(self.name, signer.name, self.key, signer.key, NOW - 100 * DAY, until, ca=True)
        self.above = above

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    def leaf(
        self, *uris: str, since: datetime = NOW - DAY / 4, life: timedelta = DAY, san: bool = True
    ) -> tuple[bytes, bytes]:
        """Certificate and private key of a workload."""
        key = generate_private_key(SECP256R1())
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        made = _signed(_name(""), self.name, key, self.key, since, since + life, names=names if san else None)
        return made.public_bytes(Encoding.PEM), key.private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)] if name else [])


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: EllipticCurvePrivateKey,
    signer: EllipticCurvePrivateKey,
    since: datetime,
    until: datetime,
    *,
    ca: bool = False,
    names: list[x509.UniformResourceIdentifier] | None = None,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    return builder.sign(signer, SHA256())


def secrets(
    chain: bytes, root: bytes, *, camel: bool = False, key: bytes = b"[redacted]", inline: str = "bytes"
) -> bytes:
    """`istioctl proxy-config secret -o json` (camel) or a config_dump, with a key beside the chain."""
    words = {
        "dynamicActiveSecrets": "dynamic_active_secrets",
        "tlsCertificate": "tls_certificate",
        "certificateChain": "certificate_chain",
        "privateKey": "private_key",
        "validationContext": "validation_context",
        "trustedCa": "trusted_ca",
        "inlineBytes": "inline_bytes",
        "inlineString": "inline_string",
    }

    def word(name: str) -> str:
        return name if camel else words[name]

    def data(content: bytes) -> dict[str, str]:
        if inline == "string":
            return {word("inlineString"): content.decode()}
        return {word("inlineBytes"): base64.b64encode(content).decode()}

    certificate = {word("certificateChain"): data(chain), word("privateKey"): data(key)}
    dump: dict[str, Any] = {
        "@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
        word("dynamicActiveSecrets"): [
            {"name": "default", "secret": {"name": "default", word("tlsCertificate"): certificate}},
            {
                "name": "ROOTCA",
                "secret": {"name": "ROOTCA", word("validationContext"): {word("trustedCa"): data(root)}},
            },
            {"name": "other", "secret": {"name": "other", word("tlsCertificate"): certificate}},
            {"name": "default"},
        ],
    }
    if camel:
        return json.dumps(dump).encode()
    other = {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": {"node": {"id": "x"}}}
    return json.dumps({"configs": [other, dump]}).encode()


def listed(uri: str, since: datetime, until: datetime) -> dict[str, Any]:
    """A certificate of Envoy's /certs."""
    return {
        "path": "<inline>",
        "serial_number": "7f",
        "subject_alt_names": [{"uri": uri}, {"dns": "x"}],
        "days_until_expiration": "0",
        "valid_from": since.isoformat().replace("+00:00", "Z"),
        "expiration_time": until.isoformat().replace("+00:00", "Z"),
    }


def certs(uri: str = LEDGER, since: datetime = NOW - DAY / 4, until: datetime = NOW + DAY * 3 / 4) -> bytes:
    """Envoy's /certs."""
    root = listed("", NOW - 100 * DAY, NOW + 100 * DAY)
    return json.dumps({"certificates": [{"ca_cert": [root], "cert_chain": [listed(uri, since, until)]}]}).encode()
