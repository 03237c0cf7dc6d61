"""Traffic from outside comes through gateways of the mesh, and with TLS.

Why: a load balancer, a node port, an external address or an ingress controller without a sidecar calls the pods in
plaintext, and STRICT refuses it: all traffic from outside is lost at once. A gateway of the mesh takes it over into
mutual TLS; what its clients use before it is another question, which the flip does not answer: a server without TLS
stays open.

Fix: lead it through a gateway of the mesh, give the ingress controller a sidecar, or keep the port PERMISSIVE and
exempt that policy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import msgspec

from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.checks.words import many, some
from rollout.mesh.external import (
    CLOUD,
    NGINX,
    Entrances,
    attached,
    backed,
    backends,
    controller,
    entries,
    istios,
    routed,
    trust_domain,
)
from rollout.mesh.injection import injected, proxy_container
from rollout.mesh.workloads import patch_template, workload
from rollout.model.finding import Finding, Severity
from rollout.model.gateways import (
    Gateway,
    GatewayClass,
    HTTPRoute,
    IngressClass,
    IstioGateway,
    Listener,
    Server,
    ServerTLSMode,
    TLSRoute,
    VirtualService,
)
from rollout.model.istio import PeerAuthentication
from rollout.model.kubernetes import Ingress, Pod, Ref, Service
from rollout.record.state import State

META = Meta("external-traffic", State.CHECKING, __doc__)
READS = (
    Service,
    Pod,
    PeerAuthentication,
    Ingress,
    IngressClass,
    IstioGateway,
    VirtualService,
    Gateway,
    GatewayClass,
    HTTPRoute,
    TLSRoute,
)

_SIDECAR = "sidecar.istio.io/inject"
_GROUPS = "cloud.google.com/neg"
_UPSTREAM = "nginx.ingress.kubernetes.io/service-upstream"
_CERTIFIED = (ServerTLSMode.SIMPLE, ServerTLSMode.MUTUAL, ServerTLSMode.OPTIONAL_MUTUAL)
_Strict = dict[str, tuple[Service, tuple[int, ...]]]


class _Scene(msgspec.Struct):
    """What the parts of the check share; `checked` are the gateways whose pods were looked at."""

    entrances: Entrances
    strict: _Strict
    names: tuple[str, ...]
    checked: dict[Ref, None]

    def first(self, ref: Ref) -> bool:
        """A gateway that several routes use is looked at once."""
        new = ref not in self.checked
        self.checked[ref] = None
        return new

    def cut(self, services: Iterable[str]) -> bool:
        """One of these Services leads to a STRICT port."""
        return any(name in self.strict for name in services)


class _Fault(msgspec.Struct, frozen=True):
    """What is wrong with a gateway, and not enough to block the flip."""

    measured: str
    limit: str
    fix: str

    def at(self, gateway: IstioGateway | Gateway, field: str, where: tuple[str, ...]) -> Finding:
        """It as a finding, at a place in the gateway."""
        return Finding(
            ref=gateway.ref,
            field=field,
            measured=self.measured,
            limit=self.limit,
            where=where,
            fix=self.fix,
            severity=Severity.WARNING,
        )


def check(view: View) -> Findings:
    """One finding per Service, Ingress or gateway through which plaintext reaches a STRICT port, or comes in at all."""
    entrances = view.then.derived(Pod, Entrances)
    services = view.then.of(Service, view.target)
    strict = {s.name: (s, ports) for s, ports in view.then.strict_services()}
    scene = _Scene(entrances, strict, tuple(service.name for service in services), {})
    for service, ports in strict.values():
        if service.spec.type in ("LoadBalancer", "NodePort"):
            yield _straight(service, ports)
        elif grouped := _grouped(service, ports):
            yield _endpoint_groups(service, grouped)
        if service.spec.external_ips and not service.headless:
            yield _by_address(service, ports)
    ingresses = view.then.of(Ingress, view.target)
    classes = view.then.of(IngressClass)
    for ingress in ingresses:
        yield from _ingress(ingress, controller(ingress, classes), strict, entrances)
    yield from _through_istio(view, scene)
    yield from _through_gateway_api(view, scene)
    return (
        f"{many(len(services), 'Service')} of {view.target}: {many(len(ingresses), 'Ingress', 'Ingresses')}, "
        f"{many(len(scene.checked), 'gateway')}"
    )


def _through_istio(view: View, scene: _Scene) -> Iterator[Finding]:
    gateways, routes = view.then.of(IstioGateway), view.then.derived(VirtualService, routed).get(view.target, ())
    for entry in entries(gateways, routes, view.target, scene.names):
        where = (f"{entry.by} leads from it to {some(entry.services)}",)
        serving = scene.entrances.of(entry.gateway)
        for server in entry.servers:
            if fault := _server(entry.gateway, server, serving[0].namespace if serving else "istio-system"):
                yield fault.at(entry.gateway, f"spec.servers[{server.port.name or server.port.number}]", where)
        if scene.first(entry.gateway.ref):
            own = view.mesh_config.trust_domains
            yield from _served(entry.gateway, serving, own, where, cut=scene.cut(entry.services))


def _through_gateway_api(view: View, scene: _Scene) -> Iterator[Finding]:
    routes: tuple[HTTPRoute | TLSRoute, ...] = (
        *view.then.derived(HTTPRoute, backed).get(view.target, ()),
        *view.then.derived(TLSRoute, backed).get(view.target, ()),
    )
    classes = view.then.of(GatewayClass)
    for gateway, route, section, led in attached(view.then.of(Gateway), routes, view.target, scene.names):
        where = (f"{route} leads from it to {some(led)}",)
        for listener in gateway.spec.listeners:
            if section in ("", listener.name) and (fault := _listener(gateway, listener)):
                yield fault.at(gateway, f"spec.listeners[{listener.name}]", where)
        if scene.first(gateway.ref):
            serving = scene.entrances.of(gateway)
            yield from _deployed(gateway, serving, where, own=istios(gateway, classes), cut=scene.cut(led))


def _waive(ref: Ref) -> str:
    return f"or, when it may be cut: --waive '{META.id}={ref}' --reason TEXT"


def _straight(service: Service, ports: tuple[int, ...]) -> Finding:
    """A load balancer was ordered for it; node ports are often only left over from a chart (istio.md 7)."""
    ordered = service.spec.type == "LoadBalancer"
    listed = ", ".join(str(port) for port in ports)
    return Finding(
        ref=service.ref,
        field="spec.type",
        measured=f"{service.spec.type} leads straight to {'port' if len(ports) == 1 else 'ports'} {listed}",
        limit="a gateway of the mesh in between",
        where=(
            "what comes in there is no mutual TLS, and STRICT refuses it",
            "a load balancer's plain TCP health check passes all the same",
        )
        if ordered
        else ("whoever uses its node ports is refused under STRICT",),
        fix=f"lead it through a gateway of the mesh, and then: kubectl patch service {service.name} "
        f'-n {service.namespace} --type merge -p \'{{"spec":{{"type":"ClusterIP"}}}}\'; {_waive(service.ref)}',
        severity=None if ordered else Severity.WARNING,
    )


def _by_address(service: Service, ports: tuple[int, ...]) -> Finding:
    """Every node takes what is sent to these addresses straight to the pods; no chart writes them by itself."""
    return Finding(
        ref=service.ref,
        field="spec.externalIPs",
        measured=f"externalIPs {some(service.spec.external_ips)} lead straight to "
        f"{'port' if len(ports) == 1 else 'ports'} {', '.join(str(port) for port in ports)}",
        limit="a gateway of the mesh in between",
        where=("what comes in there is no mutual TLS, and STRICT refuses it",),
        fix=f"lead it through a gateway of the mesh, and then: kubectl patch service {service.name} "
        f'-n {service.namespace} --type json -p \'[{{"op":"remove","path":"/spec/externalIPs"}}]\'; '
        f"{_waive(service.ref)}",
    )


def _grouped(service: Service, ports: Iterable[int]) -> tuple[int, ...]:
    """The ports of endpoint groups of their own: those for an Ingress are found through the Ingress."""
    try:
        stated = json.loads(service.metadata.annotations.get(_GROUPS, "{}"))
        exposed = stated.get("exposed_ports") or {}
        return tuple(port for port in ports if str(port) in exposed)
    except (ValueError, AttributeError, TypeError):
        return ()


def _endpoint_groups(service: Service, ports: tuple[int, ...]) -> Finding:
    return Finding(
        ref=service.ref,
        field=f"metadata.annotations[{_GROUPS}]",
        measured=f"network endpoint groups lead straight to {'port' if len(ports) == 1 else 'ports'} "
        f"{', '.join(str(port) for port in ports)}",
        limit="a gateway of the mesh in between",
        where=("a load balancer and its health checks call the pods' addresses, and STRICT refuses that",),
        fix=f"lead it through a gateway of the mesh, and then: kubectl annotate service {service.name} "
        f"-n {service.namespace} {_GROUPS}-; {_waive(service.ref)}",
    )


def _ingress(ingress: Ingress, name: str, strict: _Strict, entrances: Entrances) -> Iterator[Finding]:
    """Its controller is a caller like another (incidents.md 1, ingress-controller-outside and -injected-but-pod-ip)."""
    led = list(_strict_paths(ingress, strict))
    if not led or name.startswith("istio.io/"):
        return
    serving = entrances.behind(name)
    bare = [pod for pod in serving if not injected(pod)]
    described = name or f"class {ingress.spec.ingress_class_name or 'by default'}"
    where = [f"{described} leads {some(led)}"]
    measured, fix, severity = "", "", Severity.WARNING
    if bare or name in CLOUD:
        measured = f"its controller, {described}, has no sidecar"
        severity = Severity.WARNING if len(bare) < len(serving) else Severity.BLOCKING
        where.append("it calls the pods in plaintext, and STRICT refuses it")
        fix = f"lead it through a gateway of the mesh; {_waive(ingress.ref)}"
        if bare:
            where.append(f"for example {bare[0].ref}")
            fix = f"{patch_template(workload(bare[0]), 'labels', _SIDECAR, 'true')}; {_waive(ingress.ref)}"
    elif not serving:
        measured = f"whether its controller, {described}, has a sidecar is not known"
        fix = "look at the controller's pods: without istio-proxy it is refused under STRICT"
    elif name == NGINX and ingress.metadata.annotations.get(_UPSTREAM) != "true":
        measured = "its controller has a sidecar, but may call pod addresses instead of the Service"
        where.append("what goes to a pod's address is no mutual TLS")
        fix = f'kubectl annotate ingress {ingress.name} -n {ingress.namespace} {_UPSTREAM}="true"'
    if measured:
        yield Finding(
            ref=ingress.ref,
            field="spec.ingressClassName",
            measured=measured,
            limit="a controller in the mesh that calls Services",
            where=tuple(where),
            fix=fix,
            severity=severity,
        )


def _strict_paths(ingress: Ingress, strict: _Strict) -> Iterator[str]:
    for place, backend in backends(ingress):
        if backend.service is None or backend.service.name not in strict:
            continue
        service, ports = strict[backend.service.name]
        wanted = backend.service.port
        for port in service.spec.ports:
            if port.port in ports and (port.port == wanted.number or (wanted.name and port.name == wanted.name)):
                yield f"{place} to {service.name}:{port.port}"


def _server(gateway: IstioGateway, server: Server, namespace: str) -> _Fault | None:
    """What clients outside use before the gateway: the flip neither breaks nor betters it (istio.md 11)."""
    protocol = server.port.protocol.upper()
    tls = server.tls
    if protocol in ("HTTP", "HTTP2", "GRPC", "GRPC-WEB") and not (tls and tls.https_redirect):
        fix = "give the server tls.httpsRedirect: true beside an HTTPS server with a certificate"
        return _open(server.port.number, protocol, fix)
    if tls and tls.mode is ServerTLSMode.PASSTHROUGH and (tls.credential_name or tls.credential_names):
        measured = f"port {server.port.number} is PASSTHROUGH, and its certificate ignored"
        return _Fault(measured, "a tls.mode: an absent one is PASSTHROUGH", _terminated(gateway, server))
    if tls and tls.mode in _CERTIFIED and (names := [n for n in (*tls.credential_names, tls.credential_name) if n]):
        return _unchecked(names, f"{' '.join(names)} -n {namespace}")
    return None


def _terminated(gateway: IstioGateway, server: Server) -> str:
    """The command; Kubernetes has a kind Gateway of its own."""
    path = f"/spec/servers/{gateway.spec.servers.index(server)}/tls/mode"
    patch = f'[{{"op":"add","path":"{path}","value":"{ServerTLSMode.SIMPLE}"}}]'
    resource = f"{IstioGateway.RESOURCE.plural}.{IstioGateway.RESOURCE.group}"
    return f"kubectl patch {resource} {gateway.name} -n {gateway.namespace} --type json -p '{patch}'"


def _open(port: int, protocol: str, fix: str) -> _Fault:
    return _Fault(f"port {port} takes {protocol} without TLS", "HTTPS, or a redirect to it", fix)


def _unchecked(names: Iterable[str], secrets: str) -> _Fault:
    measured = f"certificate {some(names)} is not checked: rollout reads no Secrets"
    return _Fault(measured, "a Secret that is there", f"kubectl get secret {secrets}")


def _served(
    gateway: IstioGateway, pods: tuple[Pod, ...], own: tuple[str, ...], where: tuple[str, ...], *, cut: bool
) -> Iterator[Finding]:
    selector = ",".join(f"{key}={value}" for key, value in sorted(gateway.spec.selector.items()))
    if not pods:
        fault = _Fault("no pod serves it", "a gateway's pod", f"kubectl get pods -A -l {selector}")
        yield fault.at(gateway, "spec.selector", where)
    for pod in pods:
        if proxy_container(pod) is None:
            yield _bare(gateway, pod, where, cut=cut)
            break
        domain = trust_domain(pod)
        if domain not in ("", *own):
            fix = f"add {domain} to trustDomainAliases in the mesh's configuration"
            fault = _Fault(f"its pods are of the trust domain {domain}", some(own), fix)
            seen = (*where, f"for example {pod.ref}", "what takes mutual TLS only refuses them")
            yield fault.at(gateway, "spec.selector", seen)
            break


def _bare(gateway: IstioGateway | Gateway, pod: Pod, where: tuple[str, ...], *, cut: bool) -> Finding:
    fate = "STRICT refuses them" if cut else "the ports that it leads to accept that"
    return Finding(
        ref=gateway.ref,
        measured="its pods are not in the mesh",
        limit="an istio-proxy in each",
        where=(*where, f"for example {pod.ref}", f"they call in plaintext, and {fate}"),
        fix=f"{patch_template(workload(pod), 'labels', _SIDECAR, 'true')}; {_waive(gateway.ref)}",
        severity=None if cut else Severity.WARNING,
    )


def _listener(gateway: Gateway, listener: Listener) -> _Fault | None:
    if listener.protocol == "HTTP":
        fix = "let the route attach to an HTTPS listener (sectionName), and another with a RequestRedirect to this one"
        return _open(listener.port, "HTTP", fix)
    references = listener.tls.certificate_refs if listener.tls else ()
    if references and listener.tls and listener.tls.mode != "Passthrough":
        first = references[0]
        names = [reference.name for reference in references]
        return _unchecked(names, f"{first.name} -n {first.namespace or gateway.namespace}")
    return None


def _deployed(
    gateway: Gateway, pods: tuple[Pod, ...], where: tuple[str, ...], *, own: bool, cut: bool
) -> Iterator[Finding]:
    bare = next((pod for pod in pods if proxy_container(pod) is None), None)
    if bare is not None:
        yield _bare(gateway, bare, where, cut=cut)
    elif not pods and not own:
        measured = f"whether class {gateway.spec.gateway_class_name} calls with mutual TLS is not known"
        fix = "look at what serves it: without istio-proxy it is refused under STRICT"
        yield _Fault(measured, "a gateway of the mesh", fix).at(gateway, "spec.gatewayClassName", where)
