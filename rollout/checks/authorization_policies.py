"""AuthorizationPolicies let the same callers through after the flip.

Why: principals, namespaces and serviceAccounts come from the mesh's certificates. Where mutual TLS is off now, a rule
on them matches nobody, and begins to match with the flip: callers that pass today are denied. On a port that stays open
such a rule goes on matching no plaintext caller: an ALLOW policy denies them all, a DENY policy stops none of them. A
probe that was not rewritten is such a caller.

Fix: allow the callers by name, and on a port that stays open by `to.operation.ports` without `from`, or by ipBlocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import msgspec

from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.checks.words import many, some
from rollout.mesh.authorization import (
    Authorization,
    Decision,
    Request,
    decide,
    identity_fields,
    matches,
    principal,
)
from rollout.mesh.injection import captured, captured_port, injected, live
from rollout.mesh.peer_authentication import Policies
from rollout.mesh.probes import probes
from rollout.mesh.services import Backends
from rollout.mesh.workloads import workload
from rollout.model.finding import Finding, Severity
from rollout.model.istio import Action, AuthorizationPolicy, Mode, PeerAuthentication
from rollout.model.kubernetes import Pod, Ref, Service
from rollout.record.state import State

META = Meta("authorization-policies", State.VERIFYING, __doc__)
READS = (AuthorizationPolicy, PeerAuthentication, Pod, Service)

_HEALTH = {"httpGet": ("GET", None), "grpc": ("POST", "/grpc.health.v1.Health/Check")}
_Decide = Callable[[Request], Decision]
_Key = tuple[Ref, str, str, str]


class _Found:
    """Findings of many pods as one per object, field and words, with the workloads that they are about."""

    def __init__(self) -> None:
        self._findings: dict[_Key, Finding] = {}
        self._workloads: dict[_Key, dict[str, None]] = {}

    def add(self, finding: Finding, pod: Pod) -> None:
        key = (finding.ref, finding.field, finding.measured, finding.severity or "")
        self._findings.setdefault(key, finding)
        self._workloads.setdefault(key, {})[str(workload(pod))] = None

    def extend(self, findings: Iterable[Finding], pod: Pod) -> None:
        for finding in findings:
            self.add(finding, pod)

    def all(self) -> Iterator[tuple[Finding, tuple[str, ...]]]:
        for key, finding in self._findings.items():
            yield finding, tuple(self._workloads[key])


def check(view: View) -> Findings:
    """One finding per policy and harm: who is denied anew, what nothing passes, probes, ports that stay open."""
    domains = view.mesh_config.trust_domains
    authorization = view.then.derived(AuthorizationPolicy, Authorization, view.root_namespace, domains)
    pods = [pod for pod in view.then.of(Pod, view.target) if live(pod) and captured(pod)]
    callers = view.then.derived(Pod, _principals, view.mesh_config.trust_domain)
    backends = view.then.derived(Pod, Backends)
    served = {pod.name for service in view.then.of(Service, view.target) for pod in backends.of(service)}
    now, then = view.now.policies(), view.then.policies()
    found = _Found()
    chosen: dict[Ref, None] = {}
    seen: set[Ref] = set()
    for pod in pods:
        selecting = authorization.selecting(pod)
        if not selecting:
            continue
        chosen |= {policy.ref: None for policy in selecting}
        decided = partial(decide, selecting, trust_domains=domains)
        nothing = decided(Request())
        if nothing.allowed is False:
            if pod.name in served:
                found.add(_closed(nothing, selecting), pod)
            continue
        if workload(pod) not in seen and any(identity_fields(r) for policy in selecting for r in policy.spec.rules):
            seen.add(workload(pod))  # all callers of a mesh, asked once for each workload
            found.extend(_anew(decided, pod, callers, now, then), pod)
        found.extend(_probed(decided, pod, view.mesh_config.status_port), pod)
        found.extend(_open(decided, selecting, pod, then), pod)
    for finding, workloads in found.all():
        yield _about(finding, workloads)
    return f"{many(len(chosen), 'policy', 'policies')} of {many(len(pods), 'pod')}"


def _principals(pods: tuple[Pod, ...], trust_domain: str) -> tuple[str, ...]:
    """Of everybody in the mesh who has one."""
    return tuple(sorted({principal(pod, trust_domain) for pod in pods if live(pod) and injected(pod)}))


def _about(finding: Finding, workloads: tuple[str, ...]) -> Finding:
    return msgspec.structs.replace(finding, where=(*finding.where, f"for {some(workloads)}"))


def _field(decision: Decision) -> str:
    return "spec.rules" if decision.rule is None else f"spec.rules[{decision.rule}]"


def _instead(decision: Decision, allow: str, what: str) -> str:
    """What lets a denied request pass: an ALLOW rule, unless a DENY rule matches it."""
    return allow if decision.rule is None else f"leave {what} out of {_field(decision)} of {decision.by}"


def _policy(decision: Decision) -> Ref:
    """Whatever denies has a name: only without a policy is there none."""
    assert decision.by is not None
    return decision.by


def _waive(ref: Ref) -> str:
    return f"or, when they may be cut: --waive '{META.id}={ref}' --reason TEXT"


def _closed(decision: Decision, selecting: Iterable[AuthorizationPolicy]) -> Finding:
    """A DENY rule goes before every ALLOW rule: only without it does anything pass (istio.md 10)."""
    ref = _policy(decision)
    limit = "an ALLOW rule for the Service's callers"
    fix = f"allow its callers, or look why not: kubectl get authorizationpolicies -n {ref.namespace} -o yaml"
    if decision.rule is not None:
        limit = "a DENY rule that the Service's callers do not match"
        rules = next(len(policy.spec.rules) for policy in selecting if policy.ref == ref)
        fix = f"an ALLOW rule does not help; when nobody is meant to be shut out: {_without(ref, decision.rule, rules)}"
    return Finding(
        ref=ref,
        field=_field(decision),
        measured="no request passes, whoever calls",
        limit=limit,
        where=(decision.reason, "a Service leads there"),
        fix=fix,
        severity=Severity.WARNING,
    )


def _without(ref: Ref, rule: int, rules: int) -> str:
    """The command that takes a rule out of a DENY policy; one without rules is refused, and so goes as a whole."""
    if rules == 1:
        return f"kubectl delete authorizationpolicy {ref.name} -n {ref.namespace}"
    patch = f'[{{"op":"remove","path":"/spec/rules/{rule}"}}]'
    return f"kubectl patch authorizationpolicy {ref.name} -n {ref.namespace} --type json -p '{patch}'"


def _anew(decided: _Decide, pod: Pod, callers: Iterable[str], now: Policies, then: Policies) -> Iterator[Finding]:
    """Callers that pass as plaintext where mutual TLS is off, and are denied once the mesh knows them (istio.md 10)."""
    for port in now.ports(pod):
        off = now.effective(pod, port).mode is Mode.DISABLE and then.effective(pod, port).mode is not Mode.DISABLE
        if not off or not captured_port(pod, port):
            continue
        if decided(Request(principal="", port=port)).allowed is False:
            continue
        denied: dict[tuple[Ref, str, bool], list[str]] = {}
        for caller in callers:
            after = decided(Request(principal=caller, port=port))
            if after.allowed is not True and after.by is not None:
                denied.setdefault((after.by, _field(after), after.allowed is None), []).append(caller)
        for (ref, field, perhaps), names in denied.items():
            yield Finding(
                ref=ref,
                field=field,
                measured=f"{'may deny' if perhaps else 'denies'} {many(len(names), 'caller')} on port {port}"
                " as soon as mutual TLS names them",
                limit="the callers that pass now",
                where=(some(names), "mutual TLS is off there now, and so the rule matches nobody yet"),
                fix=f"let them pass in {field} of {ref}; {_waive(ref)}",
                severity=Severity.WARNING if perhaps else None,
            )


def _probed(decided: _Decide, pod: Pod, status_port: int) -> Iterator[Finding]:
    """A TCP probe passes even so: the proxy accepts the connection first."""
    for probe in probes(pod, status_port):
        if probe.rewritten or probe.port is None or probe.handler not in _HEALTH or not captured_port(pod, probe.port):
            continue
        method, path = _HEALTH[probe.handler]
        decision = decided(Request(principal="", port=probe.port, method=method, path=path))
        if decision.allowed is False:
            yield Finding(
                ref=_policy(decision),
                field=_field(decision),
                measured=f"denies the kubelet's {probe.handler} probe of port {probe.port}",
                limit="probes rewritten to Istio's agent, which no policy sees",
                where=(decision.reason, probe.field),
                fix="let the injector rewrite probes (see the check probes), or "
                + _instead(decision, "allow this one by its port and path", "its port and path"),
                severity=Severity.WARNING,
            )


def _open(decided: _Decide, selecting: Iterable[AuthorizationPolicy], pod: Pod, then: Policies) -> Iterator[Finding]:
    """Ports that go on taking plaintext, where a rule asks for an identity (incidents.md 3, authz-mtls-only-fields)."""
    for port in then.ports(pod):
        mode = then.effective(pod, port).mode
        if mode is Mode.STRICT or not captured_port(pod, port):
            continue
        plaintext = Request(principal="", port=port)
        decision = decided(plaintext)
        if decision.allowed is False:
            ref = _policy(decision)
            yield Finding(
                ref=ref,
                field=_field(decision),
                measured=f"denies every plaintext caller of port {port}, which stays {mode}",
                limit="a rule that needs no identity, for the callers that the port is kept open for",
                where=(decision.reason,),
                fix=_instead(
                    decision,
                    f'add a rule to an ALLOW policy: {{"to":[{{"operation":{{"ports":["{port}"]}}}}]}}',
                    f"port {port} (to.operation.notPorts)",
                ),
                severity=Severity.WARNING,
            )
            continue
        for ref, field, names in _bypassed(selecting, port):
            yield Finding(
                ref=ref,
                field=field,
                measured=f"stops no plaintext caller of port {port}, which stays {mode}",
                limit="a rule that needs no identity",
                where=(f"plaintext has no {' and no '.join(names)}",),
                fix='deny what has no identity, too: {"from":[{"source":{"notPrincipals":["*"]}}]}, or use ipBlocks',
                severity=Severity.WARNING,
            )


def _bypassed(selecting: Iterable[AuthorizationPolicy], port: int) -> Iterator[tuple[Ref, str, tuple[str, ...]]]:
    """DENY rules on an identity that would be for this port, were the caller known."""
    for policy in selecting:
        if policy.spec.action is not Action.DENY:
            continue
        for place, rule in enumerate(policy.spec.rules):
            names = identity_fields(rule)
            known = matches(policy, rule, Request(port=port)) is not False
            if names and known and matches(policy, rule, Request(principal="", port=port)) is False:
                yield policy.ref, f"spec.rules[{place}]", names
