"""The objects that the simulated mesh reads, kept up to date by the API's events, as frozen views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from rollout.lab.durations import duration
from rollout.lab.mesh.client import Rule, parse_rule
from rollout.lab.mesh.listener import Protocol
from rollout.lab.mesh.policy import Policy, parse_policy

Object = Mapping[str, Any]

_HTTP = {"http", "http2", "grpc", "grpc-web", "h2c", "kubernetes.io/h2c", "kubernetes.io/ws"}
_TCP = {"tcp", "tls", "https", "mongo", "mysql", "redis", "kubernetes.io/wss"}
_HEALTH = "/grpc.health.v1.Health/Check"
_WELL_KNOWN_TCP = {25, 53, 3306, 27017}


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of one container: `how` is httpGet, grpc, tcpSocket or exec; times in milliseconds."""

    role: str
    container: str
    how: str
    port: int
    period: int
    threshold: int
    path: str = "/"


@dataclass(frozen=True, slots=True)
class PodView:
    """What the mesh needs to know of a pod."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    ip: str
    workload: str
    workload_kind: str
    service_account: str
    proxied: bool
    gateway: bool
    running: bool
    ready: bool
    started: int
    probes: tuple[Probe, ...]
    uncaptured: frozenset[int]
    ports: Mapping[str, int]

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return (self.namespace, self.name)

    @property
    def app(self) -> str:
        """`source_app` and `destination_app`."""
        return self.labels.get("app", "unknown")

    @property
    def tls_labelled(self) -> bool:
        """Whether clients use mutual TLS to it (istio.md 1.2)."""
        return self.labels.get("security.istio.io/tlsMode") == "istio"


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service; `target` is a number or the name of a container port."""

    name: str
    port: int
    target: int | str
    protocol: Protocol

    def on(self, pod: PodView) -> int:
        """The container port on this pod; 0 when it has none of that name."""
        return self.target if isinstance(self.target, int) else pod.ports.get(self.target, 0)


@dataclass(frozen=True, slots=True)
class ServiceView:
    """What the mesh needs to know of a Service."""

    namespace: str
    name: str
    selector: Mapping[str, str]
    headless: bool
    ports: tuple[ServicePort, ...]

    @property
    def fqdn(self) -> str:
        """The name that Istio uses."""
        return f"{self.name}.{self.namespace}.svc.cluster.local"

    def selects(self, pod: PodView) -> bool:
        """Whether the pod is an endpoint of it, once ready."""
        return (
            pod.namespace == self.namespace
            and bool(self.selector)
            and all(pod.labels.get(key) == value for key, value in self.selector.items())
        )

    def port(self, number: int) -> ServicePort:
        """The port with this number; one that is not declared goes through as it is."""
        found = next((p for p in self.ports if p.port == number), None)
        return found or ServicePort("", number, number, Protocol.AUTO)


@dataclass(frozen=True, slots=True)
class MeshConfig:
    """The fields of MeshConfig that change what the simulator does."""

    root: str = "istio-system"
    trust_domain: str = "cluster.local"
    auto_mtls: bool = True
    drain: int = 45_000


class Catalog:
    """The newest version of each object, by kind."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._objects: dict[str, dict[tuple[str, str], Object]] = {}
        self._views: dict[tuple[str, str, str], Any] = {}

    def apply(self, event: str, obj: Object) -> Object | None:
        """Take one event and return the object as it was before."""
        meta = obj["metadata"]
        kind, key = obj["kind"], (meta.get("namespace") or "", meta["name"])
        self._views.pop((kind, *key), None)
        if event == "DELETED":
            return self._objects.get(kind, {}).pop(key, None)
        level = self._objects.setdefault(kind, {})
        before = level.get(key)
        level[key] = obj
        return before

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """One object as it was stored."""
        return self._objects.get(kind, {}).get((namespace, name))

    def objects(self, kind: str) -> list[Object]:
        """All objects of a kind."""
        return list(self._objects.get(kind, {}).values())

    def pods(self) -> Iterator[PodView]:
        """All pods."""
        for (namespace, name), obj in list(self._objects.get("Pod", {}).items()):
            key = ("Pod", namespace, name)
            if key not in self._views:
                self._views[key] = parse_pod(obj)
            yield self._views[key]

    def pod(self, namespace: str, name: str) -> PodView | None:
        """One pod."""
        return next((p for p in self.pods() if p.key == (namespace, name)), None)

    def services(self) -> Iterator[ServiceView]:
        """All Services."""
        for (namespace, name), obj in list(self._objects.get("Service", {}).items()):
            key = ("Service", namespace, name)
            if key not in self._views:
                self._views[key] = parse_service(obj)
            yield self._views[key]

    def service(self, namespace: str, name: str) -> ServiceView | None:
        """One Service."""
        return next((s for s in self.services() if (s.namespace, s.name) == (namespace, name)), None)

    def policies(self) -> list[Policy]:
        """All PeerAuthentications."""
        return [parse_policy(obj) for obj in self.objects("PeerAuthentication")]

    def rules(self) -> list[Rule]:
        """All DestinationRules."""
        return [parse_rule(obj) for obj in self.objects("DestinationRule")]

    def declared(self, pod: PodView) -> dict[int, Protocol]:
        """Container ports that Services declare, with their protocol."""
        found: dict[int, Protocol] = {}
        for service in self.services():
            if service.selects(pod):
                found.update({p.on(pod): p.protocol for p in service.ports if p.on(pod)})
        return found

    def mesh_config(self) -> MeshConfig:
        """MeshConfig of the ConfigMap `istio` beside istiod."""
        config = next((c for c in self.objects("ConfigMap") if _is_mesh_config(c)), None)
        text = _read((config or {}).get("data", {}).get("mesh", ""))
        default = MeshConfig()
        proxies = text.get("defaultConfig")
        drain = proxies.get("drainDuration") if isinstance(proxies, dict) else None
        return MeshConfig(
            root=str(text.get("rootNamespace") or default.root),
            trust_domain=str(text.get("trustDomain") or default.trust_domain),
            auto_mtls=bool(text.get("enableAutoMtls", True)),
            drain=_drain(drain, default.drain),
        )


def _read(text: object) -> Object:
    """A MeshConfig; one that is no YAML object says nothing."""
    try:
        found = yaml.safe_load(str(text or ""))
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _drain(text: object, default: int) -> int:
    try:
        return duration(text) if text else default
    except ValueError:
        return default


def milliseconds(stamp: str) -> int:
    """An API timestamp as milliseconds since the epoch."""
    return round(datetime.fromisoformat(stamp).timestamp() * 1000) if stamp else 0


def protocol_of(port: Mapping[str, Any]) -> Protocol:
    """The protocol of a Service port: appProtocol, else the name's prefix, else well-known ports, else sniffed."""
    word = str(port.get("appProtocol") or str(port.get("name") or "").split("-")[0]).lower()
    if word in _HTTP:
        return Protocol.HTTP
    return Protocol.TCP if word in _TCP or int(port["port"]) in _WELL_KNOWN_TCP else Protocol.AUTO


def parse_service(obj: Object) -> ServiceView:
    """Read a Service."""
    spec = obj.get("spec") or {}
    return ServiceView(
        namespace=obj["metadata"]["namespace"],
        name=obj["metadata"]["name"],
        selector=dict(spec.get("selector") or {}),
        headless=spec.get("clusterIP") == "None",
        ports=tuple(
            ServicePort(p.get("name") or "", int(p["port"]), p.get("targetPort") or int(p["port"]), protocol_of(p))
            for p in spec.get("ports") or ()
        ),
    )


def parse_pod(obj: Object) -> PodView:
    """Read a Pod as it is stored, injected or not."""
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    annotations, labels = meta.get("annotations") or {}, meta.get("labels") or {}
    every = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    proxy = next((c for c in every if c["name"] == "istio-proxy"), None)
    owner = _owner(meta)
    named = {e["name"]: str(e.get("value") or "") for e in (proxy or {}).get("env") or ()}
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    excluded = str(annotations.get("traffic.sidecar.istio.io/excludeInboundPorts") or "")
    return PodView(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta.get("uid") or "",
        labels=labels,
        ip=str(status.get("podIP") or ""),
        workload=named.get("ISTIO_META_WORKLOAD_NAME") or owner[1] or meta["name"],
        workload_kind=owner[0],
        service_account=str(spec.get("serviceAccountName") or "default"),
        proxied=proxy is not None,
        gateway=proxy is not None and "router" in (proxy.get("args") or ()),
        running=status.get("phase") == "Running" and not meta.get("deletionTimestamp"),
        ready=conditions.get("Ready") == "True" and not meta.get("deletionTimestamp"),
        started=milliseconds(str(status.get("startTime") or meta.get("creationTimestamp") or "")),
        probes=tuple(p for c in spec.get("containers") or () if c["name"] != "istio-proxy" for p in _probes(c)),
        uncaptured=frozenset(int(p) for p in excluded.split(",") if p.strip().isdigit()),
        ports={p["name"]: int(p["containerPort"]) for c in every for p in c.get("ports") or () if p.get("name")},
    )


def _owner(meta: Object) -> tuple[str, str]:
    owner = next(iter(meta.get("ownerReferences") or ()), None)
    if owner is None:
        return ("Pod", "")
    if owner["kind"] == "ReplicaSet":
        return ("Deployment", owner["name"].rsplit("-", 1)[0])
    return (owner["kind"], owner["name"])


def _probes(container: Object) -> Iterator[Probe]:
    named = {p.get("name"): int(p["containerPort"]) for p in container.get("ports") or ()}
    for role in ("readinessProbe", "livenessProbe"):
        probe = container.get(role)
        how = next((h for h in ("httpGet", "grpc", "tcpSocket", "exec") if h in (probe or {})), None)
        if probe is None or how is None:
            continue
        port = (probe[how] or {}).get("port", 0)
        yield Probe(
            role=role,
            container=container["name"],
            how=how,
            port=port if isinstance(port, int) else named.get(port, 0),
            period=int(probe.get("periodSeconds") or 10) * 1000,
            threshold=int(probe.get("failureThreshold") or 3),
            path=str((probe[how] or {}).get("path") or "/") if how == "httpGet" else _HEALTH,
        )


def _is_mesh_config(obj: Object) -> bool:
    return bool(obj["metadata"]["name"] == "istio" and "mesh" in (obj.get("data") or {}))
