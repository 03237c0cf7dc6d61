"""Layer 5: what AuthorizationPolicies say to a call, and to the kubelet's probes."""

from __future__ import annotations

import msgspec
import pytest

from rollout.diagnosis.authorization import http
from rollout.model.diagnosis import Layer
from rollout.model.finding import Status
from rollout.model.kubernetes import Object, ServicePort
from tests.diagnosis.answers import (
    EXCLUDE,
    layer,
    of_pair,
    of_pod,
    pair,
)
from tests.diagnosis.makers import peers, pod, policy, rule

NAMES = {"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}]}
PATH = {"to": [{"operation": {"paths": ["/public"]}}]}


@pytest.mark.parametrize(
    ("objects", "request_", "status", "words"),
    [
        ([], {}, Status.OK, "no AuthorizationPolicy applies, everything is allowed"),
        ([policy("ALLOW", NAMES)], {}, Status.OK, "allowed by rule 0 of AuthorizationPolicy payments/rules"),
        ([policy("ALLOW")], {}, Status.FAILED, "no ALLOW policy has a rule for it"),
        ([policy("DENY", NAMES)], {}, Status.FAILED, "denied by rule 0"),
        ([policy("ALLOW", PATH)], {"path": "/public"}, Status.OK, "allowed by rule 0"),
        ([policy("ALLOW", PATH)], {"path": "/other", "method": "GET"}, Status.FAILED, "no ALLOW policy"),
        ([policy("ALLOW", PATH)], {}, Status.UNKNOWN, "open, it depends on the request"),
        ([policy("CUSTOM", {})], {"method": "GET", "path": "/"}, Status.UNKNOWN, "an external authorizer decides"),
        ([policy("ALLOW", NAMES), rule("DISABLE")], {}, Status.FAILED, "no ALLOW policy has a rule for it"),
        ([policy("ALLOW", NAMES), rule("MUTUAL"), peers("STRICT")], {}, Status.UNKNOWN, "open, it depends"),
    ],
)
def test_the_decision_on_a_call(objects: list[Object], request_: dict[str, str], status: Status, words: str) -> None:
    """CUSTOM, DENY, ALLOW; who the caller is depends on what it sends."""
    result = layer(of_pair(*objects, asked=pair(**request_)), Layer.AUTHORIZATION)
    assert status is result.status
    assert any(words in line for line in result.lines), result.lines


def test_what_denies_is_named_with_its_fix() -> None:
    """A rule's own deny, a missing rule, and a caller in plaintext that can have no name."""
    deny, lacking, nameless = (
        layer(of_pair(*objects), Layer.AUTHORIZATION).findings[0]
        for objects in ([policy("DENY", NAMES)], [policy("ALLOW")], [policy("ALLOW", NAMES), rule("DISABLE")])
    )
    assert ("spec.rules[0]", "spec.rules", "spec.rules") == (deny.field, lacking.field, nameless.field)
    assert deny.fix.startswith("take the caller out of rule 0: kubectl edit authorizationpolicy rules -n payments")
    assert 'add a rule with from.source.principals: ["cluster.local/ns/shop/sa/web"]' in lacking.fix
    assert nameless.fix.startswith("let the caller use mutual TLS")
    assert "the caller sends plaintext and so has no principals" in nameless.where
    assert ("denies cluster.local/ns/shop/sa/web", "denies plaintext callers") == (deny.measured, nameless.measured)


def test_a_caller_whose_identity_is_open() -> None:
    """A DENY for everybody denies it all the same."""
    result = layer(of_pair(policy("DENY", {}), rule("MUTUAL"), peers("STRICT")), Layer.AUTHORIZATION)
    assert ["denies the caller"] == [finding.measured for finding in result.findings]


def test_missing_words_of_a_request_are_asked_for() -> None:
    """Once method and path are known the answer depends on something else."""
    open_ = layer(of_pair(policy("ALLOW", PATH)), Layer.AUTHORIZATION)
    assert open_.reason.endswith("; name the request by --method and --path")
    authorizer = layer(of_pair(policy("CUSTOM", {}), asked=pair(method="GET", path="/")), Layer.AUTHORIZATION)
    assert not authorizer.reason.endswith("--path")


def test_no_sidecar_enforces_no_policy() -> None:
    """An excluded port is never asked about."""
    result = layer(of_pair(policy("ALLOW"), servers=[pod(annotations={EXCLUDE: "8080"})]), Layer.AUTHORIZATION)
    assert ("no policy is enforced: no sidecar captures the port",) == result.lines
    assert result.status is Status.OK


@pytest.mark.parametrize(
    ("port", "answer"),
    [
        ({"name": "http"}, True),
        ({"name": "grpc-web-x"}, True),
        ({"name": "http2-api"}, True),
        ({"name": "tcp-redis"}, False),
        ({"name": "https-api"}, False),
        ({"name": "httpx"}, None),
        ({"name": ""}, None),
        ({"name": "tcp", "appProtocol": "kubernetes.io/h2c"}, True),
        ({"name": "http", "appProtocol": "tls"}, False),
    ],
)
def test_what_is_http_to_a_proxy(port: dict[str, str], answer: bool | None) -> None:
    """appProtocol before the name; TLS of an app's own is bytes."""
    assert answer is http(msgspec.convert({"port": 80, **port}, ServicePort))


def test_probes_against_policies() -> None:
    """An un-rewritten probe is a plaintext caller; a TCP probe never reaches a rule, a rewritten one never a proxy."""
    probe = {"httpGet": {"port": 8080}}
    rewritten = {"httpGet": {"port": 15020, "path": "/app-health/app/readyz"}}
    denied = of_pod(policy("ALLOW", NAMES), peers("PERMISSIVE"), server=pod(probe=probe))
    result = layer(denied, Layer.AUTHORIZATION)
    assert ["denies spec.containers[app].readinessProbe.httpGet"] == [f.measured for f in result.findings]
    for other in (rewritten, {"tcpSocket": {"port": 8080}}, {"exec": {"command": ["true"]}}):
        assert Status.OK is layer(of_pod(policy("ALLOW"), server=pod(probe=other)), Layer.AUTHORIZATION).status
    grpc = layer(of_pod(policy("ALLOW", {}), server=pod(probe={"grpc": {"port": 8080}})), Layer.AUTHORIZATION)
    assert any("allowed by rule 0" in line for line in grpc.lines)
