"""The properties of the design that must always hold; those that need a process or a fault have their own folders.

Kills and resumption (1, 3): tests/lifecycle. Checks and evidence (2): tests/scenarios/test_guards.py. Forged records
(11): tests/cli/test_bad_input.py. Dry runs (8): tests/scenarios/test_scenarios.py.
"""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout.cli import main
from rollout.errors import Outcome
from rollout.lab.api.faults import Effect, Fault
from rollout.lab.lab import Lab

ROOT = Path(__file__).parents[2]
QUICK = str(ROOT / "tests" / "lifecycle" / "quick.yaml")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A ready namespace."""
    with Lab.start("oldest-policy-wins") as started:
        yield started


def migrate(lab: Lab, *more: str) -> int:
    """A run in a hurry."""
    return main(["migrate", "production", "--yes", "--playbook", QUICK, "--lab", lab.api_url, *more])


def policy(lab: Lab, name: str = "mesh-mtls") -> dict[str, Any]:
    """The object."""
    found = lab.store.get("security.istio.io/v1", "PeerAuthentication", name, "production")
    assert found is not None
    return found


def facts(lab: Lab) -> list[dict[str, Any]]:
    """The journal in the cluster."""
    found = [m for m in lab.store.list("v1", "ConfigMap", "production") if m["metadata"]["name"].startswith("rollout-")]
    return [json.loads(found[-1]["data"][key]) for key in sorted(found[-1]["data"])]


def test_1_the_intent_and_its_inverse_are_recorded_before_the_write(lab: Lab) -> None:
    """At the moment of each policy write the journal holds its intent."""
    seen: list[bool] = []

    def hear(kind: str, obj: dict[str, Any]) -> None:
        if obj.get("kind") == "PeerAuthentication" and "STRICT" in str(obj.get("spec")):
            intents = [f for f in facts(lab) if f["type"] == "intent"]
            seen.append(intents[-1]["change"]["after"]["mode"] == "STRICT" and "before" in intents[-1]["change"])

    lab.store.subscribe(hear)
    assert migrate(lab) == 0
    assert seen
    assert all(seen)


def test_2_strict_is_not_written_when_the_undo_is_refused(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """A webhook that refuses the way back blocks before the flip."""

    def refuse(request: Any) -> str | None:
        if request.resource.plural != "peerauthentications":
            return None
        return "the policy engine wants no PERMISSIVE" if "PERMISSIVE" in str(request.obj) else None

    lab.store.admission.append(refuse)
    assert migrate(lab) == Outcome.BLOCKED.exit_code
    assert "wants no PERMISSIVE" in capsys.readouterr().out
    assert policy(lab)["spec"]["mtls"]["mode"] == "PERMISSIVE"


def test_2_only_the_gate_makes_a_permit() -> None:
    """`Permit(` stands in one file of the tool."""
    makers = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "rollout").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Permit"
    }
    assert makers == {"rollout/stages/gate.py"}


def test_5_the_way_back_is_a_patch_of_the_same_object() -> None:
    """Same uid, same age, PERMISSIVE again; nothing is deleted, no other field is touched."""
    with Lab.start("regression-after-flip") as lab:
        assert main(["migrate", "payments", "--yes", "--playbook", QUICK, "--lab", lab.api_url]) in (0, 5)
        assert main(["rollback", "payments", "--lab", lab.api_url]) == 5
        writes = [w for w in lab.store.writes if w.resource == "peerauthentications" and not w.dry_run]
        assert [w.verb for w in writes] == ["create", "patch", "patch"]
        assert [w.body["spec"]["mtls"]["mode"] for w in writes] == ["PERMISSIVE", "STRICT", "PERMISSIVE"]


def test_5_strict_is_never_created(lab: Lab) -> None:
    """The flip is a patch under the version that the gate saw."""
    assert migrate(lab) == 0
    real = [w for w in lab.store.writes if not w.dry_run and w.resource == "peerauthentications"]
    flips = [w for w in real if "STRICT" in str(w.body)]
    assert [w.verb for w in flips] == ["patch"]
    assert flips[0].body["metadata"]["resourceVersion"]


def test_7_a_change_between_gate_and_flip_refuses_the_write(lab: Lab) -> None:
    """The first try meets a conflict; the gate is asked again, and the flip is made once."""
    lab.faults.add(Fault(Effect.CONFLICT, method="PATCH", path=r".*/peerauthentications/mesh-mtls$", count=1))
    assert migrate(lab) == 0
    assert policy(lab)["spec"]["mtls"]["mode"] == "STRICT"


def test_9_a_mode_that_somebody_else_set_ends_the_run(lab: Lab) -> None:
    """Their DISABLE in mid-watch: exit 10, and no write of ours after it."""
    done = False

    def hear(kind: str, obj: dict[str, Any]) -> None:
        nonlocal done
        if not done and obj.get("kind") == "ConfigMap" and '"to":"watching"' in str(obj.get("data")):
            done = True
            lab.store.patch(
                "security.istio.io/v1", "PeerAuthentication", "mesh-mtls", {"spec": {"mtls": {"mode": "DISABLE"}}},
                namespace="production", manager="kubectl-edit",
            )  # fmt: skip

    lab.store.subscribe(hear)
    assert migrate(lab) == Outcome.OVERRIDDEN.exit_code
    assert policy(lab)["spec"]["mtls"]["mode"] == "DISABLE"


def test_10_rolled_back_is_never_success() -> None:
    """Exit codes of the table."""
    zero = {outcome for outcome in Outcome if outcome.exit_code == 0}
    assert Outcome.ROLLED_BACK not in zero
    assert zero == {Outcome.ENFORCED, Outcome.UNCHANGED, Outcome.UNOBSERVED, Outcome.EXCEPTIONS, Outcome.WOULD_PASS,
                    Outcome.DONE}  # fmt: skip


def test_a_write_whose_answer_is_lost_is_read_again(lab: Lab) -> None:
    """The connection drops after the flip was carried out: it is found done, not written twice."""
    path = r".*/peerauthentications/mesh-mtls(\?fieldManager.*)?$"
    lab.faults.add(Fault(Effect.DROP_AFTER, method="PATCH", path=path, count=1))
    assert migrate(lab) == 0
    real = [w for w in lab.store.writes if not w.dry_run and w.resource == "peerauthentications"]
    assert len(real) == 1


def test_the_diagram_in_the_docs_is_the_table() -> None:
    """docs/architecture.md is drawn from the data."""
    from rollout.record.state import mermaid

    assert mermaid() in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_promql_stands_in_one_place() -> None:
    """No literal with a metric's name outside world/queries."""
    words = ("istio_requests", "istio_tcp_", "envoy_listener", "reporter=")
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "rollout").rglob("*.py")
        if "lab" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and any(word in node.value for word in words)
        and "\n" not in node.value
        and not node.value.endswith(".")
    }
    assert found <= {"rollout/world/queries.py"}


def test_a_flip_that_the_server_refuses_for_good_blocks(lab: Lab) -> None:
    """The dry run passed, the write did not: blocked, and not tried for ever."""

    def refuse(request: Any) -> str | None:
        strict = "STRICT" in str(request.obj) and request.resource.plural == "peerauthentications"
        return "not tonight" if strict and not request.dry_run else None

    lab.store.admission.append(refuse)
    assert migrate(lab) == Outcome.BLOCKED.exit_code
    assert policy(lab)["spec"]["mtls"]["mode"] == "PERMISSIVE"


def test_a_lab_with_conflicts_for_ever_blocks(lab: Lab) -> None:
    """Somebody who writes all the time is not fought."""
    lab.faults.add(Fault(Effect.CONFLICT, method="PATCH", path=r"peerauthentications/mesh-mtls(?!.*dryRun)"))
    assert migrate(lab) == Outcome.BLOCKED.exit_code
