"""Makers of the objects that Istio's rules are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from rollout.model.istio import DestinationRule, PeerAuthentication
from rollout.model.kubernetes import Namespace, Pod, Service

DAY = "2026-01-{:02}T00:00:00Z"


@pytest.fixture
def policy() -> Callable[..., PeerAuthentication]:
    """A PeerAuthentication; `day` is its age, larger is younger."""

    def make(
        name: str = "default",
        mode: str | None = None,
        *,
        namespace: str = "production",
        day: int | None = 1,
        selector: dict[str, str] | None = None,
        ports: dict[str, str] | None = None,
    ) -> PeerAuthentication:
        spec: dict[str, Any] = {"portLevelMtls": {port: {"mode": value} for port, value in (ports or {}).items()}}
        if mode is not None:
            spec["mtls"] = {"mode": mode}
        if selector is not None:
            spec["selector"] = {"matchLabels": selector}
        metadata = {"name": name, "namespace": namespace}
        if day is not None:
            metadata["creationTimestamp"] = DAY.format(day)
        return msgspec.convert({"metadata": metadata, "spec": spec}, PeerAuthentication)

    return make


@pytest.fixture
def pod() -> Callable[..., Pod]:
    """An injected pod with one container `app`; keywords override what differs."""

    def make(
        name: str = "orders-1",
        *,
        namespace: str = "production",
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
        containers: list[dict[str, Any]] | None = None,
        init: list[dict[str, Any]] | None = None,
        owner: tuple[str, str] | None = None,
        sidecar: bool = True,
        **rest: Any,
    ) -> Pod:
        proxy = [{"name": "istio-proxy", "args": ["proxy", "sidecar"], "ports": [{"containerPort": 15090}]}]
        app = (
            [{"name": "app", "ports": [{"containerPort": 8080, "name": "http"}]}] if containers is None else containers
        )
        status = {"sidecar.istio.io/status": "{}"} if sidecar else {}
        metadata: dict[str, Any] = {
            "name": name,
            "namespace": namespace,
            "labels": {"app": "orders"} if labels is None else labels,
            "annotations": status | (annotations or {}),
            **rest.pop("metadata", {}),
        }
        if owner:
            metadata["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
        spec = {
            "containers": app + (proxy if sidecar else []),
            "initContainers": init or [],
            **rest.pop("spec", {}),
        }
        return msgspec.convert({"metadata": metadata, "spec": spec, "status": {"phase": "Running"} | rest}, Pod)

    return make


@pytest.fixture
def namespace() -> Callable[..., Namespace]:
    """A Namespace with labels."""

    def make(name: str = "production", **labels: str) -> Namespace:
        return msgspec.convert({"metadata": {"name": name, "labels": labels}}, Namespace)

    return make


@pytest.fixture
def service() -> Callable[..., Service]:
    """A Service `orders` that selects app=orders."""

    def make(ports: list[dict[str, Any]] | None = None, **spec: Any) -> Service:
        body = {"selector": {"app": "orders"}, "ports": ports or [{"port": 80, "targetPort": 8080}]} | spec
        return msgspec.convert({"metadata": {"name": "orders", "namespace": "production"}, "spec": body}, Service)

    return make


@pytest.fixture
def rule() -> Callable[..., DestinationRule]:
    """A DestinationRule of one host; `tls` is its top-level mode ('' for a tls without one)."""

    def make(
        host: str,
        tls: str | None = None,
        *,
        namespace: str = "production",
        name: str = "rule",
        day: int = 1,
        **spec: Any,
    ) -> DestinationRule:
        body: dict[str, Any] = {"host": host} | spec
        if tls is not None:
            body["trafficPolicy"] = {"tls": {"mode": tls} if tls else {}}
        metadata = {"name": name, "namespace": namespace, "creationTimestamp": DAY.format(day)}
        return msgspec.convert({"metadata": metadata, "spec": body}, DestinationRule)

    return make
