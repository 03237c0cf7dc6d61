"""How traffic from outside comes to a namespace's Services: gateways, routes, ingress controllers (istio.md 7, 11)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import msgspec

from rollout.mesh.injection import gateway as router
from rollout.mesh.injection import live, proxy_container
from rollout.model.gateways import (
    Gateway,
    GatewayClass,
    HTTPRoute,
    IngressClass,
    IstioGateway,
    ObjectReference,
    Server,
    TLSRoute,
    VirtualService,
)
from rollout.model.kubernetes import Ingress, IngressBackend, Pod, Ref

R = TypeVar("R", HTTPRoute, TLSRoute)

GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
_OLD_CLASS = "kubernetes.io/ingress.class"
#: Ingress controllers whose data path is pods, with a label that those carry; and class names that mean them.
_CONTROLLER_PODS = {
    "k8s.io/ingress-nginx": {"app.kubernetes.io/name": "ingress-nginx"},
    "nginx.org/ingress-controller": {"app.kubernetes.io/name": "nginx-ingress"},
    "traefik.io/ingress-controller": {"app.kubernetes.io/name": "traefik"},
    "ingress-controllers.konghq.com/kong": {"app.kubernetes.io/name": "kong"},
    "haproxy.org/ingress-controller/haproxy": {"app.kubernetes.io/name": "kubernetes-ingress"},
    "haproxy-ingress.github.io/controller": {"app.kubernetes.io/name": "haproxy-ingress"},
    "apisix.apache.org/apisix-ingress": {"app.kubernetes.io/name": "apisix"},
}
_BY_CLASS = {
    "nginx": "k8s.io/ingress-nginx",
    "traefik": "traefik.io/ingress-controller",
    "kong": "ingress-controllers.konghq.com/kong",
    "haproxy": "haproxy-ingress.github.io/controller",
    "alb": "ingress.k8s.aws/alb",
    "gce": "gce",
    "gce-internal": "gce-internal",
    "azure-application-gateway": "azure/application-gateway",
    "istio": "istio.io/ingress-controller",
}
#: A cloud's load balancer takes the traffic straight to nodes or pods: there is nothing to inject.
CLOUD = frozenset({"ingress.k8s.aws/alb", "gce", "gce-internal", "azure/application-gateway"})
NGINX = "k8s.io/ingress-nginx"


def controller(ingress: Ingress, classes: Iterable[IngressClass]) -> str:
    """Who serves an Ingress, such as `k8s.io/ingress-nginx`; '' where nothing tells."""
    name = ingress.spec.ingress_class_name or ingress.metadata.annotations.get(_OLD_CLASS, "")
    for each in classes:
        default = each.metadata.annotations.get(_DEFAULT_CLASS) == "true"
        if each.name == name or (not name and default):
            return each.spec.controller
    return _BY_CLASS.get(name, "")


def controller_pods(name: str, pods: Iterable[Pod]) -> tuple[Pod, ...]:
    """The live pods of a known ingress controller."""
    labels = _CONTROLLER_PODS.get(name)
    if labels is None:
        return ()
    return tuple(pod for pod in pods if live(pod) and labels.items() <= pod.labels.items())


def backends(ingress: Ingress) -> Iterator[tuple[str, IngressBackend]]:
    """Where each path of an Ingress leads; the place for people is `host/path`."""
    for rule in ingress.spec.rules:
        for path in rule.http.paths if rule.http else ():
            yield f"{rule.host or '*'}{path.path}", path.backend
    if ingress.spec.default_backend is not None:
        yield "the default backend", ingress.spec.default_backend


def istios(gateway: Gateway, classes: Iterable[GatewayClass]) -> bool:
    """Istio serves it, as a gateway or a waypoint."""
    name = gateway.spec.gateway_class_name
    found = next((each.spec.controller_name for each in classes if each.name == name), "")
    return found.startswith("istio.io/") or (not found and name.partition("-")[0] == "istio")


class Entry(msgspec.Struct, frozen=True):
    """An Istio Gateway that leads to the namespace, with those of its servers that do."""

    gateway: IstioGateway
    by: Ref
    services: tuple[str, ...]
    servers: tuple[Server, ...]


def entries(
    gateways: Iterable[IstioGateway], routes: Iterable[VirtualService], namespace: str, services: Iterable[str]
) -> Iterator[Entry]:
    """Each pair of an Istio Gateway and a VirtualService bound to it that leads to one of these Services."""
    known = {(gateway.namespace, gateway.name): gateway for gateway in gateways}
    wanted = {f"{name}.{namespace}.svc": name for name in services}
    for route in routes:
        hosts = {destination.rstrip(".") for destination in _destinations(route)}
        led = {name for full, name in wanted.items() for host in hosts if f"{host}.".startswith(f"{full}.")}
        for bound in route.spec.gateways if led else ():
            place, _, name = bound.rpartition("/")
            gateway = known.get((place or route.namespace, name))
            if gateway is not None:
                servers = tuple(s for s in gateway.spec.servers if _meets(s.hosts, route.spec.hosts))
                yield Entry(gateway, route.ref, tuple(sorted(led)), servers)


def routed(routes: Iterable[VirtualService]) -> dict[str, tuple[VirtualService, ...]]:
    """By the namespaces of the Services to which they lead, as `entries` understands them."""
    found: dict[str, list[VirtualService]] = {}
    for route in routes:
        labels = (host.rstrip(".").split(".") for host in _destinations(route))
        for namespace in dict.fromkeys(parts[1] for parts in labels if parts[2:3] == ["svc"]):
            found.setdefault(namespace, []).append(route)
    return {namespace: tuple(those) for namespace, those in found.items()}


def _destinations(route: VirtualService) -> Iterator[str]:
    for each in (*route.spec.http, *route.spec.tls, *route.spec.tcp):
        for target in each.route:
            host = target.destination.host
            yield host if "." in host else f"{host}.{route.namespace}.svc"


def _meets(server: tuple[str, ...], route: tuple[str, ...]) -> bool:
    return any(_overlap(one.rpartition("/")[2], other) for one in server for other in route)


def _overlap(one: str, other: str) -> bool:
    """Wildcards stand for leading labels: `*.example.com` and `a.example.com` have a host in common."""
    if one.startswith("*") and other.startswith("*"):
        return one.endswith(other[1:]) or other.endswith(one[1:])
    if one.startswith("*"):
        return other.endswith(one[1:])
    return one.endswith(other[1:]) if other.startswith("*") else one == other


def attached(
    gateways: Iterable[Gateway], routes: Iterable[HTTPRoute | TLSRoute], namespace: str, services: Iterable[str]
) -> Iterator[tuple[Gateway, Ref, str, tuple[str, ...]]]:
    """Each Gateway, route and listener ('' for all) that lead to these Services, with those to which they do."""
    known = {(gateway.namespace, gateway.name): gateway for gateway in gateways}
    wanted = {(namespace, name) for name in services}
    for route in routes:
        references = (reference for rule in route.spec.rules for reference in rule.backend_refs)
        led = wanted & {_to_service(reference, route.namespace) for reference in references}
        for parent in route.spec.parent_refs if led else ():
            gateway = known.get((parent.namespace or route.namespace, parent.name))
            if gateway is not None and parent.kind in ("", "Gateway"):
                yield gateway, route.ref, parent.section_name, tuple(sorted(name for _, name in led))


def backed(routes: Iterable[R]) -> dict[str, tuple[R, ...]]:
    """By the namespaces of the Services to which they lead, as `attached` understands them."""
    found: dict[str, list[R]] = {}
    for route in routes:
        references = (reference for rule in route.spec.rules for reference in rule.backend_refs)
        for namespace in dict.fromkeys(_to_service(reference, route.namespace)[0] for reference in references):
            found.setdefault(namespace, []).append(route)
    return {namespace: tuple(those) for namespace, those in found.items()}


def _to_service(reference: ObjectReference, namespace: str) -> tuple[str, str]:
    return (reference.namespace or namespace, reference.name if reference.kind in ("", "Service") else "")


def gateway_pods(gateway: IstioGateway | Gateway, pods: Iterable[Pod]) -> tuple[Pod, ...]:
    """The live pods that serve it: by selector in any namespace, or by the label that its controller gives them."""
    if isinstance(gateway, Gateway):
        return tuple(
            pod
            for pod in pods
            if live(pod) and pod.namespace == gateway.namespace and pod.labels.get(GATEWAY_NAME) == gateway.name
        )
    selector = gateway.spec.selector
    if not selector:
        return tuple(pod for pod in pods if live(pod) and router(pod))
    return tuple(pod for pod in pods if live(pod) and selector.items() <= pod.labels.items())


class Entrances:
    """The live pods through which traffic comes in: who asks again for the same gets them at once."""

    def __init__(self, pods: Iterable[Pod]) -> None:
        """Look at nothing before somebody asks."""
        self._pods = tuple(pods)
        self._found: dict[object, tuple[Pod, ...]] = {}

    def of(self, gateway: IstioGateway | Gateway) -> tuple[Pod, ...]:
        """As `gateway_pods`."""
        selects = gateway.ref if isinstance(gateway, Gateway) else tuple(sorted(gateway.spec.selector.items()))
        return self._remembered(selects, lambda: gateway_pods(gateway, self._pods))

    def behind(self, controller: str) -> tuple[Pod, ...]:
        """As `controller_pods`."""
        return self._remembered(controller, lambda: controller_pods(controller, self._pods))

    def _remembered(self, key: object, find: Callable[[], tuple[Pod, ...]]) -> tuple[Pod, ...]:
        if key not in self._found:
            self._found[key] = find()
        return self._found[key]


def trust_domain(pod: Pod) -> str:
    """What the injector wrote into the proxy; '' where nothing is written."""
    proxy = proxy_container(pod)
    env = proxy.env if proxy else ()
    return next((variable.value for variable in env if variable.name == "TRUST_DOMAIN"), "")
