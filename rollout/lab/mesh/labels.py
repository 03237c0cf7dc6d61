"""The labels of `istio_*` series as both ends write them (istio.md 6.1, 6.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rollout.lab.mesh.catalog import PodView
from rollout.lab.mesh.outcome import Count, Side

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Target:
    """What a call is addressed to: the Service, or a bare address that the sidecar does not know.

    Attributes:
        namespace, name: of the Service.
        port: the container port that is reached.
        declared: whether a Service declares that port.
        pod_ip: the caller went by address.
    """

    namespace: str
    name: str
    port: int
    declared: bool = True
    pod_ip: bool = False


def call_labels(
    count: Count,
    source: PodView | None,
    destination: PodView | None,
    target: Target,
    *,
    protocol: str,
    trust_domain: str,
) -> Labels:
    """All labels but the scrape's.

    Args:
        count: the line of the outcome table.
        source: the caller's pod, None for one that is no pod.
        destination: the endpoint, None when there was none.
        target: what was addressed.
        protocol: http, grpc or tcp.
        trust_domain: for principals.
    """
    at_source = count.side is Side.SOURCE
    named = at_source or (count.reached and (protocol != "tcp" or count.mutual))
    caller = source if source is not None and source.proxied and named else None
    by_address = at_source and target.pod_ip and protocol == "tcp"  # nothing is exchanged, no host is said
    callee = destination if (count.reached or not at_source) and not by_address else None
    labels = {
        "reporter": str(count.side),
        **_peer("source", caller, trust_domain, principal=count.mutual),
        **_peer("destination", callee, trust_domain, principal=count.mutual),
        **_service(target, None if by_address else destination, at_source=at_source),
        "request_protocol": protocol,
        "response_flags": count.flags,
        "connection_security_policy": "unknown" if at_source else ("mutual_tls" if count.mutual else "none"),
    }
    if protocol != "tcp":
        labels["response_code"] = count.code
        labels["grpc_response_status"] = count.grpc
    return tuple(sorted(labels.items()))


def _peer(side: str, pod: PodView | None, trust_domain: str, *, principal: bool) -> Mapping[str, str]:
    if pod is None:
        keys = ("workload", "workload_namespace", "principal", "app", "version", "canonical_service", "cluster")
        return {**{f"{side}_{key}": "unknown" for key in keys}, f"{side}_canonical_revision": "latest"}
    spiffe = f"spiffe://{trust_domain}/ns/{pod.namespace}/sa/{pod.service_account}"
    return {
        f"{side}_workload": pod.workload,
        f"{side}_workload_namespace": pod.namespace,
        f"{side}_principal": spiffe if principal else "unknown",
        f"{side}_app": pod.app,
        f"{side}_version": pod.labels.get("version", "unknown"),
        f"{side}_canonical_service": pod.labels.get("service.istio.io/canonical-name", pod.app),
        f"{side}_canonical_revision": pod.labels.get("service.istio.io/canonical-revision", "latest"),
        f"{side}_cluster": "Kubernetes",
    }


def _service(target: Target, destination: PodView | None, *, at_source: bool) -> Mapping[str, str]:
    if at_source and target.pod_ip:
        address = f"{destination.ip}:{target.port}" if destination is not None else "unknown"
        values = (address, "PassthroughCluster", "unknown")
    elif not at_source and not target.declared:
        values = ("unknown", "InboundPassthroughCluster", "unknown")
    else:
        values = (f"{target.name}.{target.namespace}.svc.cluster.local", target.name, target.namespace)
    keys = ("destination_service", "destination_service_name", "destination_service_namespace")
    return dict(zip(keys, values, strict=True))
