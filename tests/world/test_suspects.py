"""Who a nameless caller might be."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rollout.model.kubernetes import (
    ConfigMap,
    CronJob,
    Ingress,
    Object,
    PodMonitor,
    Service,
    ServiceMonitor,
    ValidatingWebhookConfiguration,
)
from rollout.model.traffic import Edge, Family, Party
from rollout.world.suspects import Clues, naming, references, suspects, without_credentials
from tests.world.mesh_fakes import pod

EDGE = Edge(
    Party("unknown", "unknown"),
    Party("production", "orders"),
    "orders.production.svc.cluster.local",
    Family.HTTP,
    "none",
)


def _object(kind: type[Object], name: str, namespace: str = "production", **parts: Any) -> Any:
    labels = parts.pop("labels", {})
    return msgspec.convert({"metadata": {"name": name, "namespace": namespace, "labels": labels}, **parts}, kind)


SERVICE = _object(Service, "orders", labels={"app": "orders"}, spec={"selector": {"app": "orders"}})
MONITOR = {"selector": {"matchLabels": {"app": "orders"}}, "endpoints": [{"port": "metrics"}]}


def _ingress() -> Any:
    backend = {"service": {"name": "orders", "port": {"number": 80}}}
    rule = {"host": "shop.example.com", "http": {"paths": [{"path": "/", "backend": backend}]}}
    return _object(Ingress, "shop", spec={"ingressClassName": "nginx", "rules": [rule]})


def _cron_job(**container: Any) -> Any:
    template = {"spec": {"containers": [{"name": "job", **container}]}}
    return _object(CronJob, "report", "batch", spec={"jobTemplate": {"spec": {"template": template}}})


def test_suspects_come_in_the_order_of_likelihood() -> None:
    """Ingress, Prometheus, kube-apiserver, kubelet, then whoever names the Service."""
    hook = {"name": "check.example.com", "clientConfig": {"service": {"namespace": "production", "name": "orders"}}}
    clues = Clues(
        pods=(pod(probe={"httpGet": {"port": 8080, "path": "/healthz"}}),),
        services=(SERVICE,),
        ingresses=(_ingress(),),
        service_monitors=(_object(ServiceMonitor, "orders", spec=MONITOR),),
        validating=(_object(ValidatingWebhookConfiguration, "gate", "", webhooks=[hook]),),
        cron_jobs=(_cron_job(args=["curl", "http://u:p4ss@orders.production:8080/x?token=abc"]),),
    )
    found = suspects(EDGE, clues)
    assert [suspect.who for suspect in found] == [
        "the ingress controller (nginx)",
        "Prometheus",
        "kube-apiserver",
        "the kubelet",
        "CronJob batch/report",
    ]
    assert found[2].fix == (
        "kube-apiserver has no sidecar: keep the container port that it calls PERMISSIVE, and exempt that policy"
    )
    assert found[0].because == "Ingress production/shop shop.example.com/ leads to orders:80"
    assert "p4ss" not in found[4].because
    assert "abc" not in found[4].because
    assert "orders.production:8080" in found[4].because


def test_nobody_fits_where_nothing_names_the_service() -> None:
    """Other Services, other namespaces and names that only begin alike are no suspects."""
    clues = Clues(
        pods=(pod(), pod("cron-1", "batch", workload="cron", sidecar=False, env=[{"name": "A", "value": "orders"}])),
        services=(SERVICE,),
        cron_jobs=(_cron_job(args=["http://orders.production-eu/", "http://reorders.production/"]),),
        service_monitors=(_object(ServiceMonitor, "orders", "monitoring", spec=MONITOR),),
    )
    assert suspects(EDGE, clues) == ()


def test_a_pod_without_a_sidecar_is_named_once_with_its_config_map() -> None:
    """Two pods of one Deployment are one suspect; envFrom leads to the ConfigMap."""
    config = _object(ConfigMap, "settings", "legacy", data={"URL": "http://orders.production.svc/api"})
    source = {"configMapKeyRef": {"name": "settings", "key": "URL"}}
    callers = [
        pod(f"old-{n}", "legacy", workload="old", sidecar=False, env=[{"name": "ORDERS", "valueFrom": source}])
        for n in range(2)
    ]
    assert references(callers, ()) == ("legacy/settings",)
    found = suspects(EDGE, Clues(pods=(pod(), *callers), services=(SERVICE,), config_maps=(config,)))
    assert [(s.who, s.because) for s in found] == [
        ("Deployment legacy/old", "ConfigMap legacy/settings URL: http://orders.production.svc/api")
    ]


def test_scrape_annotations_count_unless_they_name_the_agents_port() -> None:
    """Istio's metrics merging moves them to 15020, which is not captured."""
    scraped = {"prometheus.io/scrape": "true", "prometheus.io/port": "9090"}
    assert [s.who for s in suspects(EDGE, Clues(pods=(pod(annotations=scraped),)))] == ["Prometheus"]
    merged = scraped | {"prometheus.io/port": "15020"}
    assert suspects(EDGE, Clues(pods=(pod(annotations=merged),))) == ()


def test_a_pod_monitor_of_all_namespaces_is_a_suspect() -> None:
    """Its selector matches pods."""
    spec = {"selector": {"matchLabels": {"app": "orders"}}, "namespaceSelector": {"any": True}}
    monitor = _object(PodMonitor, "all", "monitoring", spec=spec)
    assert [s.who for s in suspects(EDGE, Clues(pods=(pod(),), pod_monitors=(monitor,)))] == ["Prometheus"]


@pytest.mark.parametrize(
    ("text", "same", "expected"),
    [
        ("http://orders.production:8080", False, True),
        ("orders.production.svc.cluster.local", False, True),
        ("pod-0.orders.production.svc", False, True),
        ("reorders.production", False, False),
        ("orders.production-eu", False, False),
        ("http://orders:8080/", False, False),
        ("http://orders/", True, True),
        ("jdbc:postgresql://user@orders/x", True, True),
        ("orders:8080", True, True),
        ("some orders here", True, False),
        ("/var/orders:80", True, False),
    ],
)
def test_what_names_a_service(text: str, same: bool, expected: bool) -> None:
    """With its namespace from anywhere; alone only within its namespace, as a host."""
    assert bool(naming(["orders"], "production", same=same).search(text)) is expected


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("postgres://admin:hunter2@orders.production/db", "hunter2"),
        ("--password=hunter2 --url http://orders.production", "hunter2"),
        ("--api-key hunter2", "hunter2"),
        ('{"client_secret": "hunter2"}', "hunter2"),
    ],
)
def test_credentials_are_cut_out(text: str, secret: str) -> None:
    """What is shown may land in a ticket."""
    assert secret not in without_credentials(text)
