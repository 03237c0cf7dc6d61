"""`rollout rbac` prints the least rights: with them a run ends, and each one taken away is missed."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.cli import main
from rollout.lab.lab import Lab

QUICK = str(Path(__file__).parents[1] / "lifecycle" / "quick.yaml")
SCENARIO = Path(__file__).parents[2] / "rollout" / "lab" / "scenarios" / "oldest-policy-wins.yaml"


def rights(capsys: pytest.CaptureFixture[str], *argv: str) -> list[dict[str, object]]:
    """What the command prints."""
    assert main(["rbac", "--user", "ana", *argv]) == 0
    return list(yaml.safe_load_all(capsys.readouterr().out))


def as_ana(folder: Path, roles: list[dict[str, object]]) -> str:
    """A ready namespace whose kubeconfig is ana's."""
    scenario = yaml.safe_load(SCENARIO.read_text(encoding="utf-8"))
    scenario["user"] = "ana"
    scenario["manifests"] += roles
    path = folder / "ana.yaml"
    path.write_text(yaml.safe_dump(scenario), encoding="utf-8")
    return str(path)


def test_the_printed_rights_suffice_to_migrate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the first read to the end."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    lab = as_ana(tmp_path, rights(capsys, "--namespace", "production"))
    assert main(["migrate", "production", "--yes", "--playbook", QUICK, "--lab", lab]) == 0, capsys.readouterr().out


def test_the_printed_rights_suffice_to_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan with rights to read only says that its dry runs and rights are not proven."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    lab = as_ana(tmp_path, rights(capsys, "--for", "plan"))
    assert main(["plan", "production", "--playbook", QUICK, "--lab", lab]) == 3
    assert "a right is missing: patch peerauthentications" in " ".join(capsys.readouterr().out.split())


def test_a_right_that_is_taken_away_is_named_before_any_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without `patch` on policies there would be no way back: exit 3, nothing written."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    roles = rights(capsys, "--namespace", "production")
    for role in roles:
        for rule in role.get("rules", []):  # type: ignore[attr-defined]
            if role["kind"] == "Role" and rule["resources"] == ["peerauthentications"]:
                rule["verbs"] = [verb for verb in rule["verbs"] if verb != "patch"]
    started: list[Lab] = []
    original = Lab.start

    def start(*args: Any, **kwargs: Any) -> Lab:
        started.append(original(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(Lab, "start", start)
    assert main(["migrate", "production", "--yes", "--playbook", QUICK, "--lab", as_ana(tmp_path, roles)]) == 3
    assert "patch peerauthentications.security.istio.io in production" in " ".join(capsys.readouterr().out.split())
    assert [] == [w for w in started[0].store.writes if w.resource == "peerauthentications" and not w.dry_run]
