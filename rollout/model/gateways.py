"""What lets traffic into the mesh: Istio's Gateways, the Kubernetes Gateway API, Ingress classes (istio.md 11)."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from rollout.model.kubernetes import Object, Resource, Value


class ServerTLSMode(StrEnum):
    """A server's tls.mode. PASSTHROUGH is the proto's zero, and so what an absent mode means."""

    PASSTHROUGH = "PASSTHROUGH"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    AUTO_PASSTHROUGH = "AUTO_PASSTHROUGH"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"
    OPTIONAL_MUTUAL = "OPTIONAL_MUTUAL"


class ServerTLS(Value, frozen=True):
    """servers[].tls."""

    mode: ServerTLSMode = ServerTLSMode.PASSTHROUGH
    https_redirect: bool = False
    credential_name: str = ""
    credential_names: tuple[str, ...] = ()
    tls_certificates: tuple[Any, ...] = ()
    server_certificate: str = ""


class ServerPort(Value, frozen=True):
    """servers[].port."""

    number: int = 0
    protocol: str = ""
    name: str = ""


class Server(Value, frozen=True):
    """servers[]."""

    port: ServerPort = ServerPort()
    hosts: tuple[str, ...] = ()
    tls: ServerTLS | None = None


class IstioGatewaySpec(Value, frozen=True):
    """spec; unlike elsewhere the selector is the labels themselves."""

    selector: dict[str, str] = {}
    servers: tuple[Server, ...] = ()


class IstioGateway(Object, frozen=True):
    """Istio's own Gateway: what the selected proxies listen on."""

    RESOURCE = Resource("networking.istio.io", ("v1", "v1beta1", "v1alpha3"), "gateways", "Gateway")
    spec: IstioGatewaySpec = IstioGatewaySpec()


class RouteTarget(Value, frozen=True):
    """route[].destination; a host without a dot is of the VirtualService's own namespace."""

    host: str = ""
    subset: str = ""


class RouteDestination(Value, frozen=True):
    """http[].route[], http[].mirrors[], tls[].route[], tcp[].route[]."""

    destination: RouteTarget = RouteTarget()


class VirtualRoute(Value, frozen=True):
    """http[], tls[], tcp[]."""

    route: tuple[RouteDestination, ...] = ()
    mirror: RouteTarget | None = None
    mirrors: tuple[RouteDestination, ...] = ()


class VirtualServiceSpec(Value, frozen=True):
    """spec."""

    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    http: tuple[VirtualRoute, ...] = ()
    tls: tuple[VirtualRoute, ...] = ()
    tcp: tuple[VirtualRoute, ...] = ()


class VirtualService(Object, frozen=True):
    """Where requests for hosts go; without `gateways` only within the mesh."""

    RESOURCE = Resource("networking.istio.io", ("v1", "v1beta1", "v1alpha3"), "virtualservices", "VirtualService")
    spec: VirtualServiceSpec = VirtualServiceSpec()


class ObjectReference(Value, frozen=True):
    """parentRefs[], backendRefs[], certificateRefs[]; without a namespace it is the referrer's own."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    port: int = 0
    section_name: str = ""


class ListenerTLS(Value, frozen=True):
    """listeners[].tls."""

    mode: str = "Terminate"
    certificate_refs: tuple[ObjectReference, ...] = ()


class Listener(Value, frozen=True):
    """listeners[]."""

    name: str = ""
    port: int = 0
    protocol: str = ""
    tls: ListenerTLS | None = None


class GatewaySpec(Value, frozen=True):
    """spec."""

    gateway_class_name: str = ""
    listeners: tuple[Listener, ...] = ()


class Gateway(Object, frozen=True):
    """A Gateway of the Kubernetes Gateway API."""

    RESOURCE = Resource("gateway.networking.k8s.io", ("v1", "v1beta1"), "gateways", "Gateway")
    spec: GatewaySpec = GatewaySpec()


class ControllerSpec(Value, frozen=True):
    """spec of both classes; Gateway classes call it controllerName."""

    controller: str = ""
    controller_name: str = ""


class GatewayClass(Object, frozen=True):
    """Who serves the Gateways of a class."""

    RESOURCE = Resource(
        "gateway.networking.k8s.io", ("v1", "v1beta1"), "gatewayclasses", "GatewayClass", namespaced=False
    )
    spec: ControllerSpec = ControllerSpec()


class IngressClass(Object, frozen=True):
    """Who serves the Ingresses of a class."""

    RESOURCE = Resource("networking.k8s.io", ("v1",), "ingressclasses", "IngressClass", namespaced=False)
    spec: ControllerSpec = ControllerSpec()


class RouteRule(Value, frozen=True):
    """rules[] of a route."""

    backend_refs: tuple[ObjectReference, ...] = ()


class RouteSpec(Value, frozen=True):
    """spec of HTTPRoute and TLSRoute."""

    parent_refs: tuple[ObjectReference, ...] = ()
    rules: tuple[RouteRule, ...] = ()


class HTTPRoute(Object, frozen=True):
    """Where a Gateway's HTTP requests go."""

    RESOURCE = Resource("gateway.networking.k8s.io", ("v1", "v1beta1"), "httproutes", "HTTPRoute")
    spec: RouteSpec = RouteSpec()


class TLSRoute(Object, frozen=True):
    """Where a Gateway's TLS connections go."""

    RESOURCE = Resource("gateway.networking.k8s.io", ("v1", "v1alpha3", "v1alpha2"), "tlsroutes", "TLSRoute")
    spec: RouteSpec = RouteSpec()
