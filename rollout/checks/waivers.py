"""What people accepted: waivers (this may be cut) and exemptions (this must go on working)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase

import msgspec

from rollout.model.finding import Finding, Severity
from rollout.model.kubernetes import Ref
from rollout.model.traffic import Evidence
from rollout.record.spec import Exemption, Waiver

#: The one check whose findings are exceptions to STRICT, and so can be exempted.
EXEMPTIBLE = "effective-mode"
#: Where a Service has exempt and other ports, the metrics tell them not apart.
UNPROVABLE, NOT_PROVABLE = "plaintext-callers", "port not provable"
_PORT = re.compile(r"spec\.portLevelMtls\.(\d+)\.mode")


def edge_key(finding: Finding) -> str:
    """What stands before the first comma of `measured`: for traffic the edge's key."""
    return finding.measured.partition(",")[0]


def settle(
    finding: Finding,
    waivers: Iterable[Waiver],
    exemptions: Iterable[Exemption],
    evidence: Evidence | None,
    now: datetime,
) -> Finding:
    """The finding with `waived` filled in when somebody accepted it, and why a matching waiver is void otherwise."""
    in_force = [exemption for exemption in exemptions if _in_force(exemption, now)]
    if finding.check == EXEMPTIBLE and (exempt := _exempting(finding, in_force)):
        return msgspec.structs.replace(finding, waived=f"exempt: {exempt.reason}")
    if finding.check == UNPROVABLE and any(text.startswith(NOT_PROVABLE) for text in finding.where):
        finding = _below_ceiling(finding, in_force, evidence)
    for waiver in waivers:
        if waiver.check == finding.check and _in_force(waiver, now) and _names(waiver, finding):
            if void := _void(waiver, finding, evidence):
                finding = msgspec.structs.replace(finding, where=(*finding.where, void))
                continue
            return msgspec.structs.replace(finding, waived=waiver.reason)
    return finding


def _exempting(finding: Finding, exemptions: Iterable[Exemption]) -> Exemption | None:
    """The exemption of the policy, or of this port of the one workload that the finding names."""
    port = _PORT.fullmatch(finding.field)
    for exemption in exemptions:
        if not exemption.workload:
            if fnmatchcase(str(finding.ref), exemption.object):
                return exemption
        elif port and [w.partition(" ")[2] for w in finding.where] == [exemption.workload]:
            return exemption
    return None


def _below_ceiling(finding: Finding, exemptions: Iterable[Exemption], evidence: Evidence | None) -> Finding:
    """Plaintext that may go to an exempt port, or to another one of the Service: accepted up to the ceiling."""
    name = f"{finding.ref.namespace}/{finding.ref.name}"
    for exemption in exemptions:
        if exemption.workload != name:
            continue
        measured = rate(evidence, edge_key(finding)) if evidence else float("inf")
        if exemption.max_rate is None:
            said = f"the exemption of {exemption.object} needs a max_rate: the metrics name no port"
        elif measured > exemption.max_rate:
            said = f"{measured:.3g}/s is above the max_rate {exemption.max_rate:g}/s of {exemption.object}"
        else:
            return msgspec.structs.replace(finding, waived=f"exempt: {exemption.reason} (port not provable)")
        finding = msgspec.structs.replace(finding, where=(*finding.where, said))
    return finding


def expired(
    check: str, waivers: Iterable[Waiver], exemptions: Iterable[Exemption], now: datetime
) -> tuple[Finding, ...]:
    """A blocking finding for each waiver or exemption of the check whose time is over."""
    lapsed: list[tuple[str, Waiver | Exemption]] = [
        ("waiver", waiver) for waiver in waivers if waiver.check == check and not _in_force(waiver, now)
    ]
    if check == EXEMPTIBLE:
        lapsed += [("exemption", exemption) for exemption in exemptions if not _in_force(exemption, now)]
    return tuple(_lapsed(check, word, item) for word, item in lapsed)


def unknown_accepted(check: str, reason: str, waivers: Iterable[Waiver], now: datetime) -> tuple[Finding, ...]:
    """What stands in the report where a check could not judge and somebody said `CHECK=unknown`; empty without."""
    for waiver in waivers:
        if waiver.check == check and _in_force(waiver, now) and fnmatchcase("unknown", waiver.object):
            ref = Ref("Check", "", check)
            measured = f"unknown: {reason or 'no reason given'}"
            return (Finding(ref=ref, measured=measured, check=check, severity=Severity.BLOCKING, waived=waiver.reason),)
    return ()


def rate(evidence: Evidence, key: str) -> float:
    """Plaintext events per second of an edge over the time that the evidence covers."""
    seconds = (evidence.end - evidence.start).total_seconds() * evidence.covered
    total = sum(edge.volume for edge in evidence.plaintext if edge.key == key)
    return total / seconds if seconds > 0 else float("inf")


def _in_force(item: Waiver | Exemption, now: datetime) -> bool:
    return item.expires is None or now < item.expires


def _names(waiver: Waiver, finding: Finding) -> bool:
    return any(fnmatchcase(text, waiver.object) for text in (str(finding.ref), edge_key(finding)))


def _void(waiver: Waiver, finding: Finding, evidence: Evidence | None) -> str:
    """A nameless caller stands for all nameless callers of the workload: only up to a rate."""
    key = edge_key(finding)
    if evidence is None or not any(edge.key == key and not edge.source.named for edge in evidence.plaintext):
        return ""
    if waiver.max_rate is None:
        return f"the waiver of {waiver.object!r} is void: a caller without a name needs a max rate"
    measured = rate(evidence, key)
    if measured > waiver.max_rate:
        return f"the waiver of {waiver.object!r} is void: {measured:.3g}/s is above its max rate {waiver.max_rate:g}/s"
    return ""


def _lapsed(check: str, word: str, item: Waiver | Exemption) -> Finding:
    return Finding(
        ref=Ref(word.capitalize(), "", item.object),
        field="expires",
        measured=f"{word} expired, {item.expires:%Y-%m-%d %H:%M} UTC",
        limit="a date to come",
        where=tuple(text for text in (item.reason, item.owner) if text),
        fix=f"ask {item.owner or 'its owner'} for a later `expires`, or remove the {word} of {item.object!r}",
        check=check,
        severity=Severity.BLOCKING,
        new=False,
    )
