"""istio.md 2.1, as the simulated istiod reads it."""

from __future__ import annotations

from typing import Any

from rollout.lab.mesh.policy import Mode, Policy, parse_policy, pod_modes, service_mode

ROOT = "istio-system"


def policy(namespace: str, mode: str | None, *, name: str = "p", age: int = 0, **spec: Any) -> Policy:
    mtls = {} if mode is None else {"mtls": {"mode": mode}}
    meta = {"namespace": namespace, "name": name, "creationTimestamp": f"2026-01-{20 - age:02}T00:00:00Z"}
    return parse_policy({"metadata": meta, "spec": {**mtls, **spec}})


def selecting(**labels: str) -> dict[str, Any]:
    return {"selector": {"matchLabels": labels}}


def test_nothing_is_permissive() -> None:
    """No policy at all."""
    assert Mode.PERMISSIVE is pod_modes([], ROOT, "a", {}).workload


def test_the_namespace_beats_the_mesh_and_unset_inherits() -> None:
    """An empty mtls block inherits, as do policies without one."""
    mesh = policy(ROOT, "STRICT")
    assert Mode.PERMISSIVE is pod_modes([mesh, policy("a", "PERMISSIVE")], ROOT, "a", {}).workload
    assert Mode.STRICT is pod_modes([mesh, policy("a", None)], ROOT, "a", {}).workload
    assert Mode.STRICT is pod_modes([mesh, policy("a", "UNSET")], ROOT, "a", {}).workload


def test_the_oldest_wins_and_names_break_ties() -> None:
    """Age first, then the name."""
    old, young = policy("a", "DISABLE", name="z", age=3), policy("a", "STRICT", name="a", age=1)
    assert Mode.DISABLE is pod_modes([young, old], ROOT, "a", {}).workload
    twins = [policy("a", "STRICT", name="b"), policy("a", "DISABLE", name="a")]
    assert Mode.DISABLE is pod_modes(twins, ROOT, "a", {}).workload


def test_one_workload_policy_counts_with_all_its_ports() -> None:
    """Several that match are not merged; unset ports take the workload's mode."""
    first = policy("a", "STRICT", age=3, **selecting(app="x"), portLevelMtls={8080: {"mode": "PERMISSIVE"}, 9: {}})
    second = policy("a", "DISABLE", age=1, **selecting(app="x"), portLevelMtls={7: {"mode": "DISABLE"}})
    modes = pod_modes([second, first], ROOT, "a", {"app": "x"})
    assert (
        modes.workload, modes.at(8080), modes.at(9), modes.at(7)
    ) == (Mode.STRICT, Mode.PERMISSIVE, Mode.STRICT, Mode.STRICT)  # fmt: skip


def test_selectors_in_the_root_namespace_count_nowhere() -> None:
    """Not even for pods of the root namespace."""
    rule = policy(ROOT, "STRICT", **selecting(app="x"))
    assert Mode.PERMISSIVE is pod_modes([rule], ROOT, ROOT, {"app": "x"}).workload
    assert Mode.PERMISSIVE is pod_modes([rule], ROOT, "a", {"app": "x"}).workload


def test_clients_infer_from_mesh_and_namespace_only() -> None:
    """A workload policy is ignored by the inference for the Service (3.2)."""
    rules = [policy("a", "DISABLE"), policy("a", "STRICT", name="w", **selecting(app="x"))]
    assert Mode.DISABLE is service_mode(rules, ROOT, "a")
