"""`.ci/coverage` fails where a package runs less than pyproject.toml asks for, and says which lines."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["rollout"]["coverage"]
#: Run wherever the others are: no folder of tests is about them alone.
EVERYWHERE = {"errors", "model"}


def _file(lines: int, missing: list[int], branches: list[list[int]]) -> dict[str, Any]:
    summary = {
        "num_statements": lines, "covered_lines": lines - len(missing),
        "num_branches": lines, "covered_branches": lines - len(branches),
    }  # fmt: skip
    return {"summary": summary, "missing_lines": missing, "missing_branches": branches}


def _path(name: str) -> str:
    return "rollout/errors.py" if name == "errors" else f"rollout/{name}/a.py"


def _held(path: Path, files: dict[str, Any]) -> tuple[int, str]:
    report = path / "coverage.json"
    report.write_text(json.dumps({"files": files}), encoding="utf-8")
    ran = subprocess.run([sys.executable, ROOT / ".ci/coverage", report], capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout


def test_a_report_without_a_hole_passes(tmp_path: Path) -> None:
    """Every package of the table is said."""
    code, said = _held(tmp_path, {_path(name): _file(10, [], []) for name in FLOORS})
    assert (code, [line.split()[:2] for line in said.splitlines()]) == (0, [["ok", name] for name in FLOORS])


@pytest.mark.parametrize("name", FLOORS)
def test_one_hole_too_many_fails_with_its_place(tmp_path: Path, name: str) -> None:
    """Lines and branches; what is not in the table is not asked."""
    files = {_path(other): _file(10, [], []) for other in FLOORS}
    code, said = _held(tmp_path, files | {_path(name): _file(10, [3], [[4, -1], [5, 7]]), "rollout/cli/a.py": files})
    assert code == 1
    assert f"  {_path(name)} lines 3\n  {_path(name)} branches 4->exit, 5->7\n" in said
    assert [line.split()[1] for line in said.splitlines() if line.startswith("SHORT")] == [name]


def test_a_package_that_is_not_in_the_report_has_nothing(tmp_path: Path) -> None:
    """A report of something else does not pass."""
    code, said = _held(tmp_path, {})
    assert (code, said.count("SHORT")) == (1, len(FLOORS))


def test_every_package_with_a_floor_is_measured_by_its_own_tests() -> None:
    """Whole folders of the Makefile, so that a new file is among them, and none of them is run a second time."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(r"^PURE := (.+)$", makefile, re.MULTILINE)
    assert found, "the Makefile has no PURE"
    measured = found[1].split()
    assert [f"tests/{name}" for name in sorted(FLOORS.keys() - EVERYWHERE)] == sorted(measured)
    assert [] == [folder for folder in measured if not (ROOT / folder).is_dir()]
    runs = [line.split("/pytest ")[1] for line in makefile.splitlines() if "/pytest " in line]
    assert [
        "-n auto $(PURE:%=--ignore=%)",
        "-n auto --cov --cov-report=json:build/coverage.json $(PURE)",
    ] == runs
