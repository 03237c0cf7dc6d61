"""The rights that a plan and a run need; `rollout rbac` prints them, `verifying` asks for them, undo first."""

from __future__ import annotations

from rollout.checks.run import reads
from rollout.model.istio import PeerAuthentication
from rollout.model.kubernetes import (
    APIService,
    ConfigMap,
    DaemonSet,
    Deployment,
    Ingress,
    Job,
    Namespace,
    Node,
    Object,
    Pod,
    PodMonitor,
    Resource,
    ServiceMonitor,
    StatefulSet,
)
from rollout.model.kubernetes.happenings import Happening
from rollout.ports import Right

LEASE = Resource("coordination.k8s.io", ("v1",), "leases", "Lease")


#: Without these the watch is blind: it would hold, and roll back at its deadline.
WATCHED: tuple[type[Object], ...] = (PeerAuthentication, Pod, Deployment, StatefulSet, DaemonSet, APIService)
#: With these more is known: drained nodes are no regression, nameless callers get suspects, failed Jobs and probes
#: show.
HELPFUL: tuple[type[Object], ...] = (Node, Job, Happening, Ingress, ServiceMonitor, PodMonitor)


def to_read() -> tuple[Right, ...]:
    """Cluster-wide lists, for everything that a plan and a watch look at."""
    kinds: dict[type[Object], None] = dict.fromkeys([Namespace, *WATCHED, *reads(None), *HELPFUL])
    return tuple(Right("list", kind.RESOURCE) for kind in kinds)


def to_watch() -> tuple[Right, ...]:
    """The lists without which no run may begin."""
    return tuple(Right("list", kind.RESOURCE) for kind in WATCHED)


def to_write(namespace: str, record_namespace: str) -> tuple[Right, ...]:
    """In the namespace: the undo's right first."""
    policies = PeerAuthentication.RESOURCE
    return (
        *(Right(verb, policies, namespace) for verb in ("patch", "get", "create")),
        *(Right(verb, ConfigMap.RESOURCE, record_namespace) for verb in ("create", "get", "list", "patch", "delete")),
        *(Right(verb, LEASE, record_namespace) for verb in ("create", "get", "patch", "delete")),
    )
