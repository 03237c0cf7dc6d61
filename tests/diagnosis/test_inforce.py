"""What proxies have in force, against what the objects say."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from rollout.diagnosis.inforce import compared, modes
from rollout.model.diagnosis import Layer, LayerResult
from rollout.model.finding import Severity, Status
from rollout.model.istio import MeshConfig, Mode, PeerAuthentication
from rollout.model.kubernetes import Metadata, Pod, Ref
from rollout.model.kubernetes.pods import Container, ContainerPort, PodSpec, PodStatus
from rollout.ports import InboundChain
from rollout.world.reads import Objects
from rollout.world.world import KindUnreadable, Reading, Unreadable, World
from tests.diagnosis.makers import NOW

MESH = InboundChain(transport="tls", tls=True, client_certificate=True)
RAW = InboundChain(transport="raw_buffer")
ANY = InboundChain()
OWN_TLS = InboundChain(transport="tls")
EVERY = Layer.POLICY


def at(port: int, *chains: InboundChain) -> list[InboundChain]:
    return [InboundChain(port=port, transport=c.transport, tls=c.tls, client_certificate=c.client_certificate)
            for c in chains]  # fmt: skip


@pytest.mark.parametrize(
    ("chains", "expected"),
    [
        ([], {}),
        (at(8080, MESH), {8080: Mode.STRICT}),
        (at(8080, MESH, RAW), {8080: Mode.PERMISSIVE}),
        (at(8080, MESH, OWN_TLS, RAW), {8080: Mode.PERMISSIVE}),
        (at(8080, MESH, OWN_TLS), {8080: Mode.STRICT}),
        (at(8080, ANY), {8080: Mode.DISABLE}),
        (at(8080, OWN_TLS), {}),
        (at(8080, InboundChain(transport="tls", tls=True)), {}),
        ([*at(15006, ANY), *at(8080, MESH), MESH, RAW], {8080: Mode.STRICT, 0: Mode.PERMISSIVE}),
    ],
)
def test_modes_are_read_off_the_chains(chains: list[InboundChain], expected: dict[int, Mode]) -> None:
    """TLS that somebody else ends is none of them; the listener's own port says nothing."""
    assert expected == modes(chains)


def pod(name: str = "orders-1", **annotations: str) -> Pod:
    ports = tuple(ContainerPort(container_port=port, protocol="TCP") for port in (8080, 9090))
    return Pod(
        metadata=Metadata(
            name=name,
            namespace="production",
            labels={"app": "orders"},
            annotations={"sidecar.istio.io/status": "{}", **annotations},
        ),
        spec=PodSpec(containers=(Container(name="orders", ports=ports), Container(name="istio-proxy"))),
        status=PodStatus(phase="Running"),
    )


def policy(mode: str, age: float = 3600) -> PeerAuthentication:
    import msgspec

    created = NOW - timedelta(seconds=age)
    return msgspec.convert(
        {
            "metadata": {"name": "default", "namespace": "production", "creationTimestamp": created},
            "spec": {"mtls": {"mode": mode}},
        },
        PeerAuthentication,
    )


def judged(told: Mapping[Ref, Mapping[int, Mode] | str], *pods: Pod, age: float = 3600) -> LayerResult:
    world = World({Objects(PeerAuthentication): Reading(NOW, (policy("STRICT", age),))})
    return compared(LayerResult(layer=EVERY, status=Status.OK), world, told, pods, MeshConfig(), NOW)


def test_a_proxy_that_has_another_mode_in_force_is_named() -> None:
    """With its port, both modes and the policy; ports without chains of their own are as the others."""
    fresh, stale = pod("orders-1"), pod("orders-2")
    told = {fresh.ref: {0: Mode.STRICT}, stale.ref: {8080: Mode.STRICT, 0: Mode.PERMISSIVE}}
    found = judged(told, fresh, stale)
    (finding,) = found.findings
    assert Status.FAILED is found.status
    assert ("Pod production/orders-2", "port 9090") == (str(finding.ref), finding.field)
    assert "its proxy has PERMISSIVE in force, PeerAuthentication production/default says STRICT" == finding.measured
    assert found.lines == ("in force: 1 of 2 proxies asked have what the objects say",)


def test_several_ports_are_one_finding() -> None:
    """And how many there are is said."""
    one = pod()
    (finding,) = judged({one.ref: {0: Mode.DISABLE}}, one).findings
    assert ("port 8080", "2 ports differ") == (finding.field, finding.where[1])
    declared = {8080: Mode.STRICT, 9090: Mode.STRICT, 0: Mode.PERMISSIVE}
    (finding,) = judged({one.ref: declared}, one).findings
    assert "other ports" == finding.field


def test_a_change_of_just_now_may_be_under_way() -> None:
    """A warning, and behind what else is wrong."""
    one = pod()
    found = judged({one.ref: {0: Mode.PERMISSIVE}}, one, age=10)
    (finding,) = found.findings
    assert (Status.OK, Severity.WARNING) == (found.status, finding.severity)
    assert "ask again" in finding.where[0]


def test_who_was_not_asked_is_no_finding() -> None:
    """Nor a port that the sidecar does not capture, nor a shape that is none of Istio's."""
    one = pod()
    assert LayerResult(layer=EVERY, status=Status.OK) == judged({one.ref: "exec is forbidden"}, one)
    assert () == judged({one.ref: {}}, one).findings
    excluded = pod(**{"traffic.sidecar.istio.io/excludeInboundPorts": "8080,9090"})
    told: dict[int, Mode] = {8080: Mode.PERMISSIVE, 9090: Mode.PERMISSIVE, 0: Mode.STRICT}
    assert () == judged({excluded.ref: told}, excluded).findings


def test_without_policies_nobody_can_tell() -> None:
    """The layer becomes unknown by whoever asks."""
    world = World({Objects(PeerAuthentication): Reading(NOW, Unreadable("forbidden"))})
    one = pod()
    with pytest.raises(KindUnreadable):
        compared(LayerResult(layer=EVERY, status=Status.OK), world, {one.ref: {}}, [one], MeshConfig(), NOW)
