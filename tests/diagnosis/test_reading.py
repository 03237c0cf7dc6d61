"""What a diagnosis asks of the API server: as much in a big cluster as in a small one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.kubernetes import KubernetesCluster, connect
from rollout.diagnosis.question import OfPod, Pair, Question, question
from rollout.diagnosis.reading import read
from rollout.errors import Forbidden, UsageError
from rollout.lab.api import Store
from rollout.lab.clock import VirtualClock
from rollout.lab.server import LabServer
from rollout.model.istio import MeshConfig, PeerAuthentication
from rollout.model.kubernetes import ConfigMap, Namespace, Object, Pod, Service
from rollout.world.certificates import ROOT_CERT
from rollout.world.world import KindUnreadable
from tests.diagnosis.makers import NOW, peers, pod, rule, service, space
from tests.world.mesh_fakes import FakeCluster

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


def root(namespace: str) -> ConfigMap:
    """The mesh's root."""
    from msgspec import convert

    return convert({"metadata": {"name": ROOT_CERT, "namespace": namespace}, "data": {"root-cert.pem": "x"}}, ConfigMap)


def asked_of(*objects: Object, asked: Question = PAIR) -> tuple[FakeCluster, Any]:
    """A cluster of objects, and what is found in it."""
    assert isinstance(asked, Pair | OfPod)
    cluster = FakeCluster(*objects)
    return cluster, lambda: read(asked, cluster, MESH, NOW)


def test_the_objects_of_a_pair() -> None:
    """Policies of the root and the server's namespace, rules of the client's as well."""
    objects = [
        pod("web-1", "shop"), pod(), service(), space("shop"), space("payments"), root("shop"),
        peers("STRICT", "istio-system"), peers("STRICT", "payments"), peers("STRICT", "shop"),
        rule("DISABLE", "shop"), rule("DISABLE", "ops"), rule("DISABLE", "istio-system"),
    ]  # fmt: skip
    _, ask = asked_of(*objects)
    found = ask()
    assert ("web-1", "ledger") == (found.client.name, found.service.name)
    assert {"istio-system", "payments"} == {p.namespace for p in found.world.of(PeerAuthentication)}
    assert ["ledger-1"] == [p.name for p in found.servers]
    assert ["shop"] == [c.namespace for c in found.world.of(ConfigMap)]
    assert ["payments", "shop"] == sorted(n.name for n in found.world.of(Namespace))


def test_a_call_to_a_pod() -> None:
    """No Service of that name: the pod itself."""
    _, ask = asked_of(pod("web-1", "shop"), pod(), asked=question(source="web-1.shop", to="ledger-1.payments:8080"))
    found = ask()
    assert (None, ["ledger-1"]) == (found.service, [p.name for p in found.servers])


def test_a_service_without_a_selector() -> None:
    """It has no pods that one could ask for."""
    cluster, ask = asked_of(pod("web-1", "shop"), pod(), service(selector={}))
    assert () == ask().servers
    assert not [each for each in cluster.lists if each.startswith("pods")]


def test_the_services_of_a_pod() -> None:
    """All of its namespace: some of them lead to it."""
    _, ask = asked_of(pod(), service(), service("other"), asked=question("ledger-1.payments"))
    assert ["ledger", "other"] == [s.name for s in ask().world.of(Service)]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (question("ledger.payments"), "there is no pod ledger in payments; did you mean ledger-1.payments?"),
        (question("leger-1.payments"), "there is no pod leger-1 in payments; did you mean ledger-1.payments?"),
        (question("zzz.payments"), "there is no pod zzz in payments"),
        (
            question(source="web-1.shop", to="leger.payments:80"),
            "there is no Service or pod leger in payments; did you mean ledger.payments?",
        ),
    ],
)
def test_what_does_not_exist(asked: Question, problem: str) -> None:
    """A usage error with a guess."""
    _, ask = asked_of(pod("web-1", "shop"), pod(), service(), asked=asked)
    with pytest.raises(UsageError) as caught:
        ask()
    assert problem == caught.value.problem


def test_what_may_not_be_read() -> None:
    """The pair's other objects become unreadable, with the right that is missing."""
    cluster, ask = asked_of(pod("web-1", "shop"), pod(), service())
    cluster.refuse = {
        "peerauthentications": Forbidden("no"),
        "get namespaces": Forbidden("no"),
        "get configmaps": Forbidden("no"),
    }
    found = ask()
    with pytest.raises(KindUnreadable, match="not permitted: list peerauthentications"):
        found.world.of(PeerAuthentication)
    with pytest.raises(KindUnreadable, match="not permitted: get namespaces"):
        found.world.of(Namespace)
    cluster.refuse = {"get pods": Forbidden("no")}
    with pytest.raises(Forbidden):
        ask()
