"""Layers 1, 2 and 6 of a pod and a pair, and which of them is the cause."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.diagnosis.asking import guarded, one_check, strict
from rollout.diagnosis.conclusion import outcome
from rollout.diagnosis.diagnose import of_call
from rollout.diagnosis.policy import dialled
from rollout.diagnosis.question import Pair, question
from rollout.diagnosis.reading import Found
from rollout.diagnosis.telling import Seen
from rollout.errors import Outcome, UsageError
from rollout.model.diagnosis import Layer, LayerResult
from rollout.model.finding import Severity, Status
from rollout.model.istio import AuthorizationPolicy, DestinationRule, Mode, PeerAuthentication
from rollout.model.kubernetes import ConfigMap, MutatingWebhookConfiguration, Object, Pod
from rollout.world.reads import Objects
from rollout.world.world import Needs, Reading, World
from tests.diagnosis.answers import (
    EXCLUDE,
    MESH,
    NO_ISTIOCTL,
    layer,
    of_pair,
    of_pod,
    pair,
    statuses,
)
from tests.diagnosis.makers import NOW, found, peers, pod, policy, routes, rule, service, world

PATCH, MERGE = "kubectl patch peerauthentication", "-n payments --type merge -p"
WIDE = '{"spec":{"mtls":{"mode":"PERMISSIVE"}}}'
ONE_PORT = '{"spec":{"portLevelMtls":{"8080":{"mode":"PERMISSIVE"}}}}'


def test_a_healthy_pair() -> None:
    """What was not read is unknown, and named; the layers come in their order."""
    diagnosis = of_pair(peers("STRICT"))
    assert [which for which in Layer if which is not Layer.PROBE] == [result.layer for result in diagnosis.layers]
    assert {
        Layer.INJECTION: Status.OK,
        Layer.POLICY: Status.OK,
        Layer.CERTIFICATES: Status.UNKNOWN,
        Layer.LOGS: Status.UNKNOWN,
        Layer.AUTHORIZATION: Status.OK,
        Layer.ANALYZE: Status.SKIPPED,
    } == statuses(diagnosis)
    assert diagnosis.sentence == (
        "web-1.shop to ledger.payments:80: no cause found, but not everything could be read: certificates, logs"
    )
    assert diagnosis.cause is None
    assert outcome(diagnosis) is Outcome.CANNOT_SEE
    assert "web-1.shop to ledger.payments:80: will work" in layer(diagnosis, Layer.POLICY).lines


def test_a_refused_pair() -> None:
    """Both sides' deciding objects, how it looks, and the fix."""
    diagnosis = of_pair(peers("STRICT"), rule("DISABLE"))
    assert diagnosis.cause is Layer.POLICY
    assert diagnosis.sentence == (
        "DestinationRule shop/rule spec.trafficPolicy.tls.mode: the client sends plaintext to a port that is STRICT "
        "(DestinationRule shop/rule says DISABLE)"
    )
    assert "Pod payments/ledger-1: decided by PeerAuthentication payments/default" in diagnosis.evidence
    assert diagnosis.fix.startswith("kubectl patch destinationrule rule -n shop")
    assert outcome(diagnosis) is Outcome.BLOCKED
    assert [False] == [finding.new for finding in layer(diagnosis, Layer.POLICY).findings]


def test_plaintext_that_is_accepted() -> None:
    """Mutual TLS does not work, and nothing fails yet: `new` says that STRICT would refuse it."""
    diagnosis = of_pair(rule("DISABLE"))
    assert diagnosis.sentence.endswith("; accepted now, STRICT would refuse it")
    assert [True] == [finding.new for finding in layer(diagnosis, Layer.POLICY).findings]


def test_plaintext_that_no_policy_sees() -> None:
    """Past the sidecar of the server STRICT refuses nothing, and nobody says that it would."""
    diagnosis = of_pair(rule("DISABLE"), servers=[pod(annotations={EXCLUDE: "8080"})])
    assert diagnosis.cause is Layer.POLICY
    assert "to a port that is not captured" in diagnosis.sentence
    assert [False] == [finding.new for finding in layer(diagnosis, Layer.POLICY).findings]


def test_the_earlier_layer_is_the_cause() -> None:
    """A client without a sidecar: what it sends follows from that."""
    bare = pod("web-1", "shop", sidecar=False)
    diagnosis = of_pair(peers("STRICT"), client=bare)
    assert diagnosis.cause is Layer.INJECTION
    assert diagnosis.sentence.startswith("Pod shop/web-1 spec.containers: no istio-proxy container")
    assert Status.FAILED is statuses(diagnosis)[Layer.POLICY]


def test_what_is_refused_now_goes_first() -> None:
    """Plaintext that is accepted stands in an earlier layer; a denied call is worse."""
    diagnosis = of_pair(policy("DENY", {}), rule("DISABLE"))
    assert diagnosis.cause is Layer.AUTHORIZATION
    assert "and 1 more in the layers" in diagnosis.evidence


def test_probes_of_the_pods_that_answer() -> None:
    """Refused, they take the pods out of service; accepted, they are a warning. The client's own do not count."""
    probe = {"httpGet": {"port": 8080}}
    case: dict[str, Any] = {"servers": [pod(probe=probe)]}
    place = "StatefulSet payments/ledger spec.containers[app].readinessProbe.httpGet"
    accepted, refused = of_pair(**case), of_pair(peers("STRICT"), **case)
    assert (None, Layer.POLICY) == (accepted.cause, refused.cause)
    assert refused.sentence.startswith(place)
    assert [Severity.WARNING] == [finding.severity for finding in layer(accepted, Layer.POLICY).findings]
    near = question(source="web-1.payments", to="ledger.payments:80")
    assert isinstance(near, Pair)
    neighbour = pod("web-1", probe=probe)
    assert () == layer(of_pair(peers("STRICT"), asked=near, client=neighbour), Layer.POLICY).findings


def test_a_namespace_that_is_disabled_hides_a_workload_that_is_strict() -> None:
    """Clients judge the Service by the namespace's policy, and send plaintext that the workload refuses."""
    own = peers("STRICT", name="own", selector={"app": "ledger"})
    diagnosis = of_pair(peers("DISABLE"), own)
    assert diagnosis.sentence.startswith(
        "PeerAuthentication payments/default spec.mtls.mode: the client sends plaintext to a port that is STRICT"
    )
    assert "rollout migrate payments" == diagnosis.fix


def test_alike_replicas_are_told_once() -> None:
    """Three pods, one finding."""
    servers = [pod(f"ledger-{n}") for n in range(3)]
    diagnosis = of_pair(peers("STRICT"), rule("DISABLE"), servers=servers)
    assert 1 == len(layer(diagnosis, Layer.POLICY).findings)
    assert any("Pod payments/ledger-0 and 2 more accepts: STRICT" in line for line in diagnosis.layers[1].lines)


@pytest.mark.parametrize(
    ("objects", "case", "fix"),
    [
        ([], {"servers": [pod(annotations={EXCLUDE: "8080"})]}, "kubectl patch statefulset ledger -n payments"),
        (
            [],
            {"servers": [pod(annotations={"sidecar.istio.io/interceptionMode": "NONE"})]},
            "let the sidecar capture its traffic, as layer 1 says",
        ),
        ([rule("ISTIO_MUTUAL")], {"servers": [pod(sidecar=False)]}, "give the server a sidecar, as layer 1 says"),
        (
            [rule("ISTIO_MUTUAL"), peers("DISABLE")],
            {},
            f"{PATCH} default {MERGE} '{WIDE}'; until then: kubectl patch destinationrule rule",
        ),
        ([peers("DISABLE")], {}, "rollout migrate payments"),
        (
            [peers("STRICT", name="own", selector={"app": "ledger"}, ports={"8080": "DISABLE"})],
            {},
            f"{PATCH} own {MERGE} '{ONE_PORT}'",
        ),
    ],
)
def test_the_fix_is_where_the_fault_is(objects: list[Object], case: dict[str, Any], fix: str) -> None:
    """The client's side, unless the server does not do what the client may expect."""
    failing = [f for f in layer(of_pair(*objects, **case), Layer.POLICY).findings if f.check == "peer-authentication"]
    assert [True] == [finding.fix.startswith(fix) for finding in failing]


def test_where_the_mode_of_a_port_stands() -> None:
    """The field of the policy that decides."""
    own = peers("STRICT", name="own", selector={"app": "ledger"}, ports={"8080": "DISABLE"})
    whole = peers("DISABLE", name="own", selector={"app": "ledger"}, ports={"9090": "STRICT"})
    fields = [layer(of_pair(each), Layer.POLICY).findings[0].field for each in (own, whole)]
    assert ["spec.portLevelMtls.8080.mode", "spec.mtls.mode"] == fields


def test_nobody_answers() -> None:
    """No pod, or none with the port: unknown, and so is what rules would say."""
    for case, reason in (
        ({"servers": []}, "Service payments/ledger selects no pod: nobody answers"),
        ({"servers": [pod(phase="Failed")]}, "no live pod of the Service has that port"),
    ):
        diagnosis = of_pair(**case)
        assert reason == layer(diagnosis, Layer.POLICY).reason
        assert Status.UNKNOWN is layer(diagnosis, Layer.AUTHORIZATION).status


def test_what_is_not_told_is_unknown() -> None:
    """A MUTUAL rule's certificate may be of the mesh: it depends."""
    result = layer(of_pair(peers("STRICT"), rule("MUTUAL")), Layer.POLICY)
    assert result.status is Status.UNKNOWN
    assert "taken only where that certificate is of the mesh's root" in result.reason
    subsets = [{"name": "v1", "trafficPolicy": {"tls": {"mode": "SIMPLE"}}}]
    shown = layer(of_pair(peers("STRICT"), rule("ISTIO_MUTUAL", subsets=subsets), routes("v1")), Layer.POLICY)
    assert any("(subset v1, where a VirtualService routes to it)" in line for line in shown.lines)
    assert "the client sends TLS without a client certificate for subset v1 to a port that is STRICT" == (
        shown.findings[0].measured
    )


@pytest.mark.parametrize(
    ("kind", "unknown"),
    [
        (PeerAuthentication, {Layer.POLICY, Layer.AUTHORIZATION}),
        (DestinationRule, {Layer.POLICY, Layer.AUTHORIZATION}),
        (AuthorizationPolicy, {Layer.AUTHORIZATION}),
        (MutatingWebhookConfiguration, {Layer.INJECTION}),
        (ConfigMap, set()),
    ],
)
def test_a_layer_without_its_data_is_unknown_and_the_others_go_on(kind: type[Object], unknown: set[Layer]) -> None:
    """With the reason; certificates and logs are never read here."""
    diagnosis = of_pair(peers("STRICT"), unreadable={kind: "not permitted: list it"})
    without = {which for which, status in statuses(diagnosis).items() if status is Status.UNKNOWN}
    assert unknown == without - {Layer.CERTIFICATES, Layer.LOGS}
    assert all("not permitted: list it" in layer(diagnosis, which).reason for which in unknown)


def test_a_kind_that_nobody_read() -> None:
    """It is named as RBAC names it."""
    bare = World({Objects(Pod): Reading(NOW, (pod(),))})
    result = one_check("injection", bare, "payments", MESH)
    assert (Status.UNKNOWN, "not read: namespaces") == (result.status, result.reason)
    assert "not read: Analysis" == guarded(Layer.ANALYZE, _wants_analysis).reason
    assert "not read: peerauthentications.security.istio.io" == one_check("probes", bare, "payments", MESH).reason


def _wants_analysis() -> LayerResult:
    from rollout.world.reads import Analysis

    raise Needs([Analysis("payments")])


@pytest.mark.parametrize(
    ("objects", "mode"),
    [
        ([], None),
        ([peers("PERMISSIVE", name="default", selector={"app": "ledger"})], None),
        ([peers("PERMISSIVE")], Mode.STRICT),
        ([peers("STRICT")], Mode.STRICT),
    ],
)
def test_the_world_if_it_were_strict(objects: list[Object], mode: Mode | None) -> None:
    """The deciding policy is changed, or one is thought of beside those that are there."""
    before = world(*objects)
    after = strict(before, "payments")
    wide = [p.mode for p in after.of(PeerAuthentication, "payments") if not p.selector]
    assert [mode or Mode.STRICT] == wide
    assert len(objects) + (mode is None) == len(after.of(PeerAuthentication))


@pytest.mark.parametrize(
    ("to", "port", "number"),
    [
        (service(), "80", 80),
        (service(), "http", 80),
        (service(), "", 80),
        (None, "8080", 8080),
    ],
)
def test_the_port_of_a_call(to: Any, port: str, number: int) -> None:
    """By number, by name, or the only one."""
    assert number == dialled(pair(port), to).port


@pytest.mark.parametrize(
    ("to", "port", "words"),
    [
        (service(), "81", "Service payments/ledger has no port 81"),
        (service(), "grpc", "has no port grpc"),
        (service(ports=[]), "", "has 0 ports, and none is named"),
        (service(ports=[{"port": 80}, {"port": 81, "name": "x"}]), "", "has 2 ports, and none is named"),
        (None, "http", "a call to a pod needs a port's number"),
        (None, "70000", "a call to a pod needs a port's number"),
    ],
)
def test_no_such_port(to: Any, port: str, words: str) -> None:
    """A usage error that names those there are."""
    with pytest.raises(UsageError, match=words):
        dialled(pair(port), to)


def test_a_pod() -> None:
    """Each port's mode, who decides it, and what a caller without a sidecar meets."""
    lines = layer(of_pod(peers("STRICT"), service()), Layer.POLICY).lines
    assert (
        (
            "port 8080 (ledger:80): STRICT, decided by PeerAuthentication payments/default; "
            "without a sidecar a call will be refused"
        ),
    ) == lines


def test_a_pod_whose_port_is_disabled_or_not_captured() -> None:
    """DISABLE is a cause, whoever calls; a port past the proxy is told."""
    disabled = of_pod(peers("DISABLE"))
    assert "PeerAuthentication payments/default: DISABLE for port 8080 (no Service) of Pod payments/ledger-1" in (
        disabled.sentence
    )
    past = layer(of_pod(server=pod(annotations={EXCLUDE: "8080"})), Layer.POLICY)
    assert any(line.startswith("port 8080 (no Service): mutual TLS will be refused") for line in past.lines)
    assert past.status is Status.OK


def test_a_pod_without_ports() -> None:
    """The workload's own mode holds for what is not declared."""
    portless = pod(spec={"containers": [{"name": "istio-proxy", "args": ["proxy", "sidecar"]}]})
    lines = layer(of_pod(server=portless), Layer.POLICY).lines
    assert ("undeclared ports: PERMISSIVE, no policy decides; without a sidecar a call will work",) == lines


def test_a_pair_of_the_same_pod() -> None:
    """A pod that calls itself is asked about once."""
    itself = pod("web-1", "shop")
    asked = question(source="web-1.shop", to="web.shop:80")
    assert isinstance(asked, Pair)
    objects = Found(
        world=found(service("web", "shop"), servers=[itself]).world,
        servers=(itself,),
        client=itself,
        service=service("web", "shop"),
    )
    diagnosis = of_call(asked, objects, Seen(), MESH, NO_ISTIOCTL, NOW)
    assert ("injection: 1 of 1 live pod with the sidecar, shop",) == layer(diagnosis, Layer.INJECTION).lines
