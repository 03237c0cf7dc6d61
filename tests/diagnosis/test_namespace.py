"""A namespace as a server, and the sentence at the end."""

from __future__ import annotations

from rollout.checks.registry import checks
from rollout.diagnosis.conclusion import conclude, number, outcome
from rollout.diagnosis.diagnose import of_namespace, proxies
from rollout.diagnosis.patterns import recognise
from rollout.diagnosis.question import OfNamespace
from rollout.diagnosis.telling import Seen
from rollout.errors import Outcome
from rollout.model.diagnosis import Diagnosis, Layer, LayerResult
from rollout.model.finding import Finding, Severity, Status
from rollout.model.istio import PeerAuthentication
from rollout.model.kubernetes import Object, Pod, Ref
from rollout.world.reads import Objects, Read
from rollout.world.world import Reading, World
from tests.diagnosis.answers import (
    EXCLUDE,
    MESH,
    NO_ISTIOCTL,
    SHOP,
    layer,
    statuses,
)
from tests.diagnosis.makers import NOW, peers, pod, policy, rule, service, space, world


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
    assert "destination-rules: 1 Service, as clients of 2 namespaces reach them" in policies.lines
    assert "not asked, for want of traffic: plaintext-callers (rollout plan payments)" == policies.lines[-1]
    assert [("destination-rules", True)] == [(f.check, f.new) for f in policies.findings]
    assert diagnosis.cause is Layer.POLICY
    already = layer(in_namespace(pod(), SHOP, service(), rule("DISABLE"), peers("STRICT")), Layer.POLICY)
    assert [("destination-rules", False)] == [(f.check, f.new) for f in already.findings]


def test_callers_of_other_namespaces_have_names() -> None:
    """In what logs show; a pod on its node's network shares that address with the kubelet, and is not named."""
    refused = '"- - -" 0 NR filter_chain_not_found - "-" 0 0 0 - "-" "-" "-" "-" "-" - - 10.0.0.1:8080 {}:41234 - -'
    text = recognise([refused.format("10.0.0.9"), refused.format("192.168.0.1")])
    node = pod("node-exporter-1", "monitoring", sidecar=False, ip="192.168.0.1", spec={"hostNetwork": True})
    made = namespace_world(space("payments"), pod(), pod("web-1", "shop", ip="10.0.0.9"), node)
    seen = Seen(logs={pod().ref: text})
    found = of_namespace(OfNamespace("payments"), made, seen, MESH, NO_ISTIOCTL, NOW)
    (finding,) = layer(found, Layer.LOGS).findings
    assert ("Pod shop/web-1: 1", "192.168.0.1: 1") == finding.where[1:3]


def test_a_namespace_that_is_disabled() -> None:
    """Where mutual TLS is off is a cause of its own."""
    diagnosis = in_namespace(pod(), pod("ledger-2"), service(), peers("DISABLE"))
    assert diagnosis.sentence.startswith(
        "PeerAuthentication payments/default: DISABLE for port 8080 of Pod payments/ledger-1, and 1 more"
    )


def test_a_namespace_in_order() -> None:
    """Warnings do not fail a layer, and are counted at the end; gateways and bare pods have no modes."""
    bystander = pod("gateway-1", role="router")
    past = pod("past-1", annotations={EXCLUDE: "8080"})
    probed = pod(probe={"tcpSocket": {"port": 8080}})
    diagnosis = in_namespace(probed, bystander, past, policy("ALLOW", {}), peers("STRICT"))
    assert "1 port STRICT, decided by PeerAuthentication payments/default" in layer(diagnosis, Layer.POLICY).lines
    assert {Status.OK, Status.UNKNOWN, Status.SKIPPED} == set(statuses(diagnosis).values())
    assert "1 warning in the layers" in diagnosis.evidence
    assert "ALLOW AuthorizationPolicy payments/rules: 2 pods" in layer(diagnosis, Layer.AUTHORIZATION).lines


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
    assert [1, 2, 3, 4, 5, 6, 7] == [number(which) for which in Layer]


def test_a_cause_without_evidence() -> None:
    """Nothing is made up."""
    finding = Finding(ref=Ref("Pod", "a", "b"), measured="wrong", severity=Severity.BLOCKING, new=False)
    layers = [LayerResult(layer=Layer.LOGS, status=Status.FAILED, findings=(finding,))]
    assert ("Pod a/b: wrong", ()) == (conclude("x", layers).sentence, conclude("x", layers).evidence)
