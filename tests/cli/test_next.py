"""Whoever copies the last line of a command gets a command that runs on the same cluster."""

import argparse
import json
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rollout.cli import again, main
from rollout.cli.parser import parser
from rollout.lab.lab import Lab

QUICK = str(Path(__file__).parents[1] / "lifecycle" / "quick.yaml")
CLUSTER = ("kubeconfig", "context", "prometheus", "state_namespace", "lab")


def following(text: str) -> list[str]:
    """The words of the last `Next:` or `next`, read as a shell reads them, backslashes and all."""
    _, _, tail = text.replace("    next    ", "Next: ").rpartition("Next: ")
    lines = tail.splitlines()
    end = next(number for number, line in enumerate(lines) if not line.endswith("\\"))
    return shlex.split("\n".join(lines[: end + 1]).replace("\\\n", ""))  # a shell joins the lines, shlex does not


@pytest.fixture
def cluster(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The flags that reach a lab as a cluster is reached; the path needs quotes."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with Lab.start(request.param, start=datetime.now(UTC)) as lab:
        path = tmp_path / "my configs" / "config"
        path.parent.mkdir()
        path.write_text(lab.kubeconfig, encoding="utf-8")
        yield ["--kubeconfig", str(path), "--context", "lab", "--prometheus", lab.prometheus_url]


def cluster_of(words: list[str]) -> dict[str, Any]:
    """What a command line says of its cluster."""
    args = vars(parser().parse_args(words))
    return {name: args[name] for name in CLUSTER}


@pytest.mark.parametrize(
    ("cluster", "argv", "code", "expected"),
    [
        ("oldest-policy-wins", ["plan", "production"], 0, ["rollout", "migrate", "production"]),
        ("oldest-policy-wins", ["migrate", "production", "--yes", "--until", "checking"], 7, ["rollout", "resume"]),
        ("missing-sidecar", ["migrate", "production", "--yes"], 3, ["rollout", "plan", "production"]),
        ("oldest-policy-wins", ["migrate", "prodution"], 2, ["rollout", "migrate", "production"]),
    ],
    indirect=["cluster"],
)
def test_the_next_command_reaches_the_same_cluster(
    cluster: list[str], argv: list[str], code: int, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """After a plan, a pause, a block and an error."""
    flags = [*cluster, "--playbook", QUICK, "--prometheus-header", "X-Scope-OrgID=tenant-secret"]
    assert code == main([*argv, *flags])
    shown = capsys.readouterr()
    words = following(shown.out + shown.err)
    assert expected == words[: len(expected)]
    assert cluster_of([*argv, *flags]) == cluster_of(words[1:])
    assert (QUICK in words) == (words[1] != "resume")
    assert "tenant-secret" not in shown.out + shown.err
    if words[1] == "plan":
        assert code == main(words[1:])


@pytest.mark.parametrize("cluster", ["oldest-policy-wins"], indirect=True)
def test_the_next_of_json_is_whole(cluster: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A program may run it as it stands."""
    assert 0 == main(["plan", "production", *cluster, "--playbook", QUICK, "-o", "json"])
    [plan] = json.loads(capsys.readouterr().out)["plans"]
    assert cluster_of(["plan", "x", *cluster]) == cluster_of(shlex.split(plan["next"])[1:])


@pytest.mark.parametrize("command", ["plan", "migrate"])
def test_the_next_of_a_lab_begins_a_lab(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lab of a command is gone with it, and so is the run: said, and nothing of it is to be resumed."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    paused = ["--until", "checking", "--yes"] if command == "migrate" else []
    argv = [command, "production", *paused, "--lab", "oldest-policy-wins", "--playbook", QUICK]
    assert main(argv) == (7 if paused else 0)
    shown = capsys.readouterr().out
    verb = "plan" if paused else "migrate"
    assert ["rollout", verb, "production", *argv[-4:], *paused[:2]] == following(shown)
    assert ("Its lab ended with it." in shown) == bool(paused)


@pytest.mark.parametrize("group", ["cluster", "assignment"])
def test_a_next_command_forgets_no_flag(group: str) -> None:
    """Every flag of the two groups is repeated, but for those that say how to answer."""
    (commands,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    (found,) = (g for g in commands.choices["migrate"]._action_groups if g.title == group)
    flags = {action.dest for action in found._group_actions} - {"output", "prometheus_header"}
    assert set() == flags - set({"cluster": again._CLUSTER, "assignment": again._ASSIGNMENT}[group])
