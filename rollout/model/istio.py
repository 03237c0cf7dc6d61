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


class MeshConfig(msgspec.Struct, frozen=True):
    """What of MeshConfig a rule reads, with Istio's defaults; `revision` is the control plane it belongs to."""

    revision: str = "default"
    namespace: str = "istio-system"
    root_namespace: str = "istio-system"
    enable_auto_mtls: bool = True
    trust_domain: str = "cluster.local"
    drain_seconds: float = 45.0
    rewrite_probes: bool = True
    status_port: int = 15020
    default_destination_rule_export_to: tuple[str, ...] = ("*",)
