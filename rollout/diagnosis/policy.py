"""Layer 2: what the server's port accepts, what the client will send, and what becomes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

import msgspec

from rollout.checks.words import many
from rollout.diagnosis import uncaptured
from rollout.diagnosis.asking import looked_at, one_check, ranked, unread
from rollout.diagnosis.question import Pair
from rollout.diagnosis.reading import Found
from rollout.diagnosis.rules import listing
from rollout.diagnosis.sending import Call, Sent, place, sent
from rollout.diagnosis.table import SENDS, Cell, Client, Outcome, Server, cell
from rollout.errors import UsageError
from rollout.mesh.destination_rules import subset_routes
from rollout.mesh.injection import ambient, captured_port, gateway, injected, live
from rollout.mesh.peer_authentication import Effective, Policies, permissive
from rollout.mesh.services import host, reaching, target_ports
from rollout.mesh.workloads import workload
from rollout.model.diagnosis import Layer, LayerResult
from rollout.model.finding import CheckResult, Finding, Severity, Status
from rollout.model.gateways import VirtualService
from rollout.model.istio import DestinationRule, MeshConfig, Mode, PeerAuthentication
from rollout.model.kubernetes import Namespace, Pod, Ref, Service, ServicePort
from rollout.world.world import KindUnreadable, World

#: What no rule here looks at, said so that a verdict is not taken for more than it is.
NOT_LOOKED_AT = "not looked at: Sidecar resources, exportTo of Services, EnvoyFilters, VirtualServices, load balancers"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A call to one pod's (container's) port: what is sent and why, what listens and who decided it, and the cell.

    `field` is where the mode stands in the policy that decided it.
    """

    pod: Pod
    port: int
    sent: Sent
    server: Server
    mode: Effective
    field: str
    cell: Cell


def server_kind(pod: Pod, port: int, mode: Mode, namespace: Namespace | None = None) -> Server:
    """What listens on a pod's port."""
    if ambient(pod, namespace) or gateway(pod):
        return Server.OTHER
    return Server(mode.value) if captured_port(pod, port) else Server.UNCAPTURED


def dialled(pair: Pair, service: Service | None) -> ServicePort:
    """The port of the call; of a call to a pod, a port of the same number.

    Raises:
        UsageError: the Service has no such port, or several and none is named.
    """
    number = int(pair.port) if pair.port.isdigit() else 0
    if service is None:
        if not 0 < number < 65536:
            raise UsageError("a call to a pod needs a port's number", limit="1 to 65535", where=f"--to {pair.server}:…")
        return ServicePort(port=number)
    ports = service.spec.ports
    found = [p for p in ports if (p.port == number if number else p.name == pair.port)] if pair.port else list(ports)
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{p.port}{' ' if p.name else ''}{p.name}" for p in ports) or "none"
    asked = f"no port {pair.port}" if pair.port else f"{len(ports)} ports, and none is named"
    raise UsageError(f"{service.ref} has {asked}", limit=f"one of {known}", where=f"--to {pair.server}:PORT")


def verdicts(found: Found, port: ServicePort, mesh: MeshConfig) -> tuple[Verdict, ...]:
    """One for each live pod that the call may reach and each thing that may be sent; the deciding one first.

    Raises:
        KindUnreadable: PeerAuthentications or DestinationRules cannot be read.
    """
    assert found.client is not None, "a verdict is about a call"
    world, client = found.world, found.client
    policies = Policies(world.of(PeerAuthentication), mesh.root_namespace)
    rules = world.of(DestinationRule)
    spaces = {namespace.name: namespace for namespace in world.of(Namespace)}
    backends = tuple(pod for pod in found.servers if live(pod))
    made: list[Verdict] = []
    for pod in backends:
        target = target_ports(port, pod) if found.service else port.port
        if target is None:
            continue
        call = Call(
            client=client, server=pod, port=target, service=found.service, service_port=port.port, backends=backends,
            namespace=spaces.get(client.namespace),
        )  # fmt: skip
        mode = policies.effective(pod, target)
        kind = server_kind(pod, target, mode.mode, spaces.get(pod.namespace))
        made += [
            Verdict(
                pod=pod,
                port=target,
                sent=each,
                server=kind,
                mode=mode,
                field=place(policies, pod, target),
                cell=cell(each.client, kind),
            )
            for each in sent(call, rules, policies, mesh)
            if _routed(found, each)
        ]
    return tuple(made)


def _routed(found: Found, each: Sent) -> bool:
    """What is sent for a subset counts where some VirtualService leads to it; where they cannot be read it may."""
    if not each.subset:
        return True
    assert found.service is not None, "only hosts of Services have subsets here"
    try:
        return (host(found.service), each.subset) in found.world.derived(VirtualService, subset_routes)
    except KindUnreadable:
        return True


def overall(found: Collection[Verdict]) -> Outcome:
    """The same for all pods, or it depends on which one answers."""
    outcomes = {verdict.cell.outcome for verdict in found}
    return outcomes.pop() if len(outcomes) == 1 else Outcome.DEPENDS


def of_pair(found: Found, pair: Pair, mesh: MeshConfig) -> LayerResult:
    """The verdict on a call, and the kubelet's probes of the pods that answer it.

    Raises:
        UsageError: the Service has no such port.
        KindUnreadable: PeerAuthentications or DestinationRules cannot be read.
    """
    judged = verdicts(found, dialled(pair, found.service), mesh)
    if not judged:
        return LayerResult(layer=Layer.POLICY, status=Status.UNKNOWN, reason=_nobody(found))
    groups: dict[tuple[Sent, Server, Effective], list[Verdict]] = {}
    for verdict in judged:
        groups.setdefault((_unnamed(verdict), verdict.server, verdict.mode), []).append(verdict)
    lines = [f"{pair}: {overall(judged)}"]
    findings: list[Finding] = []
    for same in groups.values():
        lines += _lines(same)
        findings += [(_past(same) if _server_side(same[0]) else _finding(same))] if same[0].cell.mutual is False else []
    probing = _probing(found, mesh)
    unknown = [v.cell.seen for v in judged if v.cell.mutual is None]
    return _layer((*findings, *probing.findings), (*lines, NOT_LOOKED_AT), [*unknown, *unread([probing])])


def _probing(found: Found, mesh: MeshConfig) -> CheckResult:
    """The probes of the pods that answer: refused ones take them out of service, accepted ones do a call no harm."""
    owners = {workload(pod) for pod in found.servers}
    result = one_check("probes", found.world, found.servers[0].namespace, mesh)
    mine = (finding for finding in result.findings if finding.ref in owners)
    return msgspec.structs.replace(
        result, findings=tuple(msgspec.structs.replace(f, severity=Severity.WARNING) if f.new else f for f in mine)
    )


def _unnamed(verdict: Verdict) -> Sent:
    """What is sent, without the pod's own name: replicas that are alike are told once."""
    sent_ = verdict.sent
    return msgspec.structs.replace(sent_, by=Ref("Pod", "", "")) if sent_.by == verdict.pod.ref else sent_


def _nobody(found: Found) -> str:
    if not found.servers:
        return f"{found.service.ref if found.service else 'the server'} selects no pod: nobody answers"
    return "no live pod of the Service has that port"


def _lines(same: list[Verdict]) -> list[str]:
    first = same[0]
    subset = f" (subset {first.sent.subset}, where a VirtualService routes to it)" if first.sent.subset else ""
    client = f"the client sends {SENDS[first.sent.client]}{subset}: {first.sent.because}"
    return [
        client,
        f"{_who(same)} accepts: {first.server}, {_decided(first)}",
        f"{first.cell.outcome}: {first.cell.seen}",
    ]


def _who(same: list[Verdict]) -> str:
    return str(same[0].pod.ref) if len(same) == 1 else f"{same[0].pod.ref} and {len(same) - 1} more"


def _decided(verdict: Verdict) -> str:
    if verdict.server in (Server.UNCAPTURED, Server.OTHER):
        past = f"{uncaptured.because(verdict.pod, verdict.port)}; " if verdict.server is Server.UNCAPTURED else ""
        return f"{past}no PeerAuthentication takes part"
    return f"decided by {verdict.mode.decided_by}" if verdict.mode.decided_by else "Istio's default, no policy decides"


def _finding(same: list[Verdict]) -> Finding:
    first = same[0]
    accepted = first.cell.outcome is Outcome.WORKS
    subset = f" for subset {first.sent.subset}" if first.sent.subset else ""
    return Finding(
        ref=first.sent.by,
        field=first.sent.field,
        measured=f"the client sends {SENDS[first.sent.client]}{subset} to a port that is {first.server}",
        limit="mutual TLS",
        where=(
            first.sent.because,
            f"{_who(same)}: {_decided(first)}",
            f"{first.cell.outcome}: {first.cell.seen}",
        ),
        fix=_fix(first),
        check="peer-authentication",
        severity=Severity.BLOCKING,
        # No policy acts where nothing is captured: STRICT would not refuse it either.
        new=accepted and first.server is not Server.UNCAPTURED,
    )


def _server_side(verdict: Verdict) -> bool:
    """The client does what it should, and the server's sidecar stands beside."""
    right = verdict.sent.client in (Client.AUTO, Client.ISTIO_MUTUAL)
    return right and verdict.server is Server.UNCAPTURED and injected(verdict.pod)


def _past(same: list[Verdict]) -> Finding:
    """About the server, with what leaves its port out."""
    first = same[0]
    return msgspec.structs.replace(
        _finding(same),
        ref=workload(first.pod),
        field=uncaptured.FIELD,
        measured=f"the client sends mutual TLS to port {first.port}, which is not captured",
        limit="captured by the sidecar",
        where=(
            uncaptured.because(first.pod, first.port),
            first.sent.because,
            f"{first.cell.outcome}: {first.cell.seen}",
        ),
        fix=uncaptured.fix(first.pod, first.port),
    )


def _fix(verdict: Verdict) -> str:
    """The client's side, unless it already does what it should and the server is what does not."""
    if verdict.sent.client in (Client.AUTO, Client.ISTIO_MUTUAL) and verdict.server is Server.UNCAPTURED:
        return "give the server a sidecar, as layer 1 says"
    if verdict.sent.client is Client.ISTIO_MUTUAL:
        decided = verdict.mode.decided_by or verdict.pod.ref
        return f"{permissive(decided, verdict.field)}; until then: {verdict.sent.fix}"
    return verdict.sent.fix


def _layer(findings: Iterable[Finding], lines: tuple[str, ...], unknown: Collection[str]) -> LayerResult:
    found = ranked(tuple(findings))
    failed = any(finding.blocks for finding in found)
    status = Status.FAILED if failed else Status.UNKNOWN if unknown else Status.OK
    return LayerResult(
        layer=Layer.POLICY, status=status, findings=found, lines=lines, reason="; ".join(dict.fromkeys(unknown))
    )


def of_pod(found: Found, mesh: MeshConfig) -> LayerResult:
    """The mode of each of the pod's ports, who decided it, and its probes.

    Raises:
        KindUnreadable: PeerAuthentications cannot be read.
    """
    pod = found.servers[0]
    policies = Policies(found.world.of(PeerAuthentication), mesh.root_namespace)
    services = found.world.of(Service, pod.namespace)
    lines: list[str] = []
    findings: list[Finding] = []
    for port in policies.ports(pod) or (0,):
        mode = policies.effective(pod, port)
        kind = server_kind(pod, port, mode.mode) if port else Server(mode.mode.value)
        through = ", ".join(f"{s.name}:{p.port}" for s, p in reaching(services, pod, port)) or "no Service"
        name = f"port {port} ({through})" if port else "undeclared ports"
        meshed, plain = cell(Client.AUTO, kind), cell(Client.NO_SIDECAR, kind)
        decided = f"decided by {mode.decided_by}" if mode.decided_by else "no policy decides"
        lines.append(f"{name}: {kind}, {decided}; without a sidecar a call {plain.outcome}")
        if kind is Server.DISABLE:
            findings.append(_disabled(pod, name, mode, place(policies, pod, port)))
        elif kind is Server.UNCAPTURED:
            lines.append(f"{name}: mutual TLS {meshed.outcome}, {meshed.seen}")
    findings += uncaptured.refused(found.world, (pod,), policies, mesh)
    probing = one_check("probes", found.world, pod.namespace, mesh)
    return _layer((*findings, *probing.findings), tuple(lines), unread([probing]))


def _disabled(pod: Pod, name: str, mode: Effective, field: str, ports: int = 1) -> Finding:
    return Finding(
        ref=mode.decided_by or pod.ref,
        measured=f"DISABLE for {name} of {pod.ref}" + (f", and {ports - 1} more" if ports > 1 else ""),
        limit="PERMISSIVE or STRICT",
        where=("clients send plaintext, and mutual TLS is refused",),
        fix=f"rollout migrate {pod.namespace}; or, to PERMISSIVE alone: "
        f"{permissive(mode.decided_by or pod.ref, field)}",
        check="peer-authentication",
        severity=Severity.BLOCKING,
        new=False,
    )


def of_namespace(
    world: World, namespace: str, mesh: MeshConfig, results: Collection[CheckResult], left_out: str
) -> LayerResult:
    """The modes of all ports, what DestinationRules say, and the checks that are about what is sent and accepted.

    `left_out` says which checks nobody asked.

    Raises:
        KindUnreadable: pods or PeerAuthentications cannot be read.
    """
    policies = Policies(world.of(PeerAuthentication), mesh.root_namespace)
    pods = [pod for pod in world.of(Pod, namespace) if live(pod) and injected(pod) and not gateway(pod)]
    counted: Counter[tuple[str, str]] = Counter()
    disabled: dict[Ref | None, list[tuple[Pod, Effective, int]]] = {}
    for pod in pods:
        for port in policies.ports(pod):
            if captured_port(pod, port):
                mode = policies.effective(pod, port)
                counted[mode.mode.value, str(mode.decided_by or "no policy")] += 1
                if mode.mode is Mode.DISABLE:
                    disabled.setdefault(mode.decided_by, []).append((pod, mode, port))
    lines = [f"{many(count, 'port')} {mode}, decided by {by}" for (mode, by), count in counted.most_common()]
    findings = [
        _disabled(pod, f"port {port}", mode, place(policies, pod, port), 1 + len(rest))
        for (pod, mode, port), *rest in disabled.values()
    ]
    refused = tuple(uncaptured.refused(world, pods, policies, mesh))
    findings += refused
    findings += [finding for result in results for finding in result.findings if not _said(finding, refused)]
    lines += listing(world, namespace, mesh)
    return _layer(findings, (*lines, *looked_at(results), left_out), unread(results))


def _said(finding: Finding, refused: Iterable[Finding]) -> bool:
    """The check's warning about a port of which is known that calls to it fail."""
    return any(
        finding.ref == other.ref and other.measured.startswith(f"{finding.measured}: ")
        for other in refused
        if finding.severity is Severity.WARNING
    )
