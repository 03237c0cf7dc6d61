"""Objects and worlds that a diagnosis is about."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from rollout.diagnosis.reading import Found
from rollout.model.gateways import VirtualService
from rollout.model.istio import AuthorizationPolicy, DestinationRule, PeerAuthentication
from rollout.model.kubernetes import (
    ConfigMap,
    CronJob,
    Deployment,
    MutatingWebhookConfiguration,
    Namespace,
    Object,
    Pod,
    Service,
    StatefulSet,
)
from rollout.world.reads import Objects, Read
from rollout.world.world import Reading, Unreadable, World

T = TypeVar("T", bound=Object)
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
KINDS: tuple[type[Object], ...] = (
    Pod,
    Service,
    Namespace,
    MutatingWebhookConfiguration,
    PeerAuthentication,
    DestinationRule,
    VirtualService,
    AuthorizationPolicy,
    ConfigMap,
    Deployment,
    StatefulSet,
    CronJob,
)


def pod(name: str = "ledger-1", namespace: str = "payments", *, sidecar: bool = True, **more: Any) -> Pod:
    """A pod of `app=NAME without its number` on port 8080; keywords: labels, annotations, probe, role, init, spec."""
    app = name.rpartition("-")[0] or name
    container: dict[str, Any] = {"name": "app", "ports": [{"containerPort": 8080}]}
    if "probe" in more:
        container["readinessProbe"] = more["probe"]
    proxy = {"name": "istio-proxy", "args": ["proxy", more.get("role", "sidecar")]}
    mesh = {"security.istio.io/tlsMode": "istio"} if sidecar else {}
    status = {"sidecar.istio.io/status": "{}"} if sidecar else {}
    raw = {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app": app, **mesh, **more.get("labels", {})},
            "annotations": {**status, **more.get("annotations", {})},
            "ownerReferences": [{"kind": "StatefulSet", "name": app, "controller": True}],
        },
        "spec": {
            "containers": [container, *([proxy] if sidecar else [])],
            "initContainers": more.get("init", []),
            "serviceAccountName": app,
            **more.get("spec", {}),
        },
        "status": {"phase": more.get("phase", "Running"), "podIP": more.get("ip", "10.0.0.1")},
    }
    return msgspec.convert(raw, Pod)


def service(name: str = "ledger", namespace: str = "payments", **spec: Any) -> Service:
    """A Service `http 80 -> 8080` that selects app=NAME."""
    body = {
        "selector": {"app": name},
        "clusterIP": "10.96.0.7",
        "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        **spec,
    }
    return msgspec.convert({"metadata": {"name": name, "namespace": namespace}, "spec": body}, Service)


def peers(mode: str | None, namespace: str = "payments", name: str = "default", **spec: Any) -> PeerAuthentication:
    """A PeerAuthentication; keywords: selector (labels), ports."""
    body: dict[str, Any] = {"mtls": {"mode": mode}} if mode else {}
    if "selector" in spec:
        body["selector"] = {"matchLabels": spec["selector"]}
    if "ports" in spec:
        body["portLevelMtls"] = {port: {"mode": value} for port, value in spec["ports"].items()}
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return msgspec.convert({"metadata": metadata, "spec": body}, PeerAuthentication)


def rule(mode: str | None, namespace: str = "shop", name: str = "rule", **spec: Any) -> DestinationRule:
    """A DestinationRule for ledger.payments."""
    body: dict[str, Any] = {"host": "ledger.payments.svc.cluster.local", **spec}
    if mode is not None:
        body["trafficPolicy"] = {"tls": {"mode": mode}}
    return msgspec.convert({"metadata": {"name": name, "namespace": namespace}, "spec": body}, DestinationRule)


def routes(subset: str, name: str = "ledger") -> VirtualService:
    """A VirtualService of payments that leads to a subset of a Service there."""
    to = {"destination": {"host": name, "subset": subset}}
    raw = {"metadata": {"name": name, "namespace": "payments"}, "spec": {"http": [{"route": [to]}]}}
    return msgspec.convert(raw, VirtualService)


def policy(action: str = "ALLOW", *rules: dict[str, Any], name: str = "rules", **spec: Any) -> AuthorizationPolicy:
    """An AuthorizationPolicy in payments."""
    body = {"action": action, "rules": list(rules), **spec}
    return msgspec.convert({"metadata": {"name": name, "namespace": "payments"}, "spec": body}, AuthorizationPolicy)


def space(name: str, **labels: str) -> Namespace:
    """A Namespace with sidecar injection."""
    return msgspec.convert({"metadata": {"name": name, "labels": {"istio-injection": "enabled", **labels}}}, Namespace)


def world(*objects: Object, unreadable: dict[type[Object], str] | None = None) -> World:
    """A world in which the kinds of a diagnosis were read."""
    found: dict[type[Object], tuple[Object, ...]] = {
        kind: tuple(each for each in objects if type(each) is kind) for kind in KINDS
    }
    readings: dict[Read, Reading] = {Objects(kind): Reading(NOW, value) for kind, value in found.items()}
    for kind, reason in (unreadable or {}).items():
        readings[Objects(kind)] = Reading(NOW, Unreadable(reason))
    return World(readings)


def found(
    *objects: Object,
    client: Pod | None = None,
    to: Service | None = None,
    servers: Iterable[Pod] = (),
    unreadable: dict[type[Object], str] | None = None,
) -> Found:
    """A question's objects; client, Service and servers are in its world."""
    answering = tuple(servers)
    spaces = [each for each in objects if isinstance(each, Namespace)] or [space("shop"), space("payments")]
    rest = [each for each in objects if not isinstance(each, Namespace)]
    all_of_them = [*([client] if client else []), *answering, *([to] if to else []), *spaces, *rest]
    return Found(world=world(*all_of_them, unreadable=unreadable), servers=answering, client=client, service=to)
