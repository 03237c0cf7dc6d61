"""AuthorizationPolicies as the lab's sidecars decide by them."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.lab.mesh.rbac import Call, Verdict, decide, selecting

WEB = "cluster.local/ns/shop/sa/web"
CALL = Call(port=8080, address="10.244.1.7", principal=WEB, method="GET", path="/orders/7", host="orders")
PLAIN = Call(port=8080, address="10.244.1.7", path="/healthz")


def policy(action: str, *rules: Any, name: str = "p", namespace: str = "production", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"action": action, "rules": list(rules), **spec},
    }


def source(**fields: Any) -> dict[str, Any]:
    return {"from": [{"source": fields}]}


def operation(**fields: Any) -> dict[str, Any]:
    return {"to": [{"operation": fields}]}


@pytest.mark.parametrize(
    ("rule", "call", "matched"),
    [
        ({}, CALL, True),
        ({}, PLAIN, True),
        (source(principals=[WEB]), CALL, True),
        (source(principals=[WEB]), PLAIN, False),
        (source(principals=["*"]), CALL, True),
        (source(principals=["*"]), PLAIN, False),
        (source(principals=["*/sa/web"]), CALL, True),
        (source(principals=["cluster.local/ns/shop/*"]), CALL, True),
        (source(notPrincipals=["*"]), PLAIN, True),
        (source(notPrincipals=["*"]), CALL, False),
        (source(namespaces=["shop"]), CALL, True),
        (source(namespaces=["shop"]), PLAIN, False),
        (source(notNamespaces=["shop"]), PLAIN, True),
        (source(serviceAccounts=["shop/web"]), CALL, True),
        (source(serviceAccounts=["web"]), CALL, False),
        (source(ipBlocks=["10.244.0.0/16"]), PLAIN, True),
        (source(ipBlocks=["10.1.0.0/16"]), PLAIN, False),
        (source(notIpBlocks=["10.244.1.7"]), CALL, False),
        (source(requestPrincipals=["*"]), CALL, False),
        (operation(ports=["8080"]), PLAIN, True),
        (operation(notPorts=["8080"]), PLAIN, False),
        (operation(methods=["GET"], paths=["/orders/*"]), CALL, True),
        (operation(methods=["GET"], paths=["*/7"]), CALL, True),
        (operation(methods=["POST"]), CALL, False),
        (operation(hosts=["orders"]), CALL, True),
        ({"when": [{"key": "source.namespace", "values": ["shop"]}]}, CALL, True),
        ({"when": [{"key": "source.ip", "notValues": ["10.244.1.0/24"]}]}, CALL, False),
        ({"when": [{"key": "request.headers[x]", "values": ["y"]}]}, CALL, False),
        ({**source(namespaces=["shop"]), **operation(ports=["1"])}, CALL, False),
    ],
)
def test_a_rule_matches(rule: dict[str, Any], call: Call, *, matched: bool) -> None:
    """As an ALLOW rule it lets through, as a DENY rule it does not."""
    name = "ns[production]-policy[p]-rule[0]" if matched else "none"
    assert Verdict(matched, name) == decide([policy("ALLOW", rule)], call)
    assert Verdict(not matched, name) == decide([policy("DENY", rule)], call)


def test_on_tcp_an_allow_rule_with_http_fields_matches_nothing_and_a_deny_rule_leaves_them_out() -> None:
    """istio.md 10: such an ALLOW locks everybody out, such a DENY is wider than it reads."""
    tcp = Call(port=5432, address="10.244.1.7", principal=WEB, http=False)
    rule = operation(ports=["5432"], methods=["GET"])
    assert not decide([policy("ALLOW", rule)], tcp).allowed
    assert not decide([policy("DENY", rule)], tcp).allowed


def test_deny_goes_before_allow_and_without_allow_policies_all_pass() -> None:
    """An ALLOW policy without rules denies everything."""
    deny = policy("DENY", source(principals=[WEB]), name="d")
    allow = policy("ALLOW", {}, name="a")
    assert Verdict(allowed=False, policy="ns[production]-policy[d]-rule[0]") == decide([allow, deny], CALL)
    assert decide([allow, deny], PLAIN).allowed
    assert Verdict(allowed=True, policy="none") == decide([deny], PLAIN)
    assert Verdict(allowed=False, policy="none") == decide([{"metadata": deny["metadata"], "spec": {}}], CALL)
    assert decide([policy("CUSTOM", {}), policy("AUDIT", {})], CALL).allowed


def test_who_selects_a_pod() -> None:
    """The root's and the namespace's own; a dry run enforces nothing."""
    dry = policy("DENY", {}, name="dry")
    dry["metadata"]["annotations"] = {"istio.io/dry-run": "true"}
    policies = [
        policy("DENY", {}, name="z", namespace="istio-system"),
        policy("DENY", {}, name="b"),
        policy("DENY", {}, name="a", selector={"matchLabels": {"app": "orders"}}),
        policy("DENY", {}, name="other", selector={"matchLabels": {"app": "web"}}),
        policy("DENY", {}, name="elsewhere", namespace="shop"),
        policy("DENY", {}, name="gateway", targetRefs=[{"kind": "Gateway", "name": "g"}]),
        dry,
    ]
    found = selecting(policies, "istio-system", "production", {"app": "orders"})
    assert ["z", "a", "b"] == [each["metadata"]["name"] for each in found]
