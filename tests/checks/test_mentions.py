"""Which Services and ports a pod's settings name."""

from __future__ import annotations

import pytest

from rollout.checks.mentions import Mentions, Named
from rollout.model.kubernetes import Container, EnvVar, PodSpec


@pytest.mark.parametrize(
    ("text", "namespace", "expected"),
    [
        ("http://orders.production:8080/x", "shop", [("orders", 8080)]),
        ("http://orders.production.svc.cluster.local:8080", "shop", [("orders", 8080)]),
        ("http://user:pw@orders.production/x", "shop", [("orders", 80)]),
        ("https://orders.production.svc", "shop", [("orders", 443)]),
        ("redis://cache.production", "shop", [("cache", None)]),
        ("orders.production", "shop", [("orders", None)]),
        ("cache-0.cache.production:6379,orders.production:1", "shop", [("cache", 6379), ("orders", 1)]),
        ("orders:8080", "production", [("orders", 8080)]),
        ("http://orders/", "production", [("orders", 80)]),
        ("orders:8080", "shop", []),
        ("http://orders.staging:8080", "shop", []),
    ],
)
def test_names_and_ports(text: str, namespace: str, expected: list[tuple[str, int | None]]) -> None:
    """A scheme's own port where none is written, None where nothing tells; short names only within the namespace."""
    spec = PodSpec(containers=(Container(name="app", env=(EnvVar(name="URL", value=text),)),))
    mentions = Mentions(("orders", "cache"), "production")
    assert expected == [(found.service, found.port) for found in mentions.of(spec, namespace)]


def test_texts_are_shown_without_credentials() -> None:
    """In arguments of init containers, too."""
    spec = PodSpec(init_containers=(Container(name="wait", args=("--url", "http://u:secret@orders.production")),))
    (found,) = Mentions(("orders",), "production").of(spec, "shop")
    assert found.text == "wait args: --url http://…@orders.production"


def test_without_services_nothing_is_named() -> None:
    """No pattern of nothing."""
    spec = PodSpec(containers=(Container(name="app", args=(".production",)),))
    assert [] == list(Mentions((), "production").of(spec, "production"))


def test_only_where_a_name_stands_is_looked_at() -> None:
    """In the order of the pods; whether the name means the Service is `Mentions`' business."""
    texts = ["http://orders.production", "nothing", "orders-cache", "cache:6379 and orders:8080"]
    specs = [PodSpec(containers=(Container(name="app", args=(text,)),)) for text in texts]
    named = Named(specs)
    assert [0, 3] == named.places(("orders",))
    assert [0, 3] == named.places(("orders", "cache"))
    assert [2] == named.places(("orders-cache",))
    assert [] == named.places(("payments",))
    assert [] == named.places(())
    for name in ("orders", "cache", "orders-cache"):
        mentions = Mentions((name,), "production")
        found = [place for place, spec in enumerate(specs) if list(mentions.of(spec, "production"))]
        assert set(found) <= set(named.places((name,)))
