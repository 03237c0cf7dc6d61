"""The rights that a plan and a run need; `rollout rbac` prints them, `verifying` asks for them, undo first."""

from __future__ import annotations

from rollout.checks.run import reads
from rollout.model.istio import PeerAuthentication
from rollout.model.kubernetes import ConfigMap, Deployment, Namespace, Object, Pod, Resource
from rollout.ports import Right

LEASE = Resource("coordination.k8s.io", ("v1",), "leases", "Lease")


def to_read() -> tuple[Right, ...]:
    """Cluster-wide lists."""
    kinds: dict[type[Object], None] = dict.fromkeys([Namespace, Pod, Deployment, PeerAuthentication, *reads(None)])
    return tuple(Right("list", kind.RESOURCE) for kind in kinds)


def to_write(namespace: str, record_namespace: str) -> tuple[Right, ...]:
    """In the namespace: the undo's right first."""
    policies = PeerAuthentication.RESOURCE
    return (
        *(Right(verb, policies, namespace) for verb in ("patch", "get", "create")),
        *(Right(verb, ConfigMap.RESOURCE, record_namespace) for verb in ("create", "get", "list", "patch", "delete")),
        *(Right(verb, LEASE, record_namespace) for verb in ("create", "get", "patch", "delete")),
    )
