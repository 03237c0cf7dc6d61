"""AuthorizationPolicies in the lab: which one decides at a sidecar, as Envoy's RBAC filters do (istio.md 10).

Read from the objects as they are stored, apart from what the tool makes of the same rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

Json = Mapping[str, Any]

NO_RULE = "none"


@dataclass(frozen=True, slots=True)
class Call:
    """What the filter sees: `principal` without its scheme, '' for a caller without mesh TLS."""

    port: int
    address: str
    principal: str = ""
    http: bool = True
    method: str = "GET"
    path: str = "/"
    host: str = ""

    @property
    def namespace(self) -> str:
        """The caller's, from its identity."""
        words = self.principal.split("/")
        return words[2] if len(words) == 5 else ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision, and the policy in Envoy's words: `ns[NS]-policy[NAME]-rule[N]`, or `none`."""

    allowed: bool
    policy: str


def selecting(policies: Iterable[Json], root: str, namespace: str, labels: Mapping[str, str]) -> list[Json]:
    """Those of the root and of the pod's namespace that select it, but for those in dry run."""
    found = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] in (root, namespace)
        and (policy["metadata"].get("annotations") or {}).get("istio.io/dry-run") != "true"
        and _selects(policy, labels)
    ]
    return sorted(found, key=lambda policy: (policy["metadata"]["namespace"] != root, policy["metadata"]["name"]))


def decide(policies: Sequence[Json], call: Call) -> Verdict:
    """DENY before ALLOW; without any ALLOW policy what is not denied passes. CUSTOM asks nobody here."""
    denied = _first(policies, "DENY", call)
    if denied:
        return Verdict(allowed=False, policy=denied)
    allowing = [policy for policy in policies if _action(policy) == "ALLOW"]
    if not allowing:
        return Verdict(allowed=True, policy=NO_RULE)
    allowed = _first(allowing, "ALLOW", call)
    return Verdict(allowed=bool(allowed), policy=allowed or NO_RULE)


def _first(policies: Iterable[Json], action: str, call: Call) -> str:
    for policy in policies:
        if _action(policy) != action:
            continue
        for number, rule in enumerate((policy.get("spec") or {}).get("rules") or ()):
            if _matches(rule or {}, policy["metadata"]["namespace"], call, allow=action == "ALLOW"):
                meta = policy["metadata"]
                return f"ns[{meta['namespace']}]-policy[{meta['name']}]-rule[{number}]"
    return ""


def _action(policy: Json) -> str:
    return str((policy.get("spec") or {}).get("action") or "ALLOW")


def _selects(policy: Json, labels: Mapping[str, str]) -> bool:
    spec = policy.get("spec") or {}
    if spec.get("targetRefs") or spec.get("targetRef"):
        return False
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items())


def _matches(rule: Json, namespace: str, call: Call, *, allow: bool) -> bool:
    sources = [entry.get("source") or {} for entry in rule.get("from") or ()]
    operations = [entry.get("operation") or {} for entry in rule.get("to") or ()]
    when = rule.get("when") or ()
    return (
        (not sources or any(_source(source, namespace, call) for source in sources))
        and (not operations or any(_operation(operation, call, allow=allow) for operation in operations))
        and all(_condition(condition, call) for condition in when)
    )


def _source(source: Json, namespace: str, call: Call) -> bool:
    account = call.principal.split("/")[-1] if call.namespace else ""
    owned = {f"{call.namespace}/{account}", *([account] if call.namespace == namespace else ())} if account else set()
    return all(
        (
            _values(source, "principals", "notPrincipals", lambda text: _like(text, call.principal)),
            _values(source, "namespaces", "notNamespaces", lambda text: _like(text, call.namespace)),
            _values(source, "serviceAccounts", "notServiceAccounts", lambda text: text in owned),
            _values(source, "ipBlocks", "notIpBlocks", lambda text: _within(text, call.address)),
            _values(source, "remoteIpBlocks", "notRemoteIpBlocks", lambda text: _within(text, call.address)),
            _values(source, "requestPrincipals", "notRequestPrincipals", lambda _: False),
        )
    )


def _operation(operation: Json, call: Call, *, allow: bool) -> bool:
    http = ("hosts", "notHosts", "methods", "notMethods", "paths", "notPaths")
    if not call.http and any(operation.get(key) for key in http):
        if allow:
            return False
        operation = {key: value for key, value in operation.items() if key not in http}
    return all(
        (
            _values(operation, "ports", "notPorts", lambda text: text == str(call.port)),
            _values(operation, "methods", "notMethods", lambda text: _like(text, call.method)),
            _values(operation, "paths", "notPaths", lambda text: _like(text, call.path)),
            _values(operation, "hosts", "notHosts", lambda text: _like(text, call.host)),
        )
    )


def _condition(condition: Json, call: Call) -> bool:
    seen = {
        "source.principal": call.principal,
        "source.namespace": call.namespace,
        "destination.port": str(call.port),
        "source.ip": call.address,
    }
    key = str(condition.get("key"))
    if key == "source.ip":
        return _values(condition, "values", "notValues", lambda text: _within(text, call.address))
    return _values(condition, "values", "notValues", lambda text: _like(text, seen.get(key, "")))


def _values(where: Json, wanted: str, unwanted: str, matches: Any) -> bool:
    listed, never = where.get(wanted) or (), where.get(unwanted) or ()
    return (not listed or any(matches(str(text)) for text in listed)) and not any(matches(str(text)) for text in never)


def _like(pattern: str, value: str) -> bool:
    if pattern == "*":
        return bool(value)
    if pattern.startswith("*"):
        return value.endswith(pattern[1:])
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


def _within(block: str, address: str) -> bool:
    try:
        return ip_address(address) in ip_network(block, strict=False)
    except ValueError:
        return False
