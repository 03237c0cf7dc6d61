"""What is read from a control plane's ConfigMaps (istio.md 2.3)."""

from __future__ import annotations

import pytest

from rollout.errors import Outcome, RolloutError
from rollout.mesh.mesh_config import mesh_config, parse, seconds
from rollout.model.istio import MeshConfig
from rollout.model.kubernetes import ConfigMap, Metadata


def _map(name: str = "istio", *, namespace: str = "istio-system", **data: str) -> ConfigMap:
    return ConfigMap(metadata=Metadata(name=name, namespace=namespace), data=data)


MESH = """
rootNamespace: istio-config
enableAutoMtls: false
trustDomain: corp.example
trustDomainAliases: [old.example]
defaultConfig:
  drainDuration: 1m30s
  statusPort: 15999
defaultDestinationRuleExportTo: ["."]
"""


def test_what_is_absent_has_istios_default() -> None:
    """An empty mesh is a valid one."""
    assert parse(_map(mesh="")) == MeshConfig()
    assert parse(_map(mesh="defaultConfig:\nenableAutoMtls: true\n")) == MeshConfig()


def test_what_is_written_is_read() -> None:
    """All fields that some rule reads."""
    assert parse(_map("istio-1-29", mesh=MESH)) == MeshConfig(
        revision="1-29",
        namespace="istio-system",
        root_namespace="istio-config",
        enable_auto_mtls=False,
        trust_domain="corp.example",
        trust_domain_aliases=("old.example",),
        drain_seconds=90.0,
        status_port=15999,
        default_destination_rule_export_to=(".",),
    )


def test_the_trust_domains_begin_with_the_meshs_own() -> None:
    """Its aliases are the same mesh."""
    assert parse(_map(mesh=MESH)).trust_domains == ("corp.example", "old.example")


def test_the_root_namespace_is_the_control_planes_own_by_default() -> None:
    """istiod in another namespace writes that as root."""
    assert parse(_map(namespace="mesh", mesh="")).root_namespace == "mesh"


@pytest.mark.parametrize(
    "mesh",
    [
        "- a list",
        "key: [",
        "defaultConfig: {drainDuration: soon}",
        "defaultConfig: text",
        "defaultConfig: {statusPort: x}",
        "trustDomainAliases: old.example",
    ],
)
def test_what_cannot_be_read_is_said_with_its_object(mesh: str) -> None:
    """No default stands in for it."""
    with pytest.raises(RolloutError) as caught:
        parse(_map(mesh=mesh))
    assert caught.value.where.startswith("ConfigMap istio-system/istio: ")
    assert caught.value.outcome is Outcome.CANNOT_SEE


@pytest.mark.parametrize(("text", "value"), [("45s", 45), ("1m30s", 90), ("0.5s", 0.5), ("1h", 3600), ("1500ms", 1.5)])
def test_durations(text: str, value: float) -> None:
    """As protobuf and Go write them."""
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "45", "s", "45 s", "45sx", None])
def test_what_is_no_duration(text: str | None) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="no duration"):
        seconds(text)


def test_each_revision_has_its_own() -> None:
    """`istio` is the default one's."""
    maps = (_map(mesh="trustDomain: a"), _map("istio-1-29", mesh="trustDomain: b"), _map("istio-ca-root-cert"))
    assert mesh_config(maps).trust_domain == "a"
    assert mesh_config(maps, "").trust_domain == "a"
    assert mesh_config(maps, "1-29").trust_domain == "b"


def test_a_single_control_plane_is_everybodys() -> None:
    """A tag names none of them; none at all has Istio's defaults."""
    assert mesh_config((_map("istio-1-29", mesh="trustDomain: b"),), "stable").trust_domain == "b"
    assert mesh_config((), "stable") == MeshConfig(revision="stable")


def test_a_revision_that_none_of_several_has_is_an_error() -> None:
    """Choosing one would be a guess."""
    maps = (_map("istio-a", namespace="mesh", mesh=""), _map("istio-b", mesh=""))
    with pytest.raises(RolloutError) as caught:
        mesh_config(maps, "c")
    assert caught.value.limit == "one of istio-system/istio-b, mesh/istio-a"


@pytest.mark.parametrize(
    ("values", "rewrites"),
    [
        ('{"sidecarInjectorWebhook": {"rewriteAppHTTPProbe": false}}', False),
        ('{"sidecarInjectorWebhook": {"rewriteAppHTTPProbe": true}}', True),
        ("{}", True),
    ],
)
def test_whether_probes_are_rewritten_stands_with_the_injector(values: str, rewrites: bool) -> None:
    """Of the same revision."""
    maps = (
        _map("istio-r", mesh=""),
        _map("istio-sidecar-injector-r", values=values),
        _map("istio-sidecar-injector", values='{"sidecarInjectorWebhook": {"rewriteAppHTTPProbe": false}}'),
    )
    assert mesh_config(maps, "r").rewrite_probes is rewrites


@pytest.mark.parametrize("values", ["{", "[]", '{"sidecarInjectorWebhook": []}'])
def test_unreadable_values_are_said(values: str) -> None:
    """They are JSON."""
    with pytest.raises(RolloutError) as caught:
        mesh_config((_map(mesh=""), _map("istio-sidecar-injector", values=values)))
    assert "istio-sidecar-injector" in caught.value.where
