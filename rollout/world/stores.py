"""Which Services of a cluster look like a Prometheus: by labels and names, and the port that its API has."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from rollout.model.kubernetes import Service, ServicePort

_NAME, _COMPONENT = ("app.kubernetes.io/name", "app"), ("app.kubernetes.io/component", "component")
#: kube-prometheus-stack calls its app `RELEASE-prometheus`.
_APP = re.compile(r"prometheus|[a-z0-9-]*kube-prom[a-z0-9-]*-prometheus")
#: What is installed along with it, and answers no query.
_BESIDE = re.compile(r"alertmanager|operator|exporter|pushgateway|adapter|metrics|grafana|thanos|webhook")
_PORT, _PORT_NAMES = 9090, ("http-web", "web")
#: What the older chart's Service has, where labels say that it is one.
_PLAIN = ("http", "https", "http-prometheus")


class Store(msgspec.Struct, frozen=True, order=True):
    """A Service that looks like a Prometheus; without an address of its own it is `headless`."""

    headless: bool
    namespace: str
    name: str
    port: int
    tls: bool = False

    @property
    def address(self) -> str:
        """What `--prometheus` takes."""
        return f"{'https:' if self.tls else ''}{self.name}.{self.namespace}:{self.port}"

    def __str__(self) -> str:
        """`monitoring/prometheus:9090`."""
        return f"{self.namespace}/{self.name}:{self.port}" + (" (headless)" if self.headless else "")


def stores(services: Iterable[Service]) -> tuple[Store, ...]:
    """Those with an address of their own first, then by namespace and name."""
    found = []
    for service in services:
        port = _port(service)
        if port is not None:
            tls = "https" in (port.name, port.app_protocol)
            headless = service.spec.cluster_ip == "None"
            found.append(Store(headless, service.namespace, service.name, port.port, tls))
    return tuple(sorted(found))


def _port(service: Service) -> ServicePort | None:
    """The port of its API; None where it does not look like a Prometheus."""
    labelled, ports = _labelled(service), service.spec.ports
    if service.spec.type == "ExternalName" or _BESIDE.search(service.name) or not (labelled or _named(service)):
        return None
    usual = [p for p in ports if p.port == _PORT] or [p for p in ports if p.name in _PORT_NAMES]
    plain = [p for p in ports if p.name in _PLAIN] or (list(ports) if len(ports) == 1 else [])
    return next(iter(usual or (plain if labelled else [])), None)


def _labelled(service: Service) -> bool:
    labels = service.metadata.labels
    if labels.get("operated-prometheus"):
        return True
    component = next((labels[key] for key in _COMPONENT if key in labels), "prometheus")
    return component in ("prometheus", "server") and any(_APP.fullmatch(labels.get(key, "")) for key in _NAME)


def _named(service: Service) -> bool:
    return "prometheus" in re.split(r"[.-]", service.name)
