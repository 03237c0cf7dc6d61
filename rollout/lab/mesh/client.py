"""What a caller's sidecar sends to a Service: the DestinationRule in force, else automatic mutual TLS (istio.md 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rollout.lab.mesh.listener import APP_TLS, MESH_TLS, PLAINTEXT, Hello
from rollout.lab.mesh.policy import Mode


@dataclass(frozen=True, slots=True)
class Rule:
    """One DestinationRule: the TLS mode for all ports and per Service port ('' = says nothing)."""

    namespace: str
    name: str
    created: str
    host: str
    export_to: tuple[str, ...]
    tls: str
    ports: Mapping[int, str]
    selector: Mapping[str, str]

    def visible_in(self, namespace: str) -> bool:
        """Whether clients of that namespace get it."""
        if self.selector:
            return namespace == self.namespace
        return any(e in ("*", namespace) or (e == "." and namespace == self.namespace) for e in self.export_to)

    def matches(self, fqdn: str) -> bool:
        """Exact name, or a wildcard's suffix."""
        if self.host.startswith("*"):
            return fqdn.endswith(self.host[1:])
        return self.host == fqdn


def parse_rule(obj: Mapping[str, Any]) -> Rule:
    """Read a DestinationRule. A short host means the rule's own namespace; `tls` without a mode is DISABLE."""
    meta, spec = obj["metadata"], obj.get("spec") or {}
    policy = spec.get("trafficPolicy") or {}
    host = str(spec.get("host") or "")
    if host and "." not in host and "*" not in host:
        host = f"{host}.{meta['namespace']}.svc.cluster.local"
    ports = {
        int((setting.get("port") or {}).get("number") or 0): _tls(setting)
        for setting in policy.get("portLevelSettings") or ()
    }
    return Rule(
        namespace=meta["namespace"],
        name=meta["name"],
        created=meta.get("creationTimestamp") or "",
        host=host,
        export_to=tuple(spec.get("exportTo") or ("*",)),
        tls=_tls(policy),
        ports=ports,
        selector=dict((spec.get("workloadSelector") or {}).get("matchLabels") or {}),
    )


def rule_for(
    rules: Iterable[Rule], *, root: str, client: str, labels: Mapping[str, str], service: str, fqdn: str
) -> Rule | None:
    """The rule in force: client's namespace, then the Service's, then the root's; most specific host, then oldest.

    Args:
        rules: all DestinationRules.
        root: MeshConfig.rootNamespace.
        client: the caller's namespace.
        labels: the caller's pod labels, for `workloadSelector`.
        service: the Service's namespace.
        fqdn: the Service's full name.
    """
    fitting = [r for r in rules if r.matches(fqdn) and r.visible_in(client)]
    for namespace in dict.fromkeys((client, service, root)):
        level = [
            r
            for r in fitting
            if r.namespace == namespace and all(labels.get(key) == value for key, value in r.selector.items())
        ]
        if level:
            return min(level, key=lambda r: (not r.selector, r.host.startswith("*"), -len(r.host), r.created, r.name))
    return None


def hello_towards(
    rule: Rule | None, port: int, *, service_mode: Mode, pod_mode: Mode, labelled: bool, auto_mtls: bool = True
) -> Hello:
    """What the caller's sidecar opens a connection with.

    Args:
        rule: the DestinationRule in force.
        port: the Service's port.
        service_mode: what clients infer for the Service's namespace.
        pod_mode: effective mode of the endpoint's port.
        labelled: the endpoint carries `security.istio.io/tlsMode: istio`.
        auto_mtls: MeshConfig.enableAutoMtls.
    """
    tls = (rule.ports.get(port) or rule.tls) if rule is not None else ""
    match tls:
        case "DISABLE":
            return PLAINTEXT
        case "SIMPLE" | "MUTUAL":
            return APP_TLS
        case "ISTIO_MUTUAL":
            return MESH_TLS
        case _:
            automatic = auto_mtls and labelled and Mode.DISABLE not in (service_mode, pod_mode)
            return MESH_TLS if automatic else PLAINTEXT


def _tls(policy: Mapping[str, Any]) -> str:
    if "tls" not in policy:
        return ""
    return str((policy["tls"] or {}).get("mode") or "DISABLE")
