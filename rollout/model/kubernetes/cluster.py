"""Namespaces, nodes, ConfigMaps."""

from __future__ import annotations

from rollout.model.kubernetes.meta import Condition, Object, Resource, Value


class Phase(Value, frozen=True):
    """status.phase."""

    phase: str = ""


class Namespace(Object, frozen=True):
    """A Namespace."""

    RESOURCE = Resource("", ("v1",), "namespaces", "Namespace", namespaced=False)
    status: Phase = Phase()


class NodeSpec(Value, frozen=True):
    """spec of a Node."""

    unschedulable: bool = False


class NodeAddress(Value, frozen=True):
    """status.addresses[]: `type` is InternalIP, ExternalIP, Hostname …"""

    type: str = ""
    address: str = ""


class NodeStatus(Value, frozen=True):
    """status of a Node."""

    conditions: tuple[Condition, ...] = ()
    addresses: tuple[NodeAddress, ...] = ()


class Node(Object, frozen=True):
    """A Node."""

    RESOURCE = Resource("", ("v1",), "nodes", "Node", namespaced=False)
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class ConfigMap(Object, frozen=True):
    """A ConfigMap."""

    RESOURCE = Resource("", ("v1",), "configmaps", "ConfigMap")
    data: dict[str, str] = {}
