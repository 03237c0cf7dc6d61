"""What a diagnosis asks of the API server: as much in a big cluster as in a small one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.kubernetes import KubernetesCluster, connect
from rollout.diagnosis.question import OfPod, Pair, question
from rollout.diagnosis.reading import read
from rollout.lab.api import Store
from rollout.lab.clock import VirtualClock
from rollout.lab.server import LabServer
from rollout.model.istio import MeshConfig
from rollout.model.kubernetes import Pod
from tests.diagnosis.makers import NOW

MESH = MeshConfig()


class Counted:
    """A cluster of the lab with so many pods, and the requests that it got."""

    def __init__(self, server: LabServer, cluster: KubernetesCluster, requests: list[str]) -> None:
        """Keep them."""
        self.server = server
        self.cluster = cluster
        self.requests = requests


def fill(store: Store, pods: int) -> None:
    """A pair in two namespaces, and other pods beside it in both."""
    for name in ("shop", "payments", "istio-system"):
        store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    store.create(_service())
    _pod(store, "web-1", "shop", "web")
    for number in range(2):
        _pod(store, f"ledger-{number}", "payments", "ledger")
    for number in range(pods):
        _pod(store, f"other-{number}", ("shop", "payments")[number % 2], "other")


def _service() -> dict[str, Any]:
    spec = {"selector": {"app": "ledger"}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "ledger", "namespace": "payments"},
        "spec": spec,
    }


def _pod(store: Store, name: str, namespace: str, app: str) -> None:
    metadata = {"name": name, "namespace": namespace, "labels": {"app": app}}
    spec = {"containers": [{"name": "app", "image": "app"}]}
    store.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Callable[[int], Counted]]:
    """A maker; everything is closed at the end."""
    opened: list[tuple[LabServer, KubernetesCluster]] = []

    def make(pods: int) -> Counted:
        clock = VirtualClock(datetime(2026, 3, 2, 12, tzinfo=UTC))
        store = Store(clock.now)
        fill(store, pods)
        server = LabServer(store, clock)
        server.start()
        config = tmp_path / f"config-{pods}"
        config.write_text(server.kubeconfig())
        cluster = connect(str(config), None, sleep=lambda _: None)
        opened.append((server, cluster))
        requests: list[str] = []
        send = cluster._transport.send

        def counting(method: str, path: str, **options: Any) -> bytes:
            requests.append(f"{method} {path}")
            return send(method, path, **options)

        cluster._transport.send = counting  # type: ignore[method-assign]
        return Counted(server, cluster, requests)

    yield make
    for server, cluster in opened:
        cluster.close()
        server.stop()


PAIR = question(source="web-1.shop", to="ledger.payments:80")
POD = question("ledger-0.payments")


@pytest.mark.parametrize("asked", [PAIR, POD], ids=str)
def test_as_many_requests_in_a_cluster_of_5000_pods_as_in_one_of_50(
    counted: Callable[[int], Counted], asked: OfPod | Pair
) -> None:
    """No list without a namespace and a selector is one of pods; the very requests are the same."""
    small, large = counted(50), counted(5000)
    found = [read(asked, each.cluster, MESH, NOW) for each in (small, large)]
    assert small.requests == large.requests
    assert len(large.requests) <= 40
    assert [len(f.world.of(Pod)) for f in found] == [3 if isinstance(asked, Pair) else 1] * 2
    lists = [request for request in large.requests if request.endswith("/pods")]
    assert lists == (["GET /api/v1/namespaces/payments/pods"] if isinstance(asked, Pair) else [])
    assert large.cluster.list(Pod)  # a list of all, by contrast, takes eleven pages
    assert 11 == large.requests.count("GET /api/v1/pods")
