"""Each gate that is no check, switched off, makes a named scenario end otherwise than its file says."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import rollout.cli.migrate
import rollout.stages.gate
import rollout.stages.guard
import rollout.stages.verifying
from rollout.adapters.kubernetes import KubernetesCluster
from rollout.cli import main
from rollout.lab.scenario import load_scenario


def _nothing(*_: Any, **__: Any) -> str:
    return ""


def _yes(*_: Any, **__: Any) -> bool:
    return True


def _somebody(*_: Any, **__: Any) -> str:
    return "somebody"


#: The gate, the scenario that needs it, and what is switched off.
GATES: dict[str, tuple[str, ModuleType | type | tuple[ModuleType, ...], str, Callable[..., Any]]] = {
    "rights": ("no-right-to-undo", KubernetesCluster, "allowed", _yes),
    "owner": ("gitops-owned", rollout.stages.verifying, "foreign", _nothing),
    "refused namespaces": ("root-namespace", (rollout.stages.verifying, rollout.cli.migrate), "refused", _nothing),
    "successor": ("nobody-picks-up", rollout.stages.guard, "successor", _somebody),
    "dry run of the undo": ("undo-refused", rollout.stages.gate, "refusal", _nothing),
}


@pytest.mark.parametrize("gate", GATES)
def test_without_the_gate_its_scenario_ends_otherwise(
    gate: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With it, tests of all scenarios hold the end that the file says."""
    name, owner, attribute, instead = GATES[gate]
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for place in owner if isinstance(owner, tuple) else (owner,):
        monkeypatch.setattr(place, attribute, instead)
    scenario = load_scenario(name)
    code = main(["migrate", *scenario.target, "--yes", "--lab", name, *scenario.flags])
    said = " ".join("".join(capsys.readouterr()).split())
    expected = scenario.expected
    assert (code, [word for word in expected.mentions if word not in said]) != (expected.exit_code, [])
