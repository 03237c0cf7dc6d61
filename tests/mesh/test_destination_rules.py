"""Which DestinationRule a client uses, and what its TLS is (istio.md 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from rollout.mesh.destination_rules import Rules, TLSSetting, ports_of, resolved_host, subset_routes, tls_settings
from rollout.model.gateways import VirtualService
from rollout.model.istio import ClientTLSMode, DestinationRule

ROOT = "istio-system"
HOST = "orders.production.svc.cluster.local"
Make = Callable[..., DestinationRule]


def _names(rules: Rules, client: str) -> list[str]:
    return [found.name for found in rules.deciding(client, "production", HOST)]


def test_the_first_namespace_with_a_match_wins_whole(rule: Make) -> None:
    """Client, Service, root; nothing is merged between them."""
    root = rule("*.local", namespace=ROOT, name="root")
    service = rule("orders", namespace="production", name="service")
    client = rule(HOST, namespace="shop", name="client")
    assert _names(Rules((root, service, client), ROOT), "shop") == ["client"]
    assert _names(Rules((root, service, client), ROOT), "billing") == ["service"]
    assert _names(Rules((root, client), ROOT), "billing") == ["root"]
    assert _names(Rules((client,), ROOT), "billing") == []


@pytest.mark.parametrize(
    ("export_to", "clients"),
    [
        ([], ["production", "shop", "billing"]),
        (["*"], ["production", "shop", "billing"]),
        (["."], ["production"]),
        (["shop"], ["production", "shop"]),
        (["~"], ["production"]),
    ],
)
def test_export_to_limits_who_sees_a_rule(rule: Make, export_to: list[str], clients: list[str]) -> None:
    """Its own namespace always does."""
    rules = Rules((rule("orders", exportTo=export_to),), ROOT)
    seen = [client for client in ("production", "shop", "billing") if _names(rules, client)]
    assert seen == clients


def test_without_export_to_the_meshs_default_holds(rule: Make) -> None:
    """defaultDestinationRuleExportTo."""
    rules = Rules((rule("orders"),), ROOT, default_export_to=(".",))
    assert _names(rules, "production") == ["rule"]
    assert _names(rules, "shop") == []


def test_clients_in_the_root_namespace_see_its_private_rules_first(rule: Make) -> None:
    """Its public ones come last, as for everybody."""
    private = rule("*.local", namespace=ROOT, name="private", exportTo=["."])
    public = rule("*.local", namespace=ROOT, name="public")
    service = rule("orders", name="service")
    assert _names(Rules((private, public, service), ROOT), ROOT) == ["private"]
    assert _names(Rules((public, service), ROOT), ROOT) == ["service"]
    assert _names(Rules((public,), ROOT), ROOT) == ["public"]
    elsewhere = rule("*.local", namespace=ROOT, name="elsewhere", exportTo=["shop"])
    assert _names(Rules((elsewhere,), ROOT), ROOT) == []


def test_the_most_specific_host_wins_within_a_namespace(rule: Make) -> None:
    """The name, then the longest wildcard."""
    hosts = ["*", "*.local", "*.svc.cluster.local", "*.production.svc.cluster.local", HOST]
    rules = [rule(host, name=f"r{place}") for place, host in enumerate(hosts)]
    for place in reversed(range(len(rules))):
        assert _names(Rules(rules[: place + 1], ROOT), "shop") == [f"r{place}"]


@pytest.mark.parametrize(
    ("host", "resolved"),
    [("orders", HOST), ("orders.production", "orders.production"), ("*", "*"), ("*.local", "*.local"), (HOST, HOST)],
)
def test_only_a_name_without_dots_is_short(rule: Make, host: str, resolved: str) -> None:
    """`orders.production` matches nothing."""
    assert resolved_host(rule(host)) == resolved


def test_a_rule_with_a_workload_selector_is_for_some_clients_of_its_namespace(rule: Make) -> None:
    """The others take the next match."""
    some = rule(HOST, "DISABLE", namespace="shop", name="some", workloadSelector={"matchLabels": {"app": "cart"}})
    all_ = rule("orders", "ISTIO_MUTUAL", name="all")
    rules = Rules((some, all_), ROOT)
    assert _names(rules, "shop") == ["some", "all"]
    assert _names(rules, "billing") == ["all"]
    found = rules.settings("shop", "production", HOST)
    assert [(s.mode, s.some_clients) for s in found] == [
        (ClientTLSMode.DISABLE, True),
        (ClientTLSMode.ISTIO_MUTUAL, False),
    ]
    assert [(("app", "cart"),), ()] == [s.labels for s in found]


def test_rules_of_one_host_are_one_to_istio(rule: Make) -> None:
    """The oldest top-level policy, and of equal subsets the first."""

    def subset(name: str, mode: str) -> dict[str, Any]:
        return {"name": name, "trafficPolicy": {"tls": {"mode": mode}}}

    old = rule("orders", day=1, name="old", subsets=[subset("v1", "DISABLE"), {"name": "v3"}])
    middle = rule("orders", "SIMPLE", day=2, name="middle", subsets=[subset("v1", "SIMPLE"), subset("v2", "MUTUAL")])
    young = rule("orders", "DISABLE", day=3, name="young")
    found = Rules((young, middle, old), ROOT).settings("shop", "production", HOST)
    assert [(s.rule.name, s.subset, s.mode.value) for s in found] == [
        ("old", "v1", "DISABLE"),
        ("middle", "", "SIMPLE"),
        ("middle", "v2", "MUTUAL"),
    ]


def test_rules_for_some_clients_keep_their_own_policies(rule: Make) -> None:
    """They shadow nothing of the rule for all."""
    subsets = [{"name": "v1", "trafficPolicy": {"tls": {"mode": "DISABLE"}}}]
    some = rule("orders", "DISABLE", name="some", day=1, subsets=subsets, workloadSelector={"matchLabels": {"a": "b"}})
    all_ = rule("orders", "SIMPLE", name="all", day=2, subsets=subsets)
    assert [(s.rule.name, s.subset) for s in tls_settings((some, all_))] == [
        ("some", ""),
        ("some", "v1"),
        ("all", ""),
        ("all", "v1"),
    ]


def test_all_four_places_are_read_and_a_missing_mode_is_disable(rule: Make) -> None:
    """With the field for people and the pointer for a patch; a port without tls says nothing."""
    ports = [{"port": {"number": 79}}, {"port": {"number": 80}, "tls": {}}]
    made = rule(
        "orders",
        trafficPolicy={"tls": {}, "portLevelSettings": ports},
        subsets=[{"name": "v1", "trafficPolicy": {"tls": {"mode": "SIMPLE"}, "portLevelSettings": ports}}],
    )
    found = tls_settings((made,))
    assert [(s.field, s.pointer, s.port, s.mode.value) for s in found] == [
        ("spec.trafficPolicy.tls.mode", "/spec/trafficPolicy/tls", None, "DISABLE"),
        (
            "spec.trafficPolicy.portLevelSettings[80].tls.mode",
            "/spec/trafficPolicy/portLevelSettings/1/tls",
            80,
            "DISABLE",
        ),
        ("spec.subsets[v1].trafficPolicy.tls.mode", "/spec/subsets/0/trafficPolicy/tls", None, "SIMPLE"),
        (
            "spec.subsets[v1].trafficPolicy.portLevelSettings[80].tls.mode",
            "/spec/subsets/0/trafficPolicy/portLevelSettings/1/tls",
            80,
            "DISABLE",
        ),
    ]


def test_a_ports_own_setting_takes_it_from_the_general_one(rule: Make) -> None:
    """Within one rule and subset."""
    made = rule(
        "orders",
        trafficPolicy={"tls": {"mode": "DISABLE"}, "portLevelSettings": [{"port": {"number": 80}, "tls": {}}]},
    )
    general, own = tls_settings((made,))
    settings: tuple[TLSSetting, ...] = (general, own)
    assert ports_of(general, settings, (80, 81)) == (81,)
    assert ports_of(own, settings, (80, 81)) == (80,)
    assert ports_of(general, (general,), (80, 81)) == (80, 81)


@pytest.mark.parametrize(
    "rules",
    [
        (),
        ({"host": "orders", "namespace": "production"},),
        ({"host": "*.local", "namespace": ROOT}, {"host": HOST, "namespace": "shop"}),
        ({"host": "orders", "namespace": "production", "exportTo": ["billing"]},),
        ({"host": "orders", "namespace": "production", "exportTo": ["."]}, {"host": "other", "namespace": "web"}),
        ({"host": "*.production.svc.cluster.local", "namespace": ROOT, "exportTo": ["."]},),
    ],
)
def test_clients_in_one_group_see_the_same_rules(rule: Make, rules: tuple[dict[str, Any], ...]) -> None:
    """So that one stands for all: 200 namespaces without a rule for the host are one group."""
    made = [
        rule(spec.pop("host"), namespace=spec.pop("namespace"), name=f"r{number}", **spec)
        for number, spec in enumerate(dict(item) for item in rules)
    ]
    clients = ["billing", ROOT, "ops", "production", "shop", "web"]
    index = Rules(tuple(made), ROOT)
    groups = index.alike(clients, HOST)
    assert sorted(name for group in groups for name in group) == clients
    for group in groups:
        seen = {client: index.deciding(client, "production", HOST) for client in group}
        assert all(found == seen[group[0]] for found in seen.values())
    assert any("ops" in group and len(group) > 1 for group in groups)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"http": [{"route": [{"destination": {"host": "orders", "subset": "v1"}}]}]}, {(HOST, "v1")}),
        ({"tcp": [{"route": [{"destination": {"host": f"{HOST}.", "subset": "v1"}}]}]}, {(HOST, "v1")}),
        ({"tls": [{"route": [{"destination": {"host": "orders.production.svc"}}]}]}, {(HOST, "")}),
        ({"http": [{"mirror": {"host": HOST, "subset": "v2"}}]}, {(HOST, "v2")}),
        ({"http": [{"mirrors": [{"destination": {"host": HOST, "subset": "v3"}}]}]}, {(HOST, "v3")}),
        ({"http": [{"delegate": {"name": "other"}}]}, set()),
        ({"http": [{"route": [{"destination": {"host": "example.com"}}]}]}, {("example.com", "")}),
    ],
)
def test_whatever_a_virtual_service_names_is_a_route(spec: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    """A delegate is a VirtualService of its own, and named there."""
    route = msgspec.convert({"metadata": {"name": "r", "namespace": "production"}, "spec": spec}, VirtualService)
    assert expected == subset_routes([route])
