"""Who may call a workload: Istio's evaluation of AuthorizationPolicies, exactly (istio.md 10).

CUSTOM, then DENY, then ALLOW; without any ALLOW policy everything is allowed, with one only what a rule matches. What
a question leaves open (a header, say) makes the answer open where it counts, never a guess.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator

import msgspec

from rollout.model.istio import Action, AuthorizationPolicy, AuthorizationRule, Operation, Source, When
from rollout.model.kubernetes import Pod, Ref

_GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
#: `when` keys that a plaintext caller never has.
_IDENTITY_KEYS = frozenset({"source.principal", "source.namespace", "source.serviceAccount", "source.trustDomain"})
_LOCAL = "cluster.local"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A call. None is what is not known; an empty principal is a plaintext caller, which has none.

    Args:
        principal: `TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`, without `spiffe://`.
        address: the caller's, as the proxy sees it.
        port: the container's.
        http: False: the proxy takes the port for plain TCP and knows neither host, method nor path.
    """

    principal: str | None = None
    address: str | None = None
    port: int | None = None
    host: str | None = None
    method: str | None = None
    path: str | None = None
    http: bool = True


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """`allowed` is None where it depends on what is not known, or on an external authorizer.

    `by` is the deciding policy (None: none selects the workload) and `rule` the place of its deciding rule (None: no
    rule matched).
    """

    allowed: bool | None
    reason: str
    by: Ref | None = None
    rule: int | None = None


def principal(pod: Pod, trust_domain: str = _LOCAL) -> str:
    """Who a pod with a sidecar is to others (istio.md 12)."""
    account = pod.spec.service_account_name or "default"
    return f"{trust_domain.replace('@', '.')}/ns/{pod.namespace}/sa/{account}"


class Authorization:
    """All AuthorizationPolicies, indexed once. Those in dry run enforce nothing and are left out."""

    def __init__(
        self, policies: Iterable[AuthorizationPolicy], root_namespace: str, trust_domains: tuple[str, ...] = (_LOCAL,)
    ) -> None:
        """Keep the selector-less ones apart and find the others by one of their labels."""
        self._trust_domains = trust_domains
        self._root_namespace = root_namespace
        self._wide: dict[str, list[AuthorizationPolicy]] = {}
        self._by_label: dict[tuple[str, str, str], list[AuthorizationPolicy]] = {}
        for policy in policies:
            if policy.dry_run:
                continue
            if policy.selector:
                key, value = min(policy.selector.items())
                self._by_label.setdefault((policy.namespace, key, value), []).append(policy)
            else:
                self._wide.setdefault(policy.namespace, []).append(policy)

    def selecting(self, pod: Pod) -> tuple[AuthorizationPolicy, ...]:
        """The policies that this pod's proxy enforces: the root namespace's, then its own namespace's.

        A selector in the root namespace selects in every namespace, other than a PeerAuthentication's.
        """
        found: list[AuthorizationPolicy] = []
        for namespace in dict.fromkeys((self._root_namespace, pod.namespace)):
            candidates = list(self._wide.get(namespace, ()))
            for key, value in pod.labels.items():
                candidates += self._by_label.get((namespace, key, value), ())
            found += sorted((p for p in candidates if _selects(p, pod)), key=lambda policy: policy.name)
        return tuple(found)

    def decide(self, pod: Pod, request: Request) -> Decision:
        """What the pod's proxy does with a call."""
        return decide(self.selecting(pod), request, self._trust_domains)


def _selects(policy: AuthorizationPolicy, pod: Pod) -> bool:
    references = (*policy.spec.target_refs, *((policy.spec.target_ref,) if policy.spec.target_ref else ()))
    if references:
        gateway = pod.labels.get(_GATEWAY_NAME)
        named = any(reference.kind == "Gateway" and reference.name == gateway for reference in references)
        return named and policy.namespace == pod.namespace
    return policy.selector.items() <= pod.labels.items()


def decide(
    policies: Iterable[AuthorizationPolicy], request: Request, trust_domains: tuple[str, ...] = (_LOCAL,)
) -> Decision:
    """The decision of these policies, all of which select the workload."""
    selecting = tuple(policies)
    asked = _first(selecting, Action.CUSTOM, request, trust_domains)
    denied = _first(selecting, Action.DENY, request, trust_domains)
    if denied is not None and denied.allowed:
        return _said(denied, "denied by", allowed=False)
    allowing = [policy for policy in selecting if policy.spec.action is Action.ALLOW]
    allowed = _first(allowing, Action.ALLOW, request, trust_domains)
    if allowing and allowed is None:
        return Decision(allowed=False, reason="no ALLOW policy has a rule for it", by=allowing[0].ref)
    if denied is not None:
        return _said(denied, "it depends on the request whether it is denied by", allowed=None)
    if allowed is not None and not allowed.allowed:
        return _said(allowed, "it depends on the request whether it is allowed by", allowed=None)
    if asked is not None:
        return _said(asked, "an external authorizer decides for", allowed=None)
    if allowed is None:
        return Decision(allowed=True, reason="no ALLOW policy selects the workload")
    return _said(allowed, "allowed by", allowed=True)


def _said(match: Decision, words: str, *, allowed: bool | None) -> Decision:
    return msgspec.structs.replace(match, allowed=allowed, reason=f"{words} rule {match.rule} of {match.by}")


def _first(
    policies: Iterable[AuthorizationPolicy], action: Action, request: Request, trust_domains: tuple[str, ...]
) -> Decision | None:
    """The first rule that matches (`allowed` is True), else the first that may; None when none can."""
    perhaps: Decision | None = None
    for policy in policies:
        if policy.spec.action is action:
            for place, rule in enumerate(policy.spec.rules):
                match = matches(policy, rule, request, trust_domains)
                if match is True:
                    return Decision(allowed=True, reason="", by=policy.ref, rule=place)
                if match is None and perhaps is None:
                    perhaps = Decision(allowed=None, reason="", by=policy.ref, rule=place)
    return perhaps


def matches(
    policy: AuthorizationPolicy, rule: AuthorizationRule, request: Request, trust_domains: tuple[str, ...] = (_LOCAL,)
) -> bool | None:
    """Whether a rule is for this call; None where that depends on what is not known.

    On a TCP port what only HTTP has makes an ALLOW rule match nothing, and is left out of the others.
    """
    if not request.http and policy.spec.action is Action.ALLOW and needs_http(rule):
        return False
    terms: list[bool | None] = []
    if rule.sources:
        terms.append(_any(_source(item.source, policy.namespace, request, trust_domains) for item in rule.sources))
    if rule.operations:
        terms.append(_any(_operation(item.operation, request) for item in rule.operations))
    terms += [_when(condition, policy.namespace, request, trust_domains) for condition in rule.when]
    return _all(terms)


def needs_http(rule: AuthorizationRule) -> bool:
    """It names what only HTTP has."""
    sources = any(s.source.request_principals or s.source.not_request_principals for s in rule.sources)
    operations = any(
        (*o.hosts, *o.not_hosts, *o.methods, *o.not_methods, *o.paths, *o.not_paths)
        for o in (item.operation for item in rule.operations)
    )
    return sources or operations or any(condition.key.startswith("request.") for condition in rule.when)


def identity_fields(rule: AuthorizationRule) -> tuple[str, ...]:
    """The fields of a rule that need mutual TLS, as people write them; a plaintext caller has none of these."""
    found: dict[str, None] = {}
    for item in rule.sources:
        source = item.source
        named = {
            "principals": source.principals,
            "notPrincipals": source.not_principals,
            "namespaces": source.namespaces,
            "notNamespaces": source.not_namespaces,
            "serviceAccounts": source.service_accounts,
            "notServiceAccounts": source.not_service_accounts,
            "trustDomains": source.trust_domains,
            "notTrustDomains": source.not_trust_domains,
        }
        found |= {name: None for name, values in named.items() if values}
    found |= {condition.key: None for condition in rule.when if condition.key in _IDENTITY_KEYS}
    return tuple(found)


def _source(source: Source, namespace: str, request: Request, trust_domains: tuple[str, ...]) -> bool | None:
    who = _Identity(request.principal, namespace, trust_domains)
    unknown = None if request.http else True
    return _all(
        (
            _listed(source.principals, source.not_principals, who.principal),
            _listed(source.namespaces, source.not_namespaces, who.namespace),
            _listed(source.service_accounts, source.not_service_accounts, who.account),
            _listed(source.trust_domains, source.not_trust_domains, who.trust_domain),
            _listed(source.ip_blocks, source.not_ip_blocks, lambda block: within(block, request.address)),
            _listed(source.remote_ip_blocks, source.not_remote_ip_blocks, _unknown),
            unknown if source.request_principals or source.not_request_principals else True,
        )
    )


def _operation(operation: Operation, request: Request) -> bool | None:
    port = None if request.port is None else str(request.port)
    terms = [_listed(operation.ports, operation.not_ports, lambda value: _equal(value, port))]
    if request.http:
        host, method, path = request.host, request.method, request.path
        terms += [
            _listed(operation.hosts, operation.not_hosts, lambda value: _like(value.lower(), host)),
            _listed(operation.methods, operation.not_methods, lambda value: _like(value, method)),
            _listed(operation.paths, operation.not_paths, lambda value: _path(value, path)),
        ]
    return _all(terms)


def _when(condition: When, namespace: str, request: Request, trust_domains: tuple[str, ...]) -> bool | None:
    who = _Identity(request.principal, namespace, trust_domains)
    port = None if request.port is None else str(request.port)
    if condition.key.startswith("request.") and not request.http:
        return True
    known: dict[str, Callable[[str], bool | None]] = {
        "source.principal": who.principal,
        "source.namespace": who.namespace,
        "source.serviceAccount": who.account,
        "source.trustDomain": who.trust_domain,
        "source.ip": lambda block: within(block, request.address),
        "destination.port": lambda value: _equal(value, port),
    }
    return _listed(condition.values, condition.not_values, known.get(condition.key, _unknown))


class _Identity(msgspec.Struct, frozen=True):
    """How the parts of a principal match; a plaintext caller's match nothing, and so every negation."""

    name: str | None
    policy_namespace: str
    own_domains: tuple[str, ...]

    def principal(self, pattern: str) -> bool | None:
        """A domain of the mesh, or `cluster.local`, stands for all of the mesh's: the own one and its aliases."""
        spelled = {pattern}
        domain, slash, rest = pattern.partition("/")
        if slash and (domain == _LOCAL or any(_like(domain, own) for own in self.own_domains)):
            spelled.update(f"{own}/{rest}" for own in self.own_domains)
        return _any(_like(each, self.name) for each in sorted(spelled))

    def namespace(self, pattern: str) -> bool | None:
        return _like(pattern, self._part("ns"))

    def account(self, value: str) -> bool | None:
        """`NAMESPACE/ACCOUNT`, or an account of the policy's own namespace."""
        namespace, _, account = value.rpartition("/")
        mine = (_equal(namespace or self.policy_namespace, self._part("ns")), _equal(account, self._part("sa")))
        return _all(mine)

    def trust_domain(self, pattern: str) -> bool | None:
        """As it is written: other than in principals Istio puts no alias in its place."""
        return _like(pattern, None if self.name is None else self.name.partition("/")[0])

    def _part(self, key: str) -> str | None:
        if self.name is None:
            return None
        parts = self.name.split("/")
        return parts[parts.index(key) + 1] if key in parts[:-1] else ""


def within(block: str, address: str | None) -> bool | None:
    """The address lies in a CIDR block, or is it."""
    if address is None:
        return None
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(block, strict=False)
    except ValueError:
        return False


def _unknown(_: str) -> None:
    """A header, a token's claim, an address behind X-Forwarded-For: no question says it."""


def _equal(value: str, actual: str | None) -> bool | None:
    return None if actual is None else value == actual


def _like(pattern: str, actual: str | None) -> bool | None:
    """Exact, prefix `a*`, suffix `*a`, presence `*`."""
    if actual is None:
        return None
    if pattern == "*":
        return actual != ""
    if pattern.startswith("*"):
        return actual.endswith(pattern[1:])
    if pattern.endswith("*"):
        return actual.startswith(pattern[:-1])
    return actual == pattern


def _path(pattern: str, actual: str | None) -> bool | None:
    """As `_like`, or a template in which `{*}` is one segment and `{**}` any number of them."""
    if actual is None or "{" not in pattern:
        return _like(pattern, actual)
    parts = {"{*}": "[^/]+", "{**}": ".*"}
    regex = "".join(parts.get(part) or re.escape(part) for part in re.split(r"(\{\*\*?\})", pattern))
    return re.fullmatch(regex, actual.partition("?")[0]) is not None


def _listed(values: tuple[str, ...], negated: tuple[str, ...], one: Callable[[str], bool | None]) -> bool | None:
    """One of the values, and none of the negated; an absent list asks for nothing."""
    wanted = _any(one(value) for value in values) if values else True
    unwanted = _any(one(value) for value in negated) if negated else False
    return _all((wanted, None if unwanted is None else not unwanted))


def _all(terms: Iterable[bool | None]) -> bool | None:
    seen = tuple(terms)
    return False if False in seen else None if None in seen else True


def _any(terms: Iterable[bool | None] | Iterator[bool | None]) -> bool | None:
    seen = tuple(terms)
    return True if True in seen else None if None in seen else False
