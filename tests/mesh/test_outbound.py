"""What passes by a pod's own sidecar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rollout.mesh.injection import EXCLUDE_INTERFACES
from rollout.mesh.outbound import EXCLUDE_PORTS, EXCLUDE_RANGES, INCLUDE_PORTS, INCLUDE_RANGES, early, exclusions
from rollout.model.kubernetes import Pod

CLUSTER_IP = ("10.96.1.1",)


@pytest.mark.parametrize(
    ("annotations", "addresses", "expected"),
    [
        ({}, CLUSTER_IP, ""),
        ({EXCLUDE_PORTS: "3306, 8080"}, CLUSTER_IP, EXCLUDE_PORTS),
        ({EXCLUDE_PORTS: "80"}, CLUSTER_IP, ""),
        ({EXCLUDE_PORTS: "8080", INCLUDE_PORTS: "8080"}, CLUSTER_IP, EXCLUDE_PORTS),
        ({EXCLUDE_RANGES: "10.96.0.0/12"}, CLUSTER_IP, EXCLUDE_RANGES),
        ({EXCLUDE_RANGES: "10.96.0.0/12"}, (), ""),
        ({EXCLUDE_RANGES: "10.96.1.1"}, ("10.96.1.1", "10.96.1.2"), ""),
        ({EXCLUDE_RANGES: "nonsense"}, CLUSTER_IP, ""),
        ({EXCLUDE_INTERFACES: "net1, eth0"}, (), EXCLUDE_INTERFACES),
        ({EXCLUDE_INTERFACES: "net1"}, CLUSTER_IP, ""),
        ({INCLUDE_RANGES: "*"}, CLUSTER_IP, ""),
        ({INCLUDE_RANGES: ""}, CLUSTER_IP, INCLUDE_RANGES),
        ({INCLUDE_RANGES: "10.0.0.0/8"}, CLUSTER_IP, ""),
        ({INCLUDE_RANGES: "172.16.0.0/12"}, CLUSTER_IP, INCLUDE_RANGES),
        ({INCLUDE_RANGES: "172.16.0.0/12"}, (), ""),
        ({INCLUDE_RANGES: "172.16.0.0/12", INCLUDE_PORTS: "8080"}, CLUSTER_IP, ""),
        ({INCLUDE_RANGES: "", INCLUDE_PORTS: "*"}, CLUSTER_IP, ""),
        ({INCLUDE_RANGES: "fd00::/8"}, ("fd00::1",), ""),
    ],
)
def test_why_a_call_passes_by(
    pod: Callable[..., Pod], annotations: dict[str, str], addresses: tuple[str, ...], expected: str
) -> None:
    """Excluded goes before included; an address that is not known proves nothing."""
    assert expected == exclusions(pod(annotations=annotations)).reason(8080, addresses)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["-i", "*", "-x", "", "-b", "*"], ""),
        (["-i", "172.16.0.0/12"], INCLUDE_RANGES),
        (["-i", "*", "-x", "10.0.0.0/8"], EXCLUDE_RANGES),
        (["-i", "*", "-o", "8080"], EXCLUDE_PORTS),
        (["-i", "172.16.0.0/12", "-q", "8080"], ""),
        (["-o"], ""),
    ],
)
def test_the_meshs_defaults_are_seen_where_the_injector_wrote_them(
    pod: Callable[..., Pod], args: list[str], expected: str
) -> None:
    """In the arguments of istio-iptables; an annotation goes before them."""
    init: list[dict[str, Any]] = [{"name": "mine"}, {"name": "istio-init", "args": args}]
    assert expected == exclusions(pod(init=init)).reason(8080, CLUSTER_IP)
    stated = {INCLUDE_RANGES: "*", EXCLUDE_RANGES: "", EXCLUDE_PORTS: "", INCLUDE_PORTS: ""}
    assert exclusions(pod(init=init, annotations=stated)).none


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["wait", "migrate", "istio-init"], ("wait", "migrate")),
        (["istio-init", "istio-proxy", "migrate"], ()),
        (["istio-validation", "migrate"], ()),
        ([], ()),
    ],
)
def test_only_what_runs_before_the_redirection_sends_plaintext(
    pod: Callable[..., Pod], names: list[str], expected: tuple[str, ...]
) -> None:
    """A classic sidecar's comes last, a native one's first, and istio-cni's before all of them."""
    assert expected == tuple(container.name for container in early(pod(init=[{"name": name} for name in names])))
