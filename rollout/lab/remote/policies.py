"""A scenario's `refuse` as a ValidatingAdmissionPolicy, which a real server enforces itself (GA since 1.30)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from rollout.errors import UsageError
from rollout.lab.api.kinds import Resource
from rollout.lab.api.status import ApiError
from rollout.lab.remote.connection import Remote
from rollout.lab.remote.paths import path_of
from rollout.lab.remote.tidy import missing_is_fine

Json = dict[str, Any]

GROUP = "/apis/admissionregistration.k8s.io/v1"
RULE = "rollout-lab/rule"
"""Annotation with the scenario's words, for people who look at the server."""
_PLAIN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_RESERVED = frozenset(
    ("as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop",
     "package", "namespace", "null", "return", "true", "var", "void", "while")
)  # fmt: skip
_PROBE = "rollout-lab-probe"
_PATIENCE = 15.0
_IN_A_ROW = 3


def policy_documents(name: str, resource: Resource, rule: Mapping[str, Any]) -> tuple[Json, Json]:
    """The policy and its binding.

    Args:
        name: of both.
        resource: the kind that the rule is about.
        rule: of the scenario: `namespace`, `when`, `message`.
    """
    when = rule.get("when") or {}
    concerned: Json = {
        "apiGroups": [resource.group],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"] if when else ["CREATE", "UPDATE", "DELETE"],
        "resources": [resource.plural],
    }
    constraints: Json = {"resourceRules": [concerned]}
    if "namespace" in rule:
        constraints["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": rule["namespace"]}}
    holds = " && ".join(conditions("object", when))
    meta = {"name": name, "annotations": {RULE: json.dumps(rule, sort_keys=True)}}
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": meta,
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": constraints,
            "validations": [{"expression": f"!({holds})" if holds else "false", "message": str(rule["message"])}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    return policy, binding


def conditions(where: str, wanted: Mapping[str, Any]) -> list[str]:
    """CEL that is true of an object with these fields, each present before it is read.

    Args:
        where: the expression of the object.
        wanted: fields and their values; a value may be such a mapping again.
    """
    found: list[str] = []
    for key, value in wanted.items():
        plain = _PLAIN.fullmatch(key) and key not in _RESERVED
        here = f"{where}.{key}" if plain else f"{where}[{json.dumps(key)}]"
        found.append(f"has({here})" if plain else f"{json.dumps(key)} in {where}")
        if isinstance(value, Mapping):
            found += conditions(here, value)
        else:
            found.append(f"{here} == {json.dumps(value)}")
    return found


def enforce(
    remote: Remote,
    resource: Resource,
    rule: Mapping[str, Any],
    name: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Put a rule in force, and return when it is: a server compiles it first, and lets writes pass till then.

    Proven by server dry runs of a forbidden object.

    Raises:
        ApiError: the server takes no such policy.
        UsageError: it is not in force after a quarter of a minute.
    """
    policy, binding = policy_documents(name, resource, rule)
    remote.ask("POST", f"{GROUP}/validatingadmissionpolicies", policy)
    remote.ask("POST", f"{GROUP}/validatingadmissionpolicybindings", binding)
    deadline, refused = monotonic() + _PATIENCE, 0
    while refused < _IN_A_ROW:
        refused = refused + 1 if _refused(remote, resource, rule) else 0
        if monotonic() > deadline:
            raise UsageError(
                f"the API server does not enforce the policy {name}", limit=f"{_PATIENCE:.0f} s", where=remote.url
            )
        sleep(0.1)


def withdraw(remote: Remote, name: str) -> None:
    """Take a policy away again."""
    for plural in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
        with missing_is_fine():
            remote.ask("DELETE", f"{GROUP}/{plural}/{name}")


def _refused(remote: Remote, resource: Resource, rule: Mapping[str, Any]) -> bool:
    namespace = resource.within(str(rule.get("namespace", "default")))
    probe = {
        **(rule.get("when") or {}),
        "apiVersion": resource.api_version(),
        "kind": resource.kind,
        "metadata": {**((rule.get("when") or {}).get("metadata") or {}), "name": _PROBE},
    }
    try:
        remote.ask("POST", path_of(resource, namespace), probe, dryRun="All")
    except ApiError as error:
        return str(rule["message"]) in error.message
    return False
