"""Who a caller without a name might be: the metrics know nothing of it, the cluster's objects often do.

Ranked, best cause first (DESIGN.md "Evidence"). Each suspect shows the text that makes it one; credentials are cut out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from rollout.mesh.injection import injected, live
from rollout.mesh.probes import probes
from rollout.mesh.services import selects
from rollout.mesh.workloads import restart, workload
from rollout.model.kubernetes import (
    APIService,
    ConfigMap,
    Container,
    CronJob,
    CustomResourceDefinition,
    Ingress,
    IngressBackend,
    MutatingWebhookConfiguration,
    Pod,
    PodMonitor,
    PodSpec,
    Ref,
    Service,
    ServiceMonitor,
    ServiceReference,
    ValidatingWebhookConfiguration,
)
from rollout.model.traffic import Edge, Suspect

#: How many ConfigMaps are read to find a caller.
CONFIG_MAPS = 50
#: How much of a matching text is shown.
SHOWN = 120

_CREDENTIALS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s@\"']+@")
_SECRETS = re.compile(
    r"(?i)\b([a-z_-]*(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|credential)s?[a-z_-]*)"
    r"([\"']?\s*[=:]\s*|\s+)[\"']?[^\s&;,\"']+"
)


class Clues(msgspec.Struct, frozen=True, kw_only=True):
    """The objects that may tell; what could not be read is empty."""

    pods: tuple[Pod, ...] = ()
    services: tuple[Service, ...] = ()
    ingresses: tuple[Ingress, ...] = ()
    service_monitors: tuple[ServiceMonitor, ...] = ()
    pod_monitors: tuple[PodMonitor, ...] = ()
    mutating: tuple[MutatingWebhookConfiguration, ...] = ()
    validating: tuple[ValidatingWebhookConfiguration, ...] = ()
    api_services: tuple[APIService, ...] = ()
    definitions: tuple[CustomResourceDefinition, ...] = ()
    cron_jobs: tuple[CronJob, ...] = ()
    config_maps: tuple[ConfigMap, ...] = ()


class _Target(msgspec.Struct, frozen=True):
    namespace: str
    pods: tuple[Pod, ...]
    services: tuple[Service, ...]
    names: frozenset[str]


def suspects(edge: Edge, clues: Clues) -> tuple[Suspect, ...]:
    """Ranked; empty when none fits."""
    target = _target(edge, clues)
    found: list[Suspect] = []
    for kind in (_ingresses, _scrapes, _api_server, _probes, _texts):
        for suspect in kind(target, clues):
            if suspect not in found:
                found.append(suspect)
    return tuple(found)


def _target(edge: Edge, clues: Clues) -> _Target:
    namespace = edge.destination.namespace
    pods = tuple(
        pod
        for pod in clues.pods
        if pod.namespace == namespace and live(pod) and workload(pod).name == edge.destination.workload
    )
    called = edge.service.split(".")[0].partition(":")[0]
    services = tuple(
        service
        for service in clues.services
        if service.namespace == namespace and (service.name == called or any(selects(service, pod) for pod in pods))
    )
    names = frozenset(service.name for service in services) | ({called} if _names(called) else frozenset())
    return _Target(namespace, pods, services, frozenset(names))


def _names(text: str) -> bool:
    return bool(re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", text)) and text != "unknown"


def _ingresses(target: _Target, clues: Clues) -> Iterator[Suspect]:
    for ingress in clues.ingresses:
        if ingress.namespace != target.namespace:
            continue
        for where, backend in _backends(ingress):
            if backend.service is not None and backend.service.name in target.names:
                port = backend.service.port.number or backend.service.port.name
                controller = ingress.spec.ingress_class_name or "the default class"
                yield Suspect(
                    f"the ingress controller ({controller})",
                    f"{ingress.ref} {where} leads to {backend.service.name}:{port}",
                    "give the ingress controller a sidecar, and let it call the Service instead of its endpoints",
                )
                break


def _backends(ingress: Ingress) -> Iterator[tuple[str, IngressBackend]]:
    for rule in ingress.spec.rules:
        for path in rule.http.paths if rule.http else ():
            yield f"{rule.host or '*'}{path.path}", path.backend
    if ingress.spec.default_backend is not None:
        yield "by default", ingress.spec.default_backend


def _scrapes(target: _Target, clues: Clues) -> Iterator[Suspect]:
    fix = "scrape port 15020 of the sidecar (Istio's metrics merging), or give the scraper Istio's certificates"
    for service_monitor in clues.service_monitors:
        spec = service_monitor.spec
        if _reaches(service_monitor, target) and any(spec.selector.matches(s.metadata.labels) for s in target.services):
            ends = ", ".join(f"port {e.port or e.target_port} {e.path or '/metrics'}" for e in spec.endpoints)
            yield Suspect("Prometheus", f"{service_monitor.ref} scrapes {ends or 'it'}", fix)
    for pod_monitor in clues.pod_monitors:
        spec = pod_monitor.spec
        if _reaches(pod_monitor, target) and any(spec.selector.matches(p.metadata.labels) for p in target.pods):
            ends = ", ".join(
                f"port {e.port or e.target_port} {e.path or '/metrics'}" for e in spec.pod_metrics_endpoints
            )
            yield Suspect("Prometheus", f"{pod_monitor.ref} scrapes {ends or 'it'}", fix)
    for described, notes in (
        *((str(workload(pod)), pod.annotations) for pod in target.pods),
        *((str(service.ref), service.metadata.annotations) for service in target.services),
    ):
        port = notes.get("prometheus.io/port", "")
        if notes.get("prometheus.io/scrape") == "true" and port != "15020":
            yield Suspect("Prometheus", f"{described} has prometheus.io/scrape: true, port {port or 'any'}", fix)


def _reaches(monitor: ServiceMonitor | PodMonitor, target: _Target) -> bool:
    selector = monitor.spec.namespace_selector
    if selector.any:
        return True
    return target.namespace in (selector.match_names or (monitor.namespace,))


def _api_server(target: _Target, clues: Clues) -> Iterator[Suspect]:
    fix = "kube-apiserver has no sidecar: keep the container port that it calls PERMISSIVE, and exempt that policy"
    for what, reference in _called_by_api_server(clues):
        if reference.namespace == target.namespace and reference.name in target.names:
            yield Suspect("kube-apiserver", f"{what} calls {reference.namespace}/{reference.name}", fix)


def _called_by_api_server(clues: Clues) -> Iterator[tuple[str, ServiceReference]]:
    hooked: tuple[MutatingWebhookConfiguration | ValidatingWebhookConfiguration, ...]
    hooked = (*clues.mutating, *clues.validating)
    for configuration in hooked:
        for hook in configuration.webhooks:
            if hook.client_config.service is not None:
                yield f"{configuration.ref} ({hook.name})", hook.client_config.service
    for api in clues.api_services:
        if api.spec.service is not None:
            yield str(api.ref), api.spec.service
    for definition in clues.definitions:
        conversion = definition.spec.conversion
        client = conversion.webhook.client_config if conversion and conversion.webhook else None
        if client is not None and client.service is not None:
            yield str(definition.ref), client.service


def _probes(target: _Target, _: Clues) -> Iterator[Suspect]:
    for pod in target.pods:
        for probe in probes(pod):
            if not probe.rewritten and probe.handler in ("httpGet", "grpc", "tcpSocket"):
                yield Suspect(
                    "the kubelet",
                    f"{workload(pod)} {probe.field}: {probe.handler} on port {probe.port} goes to the app itself",
                    restart(workload(pod)),
                )


def _texts(target: _Target, clues: Clues) -> Iterator[Suspect]:
    if not target.names:
        return
    maps = {(item.namespace, item.name): item for item in clues.config_maps}
    for who, namespace, spec, fix in _callers(clues):
        pattern = naming(target.names, target.namespace, same=namespace == target.namespace)
        match = next(_matches(spec, namespace, maps, pattern), None)
        if match is not None:
            yield Suspect(str(who), match, fix)


def _callers(clues: Clues) -> Iterator[tuple[Ref, str, PodSpec, str]]:
    """What runs, or will run, without a sidecar; one pod of each workload."""
    seen: set[Ref] = set()
    for pod in clues.pods:
        if injected(pod) or not live(pod) or (owner := workload(pod)) in seen:
            continue
        seen.add(owner)
        yield owner, pod.namespace, pod.spec, f"give it a sidecar: {restart(owner)}, once its namespace is injected"
    for job in clues.cron_jobs:
        if job.ref in seen:
            continue
        template = job.spec.job_template.spec.template
        if template.metadata.labels.get("sidecar.istio.io/inject") == "true":
            continue
        fix = 'give its pod template the label sidecar.istio.io/inject: "true"'
        yield job.ref, job.namespace, template.spec, fix


def _matches(
    spec: PodSpec, namespace: str, maps: dict[tuple[str, str], ConfigMap], pattern: re.Pattern[str]
) -> Iterator[str]:
    for container in (*spec.containers, *spec.init_containers):
        for where, text in _own_texts(container):
            if found := pattern.search(text):
                yield f"{container.name} {where}: {shown(text, found)}"
        for name, key in _references(container):
            data = maps[namespace, name].data if (namespace, name) in maps else {}
            for entry, text in data.items():
                if (not key or key == entry) and (found := pattern.search(text)):
                    yield f"ConfigMap {namespace}/{name} {entry}: {shown(text, found)}"


def _own_texts(container: Container) -> Iterator[tuple[str, str]]:
    yield from ((f"env {variable.name}", variable.value) for variable in container.env)
    yield "args", " ".join((*container.command, *container.args))


def _references(container: Container) -> Iterator[tuple[str, str]]:
    for source in container.env_from:
        if source.config_map_ref is not None:
            yield source.config_map_ref.name, ""
    for variable in container.env:
        if variable.value_from is not None and variable.value_from.config_map_key_ref is not None:
            reference = variable.value_from.config_map_key_ref
            yield reference.name, reference.key


def naming(services: Iterable[str], namespace: str, *, same: bool) -> re.Pattern[str]:
    """Matches `orders.production` and longer; within the namespace also `http://orders/` and `orders:8080`."""
    names = "|".join(re.escape(name) for name in sorted(services, key=len, reverse=True))
    full = rf"(?<![\w.-])(?:[\w-]+\.)?(?:{names})\.{re.escape(namespace)}(?![\w-])"
    if not same:
        return re.compile(full)
    return re.compile(rf"{full}|(?:(?<=://)|(?<=@))(?:{names})(?![\w.-])|(?<![\w./-])(?:{names}):\d+")


def shown(text: str, match: re.Match[str]) -> str:
    """The line around the match, without credentials."""
    start = text.rfind("\n", 0, match.start()) + 1
    end = text.find("\n", match.end())
    line = without_credentials(text[start : len(text) if end < 0 else end].strip())
    if len(line) <= SHOWN:
        return line
    at = max(0, line.find(match.group()) - SHOWN // 2)
    return ("…" if at else "") + line[at : at + SHOWN] + ("…" if at + SHOWN < len(line) else "")


def without_credentials(text: str) -> str:
    """The text without passwords in URLs, and without the values of keys that sound like a secret."""
    return _SECRETS.sub(r"\1\2…", _CREDENTIALS.sub(r"\1…@", text))


def references(pods: Iterable[Pod], cron_jobs: Iterable[CronJob]) -> tuple[str, ...]:
    """The ConfigMaps that callers without a sidecar read their settings from, as `namespace/name`; at most 50."""
    found: dict[str, None] = {}
    for _, namespace, spec, _ in _callers(Clues(pods=tuple(pods), cron_jobs=tuple(cron_jobs))):
        containers: Sequence[Container] = (*spec.containers, *spec.init_containers)
        for container in containers:
            for name, _key in _references(container):
                found[f"{namespace}/{name}"] = None
    return tuple(found)[:CONFIG_MAPS]
