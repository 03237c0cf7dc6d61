"""Which objects a question is about, and what is said of those that are not there."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.diagnosis.question import OfPod, Pair, Question, question
from rollout.diagnosis.reading import read
from rollout.errors import Forbidden, UsageError
from rollout.model.gateways import VirtualService
from rollout.model.istio import DestinationRule, MeshConfig, PeerAuthentication
from rollout.model.kubernetes import ConfigMap, Namespace, Object, Service
from rollout.world.certificates import ROOT_CERT
from rollout.world.world import KindUnreadable
from tests.diagnosis.makers import NOW, peers, pod, routes, rule, service, space
from tests.world.mesh_fakes import FakeCluster

MESH = MeshConfig()


PAIR = question(source="web-1.shop", to="ledger.payments:80")
POD = question("ledger-0.payments")


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


def test_virtual_services_are_read_where_a_rule_has_subsets() -> None:
    """Of the whole cluster: any of them may lead to one."""
    subsets = [{"name": "v1", "trafficPolicy": {"tls": {"mode": "DISABLE"}}}]
    for each, expected in (
        (rule("DISABLE"), 0),
        (rule(None, subsets=[{"name": "v1"}]), 0),
        (rule(None, subsets=subsets), 1),
    ):
        cluster, ask = asked_of(pod("web-1", "shop"), pod(), service(), each, routes("v1"))
        assert expected == len(ask().world.of(VirtualService))
        assert expected == len([name for name in cluster.lists if name.startswith("virtualservices")])
    cluster, ask = asked_of(pod("web-1", "shop"), pod(), service(), rule(None, subsets=subsets), routes("v1"))
    cluster.refuse = {"destinationrules": Forbidden("no")}
    with pytest.raises(KindUnreadable, match="list destinationrules"):
        ask().world.of(DestinationRule)
    assert () == ask().world.of(VirtualService)


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
