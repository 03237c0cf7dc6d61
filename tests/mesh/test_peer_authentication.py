"""Which PeerAuthentication decides (istio.md 2.1)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.mesh.peer_authentication import (
    Effective,
    Policies,
    effective,
    effective_modes,
    inherited,
    namespace_policy,
    without_effect,
)
from rollout.model.istio import Mode, Mtls, PeerAuthentication, PeerAuthenticationSpec, WorkloadSelector
from rollout.model.kubernetes import Metadata, Pod, Ref

ROOT = "istio-system"
Make = Callable[..., PeerAuthentication]
MakePod = Callable[..., Pod]


def _ref(name: str, namespace: str = "production") -> Ref:
    return Ref("PeerAuthentication", namespace, name)


def test_without_any_policy_the_mode_is_permissive(pod: MakePod) -> None:
    """Istio's default, decided by nobody."""
    assert effective(pod(), 8080, (), ROOT) == Effective(Mode.PERMISSIVE, None)


def test_each_level_overrides_the_one_above(policy: Make, pod: MakePod) -> None:
    """Root, namespace, workload, port."""
    mesh = policy("mesh", "DISABLE", namespace=ROOT)
    wide = policy("wide", "STRICT")
    own = policy("own", "PERMISSIVE", selector={"app": "orders"}, ports={"8080": "DISABLE"})
    assert effective(pod(), None, (mesh,), ROOT) == Effective(Mode.DISABLE, _ref("mesh", ROOT))
    assert effective(pod(), 8080, (mesh, wide), ROOT) == Effective(Mode.STRICT, _ref("wide"))
    assert effective(pod(), None, (mesh, wide, own), ROOT) == Effective(Mode.PERMISSIVE, _ref("own"))
    assert effective(pod(), 0, (mesh, wide, own), ROOT) == Effective(Mode.PERMISSIVE, _ref("own"))
    assert effective(pod(), 9090, (mesh, wide, own), ROOT) == Effective(Mode.PERMISSIVE, _ref("own"))
    assert effective(pod(), 8080, (mesh, wide, own), ROOT) == Effective(Mode.DISABLE, _ref("own"))


@pytest.mark.parametrize("unset", [None, "UNSET"])
def test_a_policy_without_a_mode_inherits(policy: Make, pod: MakePod, unset: str | None) -> None:
    """On every level, and for a port."""
    mesh = policy("mesh", "STRICT", namespace=ROOT)
    wide = policy("wide", unset)
    own = policy("own", unset, selector={"app": "orders"}, ports={"8080": "UNSET"})
    assert effective(pod(), 8080, (mesh, wide, own), ROOT) == Effective(Mode.STRICT, _ref("mesh", ROOT))
    assert inherited((mesh, wide), "production", ROOT) is Mode.STRICT


def test_the_oldest_policy_decides_and_ties_go_by_name(policy: Make) -> None:
    """A policy that has no age yet is the youngest."""
    old, young = policy("z-old", day=1), policy("a-young", day=2)
    assert namespace_policy((young, old), "production") == old
    tied = policy("b-old", day=1)
    assert namespace_policy((young, old, tied), "production") == tied
    planned = policy("a-planned", day=None)
    assert namespace_policy((planned, young), "production") == young
    assert namespace_policy((old,), "elsewhere") is None


def test_an_empty_selector_is_no_selector(policy: Make) -> None:
    """matchLabels: {} selects the whole namespace."""
    assert namespace_policy((policy("wide", selector={}),), "production") is not None
    assert namespace_policy((policy("own", selector={"app": "orders"}),), "production") is None


def test_of_several_workload_policies_only_the_oldest_counts_whole(policy: Make, pod: MakePod) -> None:
    """Nothing is merged, port modes included."""
    old = policy("old", selector={"app": "orders"}, day=1)
    young = policy("young", "STRICT", selector={"app": "orders"}, ports={"8080": "DISABLE"}, day=2)
    assert effective(pod(), 8080, (young, old), ROOT) == Effective(Mode.PERMISSIVE, None)


def test_a_selector_in_the_root_namespace_selects_nothing(policy: Make, pod: MakePod) -> None:
    """Not even pods of the root namespace itself."""
    own = policy("own", "STRICT", namespace=ROOT, selector={"app": "orders"})
    assert effective(pod(namespace=ROOT), None, (own,), ROOT).mode is Mode.PERMISSIVE
    assert effective(pod(), None, (own,), ROOT).mode is Mode.PERMISSIVE


def test_the_root_namespace_inherits_from_nobody(policy: Make, pod: MakePod) -> None:
    """Its selector-less policy is the mesh's, once."""
    mesh = policy("mesh", "STRICT", namespace=ROOT)
    assert inherited((mesh,), ROOT, ROOT) is Mode.PERMISSIVE
    assert effective(pod(namespace=ROOT), None, (mesh,), ROOT) == Effective(Mode.STRICT, _ref("mesh", ROOT))


def test_modes_cover_every_port_of_live_injected_pods(policy: Make, pod: MakePod) -> None:
    """Declared TCP ports and those that the policy names; no gateways, no finished pods, no port of the proxy."""
    ports = [{"containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}]
    own = policy("own", "STRICT", selector={"app": "orders"}, ports={"9090": "PERMISSIVE"})
    router = [{"name": "istio-proxy", "args": ["proxy", "router"]}]
    pods = (
        pod(
            "a",
            containers=[{"name": "app", "ports": ports}],
            init=[{"name": "native", "ports": [{"containerPort": 7}]}],
        ),
        pod("bare", sidecar=False),
        pod("done", phase="Succeeded"),
        pod("gateway", sidecar=False, containers=router, annotations={"sidecar.istio.io/status": "{}"}),
    )
    assert effective_modes(pods, (own,), ROOT) == {
        ("a", 0): Mode.STRICT,
        ("a", 7): Mode.STRICT,
        ("a", 8080): Mode.STRICT,
        ("a", 9090): Mode.PERMISSIVE,
    }


def test_policies_without_effect_are_named_with_the_reason(policy: Make, pod: MakePod) -> None:
    """Younger duplicates, ports without a selector, selectors that match nothing or only what an older one has."""
    policies = (
        policy("default", "STRICT", day=1, ports={"8080": "PERMISSIVE"}),
        policy("later", "STRICT", day=2),
        policy("own", "STRICT", selector={"app": "orders"}, day=3),
        policy("shadowed", "STRICT", selector={"app": "orders"}, day=4),
        policy("gone", "STRICT", selector={"app": "gone"}, day=5),
        policy("elsewhere", "STRICT", namespace="other"),
    )
    found = {p.name: why for p, why in without_effect(policies, "production", (pod(),))}
    assert found == {
        "default": "portLevelMtls is ignored without a selector",
        "later": "default is the oldest policy without a selector, and the only one with effect",
        "shadowed": "own is older and selects the same pods",
        "gone": "its selector matches no live pod",
    }


def test_a_selecting_policy_of_the_root_namespace_is_without_effect(policy: Make, pod: MakePod) -> None:
    """The namespace's own pods change nothing about that."""
    own = policy("own", "STRICT", namespace=ROOT, selector={"app": "orders"})
    found = without_effect((own,), ROOT, (pod(namespace=ROOT),), ROOT)
    assert found == ((own, "a selector in the root namespace selects no pod"),)


MODES = st.sampled_from(list(Mode))
LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"), max_size=2)
START = datetime(2026, 1, 1, tzinfo=UTC)


@st.composite
def _policies(draw: st.DrawFn) -> PeerAuthentication:
    labels = draw(st.none() | LABELS)
    mode = draw(st.none() | MODES)
    return PeerAuthentication(
        metadata=Metadata(
            name=draw(st.sampled_from("pqr")),
            namespace=draw(st.sampled_from(["production", ROOT])),
            creation_timestamp=START + timedelta(seconds=draw(st.integers(0, 2))),
        ),
        spec=PeerAuthenticationSpec(
            selector=None if labels is None else WorkloadSelector(match_labels=labels),
            mtls=None if mode is None else Mtls(mode=mode),
            port_level_mtls={"8080": Mtls(mode=draw(MODES))} if draw(st.booleans()) else {},
        ),
    )


def _as_written(policies: list[PeerAuthentication], pod: Pod, port: int) -> Mode:
    """istio.md 2.1, line by line."""
    ordered = sorted(policies, key=lambda p: (p.metadata.creation_timestamp or START, p.name, p.namespace))
    mesh = [p for p in ordered if p.namespace == ROOT and not p.selector]
    wide = [p for p in ordered if p.namespace == pod.namespace != ROOT and not p.selector]
    own = [
        p
        for p in ordered
        if p.namespace == pod.namespace != ROOT and p.selector and p.selector.items() <= pod.labels.items()
    ]
    mode = Mode.PERMISSIVE
    for level in (mesh, wide, own):
        if level and level[0].spec.mtls and level[0].mode is not Mode.UNSET:
            mode = level[0].mode
    ports = own[0].spec.port_level_mtls if own else {}
    mine = ports.get(str(port))
    return mine.mode if mine and mine.mode is not Mode.UNSET else mode


@settings(max_examples=300, deadline=None)
@given(
    policies=st.lists(_policies(), max_size=8, unique_by=lambda p: (p.namespace, p.name)),
    labels=LABELS,
    namespace=st.sampled_from(["production", ROOT]),
    port=st.sampled_from([8080, 9090]),
)
def test_the_index_agrees_with_the_algorithm_as_written(
    policies: list[PeerAuthentication], labels: dict[str, str], namespace: str, port: int
) -> None:
    """Whatever the policies are."""
    pod = Pod(metadata=Metadata(name="p", namespace=namespace, labels=labels))
    assert Policies(policies, ROOT).effective(pod, port).mode is _as_written(policies, pod, port)
