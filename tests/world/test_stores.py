"""Services that look like a Prometheus, as the usual charts and manifests make them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rollout.model.kubernetes import Service
from rollout.world.stores import stores

NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"


def _service(name: str, ports: dict[str, int], labels: dict[str, str] | None = None, **spec: Any) -> Service:
    raw = {
        "metadata": {"name": name, "namespace": "monitoring", "labels": labels or {}},
        "spec": {"ports": [{"name": port, "port": number} for port, number in ports.items()], **spec},
    }
    return msgspec.convert(raw, Service)


@pytest.mark.parametrize(
    ("service", "address"),
    [
        (_service("prometheus", {"http": 9090}, {NAME: "prometheus"}), "prometheus.monitoring:9090"),
        (
            _service("prometheus-server", {"http": 80}, {NAME: "prometheus", COMPONENT: "server"}),
            "prometheus-server.monitoring:80",
        ),
        (
            _service("old-prometheus-server", {"http": 80}, {"app": "prometheus", "component": "server"}),
            "old-prometheus-server.monitoring:80",
        ),
        (
            _service("prometheus-k8s", {"web": 9090, "reloader-web": 8080},
                     {NAME: "prometheus", COMPONENT: "prometheus"}),
            "prometheus-k8s.monitoring:9090",
        ),
        (
            _service("mon-kube-prometheus-st-prometheus", {"http-web": 9091, "reloader-web": 8080},
                     {"app": "mon-kube-prometheus-st-prometheus"}),
            "mon-kube-prometheus-st-prometheus.monitoring:9091",
        ),
        (_service("metering", {"api": 9090}, {"operated-prometheus": "true"}), "metering.monitoring:9090"),
        (_service("team-prometheus", {"web": 80}), "team-prometheus.monitoring:80"),
        (_service("prometheus", {"https": 9090}), "https:prometheus.monitoring:9090"),
    ],
    ids=lambda value: value.name if isinstance(value, Service) else "",
)  # fmt: skip
def test_the_usual_ones_are_found(service: Service, address: str) -> None:
    """By labels, or by name and port."""
    assert [address] == [store.address for store in stores([service])]


@pytest.mark.parametrize(
    "service",
    [
        _service("prometheus-alertmanager", {"http": 9093}, {"app": "prometheus", "component": "alertmanager"}),
        _service("prometheus-node-exporter", {"metrics": 9100}, {NAME: "prometheus-node-exporter"}),
        _service("prometheus-operator", {"http": 8080}, {NAME: "prometheus-operator"}),
        _service("prometheus-pushgateway", {"http": 9090}, {NAME: "prometheus"}),
        _service("prometheus-operated-thanos", {"grpc": 10901}, {"operated-prometheus": "true"}),
        _service("orders", {"http": 9090}, {"app": "orders"}),
        _service("prometheus", {"http": 8080}),
        _service("prometheus", {}, {NAME: "prometheus"}, type="ExternalName", externalName="prometheus.example.com"),
    ],
    ids=lambda service: f"{service.name}-{service.spec.type}",
)
def test_what_stands_beside_it_is_none(service: Service) -> None:
    """Nor is a Service that leads out of the cluster, or whose ports say nothing."""
    assert () == stores([service])


def test_the_headless_one_comes_last() -> None:
    """An operator makes it beside the real one; both lead to the same pods."""
    operated = _service("prometheus-operated", {"http-web": 9090}, {"operated-prometheus": "true"}, clusterIP="None")
    real = _service("z-prometheus", {"http-web": 9090})
    assert ["monitoring/z-prometheus:9090", "monitoring/prometheus-operated:9090 (headless)"] == [
        str(store) for store in stores([operated, real])
    ]
