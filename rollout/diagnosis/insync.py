"""What istiod knows of these proxies, beside what they have in force: part of the second layer.

The modes in force are read off the proxies themselves; istiod's side says why one differs, and what no listener shows.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rollout.checks.words import many
from rollout.diagnosis.telling import Seen
from rollout.mesh.injection import live, proxy_container
from rollout.mesh.synchronization import SYNCED, UNKNOWN, Judged
from rollout.mesh.workloads import restart, workload
from rollout.model.diagnosis import LayerResult
from rollout.model.finding import Finding, Severity, Status
from rollout.model.kubernetes import Pod
from rollout.model.synchronization import Difference, ProxyState
from rollout.world.world import Unreadable

_TOLD = "in sync with istiod (istioctl proxy-status)"


def in_sync(layer: LayerResult, seen: Seen, pods: Iterable[Pod]) -> LayerResult:
    """The layer with the state of each proxy; where istioctl does not tell, it stays as it is but for a line."""
    known = seen.sync
    if known is None:
        return layer
    if isinstance(known, Unreadable):
        return msgspec.structs.replace(layer, lines=(*layer.lines, f"{_TOLD}: not known, {known.reason}"))
    judged = [(pod, known.judged(pod)) for pod in pods if live(pod) and proxy_container(pod) is not None]
    if not judged:
        return layer
    states = tuple(_with_differences(each.state, seen) for _, each in judged)
    good = sum(state.state == SYNCED for state in states)
    lines = [f"{_TOLD}: {good} of {many(len(states), 'proxy', 'proxies')}"]
    lines += [f"{state.pod}: {state.sentence}" for state in states if state.state == UNKNOWN]
    lines += [line for state in states for line in _differing(state, seen)]
    findings = _joined(layer.findings, judged)
    failed = any(finding.blocks for finding in findings)
    return msgspec.structs.replace(
        layer,
        status=Status.FAILED if failed else layer.status,
        findings=findings,
        lines=(*layer.lines, *lines),
        proxies=states,
    )


def _joined(found: tuple[Finding, ...], judged: list[tuple[Pod, Judged]]) -> tuple[Finding, ...]:
    """A proxy with the wrong mode in force is one finding, with istiod's side of it; then the others out of sync."""
    other = {pod.ref: (pod, each) for pod, each in judged if each.state.state not in (SYNCED, UNKNOWN)}
    first: list[Finding] = []
    for finding in (finding for finding in found if finding.check == "in-force"):
        told = other.pop(finding.ref, None)
        where = (*finding.where, f"istiod: {told[1].state.state}, {told[1].state.sentence}") if told else finding.where
        first.append(msgspec.structs.replace(finding, where=where))
    mine = [_finding(pod, each) for pod, each in other.values()]
    rest = [finding for finding in found if finding.check != "in-force"]
    ordered = [*first, *mine, *rest]
    return (*(f for f in ordered if f.blocks), *(f for f in ordered if not f.blocks))


def _finding(pod: Pod, judged: Judged) -> Finding:
    again = f"see its istio-proxy log, then: {restart(workload(pod))}"
    return Finding(
        ref=pod.ref,
        field="istioctl proxy-status",
        measured=judged.state.state,
        limit=SYNCED,
        where=(judged.state.sentence,),
        fix=again if judged.wrong else "this may pass in some seconds: ask again",
        check="in-sync",
        severity=Severity.BLOCKING if judged.wrong else Severity.WARNING,
        new=False,
    )


def _with_differences(state: ProxyState, seen: Seen) -> ProxyState:
    found = seen.differences.get(state.pod, ())
    return msgspec.structs.replace(state, differences=() if isinstance(found, str) else found)


def _differing(state: ProxyState, seen: Seen) -> Iterable[str]:
    found = seen.differences.get(state.pod, ())
    if isinstance(found, str):
        yield f"what differs from what istiod would send: not known, {found}"
        return
    if found and all(part.matches for part in found):
        yield f"{', '.join(part.part for part in found)}: the proxy has what istiod would send"
    yield from (_words(part) for part in found if not part.matches)


def _words(part: Difference) -> str:
    examples = f": {'; '.join(part.examples)}" if part.examples else ""
    lines = f"{many(part.missing, 'line')} missing, {many(part.extra, 'line')} that only the proxy has"
    return f"{part.part} differ from what istiod would send: {lines}{examples}"
