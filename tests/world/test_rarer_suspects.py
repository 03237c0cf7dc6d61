"""Suspects that few meshes have: default backends, conversions, whole ConfigMaps; and who is none after all."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rollout.model.kubernetes import (
    APIService,
    ConfigMap,
    CronJob,
    CustomResourceDefinition,
    Ingress,
    Object,
    OwnerReference,
    PodMonitor,
    Service,
    ValidatingWebhookConfiguration,
)
from rollout.model.traffic import Edge, Family, Party
from rollout.world.suspects import SHOWN, Clues, naming, references, shown, suspects
from tests.world.mesh_fakes import pod

EDGE = Edge(
    Party("unknown", "unknown"), Party("production", "orders"), "orders.production.svc.cluster.local", Family.HTTP,
    "none",
)  # fmt: skip


def _made(kind: type[Object], name: str, namespace: str = "production", **parts: Any) -> Any:
    return msgspec.convert({"metadata": {"name": name, "namespace": namespace}, **parts}, kind)


def _who(edge: Edge = EDGE, **clues: Any) -> list[tuple[str, str]]:
    return [(found.who, found.because) for found in suspects(edge, Clues(**clues))]


BACKEND = {"service": {"name": "orders", "port": {"name": "http"}}}
OTHER = {"service": {"name": "stock", "port": {"number": 80}}}


def test_an_ingress_may_lead_here_by_default() -> None:
    """Not one of another namespace, nor one that leads elsewhere."""
    rules = [{"host": "a.example.com"}, {"http": {"paths": [{"path": "/", "backend": OTHER}]}}]
    ingresses = (
        _made(Ingress, "far", "web", spec={"defaultBackend": BACKEND}),
        _made(Ingress, "else", spec={"rules": rules, "defaultBackend": {}}),
        _made(Ingress, "plain", spec={"rules": rules}),
        _made(Ingress, "shop", spec={"rules": rules, "defaultBackend": BACKEND}),
    )
    said = [("the ingress controller (the default class)", "Ingress production/shop by default leads to orders:http")]
    assert _who(ingresses=ingresses) == said


def _reference(name: str, namespace: str = "production") -> dict[str, Any]:
    return {"service": {"name": name, "namespace": namespace}}


def test_kube_apiserver_calls_hooks_apis_and_conversions() -> None:
    """Of this Service alone; one with a URL has no Service."""
    hooks = [
        {"name": "url.example.com", "clientConfig": {}},
        {"name": "far.example.com", "clientConfig": _reference("orders", "web")},
        {"name": "near.example.com", "clientConfig": _reference("orders")},
    ]
    conversions: list[dict[str, Any]] = [
        {}, {"conversion": {"strategy": "None"}}, {"conversion": {"webhook": {"clientConfig": {}}}},
        {"conversion": {"webhook": {"clientConfig": _reference("orders")}}},
    ]  # fmt: skip
    found = _who(
        validating=(_made(ValidatingWebhookConfiguration, "gate", "", webhooks=hooks),),
        api_services=(_made(APIService, "v1.apps", ""), _made(APIService, "v1.orders", "", spec=_reference("orders"))),
        definitions=tuple(
            _made(CustomResourceDefinition, f"d{n}", "", spec=spec) for n, spec in enumerate(conversions)
        ),
    )
    assert [because.partition(" calls ")[0] for _, because in found] == [
        "ValidatingWebhookConfiguration gate (near.example.com)",
        "APIService v1.orders",
        "CustomResourceDefinition d3",
    ]


def test_a_pod_monitor_of_other_pods_and_a_probe_of_a_command_are_none() -> None:
    """Nobody calls then."""
    monitor = _made(PodMonitor, "other", spec={"selector": {"matchLabels": {"app": "stock"}}})
    assert _who(pods=(pod(probe={"exec": {"command": ["true"]}}),), pod_monitors=(monitor,)) == []


def test_two_pods_with_one_probe_are_one_suspect() -> None:
    """The workload is said once."""
    probe = {"httpGet": {"port": 8080, "path": "/healthz"}}
    assert len(_who(pods=(pod("orders-7d9-a", probe=probe), pod("orders-7d9-b", probe=probe)))) == 1


def _job(**container: Any) -> Any:
    template = {"spec": {"containers": [{"name": "job", **container}]}}
    return _made(CronJob, "report", "batch", spec={"jobTemplate": {"spec": {"template": template}}})


FROM = [{"configMapRef": {"name": "targets"}}, {"secretRef": {"name": "keys"}}]


def test_a_whole_config_map_is_read_and_one_key_alone_of_another() -> None:
    """What the container does not take does not count."""
    job = _job(envFrom=FROM)
    data = {"A": "nothing", "URL": "http://orders.production/x"}
    maps = (_made(ConfigMap, "targets", "batch", data=data),)
    assert references([], [job]) == ("batch/targets",)
    expected = [("CronJob batch/report", "ConfigMap batch/targets URL: http://orders.production/x")]
    assert _who(cron_jobs=(job,), config_maps=maps) == expected
    one = {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "targets", "key": "A"}}}
    assert _who(cron_jobs=(_job(env=[one]),), config_maps=maps) == []


def test_a_cron_job_whose_pod_is_there_is_one_caller() -> None:
    """Found by its pod already."""
    job = _job(args=["http://orders.production/"])
    owner = (OwnerReference(kind="Job", name="report-29000000", controller=True),)
    one = pod("report-29000000-x", "batch", sidecar=False, env=[{"name": "URL", "value": "http://orders.production/"}])
    one = msgspec.structs.replace(one, metadata=msgspec.structs.replace(one.metadata, owner_references=owner))
    assert [who for who, _ in _who(pods=(one,), cron_jobs=(job,))] == ["CronJob batch/report"]


@pytest.mark.parametrize("service", ["", "unknown", "10.0.0.7:8080"])
def test_a_target_without_a_name_is_named_by_nobody(service: str) -> None:
    """Texts are searched for the names of Services."""
    assert _who(msgspec.structs.replace(EDGE, service=service), cron_jobs=(_job(args=["http://orders/"]),)) == []


def test_a_long_line_is_cut_around_the_match() -> None:
    """With a mark at each cut end."""
    pattern = naming(["orders"], "production", same=False)

    def cut(before: int, after: int) -> str:
        text = "first line\n" + "a " * before + "orders.production" + " b" * after
        match = pattern.search(text)
        assert match is not None
        return shown(text, match)

    assert cut(0, 500).startswith("orders.production")
    assert cut(0, 500).endswith("…")
    assert cut(500, 500).startswith("…")
    assert cut(500, 0).endswith("orders.production")
    assert {len(cut(0, 500)), len(cut(500, 500))} == {SHOWN + 1, SHOWN + 2}
    assert cut(1, 1) == "a orders.production b"


def test_a_service_is_found_by_its_selector() -> None:
    """Also where the metrics name it otherwise."""
    service = _made(Service, "front", spec={"selector": {"app": "orders"}})
    edge = msgspec.structs.replace(EDGE, service="unknown")
    job = _job(args=["http://front.production/"])
    found = _who(edge, pods=(pod(),), services=(service,), cron_jobs=(job,))
    assert found == [("CronJob batch/report", "job args: http://front.production/")]
