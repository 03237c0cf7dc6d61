"""Layers 1, 2, 5 and 6 of a pod, a pair and a namespace, and the sentence at the end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rollout.checks.registry import checks
from rollout.diagnosis.asking import guarded, one_check, strict
from rollout.diagnosis.authorization import http
from rollout.diagnosis.conclusion import conclude, number, outcome
from rollout.diagnosis.diagnose import of_call, of_namespace, proxies
from rollout.diagnosis.policy import dialled
from rollout.diagnosis.question import OfNamespace, OfPod, Pair, question
from rollout.diagnosis.reading import Found
from rollout.diagnosis.telling import Seen
from rollout.errors import Outcome, UsageError
from rollout.model.diagnosis import Diagnosis, Layer, LayerResult
from rollout.model.finding import Finding, Severity, Status
from rollout.model.istio import AuthorizationPolicy, DestinationRule, MeshConfig, Mode, PeerAuthentication
from rollout.model.kubernetes import ConfigMap, MutatingWebhookConfiguration, Object, Pod, Ref, ServicePort
from rollout.ports import AnalyzerMessage
from rollout.world.reads import Objects, Read
from rollout.world.world import Needs, Reading, Unreadable, World
from tests.diagnosis.makers import NOW, found, peers, pod, policy, rule, service, space, world

MESH = MeshConfig()
SHOP = pod("web-1", "shop", ip="10.0.0.9")
NO_ISTIOCTL = Unreadable("no istioctl on PATH")
EXCLUDE = "traffic.sidecar.istio.io/excludeInboundPorts"


def pair(port: str = "80", **request: str) -> Pair:
    """web-1 calls ledger."""
    asked = question(source="web-1.shop", to=f"ledger.payments:{port}", **request)
    assert isinstance(asked, Pair)
    return asked


def of_pair(*objects: Object, asked: Pair | None = None, **case: Any) -> Diagnosis:
    """The diagnosis of a call of web-1 to ledger."""
    case = {"client": SHOP, "to": service(), "servers": [pod()], **case}
    analysis = case.pop("analysis", NO_ISTIOCTL)
    return of_call(asked or pair(), found(*objects, **case), Seen(), MESH, analysis, NOW)


def layer(diagnosis: Diagnosis, which: Layer) -> LayerResult:
    """One of the six."""
    return next(result for result in diagnosis.layers if result.layer is which)


def statuses(diagnosis: Diagnosis) -> dict[Layer, Status]:
    """Of each layer."""
    return {result.layer: result.status for result in diagnosis.layers}


def test_a_healthy_pair() -> None:
    """What was not read is unknown, and named; the layers come in their order."""
    diagnosis = of_pair(peers("STRICT"))
    assert list(Layer) == [result.layer for result in diagnosis.layers]
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


def test_the_earlier_layer_is_the_cause() -> None:
    """A client without a sidecar: what it sends follows from that."""
    bare = pod("web-1", "shop", sidecar=False)
    diagnosis = of_pair(peers("STRICT"), client=bare)
    assert diagnosis.cause is Layer.INJECTION
    assert diagnosis.sentence.startswith("Pod shop/web-1 spec.containers: no istio-proxy container")
    assert Status.FAILED is statuses(diagnosis)[Layer.POLICY]


def test_what_is_refused_now_goes_first() -> None:
    """An un-rewritten probe is accepted on a PERMISSIVE port; a refused call is worse, though later in the list."""
    probe = {"httpGet": {"port": 8080}}
    servers = [pod(probe=probe)]
    accepted = of_pair(servers=servers)
    assert accepted.sentence.startswith("StatefulSet payments/ledger spec.containers[app].readinessProbe.httpGet")
    diagnosis = of_pair(policy("DENY", {}), servers=servers)
    assert diagnosis.cause is Layer.AUTHORIZATION
    assert "and 1 more below" in diagnosis.evidence


def test_alike_replicas_are_told_once() -> None:
    """Three pods, one finding."""
    servers = [pod(f"ledger-{n}") for n in range(3)]
    diagnosis = of_pair(peers("STRICT"), rule("DISABLE"), servers=servers)
    assert 1 == len(layer(diagnosis, Layer.POLICY).findings)
    assert any("Pod payments/ledger-0 and 2 more accepts: STRICT" in line for line in diagnosis.layers[1].lines)


@pytest.mark.parametrize(
    ("objects", "case", "fix"),
    [
        ([], {"servers": [pod(annotations={EXCLUDE: "8080"})]}, "let the sidecar capture the port"),
        ([rule("ISTIO_MUTUAL")], {"servers": [pod(sidecar=False)]}, "give the server a sidecar, as layer 1 says"),
        (
            [rule("ISTIO_MUTUAL"), peers("DISABLE")],
            {},
            "take DISABLE out of PeerAuthentication payments/default; until then: kubectl patch destinationrule rule",
        ),
        ([peers("DISABLE")], {}, "rollout migrate payments"),
        (
            [peers("STRICT", name="own", selector={"app": "ledger"}, ports={"8080": "DISABLE"})],
            {},
            "take DISABLE for port 8080 out of PeerAuthentication payments/own",
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
    subset = {"subsets": [{"name": "v1", "trafficPolicy": {"tls": {"mode": "SIMPLE"}}}]}
    shown = layer(of_pair(peers("STRICT"), rule("ISTIO_MUTUAL", **subset)), Layer.POLICY)
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


def of_pod(*objects: Object, server: Pod | None = None, **case: Any) -> Diagnosis:
    """The diagnosis of one pod."""
    return of_call(
        OfPod(question_name()), found(*objects, servers=[server or pod()], **case), Seen(), MESH, NO_ISTIOCTL, NOW
    )


def question_name() -> Any:
    """ledger-1.payments."""
    asked = question("ledger-1.payments")
    assert isinstance(asked, OfPod)
    return asked.pod


def test_a_pod() -> None:
    """Each port's mode, who decides it, and what a caller without a sidecar meets."""
    lines = layer(of_pod(peers("STRICT"), service()), Layer.POLICY).lines
    assert (
        "port 8080 (ledger:80): STRICT, decided by PeerAuthentication payments/default; "
        "without a sidecar a call will be refused",
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


def test_istioctl_about_these_objects() -> None:
    """Messages about other pods are left out; those about policies stay."""
    messages = (
        AnalyzerMessage("IST0103", "Error", "Pod payments/ledger-1", "missing the Istio proxy"),
        AnalyzerMessage("IST0103", "Error", "Pod payments/other-1", "missing the Istio proxy"),
        AnalyzerMessage("IST0174", "Warning", "DestinationRule shop/rule", "unknown host"),
        AnalyzerMessage("IST0118", "Info", "Service payments/ledger", "port name"),
    )
    diagnosis = of_pair(peers("STRICT"), analysis=messages)
    result = layer(diagnosis, Layer.ANALYZE)
    assert ["IST0103", "IST0174", "IST0118"] == [finding.field for finding in result.findings]
    assert diagnosis.cause is Layer.ANALYZE
    of_a_pod = of_call(OfPod(question_name()), found(servers=[pod()]), Seen(), MESH, messages, NOW)
    assert 2 == len(layer(of_a_pod, Layer.ANALYZE).findings)


def namespace_world(*objects: Object, unreadable: dict[type[Object], str] | None = None) -> World:
    """Every kind of every check was read."""
    made = world(*objects, unreadable=unreadable)
    kinds = {kind for check in checks() for kind in check.reads if issubclass(kind, Object)}
    readings: dict[Read, Reading] = {Objects(kind): Reading(NOW, ()) for kind in kinds}
    return World({**readings, **made.readings})


def in_namespace(*objects: Object, unreadable: dict[type[Object], str] | None = None) -> Diagnosis:
    """The diagnosis of payments."""
    made = namespace_world(space("payments"), space("shop"), *objects, unreadable=unreadable)
    return of_namespace(OfNamespace("payments"), made, Seen(), MESH, NO_ISTIOCTL, NOW)


def test_a_namespace() -> None:
    """Modes counted by who decides; the checks asked now, and what STRICT would refuse behind it."""
    diagnosis = in_namespace(pod(), SHOP, service(), rule("DISABLE"))
    policies = layer(diagnosis, Layer.POLICY)
    assert "1 port PERMISSIVE, decided by no policy" in policies.lines
    assert [("destination-rules", True)] == [(f.check, f.new) for f in policies.findings]
    assert diagnosis.cause is Layer.POLICY
    already = layer(in_namespace(pod(), SHOP, service(), rule("DISABLE"), peers("STRICT")), Layer.POLICY)
    assert [("destination-rules", False)] == [(f.check, f.new) for f in already.findings]


def test_a_namespace_that_is_disabled() -> None:
    """Where mutual TLS is off is a cause of its own."""
    diagnosis = in_namespace(pod(), pod("ledger-2"), service(), peers("DISABLE"))
    assert diagnosis.sentence.startswith("PeerAuthentication payments/default: DISABLE for port 8080")


def test_a_namespace_in_order() -> None:
    """Warnings do not fail a layer, and are counted at the end; gateways and bare pods have no modes."""
    bystander = pod("gateway-1", role="router")
    diagnosis = in_namespace(pod(probe={"tcpSocket": {"port": 8080}}), bystander, policy("ALLOW", {}), peers("STRICT"))
    assert {Status.OK, Status.UNKNOWN, Status.SKIPPED} == set(statuses(diagnosis).values())
    assert "1 warning below" in diagnosis.evidence
    assert "ALLOW AuthorizationPolicy payments/rules: 1 pod" in layer(diagnosis, Layer.AUTHORIZATION).lines


def test_a_namespace_that_cannot_be_read() -> None:
    """Pods and policies are missing: every layer that wants them says so."""
    diagnosis = in_namespace(unreadable={Pod: "not permitted: list pods", PeerAuthentication: "not permitted"})
    unknown = {which for which, status in statuses(diagnosis).items() if status is Status.UNKNOWN}
    assert {Layer.INJECTION, Layer.POLICY, Layer.CERTIFICATES, Layer.LOGS} <= unknown
    assert outcome(diagnosis) is Outcome.CANNOT_SEE


def test_proxies_that_are_asked() -> None:
    """Live pods with a proxy, and not all of a big namespace."""
    many = [pod(f"ledger-{n}") for n in range(40)]
    assert 20 == len(proxies(many))
    assert () == proxies([pod(sidecar=False), pod(phase="Succeeded")])


def ok(*statuses_: Status) -> list[LayerResult]:
    """Layers without findings."""
    return [LayerResult(layer=which, status=status) for which, status in zip(Layer, statuses_, strict=False)]


def test_the_end_when_everything_passes() -> None:
    """The tool says that mutual TLS works."""
    diagnosis = conclude("a to b", ok(*[Status.OK] * 6))
    assert "a to b: mutual TLS works here, all layers pass" == diagnosis.sentence
    assert outcome(diagnosis) is Outcome.DONE
    skipped = conclude("a to b", ok(Status.OK, Status.SKIPPED))
    assert "a to b: mutual TLS works here, all layers pass (skipped: peer-authentication)" == skipped.sentence
    assert [1, 2, 3, 4, 5, 6] == [number(which) for which in Layer]


def test_a_cause_without_evidence() -> None:
    """Nothing is made up."""
    finding = Finding(ref=Ref("Pod", "a", "b"), measured="wrong", severity=Severity.BLOCKING, new=False)
    layers = [LayerResult(layer=Layer.LOGS, status=Status.FAILED, findings=(finding,))]
    assert ("Pod a/b: wrong", ()) == (conclude("x", layers).sentence, conclude("x", layers).evidence)


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
