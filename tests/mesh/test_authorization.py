"""AuthorizationPolicies are evaluated as Istio does (istio.md 10)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rollout.mesh.authorization import (
    Authorization,
    Request,
    decide,
    identity_fields,
    matches,
    needs_http,
    principal,
    within,
)
from rollout.model.istio import AuthorizationPolicy, AuthorizationRule
from rollout.model.kubernetes import Metadata, Pod, PodSpec

WEB = "cluster.local/ns/shop/sa/web"
FROM_A = {"source": {"namespaces": ["a"]}}
FROM_SHOP = {"source": {"namespaces": ["shop"]}}


def _policy(name: str = "p", namespace: str = "production", **spec: Any) -> AuthorizationPolicy:
    manifest = {"metadata": {"name": name, "namespace": namespace}, "spec": spec}
    return msgspec.convert(manifest, AuthorizationPolicy)


def _rule(**parts: Any) -> AuthorizationRule:
    return msgspec.convert({key.rstrip("_"): value for key, value in parts.items()}, AuthorizationRule)


def _from(**source: Any) -> AuthorizationRule:
    return _rule(from_=[{"source": source}])


def _to(**operation: Any) -> AuthorizationRule:
    return _rule(to=[{"operation": operation}])


def _when(key: str, *values: str) -> AuthorizationRule:
    return _rule(when=[{"key": key, "values": list(values)}])


def _pod(namespace: str = "production", **labels: str) -> Pod:
    return Pod(metadata=Metadata(name="pod", namespace=namespace, labels=labels))


@pytest.mark.parametrize(
    ("rule", "request_", "expected"),
    [
        (_rule(), Request(), True),
        (_from(principals=[WEB]), Request(principal=WEB), True),
        (_from(principals=[WEB]), Request(principal=""), False),
        (_from(principals=[WEB]), Request(), None),
        (_from(principals=["*"]), Request(principal=""), False),
        (_from(principals=["*"]), Request(principal=WEB), True),
        (_from(principals=["*/sa/web"]), Request(principal=WEB), True),
        (_from(principals=["cluster.local/ns/shop/*"]), Request(principal=WEB), True),
        (_from(principals=[WEB]), Request(principal="prod.example/ns/shop/sa/web"), True),
        (_from(principals=["old.example/ns/shop/sa/web"]), Request(principal=WEB), False),
        (_from(principals=[WEB]), Request(principal="was.example/ns/shop/sa/web"), True),
        (_from(principals=["was.example/ns/shop/*"]), Request(principal="prod.example/ns/shop/sa/web"), True),
        (_from(principals=["*s.example/ns/shop/sa/web"]), Request(principal="prod.example/ns/shop/sa/web"), True),
        (_from(principals=["old.example/ns/shop/sa/web"]), Request(principal="was.example/ns/shop/sa/web"), False),
        (_from(notPrincipals=["prod.example/ns/shop/sa/web"]), Request(principal="was.example/ns/shop/sa/web"), False),
        (_from(trustDomains=["prod.example"]), Request(principal="was.example/ns/shop/sa/web"), False),
        (_from(notPrincipals=["*"]), Request(principal=""), True),
        (_from(notPrincipals=["*"]), Request(principal=WEB), False),
        (_from(namespaces=["shop"]), Request(principal=WEB), True),
        (_from(namespaces=["sho*"]), Request(principal=WEB), True),
        (_from(namespaces=["shop"]), Request(principal=""), False),
        (_from(notNamespaces=["shop"]), Request(principal=""), True),
        (_from(namespaces=["*"], notNamespaces=["shop"]), Request(principal=WEB), False),
        (_from(serviceAccounts=["shop/web"]), Request(principal=WEB), True),
        (_from(serviceAccounts=["web"]), Request(principal=WEB), False),
        (_from(serviceAccounts=["web"]), Request(principal="cluster.local/ns/production/sa/web"), True),
        (_from(notServiceAccounts=["shop/web"]), Request(principal=""), True),
        (_from(trustDomains=["cluster.*"]), Request(principal=WEB), True),
        (_from(trustDomains=["other"]), Request(), None),
        (_from(ipBlocks=["10.0.0.0/8"]), Request(address="10.1.2.3"), True),
        (_from(ipBlocks=["10.0.0.0/8"]), Request(address="11.1.2.3"), False),
        (_from(notIpBlocks=["10.0.0.1"]), Request(address="10.0.0.1"), False),
        (_from(ipBlocks=["10.0.0.0/8"]), Request(), None),
        (_from(remoteIpBlocks=["10.0.0.0/8"]), Request(address="10.1.2.3"), None),
        (_from(requestPrincipals=["*"]), Request(principal=WEB), None),
        (_from(principals=[WEB], namespaces=["other"]), Request(principal=WEB), False),
        (_to(ports=["8080"]), Request(port=8080), True),
        (_to(notPorts=["8080"]), Request(port=8080), False),
        (_to(ports=["8080"]), Request(), None),
        (_to(methods=["GET"]), Request(method="POST"), False),
        (_to(hosts=["Orders.example*"]), Request(host="orders.example:8080"), True),
        (_to(paths=["/admin*"]), Request(path="/admin/x"), True),
        (_to(paths=["*/status"]), Request(path="/a/status"), True),
        (_to(paths=["/a/{*}/c"]), Request(path="/a/b/c?d=1"), True),
        (_to(paths=["/a/{*}/c"]), Request(path="/a/b/b/c"), False),
        (_to(paths=["/a/{**}"]), Request(path="/a/b/c"), True),
        (_to(notPaths=["/admin*"]), Request(path="/admin"), False),
        (_to(paths=["/x"]), Request(), None),
        (_when("source.principal", WEB), Request(principal=WEB), True),
        (_when("source.namespace", "shop"), Request(principal=""), False),
        (_when("source.serviceAccount", "shop/web"), Request(principal=WEB), True),
        (_when("source.trustDomain", "cluster.local"), Request(principal=WEB), True),
        (_when("source.ip", "10.0.0.0/8"), Request(address="10.0.0.9"), True),
        (_when("destination.port", "9"), Request(port=8), False),
        (_when("request.headers[x]", "1"), Request(principal=WEB), None),
        (_when("connection.sni", "x"), Request(), None),
        (_rule(from_=[FROM_A, FROM_SHOP]), Request(principal=WEB), True),
        (_rule(from_=[FROM_A], to=[{"operation": {"paths": ["/"]}}]), Request(principal=WEB), False),
    ],
)
def test_a_rule_matches(rule: AuthorizationRule, request_: Request, expected: bool | None) -> None:
    """True, False, or None where the question does not say."""
    assert expected is matches(_policy(), rule, request_, ("prod.example", "was.example"))


@pytest.mark.parametrize(
    ("action", "rule", "expected"),
    [
        ("ALLOW", _to(paths=["/x"]), False),
        ("ALLOW", _from(requestPrincipals=["*"]), False),
        ("ALLOW", _when("request.headers[x]", "1"), False),
        ("ALLOW", _to(ports=["6379"]), True),
        ("DENY", _to(paths=["/x"]), True),
        ("DENY", _to(paths=["/x"], ports=["1"]), False),
        ("DENY", _from(requestPrincipals=["*"]), True),
        ("DENY", _when("request.headers[x]", "1"), True),
    ],
)
def test_on_a_tcp_port_http_fields_never_allow_and_never_spare(
    action: str, rule: AuthorizationRule, expected: bool
) -> None:
    """An ALLOW rule with one is void; another rule loses the field, and so denies more."""
    request = Request(principal=WEB, port=6379, http=False)
    assert expected is matches(_policy(action=action), rule, request)


def test_which_fields_need_mutual_tls_or_http() -> None:
    """In the order of the API."""
    rule = _rule(
        from_=[{"source": {"notNamespaces": ["a"], "principals": ["b"]}}, {"source": {"ipBlocks": ["10.0.0.0/8"]}}],
        when=[{"key": "source.principal", "values": ["c"]}, {"key": "source.ip", "values": ["10.0.0.1"]}],
    )
    assert identity_fields(rule) == ("principals", "notNamespaces", "source.principal")
    assert not needs_http(rule)
    assert needs_http(_to(notHosts=["x"]))


ALLOW_SHOP = {"name": "allow-shop", "rules": [{"from": [FROM_SHOP]}]}
ALLOW_PATH = {"name": "allow-path", "rules": [{"to": [{"operation": {"paths": ["/"]}}]}]}
DENY_SHOP = {"name": "deny-shop", "action": "DENY", "rules": [{"from": [FROM_SHOP]}]}
DENY_PATH = {"name": "deny-path", "action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/"]}}]}]}
DENY_ALL = {"name": "deny-all", "action": "DENY", "rules": [{}]}
CUSTOM = {"name": "custom", "action": "CUSTOM", "rules": [{}]}
AUDIT = {"name": "audit", "action": "AUDIT", "rules": [{}]}
NOTHING = {"name": "nothing"}


@pytest.mark.parametrize(
    ("specs", "allowed", "by", "rule"),
    [
        ([], True, None, None),
        ([AUDIT], True, None, None),
        ([NOTHING], False, "nothing", None),
        ([NOTHING, ALLOW_SHOP], True, "allow-shop", 0),
        ([ALLOW_SHOP, DENY_SHOP], False, "deny-shop", 0),
        ([ALLOW_SHOP, DENY_PATH], None, "deny-path", 0),
        ([ALLOW_PATH], None, "allow-path", 0),
        ([ALLOW_PATH, ALLOW_SHOP], True, "allow-shop", 0),
        ([NOTHING, DENY_PATH], False, "nothing", None),
        ([CUSTOM], None, "custom", 0),
        ([CUSTOM, ALLOW_SHOP], None, "custom", 0),
        ([CUSTOM, DENY_ALL], False, "deny-all", 0),
        ([CUSTOM, NOTHING], False, "nothing", None),
        ([DENY_PATH, DENY_ALL], False, "deny-all", 0),
    ],
)
def test_custom_then_deny_then_allow(
    specs: list[dict[str, Any]], allowed: bool | None, by: str | None, rule: int | None
) -> None:
    """What a question leaves open stays open, unless the answer is the same either way."""
    decision = decide([_policy(**spec) for spec in specs], Request(principal=WEB, port=8080))
    assert (allowed, by, rule) == (decision.allowed, decision.by.name if decision.by else None, decision.rule)
    assert decision.reason


def test_the_root_namespaces_selectors_select_everywhere() -> None:
    """Its policies and the pod's own namespace's; not those of others, of waypoints, or in dry run."""
    dry = _policy("dry")
    dry = msgspec.structs.replace(
        dry, metadata=msgspec.structs.replace(dry.metadata, annotations={"istio.io/dry-run": "true"})
    )
    policies = [
        _policy("own"),
        _policy("by-label", selector={"matchLabels": {"app": "orders"}}),
        _policy("other-label", selector={"matchLabels": {"app": "web"}}),
        _policy("elsewhere", "shop"),
        _policy("root", "istio-system"),
        _policy("root-label", "istio-system", selector={"matchLabels": {"app": "orders"}}),
        _policy("waypoint", targetRefs=[{"kind": "Gateway", "name": "edge"}]),
        _policy("service", targetRef={"kind": "Service", "name": "orders"}),
        dry,
    ]
    authorization = Authorization(policies, "istio-system")
    names = [policy.name for policy in authorization.selecting(_pod(app="orders"))]
    assert names == ["root", "root-label", "by-label", "own"]
    gateway = _pod(**{"gateway.networking.k8s.io/gateway-name": "edge"})
    assert [policy.name for policy in authorization.selecting(gateway)] == ["root", "own", "waypoint"]
    assert authorization.decide(_pod(app="orders"), Request(principal=WEB)).allowed is False
    in_root = authorization.selecting(_pod("istio-system", app="orders"))
    assert [policy.name for policy in in_root] == ["root", "root-label"]


def test_who_a_pod_is() -> None:
    """`default` without an account; a trust domain's @ becomes a dot (istio.md 12)."""
    assert principal(_pod()) == "cluster.local/ns/production/sa/default"
    pod = Pod(metadata=Metadata(namespace="shop"), spec=PodSpec(service_account_name="web"))
    assert principal(pod, "a@b") == "a.b/ns/shop/sa/web"


def test_addresses() -> None:
    """Of both families; what is no address lies in no block."""
    assert within("fd00::/8", "fd00::1") is True
    assert within("10.0.0.0/8", "fd00::1") is False
    assert within("10.0.0.0/8", "localhost") is False
    assert within("10.0.0.0/8", None) is None


def test_a_principal_that_is_not_istios_has_no_namespace() -> None:
    """Its parts match nothing."""
    assert matches(_policy(), _from(namespaces=["shop"]), Request(principal="cluster.local/web")) is False
