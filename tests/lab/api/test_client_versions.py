"""The official client at both ends of the range that pyproject allows, with the calls that the tool makes.

Each version is downloaded once a session, without its dependencies (those of the installed one serve both), and run in
a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.lab.api.client_calls import MANY

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).parent / "client_calls.py"
CALLS = 22


def bounds() -> tuple[str, str]:
    """The requirements for the lowest and for the highest version, from pyproject."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    line = next(item for item in project["dependencies"] if re.match(r"kubernetes\b", item))
    lowest = re.search(r">=\s*([\d.]+)", line)
    assert lowest is not None
    return f"kubernetes=={lowest[1]}.*" if lowest[1].isdigit() else f"kubernetes=={lowest[1]}", line


@pytest.fixture(scope="session")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Download a version into a folder of its own."""

    def download(requirement: str) -> Path:
        folder = tmp_path_factory.mktemp("client")
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--no-compile",
        ]
        done = subprocess.run(
            [*command, "--target", str(folder), requirement], capture_output=True, text=True, timeout=90
        )
        if done.returncode:
            missing = f"cannot download {requirement}: {done.stderr[-300:]}"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
        return folder

    return download


@pytest.mark.parametrize("end", ["lowest", "highest"])
def test_the_tools_calls_work_with_both_ends_of_the_range(
    end: str, downloaded: Any, lab: Any, record_property: Any
) -> None:
    """Lists in pages, reads, writes with an optimistic lock, dry runs, conditional deletes, watches, reviews."""
    folder = downloaded(bounds()[end == "highest"])
    lab.store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "many"}})
    for number in range(MANY):
        meta = {"name": f"c-{number:03d}", "namespace": "many", "labels": {"odd": "no" if number else "yes"}}
        lab.store.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
    path = os.pathsep.join([str(folder), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "KUBECONFIG": str(lab.kubeconfig)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=90, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert str(folder) in answer["file"]
    record_property("exchanges", [f"kubernetes client {answer['version']} ({end})", "calls", len(answer["calls"]), {}])
    assert CALLS == len(answer["calls"]), answer["calls"]
