"""The next command can be copied: it repeats what was given, and never a secret."""

import shlex
from argparse import Namespace

import msgspec
import pytest

from rollout.cli.again import again
from rollout.cli.parser import parser
from rollout.errors import UsageError
from rollout.record.run import Run
from rollout.report.commands import Again
from rollout.report.json import run_json
from rollout.report.layout import Style, command, width_of
from rollout.report.text import problem, result

RUN = "production-20260302-1012-b4b4"
QUOTED = shlex.quote("a='b'")
CLUSTER = ["--kubeconfig", "my config", "--context", "kind-demo", "--prometheus", "prometheus.monitoring:9090"]


def typed(*argv: str) -> Namespace:
    """A parsed command line."""
    return parser().parse_args(argv)


@pytest.mark.parametrize(
    ("argv", "following", "expected"),
    [
        (["plan", "production"], "rollout migrate production", "rollout migrate production"),
        (
            ["plan", "production", *CLUSTER, "--state-namespace", "ops", "--playbook", "my.yaml"],
            "rollout migrate production",
            f"rollout migrate production {shlex.join(CLUSTER)} --state-namespace ops --playbook my.yaml",
        ),
        (
            ["migrate", "production", "--context", "c", "--playbook", "my.yaml", "--yes"],
            f"rollout resume {RUN}, or rollout rollback {RUN}",
            f"rollout resume {RUN} --context c, or rollout rollback {RUN} --context c",
        ),
        (["resume", "--all", "--context", "c"], "rollout resume --all", "rollout resume --all --context c"),
        (["rollback", "x", "--as", "a"], "rollout rollback x --to-start", "rollout rollback x --to-start --as a"),
        (["plan", "x", "--as", "ana", "--istioctl", "./i"], "rollout status", "rollout status --as ana --istioctl ./i"),
        (["plan", "x", "--context", "c"], "rollout explain probes", "rollout explain probes"),
        (["plan", "x", "--context", "c"], "kubectl get ns", "kubectl get ns"),
        (
            ["plan", "x", "--waive", "probes=Pod x/*", "--waive", "b=c", "--reason", "it's old", "--allow-idle"],
            "rollout migrate x",
            "rollout migrate x --waive 'probes=Pod x/*' --waive b=c --reason 'it'\"'\"'s old' --allow-idle",
        ),
        (["plan", "x", "--lab", "healthy"], "rollout migrate x", "rollout migrate x --lab healthy"),
        (["status", "--lab", "http://127.0.0.1:8001"], f"rollout resume {RUN}",
         f"rollout resume {RUN} --lab http://127.0.0.1:8001"),
        (["migrate", "x", "--lab", "healthy"], f"rollout resume {RUN}", "rollout plan production --lab healthy"),
        (["plan", "x", "--lab", "healthy", "--metrics-match", "a='b'", "--allow-idle"],
         "rollout evidence x --access-logs",
         f"rollout evidence x --access-logs --lab healthy --metrics-match {QUOTED}"),
        (["evidence", "x", "--look-back", "1d", "--context", "c", "--since", "2h"],
         "rollout evidence x --access-logs", "rollout evidence x --access-logs --context c --look-back 1d"),
        (["evidence", "x"], "rollout evidence x --access-logs", "rollout evidence x --access-logs"),
        (["migrate", "x", "--lab", "healthy"], f"rollout resume {RUN}, or rollout rollback {RUN}",
         "rollout plan production --lab healthy"),
        (["plan", "x", "--max-duration", "5m", "--context", "c"], "rollout plan x --max-duration=55m",
         "rollout plan x --max-duration=55m --context c"),
        (["plan", "x", "--state-namespace", "a", "--allow-idle"], "rollout plan x --state-namespace=b",
         "rollout plan x --state-namespace=b --allow-idle"),
        (["plan", "x", "--metrics-match", "a", "--context", "c"], "rollout plan x --metrics-match=",
         "rollout plan x --context c"),
        (["plan", "x", "--context", "c"], "rollout plan x y-*, or rollout status",
         "rollout plan x y-* --context c, or rollout status --context c"),
        (["plan", "x", "--context", "c"], "rollout plan --selector='a in (b,c)',d=e --all-namespaces",
         "rollout plan --selector='a in (b,c)',d=e --all-namespaces --context c"),
    ],
)  # fmt: skip
def test_what_was_given_is_repeated(argv: list[str], following: str, expected: str) -> None:
    """And only that; a lab that ends with its command has no run to take up."""
    assert expected == again(typed(*argv)).command(following)


def test_what_is_repeated_is_read_as_it_was_typed() -> None:
    """The printed line, through a shell's splitting and the parser, is the same command line."""
    argv = ["plan", "production", *CLUSTER, "--metrics-match", 'cluster="eu 1"', "-e", "a=b c", "--max-rate", "0.5"]
    typed_again = shlex.split(again(typed(*argv)).command("rollout plan production"))
    assert typed(*argv) == typed(*typed_again[1:])


def test_no_secret_is_repeated() -> None:
    """A header's value, a password in a URL, a variable that is named a secret."""
    argv = ["plan", "x", "--prometheus", "https://u:hunter2@p", "--prometheus-header", "X-Token=hunter2",
            "-e", "password=hunter2", "--prometheus-token", "/run/token"]  # fmt: skip
    shown = again(typed(*argv)).command("rollout plan x")
    assert "hunter2" not in shown
    assert "--prometheus-token /run/token" in shown
    assert "--prometheus-header 'X-Token=***'" in shown


@pytest.mark.parametrize("width", [24, 40, 60, 80])
def test_a_long_command_goes_on_behind_backslashes(width: int) -> None:
    """A shell reads the lines as one command; none is wider than the terminal, but a word that is wider alone."""
    style = Style(width=width, again=again(typed("plan", "x", *CLUSTER, "--playbook", "my.yaml")))
    lines = command("rollout migrate x", style, first="Next: ")
    wide = [line.split() for line in lines if width_of(line) > width]
    assert wide == ([["prometheus.monitoring:9090", "\\"]] if width == 24 else [])
    joined = "\n".join(lines).removeprefix("Next: ").replace("\\\n", "")
    assert shlex.split(style.again.command("rollout migrate x")) == shlex.split(joined)


def test_in_a_pipe_a_command_is_one_line() -> None:
    """However long; what is no command is wrapped all the same."""
    style = Style(width=24, folds=False, again=Again(cluster=("--context kind-demo",)))
    assert ["Next: rollout migrate production --context kind-demo"] == command(
        "rollout migrate production", style, first="Next: "
    )
    assert ["look at the proxies, and", "    wait"] == command("look at the proxies, and wait", style)


def test_every_next_is_told_so(rolled_back: Run) -> None:
    """The result of a run, one that goes on, an error, and JSON."""
    style = Style(again=Again(cluster=("--context c",)))
    run = msgspec.structs.replace(rolled_back, next=f"rollout resume {RUN}")
    assert f"Next: rollout resume {RUN} --context c" == result(run, style)[-1]
    going_on = msgspec.structs.replace(run, outcome="")
    assert f"Next: rollout resume {run.id} --context c" == result(going_on, style)[-1]
    error = UsageError("no run", next="rollout status")
    assert ["no run", "    next    rollout status --context c"] == problem(error.lines(), style)
    assert f"rollout resume {RUN} --context c" == run_json(run, style.again)["next"]


def test_a_run_on_a_lab_says_that_the_lab_is_gone(rolled_back: Run) -> None:
    """Nothing is left to be resumed."""
    style = Style(again=again(typed("migrate", "production", "--lab", "legacy-caller")))
    run = msgspec.structs.replace(rolled_back, next=f"rollout resume {RUN}")
    assert [
        "Result: ROLLED BACK (exit 5). production accepts plaintext again since 10:17:00;",
        "nothing to do tonight. Its lab ended with it.",
        "Next: rollout plan production --lab legacy-caller",
    ] == result(run, style)
