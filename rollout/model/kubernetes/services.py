"""What leads to pods: Services, Ingresses, monitors of the Prometheus operator."""

from __future__ import annotations

import msgspec

from rollout.model.kubernetes.meta import LabelSelector, Object, Resource, Value


class ServicePort(Value, frozen=True):
    """spec.ports[]; `target_port` is a number, a container port's name, or absent (= port)."""

    port: int = 0
    name: str = ""
    target_port: int | str | None = None
    protocol: str = "TCP"
    app_protocol: str | None = None
    node_port: int = 0


class ServiceSpec(Value, frozen=True):
    """spec of a Service."""

    selector: dict[str, str] = {}
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    type: str = "ClusterIP"
    external_name: str = ""
    external_ips: tuple[str, ...] = msgspec.field(name="externalIPs", default=())


class LoadBalancerIngress(Value, frozen=True):
    """status.loadBalancer.ingress[]."""

    ip: str = ""


class LoadBalancerStatus(Value, frozen=True):
    """status.loadBalancer."""

    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Value, frozen=True):
    """status of a Service."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(Object, frozen=True):
    """A Service."""

    RESOURCE = Resource("", ("v1",), "services", "Service")
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()

    @property
    def headless(self) -> bool:
        """clusterIP is None: clients get pod addresses."""
        return self.spec.cluster_ip == "None"


class IngressPort(Value, frozen=True):
    """backend.service.port."""

    number: int = 0
    name: str = ""


class IngressServiceBackend(Value, frozen=True):
    """backend.service."""

    name: str = ""
    port: IngressPort = IngressPort()


class IngressBackend(Value, frozen=True):
    """defaultBackend, and paths[].backend."""

    service: IngressServiceBackend | None = None


class IngressPath(Value, frozen=True):
    """rules[].http.paths[]."""

    path: str = ""
    backend: IngressBackend = IngressBackend()


class IngressHTTP(Value, frozen=True):
    """rules[].http."""

    paths: tuple[IngressPath, ...] = ()


class IngressRule(Value, frozen=True):
    """rules[]."""

    host: str = ""
    http: IngressHTTP | None = None


class IngressSpec(Value, frozen=True):
    """spec of an Ingress."""

    ingress_class_name: str = ""
    default_backend: IngressBackend | None = None
    rules: tuple[IngressRule, ...] = ()


class Ingress(Object, frozen=True):
    """An Ingress: its controller calls the backends."""

    RESOURCE = Resource("networking.k8s.io", ("v1",), "ingresses", "Ingress")
    spec: IngressSpec = IngressSpec()


class MonitorEndpoint(Value, frozen=True):
    """endpoints[] of a ServiceMonitor, podMetricsEndpoints[] of a PodMonitor."""

    port: str = ""
    target_port: int | str | None = None
    path: str = ""
    scheme: str = ""


class NamespaceSelector(Value, frozen=True):
    """spec.namespaceSelector of a monitor."""

    any: bool = False
    match_names: tuple[str, ...] = ()


class MonitorSpec(Value, frozen=True):
    """spec of ServiceMonitor and PodMonitor."""

    selector: LabelSelector = LabelSelector()
    namespace_selector: NamespaceSelector = NamespaceSelector()
    endpoints: tuple[MonitorEndpoint, ...] = ()
    pod_metrics_endpoints: tuple[MonitorEndpoint, ...] = ()


class ServiceMonitor(Object, frozen=True):
    """prometheus-operator's description of a scrape through a Service."""

    RESOURCE = Resource("monitoring.coreos.com", ("v1",), "servicemonitors", "ServiceMonitor")
    spec: MonitorSpec = MonitorSpec()


class PodMonitor(Object, frozen=True):
    """prometheus-operator's description of a scrape of pods."""

    RESOURCE = Resource("monitoring.coreos.com", ("v1",), "podmonitors", "PodMonitor")
    spec: MonitorSpec = MonitorSpec()
