"""A result that nobody could read is no crash, and its exit code is that of the same result read by somebody."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.lab.lab import Lab

FULL = "rollout: the output cannot be written (No space left on device)"
#: What only tells, and commands whose verdict is their exit code, in each of their formats.
TELLING = [["version"], ["--version"], ["--help"], ["plan", "--help"], ["lab", "list"], ["checks", "list"], ["rbac"]]
JUDGING = [["plan"], ["plan", "-o", "json"], ["plan", "--suggest-exemptions"], ["evidence"], ["evidence", "-o", "json"],
           ["evidence", "-o", "csv"]]  # fmt: skip
LEFT = '"$@" | true; exit ${PIPESTATUS[0]}'
ALL_CLOSED = '"$@" <&- >&- 2>&-'


@pytest.fixture(scope="module")
def blocked() -> Iterator[Lab]:
    """A mesh whose plan and evidence end with 3: no other reason has this code."""
    with Lab.start("nameless-caller") as lab:
        yield lab


def shell(redirected: str, argv: list[str], state: Path) -> tuple[int, str, str]:
    """`rollout ARGV` under a shell's redirections; exit code, stdout and stderr."""
    environment = {**os.environ, "XDG_STATE_HOME": str(state), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = ["bash", "-c", redirected, "bash", sys.executable, "-m", "rollout", *argv]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("argv", TELLING, ids=" ".join)
def test_what_only_tells(argv: list[str], tmp_path: Path) -> None:
    """A full disk is said in a sentence; a closed descriptor, and a reader that has seen enough, are no news."""
    code, _, said = shell('"$@" >/dev/full', argv, tmp_path)
    assert (0, f"{FULL}\n") == (code, said)
    for redirected in (ALL_CLOSED, LEFT):
        assert (0, "", "") == shell(redirected, argv, tmp_path)
    code, told, _ = shell('"$@" 2>&-', argv, tmp_path)
    assert (0, True) == (code, len(told) > 10)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("argv", JUDGING, ids=" ".join)
def test_a_verdict_stays_what_it_is(argv: list[str], blocked: Lab, tmp_path: Path) -> None:
    """In every format: neither a `yes` nor a `no` comes from who reads it."""
    command = [*argv, *blocked.scenario.target, "--lab", blocked.api_url]
    code, _, said = shell('"$@" >/dev/full', command, tmp_path)
    assert (3, 1, 0) == (code, said.count(FULL), said.count("Traceback"))
    code, _, said = shell(LEFT, command, tmp_path)
    assert (3, 1, 0) == (code, said.count("the output cannot be written (Broken pipe)"), said.count("Traceback"))
    assert (3, "", "") == shell(ALL_CLOSED, command, tmp_path)
    assert [] == list(tmp_path.rglob("debug*"))


@pytest.mark.parametrize("redirected", ['"$@" >&-', '"$@" 2>&-', ALL_CLOSED])
@pytest.mark.parametrize("more", [[], ["-o", "json"]], ids=["text", "json"])
def test_a_migration_without_its_descriptors_goes_on(redirected: str, more: list[str], tmp_path: Path) -> None:
    """To its end, and to its own exit code."""
    quick = str(Path(__file__).parents[1] / "lifecycle" / "quick.yaml")
    with Lab.start("healthy") as lab:
        argv = ["migrate", *lab.scenario.target, "--yes", "--playbook", quick, "--lab", lab.api_url, *more]
        code, told, _ = shell(redirected, argv, tmp_path)
        (namespace,) = lab.scenario.target
        policies = lab.store.list("security.istio.io/v1", "PeerAuthentication", namespace)
    assert (0, ["STRICT"]) == (code, [policy["spec"]["mtls"]["mode"] for policy in policies])
    assert (redirected == '"$@" 2>&-') == (len(told) > 100)


@pytest.mark.parametrize("redirected", ['"$@" 2>&-', '"$@" 2>/dev/full', ALL_CLOSED])
@pytest.mark.parametrize("argv", [["foo"], ["plan"], ["explain", "foo"]], ids=" ".join)
def test_an_error_that_cannot_be_said(redirected: str, argv: list[str], tmp_path: Path) -> None:
    """Its exit code says it."""
    assert (2, "", "") == shell(redirected, argv, tmp_path)


def test_every_write_goes_the_same_way() -> None:
    """A new command that writes by itself would crash again."""
    folder = Path(__file__).parents[2] / "rollout" / "cli"
    found = [
        f"{path.name}: {line.strip()}"
        for path in sorted(folder.glob("*.py"))
        if path.name != "output.py"
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"sys\.(stdout|stderr)\.(write|flush)\(|\bprint\(", line)
    ]
    assert ["live.py: def print(self, lines: Iterable[str]) -> None:", "screen.py: self._live.print(lines)",
            "screen.py: sys.stdout.write(text)", "screen.py: sys.stdout.flush()"] == found  # fmt: skip
