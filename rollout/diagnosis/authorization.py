"""Layer 5: which AuthorizationPolicies apply, in which order, and what they say to this call (istio.md 10)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from rollout.checks.words import many
from rollout.diagnosis.asking import layer_of
from rollout.diagnosis.policy import Verdict
from rollout.diagnosis.question import Pair
from rollout.mesh.authorization import Authorization, Decision, Request, identity_fields, principal
from rollout.mesh.injection import captured, captured_port, live
from rollout.mesh.probes import probes
from rollout.model.diagnosis import Layer, LayerResult
from rollout.model.finding import CheckResult, Finding, Severity, Status
from rollout.model.istio import Action, AuthorizationPolicy, MeshConfig
from rollout.model.kubernetes import Pod, ServicePort
from rollout.world.world import World

#: The order in which Istio evaluates; AUDIT decides nothing.
ORDER = (Action.CUSTOM, Action.DENY, Action.ALLOW)
_HTTP = frozenset({"http", "http2", "grpc", "grpc-web", "h2c", "ws"})
_TCP = frozenset({"tcp", "tls", "https", "mongo", "mysql", "redis"})


def http(port: ServicePort) -> bool | None:
    """The proxy takes the port for HTTP; None where nothing declares it and the proxy looks at the bytes.

    `https` is TLS of the app's own: to the proxy those are bytes.
    """
    declared = port.app_protocol or port.name
    protocol = declared.rpartition("/")[2].lower()
    for known, answer in ((_HTTP, True), (_TCP, False)):
        if any(protocol == each or protocol.startswith(f"{each}-") for each in known):
            return answer
    return None


def of_pair(
    world: World, verdicts: Iterable[Verdict], pair: Pair, port: ServicePort, client: Pod, mesh: MeshConfig
) -> LayerResult:
    """The decision on a call, for each pod that may answer it.

    Args:
        world: holds the policies of the root and of the server's namespace.
        verdicts: of layer 2: who the caller is to the server depends on what it sends.
        pair: with the method and path, where they are known.
        port: the Service's.
        client: the caller.
        mesh: for trust domain and root namespace.

    Raises:
        KindUnreadable: the policies cannot be read.
    """
    rules = _authorization(world, mesh)
    lines: list[str] = []
    findings: dict[str, Finding] = {}
    open_: list[str] = []
    for verdict in verdicts:
        pod = verdict.pod
        if verdict.sent.subset or not captured_port(pod, verdict.port):
            continue
        request = _request(verdict, pair, port, client, mesh)
        decision = rules.decide(pod, request)
        lines += [*_selecting(rules, pod), f"{pod.ref}: {_said(decision)}"]
        if decision.allowed is False:
            findings.setdefault(decision.reason, _finding(rules, pod, decision, request.principal))
        elif decision.allowed is None:
            open_.append(f"{decision.reason}{_missing(pair)}")
    return LayerResult(
        layer=Layer.AUTHORIZATION,
        status=Status.FAILED if findings else Status.UNKNOWN if open_ else Status.OK,
        findings=tuple(findings.values()),
        lines=tuple(dict.fromkeys(lines)) or ("no policy is enforced: no sidecar captures the port",),
        reason="; ".join(dict.fromkeys(open_)),
    )


def _request(verdict: Verdict, pair: Pair, port: ServicePort, client: Pod, mesh: MeshConfig) -> Request:
    """What the server's proxy sees of the call: a name only where it is mutual TLS."""
    who = {True: principal(client, mesh.trust_domain), False: "", None: None}[verdict.cell.mutual]
    return Request(
        principal=who,
        address=client.status.pod_ip or None,
        port=verdict.port,
        method=pair.method,
        path=pair.path,
        http=http(port) is not False,
    )


def of_pod(world: World, pod: Pod, mesh: MeshConfig) -> LayerResult:
    """Which policies apply to a pod, and what they say to the kubelet's probes.

    Raises:
        KindUnreadable: the policies cannot be read.
    """
    rules = _authorization(world, mesh)
    lines = list(_selecting(rules, pod))
    found = _probed(rules, pod, mesh, lines)
    status = Status.FAILED if any(finding.blocks for finding in found) else Status.OK
    return LayerResult(layer=Layer.AUTHORIZATION, status=status, findings=tuple(found), lines=tuple(lines))


def _probed(rules: Authorization, pod: Pod, mesh: MeshConfig, lines: list[str]) -> list[Finding]:
    """The kubelet's probes that are denied; what is decided of each is added to `lines`."""
    found: list[Finding] = []
    for probe in probes(pod, mesh.status_port):
        if probe.rewritten or probe.port is None or not captured_port(pod, probe.port) or probe.handler == "tcpSocket":
            continue
        method = "GET" if probe.handler == "httpGet" else "POST"
        decision = rules.decide(pod, Request(principal="", port=probe.port, method=method))
        lines.append(f"{probe.field}: {_said(decision)}")
        if decision.allowed is False:
            found.append(_finding(rules, pod, decision, "", field=probe.field))
    return found


def of_namespace(
    world: World, namespace: str, pods: Iterable[Pod], mesh: MeshConfig, results: Collection[CheckResult]
) -> LayerResult:
    """How many pods each policy applies to, the check of AuthorizationPolicies, and why pods are not Ready.

    A probe that a policy denies is what keeps such a pod from its Service: more than the warning of the check.

    Raises:
        KindUnreadable: the policies cannot be read.
    """
    rules = _authorization(world, mesh)
    counted: dict[str, int] = {}
    found: dict[tuple[str, str], Finding] = {}
    for pod in pods:
        if pod.namespace == namespace and live(pod) and captured(pod):
            for policy in rules.selecting(pod):
                name = f"{policy.spec.action} {policy.ref}"
                counted[name] = counted.get(name, 0) + 1
            for finding in () if pod.ready else _probed(rules, pod, mesh, []):
                found.setdefault((str(finding.ref), finding.measured), finding)
    lines = tuple(f"{name}: {many(count, 'pod')}" for name, count in counted.items())
    layer = layer_of(Layer.AUTHORIZATION, results, lines or ("no AuthorizationPolicy applies: everything is allowed",))
    if not found:
        return layer
    return msgspec.structs.replace(layer, status=Status.FAILED, findings=(*found.values(), *layer.findings))


def _authorization(world: World, mesh: MeshConfig) -> Authorization:
    return Authorization(world.of(AuthorizationPolicy), mesh.root_namespace, mesh.trust_domains)


def _selecting(rules: Authorization, pod: Pod) -> list[str]:
    """In the order of evaluation."""
    selecting = rules.selecting(pod)
    if not selecting:
        return [f"{pod.ref}: no AuthorizationPolicy applies, everything is allowed"]
    ordered = [policy for action in ORDER for policy in selecting if policy.spec.action is action]
    return [f"{policy.spec.action} {policy.ref}: {many(len(policy.spec.rules), 'rule')}" for policy in ordered]


def _said(decision: Decision) -> str:
    word = {True: "allowed", False: "denied", None: "open"}[decision.allowed]
    return f"{word}, {decision.reason}"


def _missing(pair: Pair) -> str:
    return "" if pair.method and pair.path else "; name the request by --method and --path"


def _finding(rules: Authorization, pod: Pod, decision: Decision, who: str | None, field: str = "") -> Finding:
    assert decision.by is not None, "only a policy denies"
    policy = next(policy for policy in rules.selecting(pod) if policy.ref == decision.by)
    needs = sorted({name for rule in policy.spec.rules for name in identity_fields(rule)})
    where = [decision.reason, f"for {pod.ref}", "403 RBAC: access denied; on TCP the connection is closed"]
    if who == "" and needs:
        where.append(f"the caller sends plaintext and so has no {', '.join(needs)}")
    rule = "spec.rules" if decision.rule is None else f"spec.rules[{decision.rule}]"
    return Finding(
        ref=decision.by,
        field=rule,
        measured=f"denies {field or _caller(who)}",
        limit="allowed",
        where=tuple(where),
        fix=_fix(policy, decision, who),
        check="authorization",
        severity=Severity.BLOCKING,
        new=False,
    )


def _caller(who: str | None) -> str:
    return {None: "the caller", "": "plaintext callers"}.get(who, who or "")


def _fix(policy: AuthorizationPolicy, decision: Decision, who: str | None) -> str:
    edit = f"kubectl edit authorizationpolicy {policy.name} -n {policy.namespace}"
    if decision.rule is not None:
        return f"take the caller out of rule {decision.rule}: {edit}"
    if who:
        return f'add a rule with from.source.principals: ["{who}"]: {edit}'
    return f"let the caller use mutual TLS (layers 1 and 2), or add a rule by ipBlocks or ports: {edit}"
