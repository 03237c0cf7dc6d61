"""The certificates of each side of a call: chain, identity, life, and roots that know each other (istio.md 12).

A flip forces every handshake anew, so what pooled connections hide now comes out then (observed.md i).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from rollout.errors import RolloutError
from rollout.mesh.authorization import principal
from rollout.mesh.secrets import Held, Summary
from rollout.mesh.workloads import restart, workload
from rollout.mesh.x509 import PIP, Certificate, available, issued_by, parse
from rollout.model.finding import Finding, Severity
from rollout.model.istio import MeshConfig
from rollout.model.kubernetes import Pod, Ref

#: The agent renews at half of the life, give or take one hundredth (SECRET_GRACE_PERIOD_RATIO and its jitter).
ROTATION = 0.5
JITTER = 0.01
#: With less of its life left, a certificate that should have been renewed long ago will not be.
BROKEN = 0.25
ROOT_WARNING = timedelta(days=30)


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """A pod and what its proxy told.

    Args:
        pod: whose.
        held: PEM, or /certs' summary; a sentence where neither could be read.
        mesh_root: the PEM blocks of `istio-ca-root-cert` in its namespace; None where it could not be read.
    """

    pod: Pod
    held: Held | Summary | str
    mesh_root: tuple[bytes, ...] | None = None


class _Life(msgspec.Struct, frozen=True):
    not_before: datetime
    not_after: datetime


class _Parsed(msgspec.Struct, frozen=True):
    side: Side
    chain: tuple[Certificate, ...]
    roots: tuple[Certificate, ...]
    mesh_root: tuple[Certificate, ...]


def expected(pod: Pod, mesh: MeshConfig) -> str:
    """The SPIFFE identity of a pod's service account."""
    return f"spiffe://{principal(pod, mesh.trust_domain)}"


class Judged(msgspec.Struct, frozen=True):
    """What is wrong, blocking first; what was looked at; and who could not be judged, why."""

    findings: tuple[Finding, ...]
    lines: tuple[str, ...]
    unread: Mapping[Ref, str]


def judged(sides: Sequence[Side], mesh: MeshConfig, now: datetime) -> Judged:
    """Each side by itself, then the two against each other; one side's silence does not hide what the other shows."""
    findings: list[Finding] = []
    lines: list[str] = []
    unread: dict[Ref, str] = {}
    parsed: list[_Parsed] = []
    for side in sides:
        try:
            for finding in _of_side(side, mesh, now, lines, parsed):
                findings.append(finding)  # noqa: PERF402 - what was found before a side breaks off is kept
        except RolloutError as error:
            unread[side.pod.ref] = error.problem + (f" ({error.where})" if error.where else "")
    findings += [finding for side in parsed for other in parsed for finding in _against(side, other)]
    return Judged(tuple(sorted(findings, key=lambda finding: not finding.blocks)), tuple(lines), unread)


def _of_side(side: Side, mesh: MeshConfig, now: datetime, lines: list[str], parsed: list[_Parsed]) -> Iterator[Finding]:
    """Lines and parsed certificates go to the lists of the caller.

    Raises:
        RolloutError: nothing can be told of it, or a certificate does not parse.
    """
    told = side.held
    if isinstance(told, str):
        raise RolloutError(told)
    if isinstance(told, Summary):
        if not told.chain:
            raise RolloutError("/certs names no certificate of the workload")
        leaf = told.chain[0]
        lines.append(f"{side.pod.ref}: {_life(_Life(leaf.not_before, leaf.not_after), now)}; /certs shows no chain")
        yield from _identity(side, leaf.uris, mesh)
        yield from _validity(side, _Life(leaf.not_before, leaf.not_after), now)
        raise RolloutError("chain and root are not proven: /certs tells neither issuer nor key")
    if not available():
        raise RolloutError(f"the package `cryptography` is not installed: {PIP}")
    if not told.chain:
        raise RolloutError("its certificate has not come yet" if told.warming else "it holds no certificate")
    mine = _parsed(side, told)
    parsed.append(mine)
    lines += _described(mine, now)
    first = mine.chain[0]
    yield from _identity(side, first.uris, mesh)
    yield from _validity(side, _Life(first.not_before, first.not_after), now)
    yield from _chain(mine, now)
    yield from _roots(mine, now)


def _parsed(side: Side, told: Held) -> _Parsed:
    return _Parsed(
        side,
        tuple(parse(block) for block in told.chain),
        tuple(parse(block) for block in told.roots),
        tuple(parse(block) for block in side.mesh_root or ()),
    )


def _described(mine: _Parsed, now: datetime) -> list[str]:
    leaf = mine.chain[0]
    roots = ", ".join(_short(root) for root in mine.roots) or "none"
    return [
        f"{mine.side.pod.ref}: {', '.join(leaf.uris) or 'no URI SAN'}; {_life(leaf, now)}",
        f"{mine.side.pod.ref}: chain of {len(mine.chain)}, issuer {leaf.issuer}; roots {roots}",
    ]


def _short(root: Certificate) -> str:
    return f"{root.subject} ({root.fingerprint[:12]})"


def _life(leaf: _Life | Certificate, now: datetime) -> str:
    life = (leaf.not_after - leaf.not_before).total_seconds()
    left = (leaf.not_after - now).total_seconds()
    begun = life > 0 and now >= leaf.not_before
    share = f", {max(left, 0) / life:.0%} of its life left" if begun else ""
    return f"valid until {leaf.not_after:%Y-%m-%d %H:%M:%S}Z{share}"


def _identity(side: Side, uris: Iterable[str], mesh: MeshConfig) -> Iterator[Finding]:
    seen, wanted = tuple(uris), expected(side.pod, mesh)
    if seen == (wanted,):
        return
    yield _found(
        side, "SAN", ", ".join(seen) or "no URI SAN", wanted,
        (
            "clients check the service account, servers the trust domain: CERTIFICATE_VERIFY_FAILED, or 503 UC",
            "another trust domain is taken where MeshConfig's trustDomainAliases name it",
        ),
    )  # fmt: skip


def _validity(side: Side, leaf: _Life, now: datetime) -> Iterator[Finding]:
    life, left = leaf.not_after - leaf.not_before, leaf.not_after - now
    if now < leaf.not_before:
        yield _found(side, "not before", f"{leaf.not_before:%Y-%m-%d %H:%M:%S}Z, which is to come",
                     "in the past", ("or the clocks of node and control plane differ",))  # fmt: skip
    elif left <= timedelta():
        yield _found(side, "not after", f"expired at {leaf.not_after:%Y-%m-%d %H:%M:%S}Z",
                     "in the future", ("open connections go on, each new handshake fails",))  # fmt: skip
    elif left < life * BROKEN:
        yield _found(side, "not after", f"{left / life:.0%} of its life left", f"renewed at {ROTATION:.0%}",
                     ("the agent does not get a new one: see its log, and istiod's",))  # fmt: skip
    elif left < life * (ROTATION - 2 * JITTER):
        yield _found(side, "not after", f"{left / life:.0%} of its life left", f"renewed at {ROTATION:.0%}",
                     ("renewal is late",), Severity.WARNING)  # fmt: skip


def _chain(mine: _Parsed, now: datetime) -> Iterator[Finding]:
    for child, parent in zip(mine.chain, mine.chain[1:], strict=False):
        if not issued_by(child, parent):
            yield _found(mine.side, "chain", f"{child.subject or 'the leaf'} is not signed by {parent.subject}",
                         "each certificate is signed by the one after it")  # fmt: skip
        if parent.not_after <= now:
            yield _found(mine.side, "chain", f"{parent.subject} in it expired at {parent.not_after:%Y-%m-%d}",
                         "in the future")  # fmt: skip
    if mine.roots and not _trusted(mine.chain, mine.roots):
        yield _found(mine.side, "chain", f"ends at {mine.chain[-1].issuer}, which none of its own roots signed",
                     ", ".join(_short(root) for root in mine.roots))  # fmt: skip


def _trusted(chain: Sequence[Certificate], roots: Iterable[Certificate]) -> bool:
    """Some certificate of the chain is a root, or signed by one."""
    known = tuple(roots)
    return any(
        certificate.fingerprint == root.fingerprint or issued_by(certificate, root)
        for certificate in chain
        for root in known
    )


def _roots(mine: _Parsed, now: datetime) -> Iterator[Finding]:
    held = {root.fingerprint for root in mine.roots}
    namespaced = {root.fingerprint for root in mine.mesh_root}
    if not mine.roots:
        yield _found(mine.side, "root", "the proxy holds no root", "the mesh's root")
    elif _foreign(mine):
        yield _found(
            mine.side, "root", f"trusts {', '.join(map(_short, mine.roots))}, which is not the root of its mesh",
            f"of ConfigMap {mine.side.pod.namespace}/istio-ca-root-cert: {', '.join(map(_short, mine.mesh_root))}",
            ("it refuses the certificates of its mesh: 503 URX,UF as a client; as a server, 503 UC at its clients",),
        )  # fmt: skip
    elif namespaced and held != namespaced:
        yield _found(
            mine.side, "root", f"{_count(held)}, {len(held & namespaced)} of them in istio-ca-root-cert",
            f"the {_count(namespaced)} of istio-ca-root-cert",
            ("a rotation of the root is under way, or stopped half-way",), Severity.WARNING,
        )  # fmt: skip
    for root in mine.roots:
        if root.not_after <= now:
            yield _found(mine.side, "root", f"{_short(root)} expired at {root.not_after:%Y-%m-%d}", "in the future")
        elif root.not_after - now < ROOT_WARNING:
            yield _found(mine.side, "root", f"{_short(root)} expires at {root.not_after:%Y-%m-%d}",
                         f"more than {ROOT_WARNING.days} days", (), Severity.WARNING)  # fmt: skip


def _count(roots: Collection[str]) -> str:
    return f"{len(roots)} root{'s' * (len(roots) != 1)}"


def _foreign(mine: _Parsed) -> bool:
    """It holds roots, and none of its mesh's."""
    mesh = {root.fingerprint for root in mine.mesh_root}
    return bool(mine.roots and mesh) and not mesh & {root.fingerprint for root in mine.roots}


def _against(side: _Parsed, other: _Parsed) -> Iterator[Finding]:
    """What `other` says to the certificate of `side`; who has left its mesh's root is to be mended, and nobody else."""
    if side is other or not other.roots or _foreign(side) or _foreign(other) or _trusted(side.chain, other.roots):
        return
    yield _found(
        side.side, "issuer", side.chain[-1].issuer,
        f"signed by a root of {other.side.pod.ref}: {', '.join(_short(root) for root in other.roots)}",
        (f"{other.side.pod.ref} refuses it: 503 URX,UF where the client refuses, 503 UC where the server does",),
    )  # fmt: skip


def _found(
    side: Side, field: str, measured: str, limit: str, where: tuple[str, ...] = (),
    severity: Severity = Severity.BLOCKING,
) -> Finding:  # fmt: skip
    return Finding(
        ref=side.pod.ref, field=f"certificate, {field}", measured=measured, limit=limit, where=where,
        fix=restart(workload(side.pod)), check="certificates", severity=severity, new=False,
    )  # fmt: skip
