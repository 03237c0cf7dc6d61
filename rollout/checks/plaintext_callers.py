"""All inbound traffic is mutual TLS already.

Why: STRICT refuses every plaintext connection, and a refused one leaves no metric at the destination: the callers that
used plaintext during the look-back are the ones that the flip would cut off.

Fix: give the caller a sidecar, remove the DestinationRule that turns its TLS off, raise a PeerAuthentication that says
DISABLE (towards such a port mesh clients send plaintext), or waive the edge when it may be cut.
"""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from rollout.checks.meta import Meta
from rollout.checks.view import CannotTell, Findings, View
from rollout.checks.waivers import NOT_PROVABLE, rate
from rollout.mesh.destination_rules import Rules, repair
from rollout.mesh.injection import Cause, captured_port, live
from rollout.mesh.peer_authentication import Policies
from rollout.mesh.services import host, selects, target_ports
from rollout.mesh.workloads import workload
from rollout.model.finding import Finding, Severity
from rollout.model.istio import ClientTLSMode, DestinationRule, Mode, PeerAuthentication
from rollout.model.kubernetes import Pod, Ref, Service
from rollout.model.traffic import Edge, Evidence, EvidenceVerdict, Family, Offender, Suspect
from rollout.record.state import State

META = Meta("plaintext-callers", State.CONFIRMING, __doc__)
READS = (Evidence, Pod, Service, PeerAuthentication, DestinationRule)

_Reached = tuple[tuple[Pod, int], ...]
_NOUN = {Family.HTTP: "plaintext requests", Family.TCP: "plaintext connections"}


def check(view: View) -> Findings:
    """One finding per plaintext edge; too little data is UNKNOWN, also where what was seen is clean."""
    evidence = view.evidence
    before, policies = view.as_read.policies(), view.then.policies()
    pods = [pod for pod in view.then.of(Pod, view.target) if live(pod)]
    services = {host(service): service for service in view.then.of(Service, view.target)}
    config = view.mesh_config
    rules = view.now.derived(DestinationRule, Rules, view.root_namespace, config.default_destination_rule_export_to)
    mutual = config.enable_auto_mtls
    known = {offender.edge: offender for offender in evidence.offenders}
    for edge in evidence.plaintext:
        reached = _reached(edge, pods, services)
        culprit = _culprit(edge, rules, view.target, auto=mutual) or (
            _disabled(edge, before, reached) if mutual else None
        )
        offender = known.get(edge) or Offender(edge)
        fix = culprit.fix if culprit else _fix(offender)
        yield _finding(offender, evidence, _fates(reached, policies), culprit, fix)
    for warning in evidence.warnings:
        yield Finding(
            ref=Ref("Namespace", "", view.target), measured=warning, query=evidence.query, severity=Severity.WARNING
        )
    match evidence.verdict:
        case EvidenceVerdict.NO_DATA:
            raise CannotTell(_no_data(evidence))
        case EvidenceVerdict.IDLE:
            if not (view.terminal or view.allow_idle):
                raise CannotTell(
                    f"idle: no inbound traffic in {_window(evidence)}, so nothing proves that nobody uses plaintext; "
                    "--allow-idle accepts that"
                )
            return f"idle: no inbound traffic in {_window(evidence)}"
        case EvidenceVerdict.CLEAN | EvidenceVerdict.PLAINTEXT:
            return _shares(evidence)
        case _:
            assert_never(evidence.verdict)


def _reached(edge: Edge, pods: list[Pod], services: dict[str, Service]) -> _Reached:
    """The ports that the edge may use, of each pod: the metrics name a Service, never a port. () where unknown."""
    service = services.get(edge.service)
    if service is None:
        return ()
    mine = [pod for pod in pods if selects(service, pod) and workload(pod).name == edge.destination.workload]
    return tuple((pod, port) for pod in mine for p in service.spec.ports if (port := target_ports(p, pod)) is not None)


def _fates(reached: _Reached, policies: Policies) -> frozenset[bool]:
    """Whether STRICT would cut the edge, for each port that it may use.

    {False}: every port that the Service leads to stays open. Where that cannot be told, {True}.
    """
    return frozenset(
        captured_port(pod, port) and policies.effective(pod, port).mode is Mode.STRICT for pod, port in reached
    ) or frozenset({True})


def _culprit(edge: Edge, rules: Rules, target: str, *, auto: bool) -> Cause | None:
    """The DestinationRule that makes a named caller, which has a proxy, send something else than mutual TLS."""
    if not edge.source.named:
        return None
    settings = rules.settings(edge.source.namespace, target, edge.service)
    found = next((setting for setting in settings if setting.mode is not ClientTLSMode.ISTIO_MUTUAL), None)
    if found is None:
        return None
    return Cause(f"{found.rule} {found.field} is {found.mode.value} for this caller", repair(found, auto_mtls=auto))


def _disabled(edge: Edge, before: Policies, reached: _Reached) -> Cause | None:
    """The PeerAuthentication for which a named caller sends plaintext: of the namespace first (istio.md 3.2)."""
    namespace = edge.destination.namespace
    wide = before.of_namespace(namespace)
    if not edge.source.named:
        return None
    if wide.mode is Mode.DISABLE:
        why = f"{wide.decided_by} is DISABLE, and so mesh clients send plaintext to the namespace"
        return Cause(
            why, f"rollout migrate {namespace}: it raises DISABLE to PERMISSIVE, and they use mutual TLS at once"
        )
    modes = [before.effective(pod, port) for pod, port in reached]
    if not modes or any(each.mode is not Mode.DISABLE for each in modes):
        return None
    pod, port = reached[0]
    why = f"{modes[0].decided_by} is DISABLE for port {port}, and so mesh clients send plaintext to it"
    return Cause(why, before.raise_to_permissive(pod, port))


def _finding(
    offender: Offender, evidence: Evidence, fates: frozenset[bool], culprit: Cause | None, fix: str
) -> Finding:
    edge = offender.edge
    destination = edge.destination
    return Finding(
        ref=Ref("Workload", destination.namespace, destination.workload),
        field=edge.service,
        measured=f"{edge.key}, {edge.volume:.0f} {_NOUN[edge.family]}, {rate(evidence, edge.key):.3g}/s"
        + (f", {edge.open:.0f} open now" if edge.open else ""),
        limit="0",
        window=_window(evidence),
        query=evidence.query,
        where=(*_where(offender, fates), *((culprit.sentence,) if culprit else ())),
        fix=fix,
        severity=None if True in fates else Severity.INFO,
    )


def _where(offender: Offender, fates: frozenset[bool]) -> tuple[str, ...]:
    edge = offender.edge
    lines = []
    if True not in fates:
        lines.append("its port goes on accepting plaintext after the flip")
    elif False in fates:
        lines.append(f"{NOT_PROVABLE}: some ports of the Service stay open, and the metrics name none")
    if edge.last is not None:
        lines.append(f"last seen {_stamp(edge.last)}")
    if offender.rhythm:
        lines.append(offender.rhythm)
    if offender.clean_from is not None:
        lines.append(f"counts as repaired from {_stamp(offender.clean_from)} on, if it stays away")
    if not edge.source.named:
        lines.append("a caller without a sidecar has no name in the metrics")
        lines += [_suspect(suspect) for suspect in offender.suspects] or ["no suspect fits"]
    return tuple(lines)


def _suspect(suspect: Suspect) -> str:
    return f"suspect: {suspect.who} ({suspect.because})"


def _fix(offender: Offender) -> str:
    if offender.suspects:
        return offender.suspects[0].fix
    source = offender.edge.source
    if source.named:
        return (
            f"let {source} call the Service by its name (a call to a pod's address is never mutual TLS); "
            f"or, when it may be cut: --waive '{META.id}={offender.edge.key}' --reason TEXT"
        )
    return (
        f"find the caller in the access log of {offender.edge.destination} "
        f"(rollout evidence {offender.edge.destination.namespace} --access-logs) and give it a sidecar; "
        f"or, when it may be cut: --waive '{META.id}={offender.edge.key}' --max-rate N --reason TEXT"
    )


def _no_data(evidence: Evidence) -> str:
    reason = evidence.reason or "the metrics do not cover the look-back"
    return f"no data: {reason}" + (f"; enough at {_stamp(evidence.enough_at)}" if evidence.enough_at else "")


def _shares(evidence: Evidence) -> str:
    said = [f"{family} {share:.2%} mutual TLS" for family in Family if (share := evidence.share(family)) is not None]
    text = f"{', '.join(said) or 'no traffic'} in {_window(evidence)}"
    if evidence.covered < 1:
        text += f", of which {evidence.covered:.0%} count"
    return text + (f"; without traffic: {', '.join(evidence.idle)}" if evidence.idle else "")


def _window(evidence: Evidence) -> str:
    return f"{_stamp(evidence.start)} to {_stamp(evidence.end)}"


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
