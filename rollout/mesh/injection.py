"""Who has a sidecar, whose traffic it captures, and why a pod has none (istio.md 1 and 15b).

Existing pods never change: a pod has what the webhooks made of it when it was created.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

from rollout.mesh.workloads import patch_template, restart, workload
from rollout.model.kubernetes import Container, MutatingWebhookConfiguration, Namespace, Pod, Webhook

PROXY = "istio-proxy"
STATUS_ANNOTATION = "sidecar.istio.io/status"
INJECT = "sidecar.istio.io/inject"
TLS_MODE_LABEL = "security.istio.io/tlsMode"
DATAPLANE_MODE = "istio.io/dataplane-mode"
REVISION = "istio.io/rev"
NAMESPACE_INJECTION = "istio-injection"
REDIRECTION = "ambient.istio.io/redirection"
INCLUDE_PORTS = "traffic.sidecar.istio.io/includeInboundPorts"
EXCLUDE_PORTS = "traffic.sidecar.istio.io/excludeInboundPorts"
EXCLUDE_INTERFACES = "traffic.sidecar.istio.io/excludeInterfaces"
#: What container runtimes call the interface of a pod's own address; further networks have other names.
_INTERFACE = "eth0"
IGNORED_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease", "local-path-storage"})
#: istio-cni's repair marks pods with it whose redirection it could not set up (incidents.md 2).
UNINITIALIZED = "cni.istio.io/uninitialized"
#: Envoy's metrics, health and the agent: left out of the capture by the injection template.
_NEVER_CAPTURED = frozenset({15020, 15021, 15090})
_ROUTERS = frozenset({"router", "waypoint"})
_PROXYLESS = frozenset({"grpc-agent", "grpc-simple"})
_WEBHOOK = "sidecar-injector.istio.io"


class Cause(msgspec.Struct, frozen=True):
    """Why a pod is as it is, and the one deed that changes it."""

    sentence: str
    fix: str


def proxy_container(pod: Pod) -> Container | None:
    """istio-proxy, classic or native (an init container that is always restarted); both shapes live side by side."""
    for container in pod.spec.containers:
        if container.name == PROXY:
            return container
    for container in pod.spec.init_containers:
        if container.name == PROXY and container.restart_policy == "Always":
            return container
    return None


def live(pod: Pod) -> bool:
    """It runs or will run: finished and deleted pods count for nothing."""
    return pod.metadata.deletion_timestamp is None and pod.status.phase not in ("Succeeded", "Failed")


def injected(pod: Pod) -> bool:
    """The injector was here. Gateways are injected too; whether traffic is captured is another question."""
    return proxy_container(pod) is not None and STATUS_ANNOTATION in pod.annotations


def gateway(pod: Pod) -> bool:
    """The proxy is a router or a waypoint: PeerAuthentication does not touch its listeners.

    Those that istiod deploys for a Gateway of the Kubernetes Gateway API have no injector's annotation.
    """
    proxy = proxy_container(pod)
    return proxy is not None and _router(proxy)


def _router(proxy: Container) -> bool:
    return not _ROUTERS.isdisjoint(proxy.args[:2])


def ambient(pod: Pod, namespace: Namespace | None = None) -> bool:
    """ztunnel captures the pod, or will: by annotation, by label, or by its namespace's label."""
    if pod.spec.host_network or STATUS_ANNOTATION in pod.annotations:
        return False
    if pod.annotations.get(REDIRECTION) in ("enabled", "pending"):
        return True
    wanted = pod.labels.get(DATAPLANE_MODE)
    if wanted is None and namespace is not None:
        wanted = namespace.metadata.labels.get(DATAPLANE_MODE)
    return wanted == "ambient"


def addressable(pod: Pod) -> bool:
    """Clients use mutual TLS towards the pod: this label decides it, not the container (istio.md 1.2)."""
    return pod.labels.get(TLS_MODE_LABEL) == "istio"


def address(pod: Pod) -> str:
    """The command that makes a pod without the label one that has it: what keeps injection or the label away goes."""
    owner = workload(pod)
    if pod.labels.get(INJECT) == "false":
        return patch_template(owner, "labels", INJECT, None)
    if _opted_out(pod):
        return patch_template(owner, "annotations", INJECT, None)
    return patch_template(owner, "labels", TLS_MODE_LABEL, None) if TLS_MODE_LABEL in pod.labels else restart(owner)


def captured(pod: Pod) -> bool:
    """Inbound traffic goes through the proxy."""
    return not uncaptured_because(pod)


def uncaptured_because(pod: Pod) -> str:
    """Why no inbound traffic goes through the proxy; '' when it does."""
    proxy = proxy_container(pod)
    if proxy is None or STATUS_ANNOTATION not in pod.annotations:
        return "it has no sidecar"
    if pod.spec.host_network:
        return "hostNetwork: true"
    if _router(proxy):
        return "it is a gateway"
    templates = _listed(pod.annotations.get("inject.istio.io/templates", ""))
    if found := sorted(templates & _PROXYLESS):
        return f"inject.istio.io/templates: {found[0]}"
    if _interception_mode(pod, proxy) == "NONE":
        return "sidecar.istio.io/interceptionMode: NONE"
    if past_interface(pod):
        return f"{EXCLUDE_INTERFACES}: {_INTERFACE}"
    if not _included(pod):
        return f'{INCLUDE_PORTS}: ""'
    if pod.labels.get(UNINITIALIZED) == "true":
        return f"{UNINITIALIZED}: true"
    return ""


def captured_port(pod: Pod, port: int) -> bool:
    """Traffic to this container port goes through the proxy. The exclusion list counts only where all is included."""
    if not captured(pod) or port in _NEVER_CAPTURED or str(port) == _status_port(pod):
        return False
    included = _included(pod)
    if "*" in included:
        return str(port) not in _excluded(pod)
    return str(port) in included


def past_interface(pod: Pod) -> bool:
    """The interface of the pod's own address is left out of the capture: whatever comes in or goes out there."""
    return _INTERFACE in _listed(pod.annotations.get(EXCLUDE_INTERFACES, ""))


def recaptured_interface(pod: Pod) -> str:
    """The command that captures that interface again; what else the annotation names stays left out."""
    others = sorted(_listed(pod.annotations.get(EXCLUDE_INTERFACES, "")) - {_INTERFACE})
    return patch_template(workload(pod), "annotations", EXCLUDE_INTERFACES, ",".join(others) or None)


def _interception_mode(pod: Pod, proxy: Container) -> str:
    """The pod's annotation, else what the injector wrote into the proxy from the mesh's defaults."""
    stated = pod.annotations.get("sidecar.istio.io/interceptionMode")
    if stated is not None:
        return stated
    return next(
        (variable.value for variable in proxy.env if variable.name == "ISTIO_META_INTERCEPTION_MODE"), "REDIRECT"
    )


def _included(pod: Pod) -> frozenset[str]:
    stated = pod.annotations.get(INCLUDE_PORTS)
    return _listed(argument(pod, "-b", "*") if stated is None else stated)


def _excluded(pod: Pod) -> frozenset[str]:
    stated = pod.annotations.get(EXCLUDE_PORTS, "")
    return _listed(stated) | _listed(argument(pod, "-d"))


def argument(pod: Pod, flag: str, default: str = "") -> str:
    """What the injector passed to istio-iptables with this flag: there the mesh-wide defaults are seen, too."""
    for container in pod.spec.init_containers:
        if container.name in ("istio-init", "istio-validation") and flag in container.args[:-1]:
            return container.args[container.args.index(flag) + 1]
    return default


@lru_cache(maxsize=1024)
def _listed(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def _status_port(pod: Pod) -> str:
    return pod.annotations.get("status.sidecar.istio.io/port", "15020")


def would_inject(pod: Pod, namespace: Namespace, webhooks: Iterable[MutatingWebhookConfiguration]) -> bool:
    """A pod created now would get a sidecar, as far as labels and annotations tell (istio.md 1.1)."""
    if pod.spec.host_network or namespace.name in IGNORED_NAMESPACES or _opted_out(pod):
        return False
    return any(_calls(webhook, namespace, pod) for webhook in _injectors(webhooks))


def missing_cause(pod: Pod, namespace: Namespace, webhooks: Iterable[MutatingWebhookConfiguration]) -> Cause:
    """Why a pod has no sidecar: the webhooks' selectors first, then the injector's own order (istio.md 1.1)."""
    owner = workload(pod)
    if pod.spec.host_network:
        return Cause("hostNetwork pods are never injected", _move(owner.kind, owner.name, namespace.name))
    if namespace.name in IGNORED_NAMESPACES:
        return Cause(f"Istio never injects into {namespace.name}", f"run {owner.name} in another namespace")
    injectors = tuple(_injectors(webhooks))
    if not injectors:
        return Cause("no sidecar injector webhook is installed", "install istiod, or its revision's webhook")
    if any(_calls(webhook, namespace, pod) for webhook in injectors):
        return _cause_within_injector(pod)
    if pod.labels.get(INJECT) == "false":
        return Cause(f"its label {INJECT} is false", patch_template(owner, "labels", INJECT, None))
    return _cause_of_selectors(pod, namespace, injectors)


def _cause_within_injector(pod: Pod) -> Cause:
    owner = workload(pod)
    if _opted_out(pod):
        return Cause(f"its annotation {INJECT} is false", patch_template(owner, "annotations", INJECT, None))
    if owner.kind == "CronJob":
        return Cause("it was created before injection was turned on", "wait for its next run, or end it")
    return Cause(
        "a webhook would inject it now, so it was created before injection was turned on "
        "(or the injector's policy or neverInjectSelector leaves it out)",
        restart(owner),
    )


def _opted_out(pod: Pod) -> bool:
    """By annotation, which the injector honours where no label speaks."""
    return INJECT not in pod.labels and pod.annotations.get(INJECT) == "false"


def _cause_of_selectors(pod: Pod, namespace: Namespace, injectors: tuple[Webhook, ...]) -> Cause:
    labels = namespace.metadata.labels
    name = namespace.name
    revisions = _revisions(injectors)
    wanted = _wanted_label(injectors, revisions)
    then = restart(workload(pod))
    if (value := labels.get(NAMESPACE_INJECTION)) is not None:
        if value == "enabled":
            return Cause(
                "istio-injection=enabled needs a default revision, and none is installed",
                f"kubectl label namespace {name} {NAMESPACE_INJECTION}- {wanted} && {then}",
            )
        return Cause(
            f"the namespace's label {NAMESPACE_INJECTION} is {value!r}, not 'enabled'",
            f"kubectl label namespace {name} {_overriding(wanted)} --overwrite && {then}",
        )
    if (revision := labels.get(REVISION)) is not None or (revision := pod.labels.get(REVISION)) is not None:
        known = ", ".join(revisions) or "none"
        if REVISION in labels and wanted.startswith(NAMESPACE_INJECTION):
            wanted = f"{REVISION}- {wanted}"
        return Cause(
            f"revision {revision!r} has no webhook (there are: {known})",
            f"kubectl label namespace {name} {wanted} --overwrite && {then}",
        )
    return Cause(
        f"the namespace has neither the label {NAMESPACE_INJECTION} nor {REVISION}",
        f"kubectl label namespace {name} {wanted} && {then}",
    )


def _overriding(wanted: str) -> str:
    """istio-injection with any value hides istio.io/rev, and so must go when a revision is wanted."""
    return wanted if wanted.startswith(NAMESPACE_INJECTION) else f"{NAMESPACE_INJECTION}- {wanted}"


def _move(kind: str, name: str, namespace: str) -> str:
    return f"take `hostNetwork: true` out of {kind.lower()}/{name} in {namespace}, or run it in another namespace"


def _injectors(configurations: Iterable[MutatingWebhookConfiguration]) -> Iterator[Webhook]:
    for configuration in configurations:
        for webhook in configuration.webhooks:
            if webhook.name.endswith(_WEBHOOK):
                yield webhook


def _calls(webhook: Webhook, namespace: Namespace, pod: Pod) -> bool:
    labels = {"kubernetes.io/metadata.name": namespace.name, **namespace.metadata.labels}
    by_namespace = webhook.namespace_selector is None or webhook.namespace_selector.matches(labels)
    return by_namespace and (webhook.object_selector is None or webhook.object_selector.matches(pod.labels))


def _revisions(injectors: Iterable[Webhook]) -> tuple[str, ...]:
    """The revisions and tags that some webhook answers for."""
    found: set[str] = set()
    for webhook in injectors:
        for selector in (webhook.namespace_selector, webhook.object_selector):
            for term in selector.match_expressions if selector else ():
                if term.key == REVISION and term.operator == "In":
                    found.update(term.values)
    return tuple(sorted(found))


def _wanted_label(injectors: Iterable[Webhook], revisions: tuple[str, ...]) -> str:
    """The namespace label that turns injection on with what is installed."""
    probe = {NAMESPACE_INJECTION: "enabled"}
    if any(w.namespace_selector is not None and w.namespace_selector.matches(probe) for w in injectors):
        return f"{NAMESPACE_INJECTION}=enabled"
    return f"{REVISION}={revisions[0] if revisions else 'default'}"
