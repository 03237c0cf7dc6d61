"""What each proxy of the lab holds: a certificate of its own, renewed every twelve hours, and the root that it trusts.

Certificates are made when somebody asks for them. What may be wrong with one, and who refuses whom then, follows
observed.md i: a client looks at the chain and at the exact identity, a server at the chain and at the trust domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache

from rollout.lab import x509
from rollout.lab.mesh.catalog import PodView

_DAY, _HOUR = 86_400_000, 3_600_000
_LIFE, _RENEWAL = _DAY, _DAY // 2
_SKEW = 120_000  # istiod dates certificates back, for clocks that go wrong


class Flaw(StrEnum):
    """What may be wrong with a certificate."""

    EXPIRED = "expired"
    FOREIGN_ROOT = "foreign-root"
    WRONG_SAN = "wrong-san"


#: How long before the lab's present each began: a pooled connection is older.
SINCE = {Flaw.EXPIRED: _HOUR, Flaw.FOREIGN_ROOT: 6 * _HOUR, Flaw.WRONG_SAN: 6 * _HOUR}


class Refuser(StrEnum):
    """Who ends the handshake."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A handshake that fails: what the refuser says in its log, and the alert that the other side gets."""

    by: Refuser
    why: str
    alert: str


@dataclass(frozen=True, slots=True)
class Holding:
    """A proxy's secrets."""

    leaf: x509.Certificate
    root: x509.Certificate
    updated: datetime


@dataclass(slots=True)
class Identities:
    """The certificates of a mesh.

    Args:
        trust_domain: of all its identities.
        begin: milliseconds; the root is older.
        present: milliseconds; flaws began before it (`SINCE`).
        flaws: by namespace and name of a workload.
    """

    trust_domain: str
    begin: int
    present: int
    flaws: Mapping[tuple[str, str], Flaw] = field(default_factory=dict)
    _held: dict[tuple[str, int], Holding] = field(default_factory=dict)

    @property
    def root(self) -> x509.Certificate:
        """The mesh's root."""
        return _root(self.trust_domain, "root", _year(self.begin))

    def uri(self, pod: PodView, account: str = "") -> str:
        """The SPIFFE identity of a pod's service account."""
        return f"spiffe://{self.trust_domain}/ns/{pod.namespace}/sa/{account or pod.service_account}"

    def seen(self, pod: PodView, at: int) -> str:
        """The identity that a pod's certificate names."""
        return self.uri(pod, "default" if self.flaw(pod, at) is Flaw.WRONG_SAN else "")

    def flaw(self, pod: PodView, at: int) -> Flaw | None:
        """What is wrong with a pod's certificate at a time."""
        flaw = self.flaws.get((pod.namespace, pod.workload))
        return flaw if flaw is not None and at >= self.present - SINCE[flaw] else None

    def holding(self, pod: PodView, now: int) -> Holding:
        """What a pod's proxy holds."""
        flaw = self.flaw(pod, now)
        issued = now - (now - pod.started) % _RENEWAL
        if flaw is Flaw.EXPIRED:
            issued = self.present - SINCE[flaw] - _LIFE
        key = (pod.uid, issued)
        if key not in self._held:
            root = self.root
            if flaw is Flaw.FOREIGN_ROOT:
                root = _root(self.trust_domain, "another mesh's root", _year(self.begin))
            valid = (_moment(issued - _SKEW * (flaw is not Flaw.EXPIRED)), _moment(issued + _LIFE))
            leaf = x509.leaf(root, self.seen(pod, now), f"{pod.uid}/{issued}", *valid)
            self._held[key] = Holding(leaf, root, _moment(issued))
        return self._held[key]

    def refusal(self, client: PodView, server: PodView, at: int) -> Refusal | None:
        """Why a handshake at that time fails, None where it does not."""
        mine, theirs = self.flaw(client, at), self.flaw(server, at)
        foreign = (mine is Flaw.FOREIGN_ROOT) is not (theirs is Flaw.FOREIGN_ROOT)
        if foreign:
            return Refusal(Refuser.CLIENT, _verify("unable to get local issuer certificate"), _UNKNOWN_CA)
        if theirs is Flaw.EXPIRED:
            return Refusal(Refuser.CLIENT, _verify("certificate has expired"), _EXPIRED)
        if theirs is Flaw.WRONG_SAN and server.service_account != "default":
            why = f"SAN matcher, certificate SANs are [{self.seen(server, at)}]"
            return Refusal(Refuser.CLIENT, _reason(why), _UNKNOWN)
        if mine is Flaw.EXPIRED:
            return Refusal(Refuser.SERVER, _verify("certificate has expired"), "")
        return None


_UNKNOWN_CA = "268436504:SSL routines:OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA"
_EXPIRED = "268436501:SSL routines:OPENSSL_internal:SSLV3_ALERT_CERTIFICATE_EXPIRED"
_UNKNOWN = "268436502:SSL routines:OPENSSL_internal:SSLV3_ALERT_CERTIFICATE_UNKNOWN"


def _reason(why: str) -> str:
    return f"268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: {why}"


def _verify(why: str) -> str:
    return _reason(f"X509_verify_cert: certificate verification error at depth 0: {why}")


@cache
def _root(organization: str, seed: str, year: int) -> x509.Certificate:
    begin = datetime(year, 1, 1, tzinfo=UTC)
    return x509.authority(organization, f"{organization} {seed}", begin, begin + timedelta(days=3650))


def _year(ms: int) -> int:
    """Of the root: the same in every lab of a year, so that it is made once."""
    return _moment(ms).year - 1


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC)
