"""Whose an address was when a line was written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from rollout.model.kubernetes import Node, Pod, Service
from rollout.world.addresses import Addresses

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)


def pod(
    name: str,
    ip: str = "10.2.3.4",
    *,
    start: datetime = NOW - timedelta(days=1),
    ended: datetime | None = None,
    phase: str = "",
    owner: tuple[str, str] | None = None,
    host: str = "",
    **status: Any,
) -> Pod:
    """A pod of billing."""
    meta: dict[str, Any] = {"name": name, "namespace": "billing"}
    if owner:
        meta["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
    states = [{"name": "app", "state": {"terminated": {"finishedAt": ended.isoformat()}}}] if ended else []
    document = {
        "metadata": meta,
        "spec": {"nodeName": host, "hostNetwork": bool(host)},
        "status": {
            "phase": phase or ("Succeeded" if ended else "Running"),
            "podIP": ip,
            "startTime": start.isoformat(),
            "containerStatuses": states,
            **status,
        },
    }
    return msgspec.convert(document, Pod)


def node(name: str, **addresses: str) -> Node:
    """A node."""
    found = [{"type": kind, "address": address} for kind, address in addresses.items()]
    return msgspec.convert({"metadata": {"name": name}, "status": {"addresses": found}}, Node)


def who(address: str, *objects: Pod | Node | Service, at: datetime = NOW) -> str:
    """The owner in words."""
    return Addresses(
        [o for o in objects if isinstance(o, Pod)],
        [o for o in objects if isinstance(o, Node)],
        [o for o in objects if isinstance(o, Service)],
    ).who(address, at)


def test_a_pod_with_its_workload() -> None:
    """A CronJob's pod is named as Istio names it."""
    assert "Pod billing/invoicer-29381-x (CronJob billing/invoicer)" == who(
        "10.2.3.4", pod("invoicer-29381-x", owner=("Job", "invoicer-29381115"))
    )
    assert "Pod billing/alone" == who("10.2.3.4", pod("alone"))


def test_any_of_a_pods_addresses_is_its() -> None:
    """Dual stack."""
    assert "Pod billing/alone" == who("fd00::4", pod("alone", podIPs=[{"ip": "10.2.3.4"}, {"ip": "fd00::4"}]))


def test_a_pod_that_has_ended() -> None:
    """It keeps the address in its status, and another may have it by now."""
    end = NOW - timedelta(hours=8)
    old = pod("old", start=end - timedelta(minutes=3), ended=end)
    heir = pod("heir", start=NOW - timedelta(hours=1))
    assert "was Pod billing/old until 2026-03-02 02:00 UTC" == who("10.2.3.4", old, heir, at=end - timedelta(minutes=1))
    assert "Pod billing/heir" == who("10.2.3.4", old, heir, at=NOW)
    between = end + timedelta(hours=2)
    assert "was a pod that is gone (now Pod billing/heir since 2026-03-02 09:00 UTC)" == who(
        "10.2.3.4", old, heir, at=between
    )
    assert "" == who("10.2.3.4", old, at=between)


def test_an_end_that_nobody_tells_is_no_certainty() -> None:
    """Failed without a container's status (evicted), or two that may have had it at once."""
    assert "may be Pod billing/evicted, which has ended" == who("10.2.3.4", pod("evicted", phase="Failed"))
    assert "may be Pod billing/evicted or Pod billing/heir" == who(
        "10.2.3.4", pod("evicted", phase="Failed"), pod("heir", start=NOW - timedelta(hours=1))
    )


def test_a_node_with_the_pods_on_its_network() -> None:
    """Their address is the node's, and so is that of a load balancer's traffic."""
    agent = pod("agent-x", "192.168.10.11", owner=("DaemonSet", "agent"), host="node-1")
    assert "Node node-1 (its kubelet, a NodePort or a load balancer)" == who(
        "192.168.10.11", node("node-1", InternalIP="192.168.10.11"), pod("other")
    )
    assert (
        "Node node-1 (its kubelet, a NodePort or a load balancer, or a pod on its network: DaemonSet billing/agent)"
        == who("192.168.10.11", node("node-1", InternalIP="192.168.10.11"), agent)
    )


def test_a_load_balancer_and_nobody() -> None:
    """External addresses of Services; a Hostname is no address, and an unknown one stays bare."""
    service = msgspec.convert(
        {
            "metadata": {"name": "edge", "namespace": "ingress"},
            "spec": {"externalIPs": ["198.51.100.7"]},
            "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.8"}, {"hostname": "lb.example"}]}},
        },
        Service,
    )
    assert {"load balancer of Service ingress/edge"} == {who(a, service) for a in ("198.51.100.7", "198.51.100.8")}
    assert "" == who("198.51.100.9", service, pod("alone", ""), node("node-1", Hostname="198.51.100.9"))
    assert "" == who("", service, pod("pending", ""))
