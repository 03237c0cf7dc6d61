"""Istio's objects, only with the fields that some rule reads (facts: istio.md 2, 3, 14)."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from rollout.model.kubernetes import Metadata, Object, Resource, Value


class Mode(StrEnum):
    """A PeerAuthentication's mode; UNSET inherits."""

    UNSET = "UNSET"
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


#: From the mode that accepts least to the one that accepts most plaintext.
STRICTNESS = {Mode.DISABLE: 0, Mode.PERMISSIVE: 1, Mode.STRICT: 2}


class Mtls(Value, frozen=True):
    """spec.mtls, and a value of spec.portLevelMtls."""

    mode: Mode = Mode.UNSET


class WorkloadSelector(Value, frozen=True):
    """spec.selector of a PeerAuthentication, spec.workloadSelector of a DestinationRule."""

    match_labels: dict[str, str] = {}


class PeerAuthenticationSpec(Value, frozen=True):
    """spec; the keys of `port_level_mtls` are container ports, as text."""

    selector: WorkloadSelector | None = None
    mtls: Mtls | None = None
    port_level_mtls: dict[str, Mtls] = {}


class PeerAuthentication(Object, frozen=True):
    """What a workload accepts. v1 is served since Istio 1.22, v1beta1 by all."""

    RESOURCE = Resource("security.istio.io", ("v1", "v1beta1"), "peerauthentications", "PeerAuthentication")
    metadata: Metadata = Metadata()
    spec: PeerAuthenticationSpec = PeerAuthenticationSpec()

    @property
    def selector(self) -> dict[str, str]:
        """matchLabels; empty means the whole namespace, also where a selector without labels stands."""
        return self.spec.selector.match_labels if self.spec.selector else {}

    @property
    def mode(self) -> Mode:
        """spec.mtls.mode; UNSET where either is absent."""
        return self.spec.mtls.mode if self.spec.mtls else Mode.UNSET


class ClientTLSMode(StrEnum):
    """A DestinationRule's tls.mode; `tls` without a mode is DISABLE (proto zero value)."""

    DISABLE = "DISABLE"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"


class ClientTLSSettings(Value, frozen=True):
    """tls."""

    mode: ClientTLSMode = ClientTLSMode.DISABLE


class PortSelector(Value, frozen=True):
    """portLevelSettings[].port: the Service's port."""

    number: int = 0


class PortTrafficPolicy(Value, frozen=True):
    """trafficPolicy.portLevelSettings[]."""

    port: PortSelector = PortSelector()
    tls: ClientTLSSettings | None = None


class TrafficPolicy(Value, frozen=True):
    """trafficPolicy."""

    tls: ClientTLSSettings | None = None
    port_level_settings: tuple[PortTrafficPolicy, ...] = ()


class Subset(Value, frozen=True):
    """subsets[]."""

    name: str = ""
    labels: dict[str, str] = {}
    traffic_policy: TrafficPolicy | None = None


class DestinationRuleSpec(Value, frozen=True):
    """spec."""

    host: str = ""
    traffic_policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
    export_to: tuple[str, ...] = ()
    workload_selector: WorkloadSelector | None = None


class DestinationRule(Object, frozen=True):
    """What a client sends. Served as v1 (1.22), v1beta1 and v1alpha3."""

    RESOURCE = Resource("networking.istio.io", ("v1", "v1beta1", "v1alpha3"), "destinationrules", "DestinationRule")
    spec: DestinationRuleSpec = DestinationRuleSpec()


class Source(Value, frozen=True):
    """rules[].from[].source. All but the addresses and the request's own principals need mutual TLS."""

    principals: tuple[str, ...] = ()
    not_principals: tuple[str, ...] = ()
    request_principals: tuple[str, ...] = ()
    not_request_principals: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    not_namespaces: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    not_service_accounts: tuple[str, ...] = ()
    trust_domains: tuple[str, ...] = ()
    not_trust_domains: tuple[str, ...] = ()
    ip_blocks: tuple[str, ...] = ()
    not_ip_blocks: tuple[str, ...] = ()
    remote_ip_blocks: tuple[str, ...] = ()
    not_remote_ip_blocks: tuple[str, ...] = ()


class From(Value, frozen=True):
    """rules[].from[]."""

    source: Source = Source()


class Operation(Value, frozen=True):
    """rules[].to[].operation. Ports are the container's; all others are of HTTP."""

    hosts: tuple[str, ...] = ()
    not_hosts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    not_ports: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()


class To(Value, frozen=True):
    """rules[].to[]."""

    operation: Operation = Operation()


class When(Value, frozen=True):
    """rules[].when[]."""

    key: str = ""
    values: tuple[str, ...] = ()
    not_values: tuple[str, ...] = ()


class AuthorizationRule(Value, frozen=True):
    """rules[]: one of `sources`, one of `operations` and all of `when`; without any of them it matches everything."""

    sources: tuple[From, ...] = msgspec.field(name="from", default=())
    operations: tuple[To, ...] = msgspec.field(name="to", default=())
    when: tuple[When, ...] = ()


class TargetRef(Value, frozen=True):
    """targetRefs[]: what a waypoint or gateway enforces, never a sidecar."""

    kind: str = ""
    group: str = ""
    name: str = ""


class Action(StrEnum):
    """An AuthorizationPolicy's action."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    AUDIT = "AUDIT"
    CUSTOM = "CUSTOM"


class AuthorizationPolicySpec(Value, frozen=True):
    """spec; without rules it matches nothing."""

    selector: WorkloadSelector | None = None
    target_ref: TargetRef | None = None
    target_refs: tuple[TargetRef, ...] = ()
    action: Action = Action.ALLOW
    rules: tuple[AuthorizationRule, ...] = ()


class AuthorizationPolicy(Object, frozen=True):
    """Who may call a workload (istio.md 10)."""

    RESOURCE = Resource("security.istio.io", ("v1", "v1beta1"), "authorizationpolicies", "AuthorizationPolicy")
    spec: AuthorizationPolicySpec = AuthorizationPolicySpec()

    @property
    def selector(self) -> dict[str, str]:
        """matchLabels; empty means every workload of the namespace, in the root namespace of the mesh."""
        return self.spec.selector.match_labels if self.spec.selector else {}

    @property
    def dry_run(self) -> bool:
        """It only counts, and enforces nothing."""
        return self.metadata.annotations.get("istio.io/dry-run", "").lower() in ("true", "t", "1")


class MeshConfig(msgspec.Struct, frozen=True):
    """What of MeshConfig a rule reads, with Istio's defaults; `revision` is the control plane it belongs to."""

    revision: str = "default"
    namespace: str = "istio-system"
    root_namespace: str = "istio-system"
    enable_auto_mtls: bool = True
    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    drain_seconds: float = 45.0
    rewrite_probes: bool = True
    status_port: int = 15020
    default_destination_rule_export_to: tuple[str, ...] = ("*",)

    @property
    def trust_domains(self) -> tuple[str, ...]:
        """Its own first: callers of any of these are the mesh's (istio.md 2.3)."""
        return (self.trust_domain, *self.trust_domain_aliases)
