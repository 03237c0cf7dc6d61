"""What a diagnosis says: its layers in order, the cause that is likeliest, and what was recognised in logs."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from rollout.model.finding import Finding, Status
from rollout.model.synchronization import ProxyState


class Layer(StrEnum):
    """Where mutual TLS can fail, in the order in which one looks; the probe, where it was asked for, tries it."""

    INJECTION = "injection"
    POLICY = "peer-authentication"
    CERTIFICATES = "certificates"
    LOGS = "logs"
    AUTHORIZATION = "authorization"
    ANALYZE = "analyze"
    PROBE = "probe"


class LayerResult(msgspec.Struct, frozen=True, kw_only=True):
    """A layer's answer.

    Args:
        layer: which.
        status: OK, FAILED, UNKNOWN (its data is missing) or SKIPPED (its tool is missing); never WARNING.
        findings: what is wrong, likeliest first. `new` means: accepted now, and STRICT would refuse it.
        lines: what was looked at, for people.
        reason: why it is unknown or skipped.
        proxies: what istiod knows of the pods' proxies, where istioctl tells.
    """

    layer: Layer
    status: Status
    findings: tuple[Finding, ...] = ()
    lines: tuple[str, ...] = ()
    reason: str = ""
    proxies: tuple[ProxyState, ...] = ()


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """The layers, and the likeliest cause in one sentence with its evidence and the one deed that helps."""

    subject: str
    sentence: str
    evidence: tuple[str, ...] = ()
    fix: str = ""
    cause: Layer | None = None
    layers: tuple[LayerResult, ...] = ()


class PatternCount(msgspec.Struct, frozen=True, kw_only=True):
    """A known pattern in logs.

    Args:
        id: a slug, never reused.
        title: what it is.
        meaning: what it says of mutual TLS.
        fix: what helps.
        count: how many lines.
        example: one of them, without secrets.
        details: what varies (a caller's address, a policy, expected and seen SANs) with its number of lines, most
            frequent first.
        more: lines whose detail was dropped because there are too many different ones.
    """

    id: str
    title: str
    meaning: str
    fix: str
    count: int
    example: str
    details: tuple[tuple[str, int], ...] = ()
    more: int = 0


class Recognition(msgspec.Struct, frozen=True):
    """What was found in `lines` lines, likeliest cause first."""

    lines: int
    patterns: tuple[PatternCount, ...] = ()
