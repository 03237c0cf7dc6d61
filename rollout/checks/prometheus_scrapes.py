"""No monitor or annotation has Prometheus scrape a port that STRICT closes.

Why: Prometheus has no mesh certificate and calls pods by their address. A scrape of a container port in plain HTTP, or
with TLS but no client certificate, is refused under STRICT: the application's metrics go blank, and with them alerts
and autoscaling. With Istio's certificates it is the other way round: until the flip the proxy hands its TLS on to the
application. Ports 15020 and 15090 of the sidecar are not captured and stay readable. A Prometheus within the namespace
can no longer be asked in plaintext, also by this tool.

Fix: scrape the merged metrics at 15020 (/stats/prometheus), give Prometheus Istio's certificates, or keep the metrics
port PERMISSIVE and exempt that policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.checks.words import many
from rollout.mesh.injection import injected, live
from rollout.mesh.peer_authentication import Policies
from rollout.mesh.services import Backends, target_ports
from rollout.mesh.strict import strict
from rollout.mesh.workloads import patch_template, workload
from rollout.model.finding import Finding, Severity
from rollout.model.istio import PeerAuthentication
from rollout.model.kubernetes import (
    Container,
    MonitorEndpoint,
    Pod,
    PodMonitor,
    Ref,
    Service,
    ServiceMonitor,
)
from rollout.record.state import State

M = TypeVar("M", bound=ServiceMonitor | PodMonitor)

META = Meta("prometheus-scrapes", State.CHECKING, __doc__)
READS = (Pod, Service, PeerAuthentication, ServiceMonitor, PodMonitor)

_SCRAPE, _PORT, _SCHEME = "prometheus.io/scrape", "prometheus.io/port", "prometheus.io/scheme"
_MERGE = "prometheus.istio.io/merge-metrics"
#: Images whose main container answers PromQL.
_SERVERS = ("/prometheus", "/thanos", "/victoria-metrics", "/vmselect", "/mimir")
_QUERIED = frozenset({9090, 10902, 8428, 8481, 8080})


def check(view: View) -> Findings:
    """One finding per endpoint of a monitor, annotated object or Prometheus whose port refuses plaintext then."""
    policies, before = view.then.policies(), view.now.policies()
    pods = [pod for pod in view.then.of(Pod, view.target) if live(pod) and injected(pod)]
    services = view.then.of(Service, view.target)
    service_monitors = _reaching(view.then.derived(ServiceMonitor, _by_reach), view.target)
    pod_monitors = _reaching(view.then.derived(PodMonitor, _by_reach), view.target)
    backends = Backends(pods)
    for service_monitor in service_monitors:
        chosen = [s for s in services if service_monitor.spec.selector.matches(s.metadata.labels)]
        for place, endpoint in enumerate(service_monitor.spec.endpoints):
            hit = _first(_through(endpoint, chosen, backends), policies)
            if hit is not None:
                yield from _monitored(service_monitor.ref, f"spec.endpoints[{place}]", endpoint, before, *hit)
    for pod_monitor in pod_monitors:
        selected = [pod for pod in pods if pod_monitor.spec.selector.matches(pod.labels)]
        for place, endpoint in enumerate(pod_monitor.spec.pod_metrics_endpoints):
            hit = _first(_of_pods(endpoint, selected), policies)
            if hit is not None:
                yield from _monitored(pod_monitor.ref, f"spec.podMetricsEndpoints[{place}]", endpoint, before, *hit)
    yield from _annotated(pods, services, backends, policies)
    yield from _servers(pods, policies)
    monitors = many(len(service_monitors) + len(pod_monitors), "monitor")
    return f"{monitors} and the annotations of {many(len(pods), 'pod')}"


def _by_reach(monitors: tuple[M, ...]) -> dict[str, tuple[tuple[int, M], ...]]:
    """By the namespaces in which they look for pods ('' for all), with their places in the list."""
    found: dict[str, list[tuple[int, M]]] = {}
    for place, monitor in enumerate(monitors):
        selector = monitor.spec.namespace_selector
        for name in ("",) if selector.any else dict.fromkeys(selector.match_names or (monitor.namespace,)):
            found.setdefault(name, []).append((place, monitor))
    return {name: tuple(those) for name, those in found.items()}


def _reaching(monitors: dict[str, tuple[tuple[int, M], ...]], namespace: str) -> list[M]:
    chosen = dict((*monitors.get("", ()), *monitors.get(namespace, ())))
    return [chosen[place] for place in sorted(chosen)]


def _first(ends: Iterable[tuple[Pod, int | None]], policies: Policies) -> tuple[Pod, int] | None:
    return next(((pod, port) for pod, port in ends if port is not None and strict(policies, pod, port)), None)


def _through(
    endpoint: MonitorEndpoint, services: Iterable[Service], backends: Backends
) -> Iterator[tuple[Pod, int | None]]:
    """`port` is the name of a Service's port, `targetPort` a container's; without both nothing is scraped."""
    for service in services:
        for pod in backends.of(service):
            for port in service.spec.ports:
                if endpoint.port and port.name == endpoint.port:
                    yield pod, target_ports(port, pod)
            if not endpoint.port and endpoint.target_port is not None:
                yield pod, _number(endpoint.target_port, pod)


def _of_pods(endpoint: MonitorEndpoint, pods: Iterable[Pod]) -> Iterator[tuple[Pod, int | None]]:
    """Without a port every one is scraped, if no relabeling says which; Istio's own monitor does: it is left alone."""
    for pod in pods:
        wanted = endpoint.port or endpoint.target_port
        if wanted is not None and wanted != "":
            yield pod, _number(wanted, pod)


def _number(port: int | str, pod: Pod) -> int | None:
    if isinstance(port, int) or port.isdigit():
        return int(port)
    containers = (*pod.spec.containers, *pod.spec.init_containers)
    return next((p.container_port for c in containers for p in c.ports if p.name == port), None)


def _monitored(
    ref: Ref, field: str, endpoint: MonitorEndpoint, before: Policies, pod: Pod, port: int
) -> Iterator[Finding]:
    tls = endpoint.scheme.lower() == "https"
    if not tls or endpoint.tls_config is None or not endpoint.tls_config.certified:
        yield _refused(ref, field, pod, port, "with TLS, but no client certificate" if tls else "in plain HTTP")
    elif not strict(before, pod, port):
        yield Finding(
            ref=ref,
            field=field,
            measured=f"scrapes port {port} with a client certificate, which no proxy takes before the flip",
            limit="plain HTTP until the flip, Istio's certificates from then on",
            where=(
                "a PERMISSIVE port hands TLS without Istio's ALPN on to the application",
                f"for example {pod.ref} of {workload(pod)}",
            ),
            fix=f"change its scheme together with the flip, and back after an undo; or scrape port 15020 path "
            f"/stats/prometheus in plain HTTP; or, when it may be blank meanwhile: --waive '{META.id}={ref}' "
            "--reason TEXT",
            severity=Severity.WARNING,
        )


def _refused(ref: Ref, field: str, pod: Pod, port: int, how: str) -> Finding:
    return Finding(
        ref=ref,
        field=field,
        measured=f"scrapes port {port} {how}",
        limit="port 15020, or Istio's certificates",
        where=("refused under STRICT, and only `up` shows it", f"for example {pod.ref} of {workload(pod)}"),
        fix=f"scrape port 15020 path /stats/prometheus; or, when it may go blank: --waive '{META.id}={ref}' "
        "--reason TEXT",
        exemption=f"{pod.namespace}/{workload(pod).name}:{port}",
    )


def _annotated(
    pods: Iterable[Pod], services: Iterable[Service], backends: Backends, policies: Policies
) -> Iterator[Finding]:
    """An operator's Prometheus does not heed them; on merged pods the injector rewrote them (istio.md 5)."""
    seen: set[Ref] = set()
    for pod in pods:
        owner = workload(pod)
        hit = _first(((pod, port) for port in _wanted(pod.annotations, pod)), policies)
        if owner not in seen and hit is not None:
            seen.add(owner)
            fix = patch_template(owner, "annotations", _MERGE, None if _MERGE in pod.annotations else "true")
            yield _told(owner, f"metadata.annotations[{_PORT}]", *hit, fix)
    for service in services:
        ends = ((pod, port) for pod in backends.of(service) for port in _wanted(service.metadata.annotations, pod))
        if (hit := _first(ends, policies)) is not None:
            fix = f"kubectl annotate service {service.name} -n {service.namespace} {_SCRAPE}-"
            yield _told(service.ref, f"metadata.annotations[{_PORT}]", *hit, fix)


def _wanted(annotations: dict[str, str], pod: Pod) -> Iterator[int]:
    """The port that is named, else each that the pod declares."""
    if annotations.get(_SCRAPE) != "true" or annotations.get(_SCHEME) == "https":
        return
    port = annotations.get(_PORT, "")
    if port.isdigit():
        yield int(port)
    elif not port:
        yield from (p.container_port for c in pod.spec.containers for p in c.ports if p.protocol == "TCP")


def _told(ref: Ref, field: str, pod: Pod, port: int, fix: str) -> Finding:
    return Finding(
        ref=ref,
        field=field,
        measured=f"asks Prometheus to scrape port {port} in plain HTTP",
        limit="port 15020",
        where=("a Prometheus that heeds the annotation is refused under STRICT", f"for example {pod.ref}"),
        fix=fix,
        severity=Severity.WARNING,
    )


def _servers(pods: Iterable[Pod], policies: Policies) -> Iterator[Finding]:
    """The flip of a Prometheus' own namespace blinds whoever asks it from outside (incidents.md 4)."""
    seen: set[Ref] = set()
    for pod in pods:
        owner = workload(pod)
        for container in pod.spec.containers:
            port = next((p.container_port for p in container.ports if _asked(container, p.container_port)), None)
            if owner not in seen and strict(policies, pod, port):
                seen.add(owner)
                yield Finding(
                    ref=owner,
                    field=f"spec.containers[{container.name}].ports",
                    measured=f"{container.image} answers queries on port {port}, which will be STRICT",
                    limit="a port that Grafana, autoscalers and this tool can still ask",
                    where=("whoever asks it without a sidecar is refused", "the watch would be blind, and roll back"),
                    fix=f"keep port {port} of {owner} PERMISSIVE and exempt that policy; or, when every client has a "
                    f"sidecar: --waive '{META.id}={owner}' --reason TEXT",
                    exemption=f"{owner.namespace}/{owner.name}:{port}",
                )


def _asked(container: Container, port: int) -> bool:
    image = container.image.partition("@")[0].rpartition("/")
    name = f"/{image[2].partition(':')[0]}"
    return port in _QUERIED and name in _SERVERS
