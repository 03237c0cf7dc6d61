"""Layer 7, where it was asked for: a test call through the mesh, beside what the layers expect of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from rollout.diagnosis.calling import MEANINGS, TAKEN, Call, Ended, Ending
from rollout.diagnosis.conclusion import number
from rollout.diagnosis.policy import Verdict, overall
from rollout.diagnosis.probing import Probed
from rollout.diagnosis.table import Outcome, Server
from rollout.model.diagnosis import Layer, LayerResult
from rollout.model.finding import Finding, Severity, Status
from rollout.model.kubernetes import Ref

#: Layers behind the second whose failures end a call, too.
_LATER = (Layer.CERTIFICATES, Layer.AUTHORIZATION)
_CLOSED = (
    "closed at the first bytes: by STRICT, or by an application that does not understand a line of HTTP; "
    "the server's log tells (--logs 60s)"
)
_AGAIN = (
    "ask again in a minute, a change may be on its way to the proxies; then see what no layer looks at: Sidecar "
    "resources, EnvoyFilters, NetworkPolicies"
)


def probe(
    probed: Probed, verdicts: Sequence[Verdict], layers: Sequence[LayerResult], server: Ref
) -> tuple[LayerResult, ...]:
    """The layers with the probe's as the last, and its result beside the verdict of the second.

    Args:
        probed: what came of it.
        verdicts: of layer 2; none where it could not be read.
        layers: those above.
        server: the Service or the pod that was called.
    """
    told = _counted(probed.ends)
    shown = tuple(
        msgspec.structs.replace(each, lines=(*each.lines[:1], f"probe: {told}", *each.lines[1:]))
        if told and each.layer is Layer.POLICY
        else each
        for each in layers
    )
    return (*shown, _layer(probed, verdicts, layers, server))


def _layer(probed: Probed, verdicts: Sequence[Verdict], layers: Sequence[LayerResult], server: Ref) -> LayerResult:
    if probed.call is None or not probed.ends:
        return LayerResult(layer=Layer.PROBE, status=Status.UNKNOWN, reason=probed.why or "nothing was asked")
    expectation, words = _expected(verdicts, layers)
    reasons = [*_open(probed, probed.call, expectation), *((probed.why,) if probed.why else ())]
    differs = not reasons and _differs(expectation, probed.ends, layer_two=overall(verdicts) if verdicts else None)
    lines = (
        f"expected: {words}; probe: {_counted(probed.ends)}{_mutual(probed, verdicts)}",
        *dict.fromkeys(MEANINGS[end.ending].text for end in probed.ends),
        f"from {probed.place}",
        *_notes(probed.call),
    )
    status = Status.UNKNOWN if reasons else Status.FAILED if differs else Status.OK
    findings = (_finding(probed, words, server),) if differs else ()
    return LayerResult(
        layer=Layer.PROBE, status=status, findings=findings, lines=lines, reason="; ".join(dict.fromkeys(reasons))
    )


def _counted(ends: Sequence[Ended]) -> str:
    counts = Counter(map(str, ends))
    if len(counts) == 1 and len(ends) > 1:
        return f"{next(iter(counts))}, {len(ends)} of {len(ends)} calls"
    return ", ".join(f"{count} of {len(ends)}: {told}" if len(ends) > 1 else told for told, count in counts.items())


def _expected(verdicts: Sequence[Verdict], layers: Sequence[LayerResult]) -> tuple[Outcome, str]:
    if not verdicts:
        return Outcome.DEPENDS, "layer 2 does not tell"
    outcome = overall(verdicts)
    later = [str(number(each.layer)) for each in layers if each.layer in _LATER and each.status is Status.FAILED]
    if outcome is Outcome.WORKS and later:
        return Outcome.REFUSED, f"{Outcome.REFUSED} (layer {' and '.join(later)})"
    return outcome, f"{outcome} (layer 2)"


def _open(probed: Probed, asked: Call, expectation: Outcome) -> list[str]:
    """What keeps the result from being compared."""
    reasons = [probed.unlike] if probed.unlike else []
    reasons += [f"{end}: {MEANINGS[end.ending].text}" for end in probed.ends if MEANINGS[end.ending].through is None]
    bytes_only = asked.http is not True
    if bytes_only and expectation is not Outcome.REFUSED and any(end.ending is Ending.RESET for end in probed.ends):
        reasons.append(_CLOSED)
    return reasons


def _differs(expectation: Outcome, ends: Sequence[Ended], *, layer_two: Outcome | None) -> bool:
    """The call ended otherwise than expected. What a policy denied has passed by layer 2."""
    past = Ending.DENIED if layer_two is Outcome.REFUSED else None
    through = {MEANINGS[end.ending].through or end.ending is past for end in ends}
    if expectation is Outcome.WORKS:
        return False in through
    return expectation is Outcome.REFUSED and True in through


def _mutual(probed: Probed, verdicts: Sequence[Verdict]) -> str:
    """Whether an answer came over mutual TLS: a client does not see it, the server's proxy does."""
    if any(end.ending not in TAKEN for end in probed.ends):
        return ""
    if probed.mutual:
        return f" over mutual TLS (so counted by the server's proxy: {probed.mutual} of {len(probed.ends)})"
    if not verdicts:
        return ""
    if all(verdict.server is Server.STRICT for verdict in verdicts):
        return " over mutual TLS (a STRICT port takes nothing else)"
    kinds = {verdict.cell.mutual for verdict in verdicts}
    told = {True: "over mutual TLS", False: "in plaintext", None: ""}
    words = told[kinds.pop()] if len(kinds) == 1 else ""
    return f" {words} (layer 2 says so; a client cannot see it)" if words else ""


def _notes(asked: Call) -> tuple[str, ...]:
    sent = f"curl sent {asked.method} {asked.url}"
    if asked.http is True:
        return (sent,)
    return (f"{sent}: under STRICT a connect alone succeeds and proves nothing, so bytes were sent",)


def _finding(probed: Probed, words: str, server: Ref) -> Finding:
    ends = list(dict.fromkeys(probed.ends))
    fixes = [MEANINGS[end.ending].fix for end in ends if MEANINGS[end.ending].fix]
    return Finding(
        ref=server,
        measured=f"the probe disagrees with the layers: {_counted(probed.ends)}",
        limit=f"expected: {words}",
        where=(*dict.fromkeys(MEANINGS[end.ending].text for end in ends), f"from {probed.place}"),
        fix=next(iter(fixes), _AGAIN),
        check="probe",
        severity=Severity.BLOCKING,
        new=False,
    )
