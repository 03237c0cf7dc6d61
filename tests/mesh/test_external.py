"""How traffic from outside finds the namespace's Services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import pytest

from rollout.mesh.external import (
    Entrances,
    attached,
    backed,
    backends,
    controller,
    controller_pods,
    entries,
    gateway_pods,
    istios,
    routed,
    trust_domain,
)
from rollout.model.gateways import (
    Gateway,
    GatewayClass,
    HTTPRoute,
    IngressClass,
    IstioGateway,
    ServerTLSMode,
    VirtualService,
)
from rollout.model.kubernetes import Ingress, Object, Pod, Ref

K = TypeVar("K", bound=Object)


def _make(kind: type[K], name: str = "x", namespace: str = "production", notes: Any = None, **spec: Any) -> K:
    metadata = {"name": name, "namespace": namespace, "annotations": notes or {}}
    return msgspec.convert({"metadata": metadata, "spec": spec}, kind)


@pytest.mark.parametrize(
    ("server", "route", "meets"),
    [
        ("orders.example", "orders.example", True),
        ("orders.example", "other.example", False),
        ("*", "orders.example", True),
        ("ns/*", "orders.example", True),
        ("./orders.example", "orders.example", True),
        ("*.example", "orders.example", True),
        ("orders.example", "*.example", True),
        ("*.orders.example", "*.example", True),
        ("*.example", "*.orders.example", True),
        ("*.example", "*.other", False),
    ],
)
def test_a_server_and_a_route_meet_where_they_have_a_host_in_common(server: str, route: str, meets: bool) -> None:
    """Wildcards on either side; a server's host may begin with a namespace."""
    gateway = _make(IstioGateway, "edge", servers=[{"port": {"number": 443}, "hosts": [server]}])
    virtual = _make(
        VirtualService, hosts=[route], gateways=["edge"], http=[{"route": [{"destination": {"host": "orders"}}]}]
    )
    (entry,) = entries([gateway], [virtual], "production", ["orders", "stock"])
    assert (meets, ("orders",)) == (bool(entry.servers), entry.services)


@pytest.mark.parametrize(
    ("namespace", "host", "leads"),
    [
        ("production", "orders", True),
        ("shop", "orders", False),
        ("shop", "orders.production.svc", True),
        ("shop", "orders.production.svc.cluster.local", True),
        ("shop", "orders.production.svc.cluster.local.", True),
        ("shop", "my-orders.production.svc.cluster.local", False),
        ("shop", "orders.productions.svc.cluster.local", False),
    ],
)
def test_a_routes_short_host_is_of_its_own_namespace(namespace: str, host: str, leads: bool) -> None:
    """A name with dots is taken whole."""
    gateway = _make(IstioGateway, "edge", "istio-system")
    virtual = _make(
        VirtualService,
        namespace=namespace,
        gateways=["mesh", "istio-system/edge"],
        tls=[{"route": [{"destination": {"host": host}}]}],
    )
    assert leads is bool(list(entries([gateway], [virtual], "production", ["orders"])))


def test_an_absent_mode_is_passthrough() -> None:
    """The proto's zero (istio.md 11)."""
    gateway = _make(IstioGateway, servers=[{"tls": {"credentialName": "c"}}])
    assert gateway.spec.servers[0].tls is not None
    assert ServerTLSMode.PASSTHROUGH is gateway.spec.servers[0].tls.mode


@pytest.mark.parametrize(
    ("name", "notes", "classes", "expected"),
    [
        ("nginx", {}, [], "k8s.io/ingress-nginx"),
        ("", {"kubernetes.io/ingress.class": "alb"}, [], "ingress.k8s.aws/alb"),
        ("edge", {}, [("edge", "traefik.io/ingress-controller", {})], "traefik.io/ingress-controller"),
        ("nginx", {}, [("nginx", "nginx.org/ingress-controller", {})], "nginx.org/ingress-controller"),
        ("", {}, [("a", "x", {}), ("b", "y", {"ingressclass.kubernetes.io/is-default-class": "true"})], "y"),
        ("", {}, [("a", "x", {})], ""),
        ("edge", {}, [("a", "x", {"ingressclass.kubernetes.io/is-default-class": "true"})], ""),
    ],
)
def test_who_serves_an_ingress(
    name: str, notes: dict[str, str], classes: list[tuple[str, str, dict[str, str]]], expected: str
) -> None:
    """Its class, the annotation of old, or the default class; without an object of the class what its name says."""
    ingress = _make(Ingress, notes=notes, ingressClassName=name)
    known = [_make(IngressClass, named, "", marks, controller=who) for named, who, marks in classes]
    assert expected == controller(ingress, known)


def test_where_an_ingress_leads() -> None:
    """Every path, and the default backend."""
    backend = {"service": {"name": "orders", "port": {"number": 80}}}
    rules = [{"host": "a.example", "http": {"paths": [{"path": "/x", "backend": backend}]}}, {"host": "b.example"}]
    ingress = _make(Ingress, rules=rules, defaultBackend=backend)
    assert ["a.example/x", "the default backend"] == [place for place, _ in backends(ingress)]


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("istio", [], True),
        ("istio-waypoint", [], True),
        ("istiosomething", [], False),
        ("edge", [("edge", "istio.io/gateway-controller")], True),
        ("istio", [("istio", "example.com/gateway")], False),
        ("edge", [("other", "istio.io/gateway-controller")], False),
    ],
)
def test_which_gateways_are_istios(name: str, classes: list[tuple[str, str]], expected: bool) -> None:
    """By the class' controller, else by Istio's own names."""
    known = [_make(GatewayClass, named, "", controllerName=who) for named, who in classes]
    assert expected is istios(_make(Gateway, gatewayClassName=name), known)


def test_a_route_attaches_to_gateways_only() -> None:
    """In its own namespace or another; a parent that is a Service belongs to the mesh."""
    gateways = [_make(Gateway, "edge", "infra"), _make(Gateway, "edge")]
    parents = [
        {"name": "edge", "namespace": "infra", "sectionName": "https"},
        {"name": "edge", "kind": "Gateway"},
        {"name": "edge", "kind": "Service"},
        {"name": "gone"},
    ]
    route = _make(HTTPRoute, "r", parentRefs=parents, rules=[{"backendRefs": [{"name": "orders"}, {"name": "web"}]}])
    found = [
        (str(gateway.ref), section, services)
        for gateway, _, section, services in attached(gateways, [route], "production", ["orders", "stock"])
    ]
    assert [("Gateway infra/edge", "https", ("orders",)), ("Gateway production/edge", "", ("orders",))] == found
    assert [] == list(attached(gateways, [route], "production", ["stock"]))
    assert Ref("HTTPRoute", "production", "r") == route.ref


def test_pods_of_gateways_and_controllers(pod: Callable[..., Pod]) -> None:
    """By selector in any namespace, by the controller's label in the gateway's own; finished pods never."""
    edge = pod("edge-1", namespace="istio-system", labels={"istio": "edge"})
    other = pod("other-1", namespace="shop", labels={"gateway.networking.k8s.io/gateway-name": "edge"})
    mine = pod("mine-1", labels={"gateway.networking.k8s.io/gateway-name": "edge"})
    nginx = pod("nginx-1", labels={"app.kubernetes.io/name": "ingress-nginx"})
    done = pod("edge-2", labels={"istio": "edge"}, phase="Succeeded")
    everyone = [edge, other, mine, nginx, done]
    assert (edge,) == gateway_pods(_make(IstioGateway, selector={"istio": "edge"}), everyone)
    assert () == gateway_pods(_make(IstioGateway), everyone)
    assert (mine,) == gateway_pods(_make(Gateway, "edge"), everyone)
    assert (nginx,) == controller_pods("k8s.io/ingress-nginx", everyone)
    assert () == controller_pods("example.com/unknown", everyone)
    assert trust_domain(edge) == ""


def test_who_asks_again_for_the_same_entrance_is_answered_from_memory(pod: Callable[..., Pod]) -> None:
    """Gateways of one selector are one question; a Gateway of the Gateway API is known by its name."""
    edge = pod("edge-1", namespace="istio-system", labels={"istio": "edge"})
    mine = pod("mine-1", labels={"gateway.networking.k8s.io/gateway-name": "edge"})
    nginx = pod("nginx-1", labels={"app.kubernetes.io/name": "ingress-nginx"})
    entrances = Entrances((edge, mine, nginx))
    first = entrances.of(_make(IstioGateway, selector={"istio": "edge"}))
    assert (edge,) == first
    assert first is entrances.of(_make(IstioGateway, "another", selector={"istio": "edge"}))
    assert () == entrances.of(_make(IstioGateway))
    assert (mine,) == entrances.of(_make(Gateway, "edge"))
    assert () == entrances.of(_make(Gateway, "other"))
    assert (nginx,) == entrances.behind("k8s.io/ingress-nginx")
    assert () == entrances.behind("")


@pytest.mark.parametrize(
    "host", ["orders.production.svc", "orders.production.svc.cluster.local.", "orders", "a.b", "*"]
)
def test_routes_are_found_by_the_namespaces_to_which_they_lead(host: str) -> None:
    """The same ones that `entries` finds among all."""
    gateway = _make(IstioGateway, "edge", servers=[{"port": {"number": 80}, "hosts": ["*"]}])
    to = {"destination": {"host": host}}
    route = _make(VirtualService, gateways=["edge"], hosts=["x.example"], http=[{"route": [to, to]}])
    other = _make(VirtualService, "y", "shop", gateways=["edge"], hosts=["y.example"], http=[{"route": [to]}])
    found = routed([other, route]).get("production", ())
    every = list(entries([gateway], [other, route], "production", ["orders"]))
    assert every == list(entries([gateway], found, "production", ["orders"]))
    assert len(set(map(id, found))) == len(found)


def test_routes_of_the_gateway_api_are_found_by_their_backends_namespaces() -> None:
    """Their own where none is named; what is no Service leads nowhere all the same."""
    rules = [{"backendRefs": [{"name": "orders"}, {"name": "stock", "namespace": "shop"}]}]
    route, none = _make(HTTPRoute, rules=rules), _make(HTTPRoute, "none", rules=[])
    assert {"production": (route,), "shop": (route,)} == backed([route, none])
