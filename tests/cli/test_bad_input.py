"""What bad input gets: a sentence, the exit code of the table, and nothing written."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.cli import main
from rollout.cli.parser import parser
from rollout.lab.lab import Lab
from rollout.lab.prometheus import Outage
from rollout.lab.scenario import list_scenarios
from rollout.report.json import FORMAT_VERSION

QUICK = str(Path(__file__).parents[1] / "lifecycle" / "quick.yaml")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A ready namespace."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with Lab.start("oldest-policy-wins") as started:
        yield started


def policy_writes(lab: Lab) -> list[object]:
    """Real writes to policies."""
    return [w for w in lab.store.writes if not w.dry_run and w.resource == "peerauthentications"]


def attempt(lab: Lab, capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    """Exit code and everything that was shown; never a traceback."""
    code = main([*argv, "--lab", lab.api_url])
    shown = capsys.readouterr()
    text = shown.out + shown.err
    assert "Traceback" not in text
    return code, text


def test_an_unknown_namespace(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, with a guess, and the command as it should have been."""
    code, text = attempt(lab, capsys, "migrate", "prodution", "--yes")
    assert code == 2
    assert [
        "rollout: no namespace matches 'prodution'; did you mean production?",
        f"    next    rollout migrate production --lab {lab.api_url}",
    ] == text.splitlines()
    assert "with sidecar injection: production\n" in attempt(lab, capsys, "plan", "zzz")[1]


def test_no_namespace_at_all(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, before any cluster is asked: not even a kubeconfig is needed to hear it."""
    code, text = attempt(lab, capsys, "plan")
    assert code == 2
    assert text.startswith("rollout: no namespace is named\n")
    assert main(["migrate", "--kubeconfig", "/nowhere"]) == 2
    assert "no namespace is named" in capsys.readouterr().err


def test_nobody_to_ask(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Never a prompt without a terminal."""
    code, text = attempt(lab, capsys, "migrate", "production")
    assert code == 2
    assert "--yes" in text
    assert [] == policy_writes(lab)


def test_a_confirmation_of_another_namespace(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, whatever --yes says: the name is there to catch a wrong target."""
    for more in ([], ["--yes"]):
        code, text = attempt(lab, capsys, "migrate", "production", "--confirm", "payments", *more)
        assert (2, True) == (code, "--confirm names 'payments', the targets are production" in text)
    assert 2 == attempt(lab, capsys, "migrate", "production", "--yes", "--confirm", "")[0]
    assert [] == policy_writes(lab)


@pytest.mark.parametrize("name", ["kube-system", "istio-system"])
def test_a_system_namespace(lab: Lab, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Exit 3; the root namespace even with --allow-system."""
    code, _ = attempt(lab, capsys, "migrate", name, "--yes", *(["--allow-system"] if name == "istio-system" else []))
    assert code == 3
    assert [] == policy_writes(lab)


def test_a_namespace_that_is_being_deleted(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 3."""
    lab.store.patch("v1", "Namespace", "production", {"status": {"phase": "Terminating"}})
    code, text = attempt(lab, capsys, "migrate", "production", "--yes")
    assert code == 3
    assert "being deleted" in text


def test_prometheus_away(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 4."""
    lab.prometheus.switches.outage = Outage.UNAVAILABLE
    code, text = attempt(lab, capsys, "migrate", "production", "--yes", "--playbook", QUICK)
    assert code == 4
    assert "Prometheus" in text
    assert [] == policy_writes(lab)


def test_a_login_page_instead_of_prometheus(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 4."""
    lab.prometheus.switches.login_page = True
    code, _ = attempt(lab, capsys, "migrate", "production", "--yes", "--playbook", QUICK)
    assert code == 4
    assert [] == policy_writes(lab)


def test_a_prometheus_that_has_nothing(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """No data is never good: exit 4."""
    lab.prometheus.switches.empty = True
    code, _ = attempt(lab, capsys, "migrate", "production", "--yes", "--playbook", QUICK)
    assert code == 4
    assert [] == policy_writes(lab)


def test_a_broken_playbook(lab: Lab, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Exit 2, all errors with their lines."""
    path = tmp_path / "broken.yaml"
    path.write_text("- name: x\n  targets: '{{ namespaces }}'\n  hosts: all\n  tasks:\n    - strct: {}\n")
    code, text = attempt(lab, capsys, "migrate", "production", "--yes", "--playbook", str(path))
    assert code == 2
    assert "broken.yaml:3" in text
    assert "broken.yaml:5" in text


def test_a_playbook_in_another_order(lab: Lab, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Exit 2: the machine fixes the order."""
    path = tmp_path / "order.yaml"
    path.write_text("- name: x\n  targets: '{{ namespaces }}'\n  tasks:\n    - watch: {for: 1m}\n    - strict:\n")
    assert attempt(lab, capsys, "migrate", "production", "--yes", "--playbook", str(path))[0] == 2


def test_a_forged_journal(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """A record is data, not authority: exit 3, and no policy is touched (safety 11)."""
    assert attempt(lab, capsys, "migrate", "production", "--yes", "--playbook", QUICK, "--until", "checking")[0] == 7
    maps = lab.store.list("v1", "ConfigMap", "production")
    journal = next(m for m in maps if m["metadata"]["name"].startswith("rollout-production"))
    number = len(journal["data"]) + 1
    evil = {
        "v": 1, "seq": number, "t": "2026-03-02T10:00:00Z", "type": "intent",
        "change": {
            "ref": {"kind": "PeerAuthentication", "namespace": "istio-system", "name": "default"},
            "before": {"mode": "PERMISSIVE"}, "after": {"mode": "STRICT"},
        },
    }  # fmt: skip
    body = {"data": {f"e{number:08}": json.dumps(evil)}}
    lab.store.patch("v1", "ConfigMap", journal["metadata"]["name"], body, namespace="production")
    code, text = attempt(lab, capsys, "resume", "production")
    assert code == 3
    assert "istio-system" in text
    assert [] == policy_writes(lab)


def test_a_duration_that_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is known from the first moment: exit 3 before PERMISSIVE is written, though --until asks for no more."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with Lab.start("healthy") as lab:
        code, text = attempt(lab, capsys, "migrate", "shop", "--yes", "--max-duration", "5m")
        assert (3, []) == (code, policy_writes(lab))
        said = " ".join(text.split())
        assert "drain, watch and rollback need 0:45:45, and --max-duration leaves 0:0" in said
        argv = ("migrate", "shop", "--yes", "--max-duration", "5m", "--until", "permissive")
        assert 7 == attempt(lab, capsys, *argv)[0]
        assert [] != policy_writes(lab)


def test_a_scenario_of_another_namespace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next command is about the scenario's own target, not the first namespace of its mesh."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert 2 == main(["migrate", "production", "--lab", "healthy"])
    assert "    next    rollout migrate shop --lab healthy\n" in capsys.readouterr().err


def test_the_list_of_scenarios_says_which_namespace(capsys: pytest.CaptureFixture[str]) -> None:
    """What has to be typed after `plan`."""
    assert 0 == main(["lab", "list"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["SCENARIO", "TARGET", "TITLE"] == rows[0]
    assert ["healthy", "shop"] == next(row for row in rows if row[0] == "healthy")[:2]
    assert len(list_scenarios()) == len(rows) - 1


def test_an_unknown_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2."""
    assert main(["plan", "production", "--lab", "helthy"]) == 2
    assert "healthy" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["explain", "probs"], ["playbook", "lint", "/nowhere.yaml"]])
def test_what_is_not_known(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2."""
    assert main(argv) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        ["--waive", "nonsense"],
        ["--waive", "probs=Pod x/y", "--reason", "r"],
        ["--waive", "probes=Pod x/y"],
        ["--exempt", "PeerAuthentication a/b"],
        ["--fixed", "no time", "--reason", "r"],
        ["--permissive-since", "yesterday", "--reason", "r"],
        ["--permissive-since", "2999-01-01", "--reason", "r"],
        ["--fixed", "a -> b/c@2999-01-01", "--reason", "r"],
        ["--max-duration", "soon"],
        ["-e", "novalue"],
    ],
)
def test_a_flag_that_makes_no_sense(lab: Lab, capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    """Exit 2, nothing read further."""
    assert attempt(lab, capsys, "plan", "production", *flags)[0] == 2


def test_a_cluster_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 4 for a dead address, 2 for a missing file."""
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "c", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }  # fmt: skip
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    prometheus = ["--prometheus", "http://127.0.0.1:9"]
    assert main(["plan", "x", "--kubeconfig", str(path), *prometheus]) == 4
    assert main(["plan", "x", "--kubeconfig", str(tmp_path / "none"), *prometheus]) == 2
    assert main(["plan", "x", "--kubeconfig", str(path), "--context", "other", *prometheus]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_context_that_is_not_there(lab: Lab, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The contexts that there are, and how to see them."""
    path = tmp_path / "config"
    path.write_text(lab.kubeconfig, encoding="utf-8")
    assert main(["plan", "x", "--kubeconfig", str(path), "--context", "nope", "--prometheus", "http://x"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rollout: the kubeconfig has no context 'nope'\n    limit   contexts: lab\n")
    assert "    next    kubectl config get-contexts, then --context NAME\n" in error


def test_a_kubeconfig_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Where it was looked for, and the two ways to name another."""
    assert main(["status", "--kubeconfig", "/nowhere/config"]) == 2
    assert [
        "rollout: there is no kubeconfig file",
        "    where   /nowhere/config",
        "    next    --kubeconfig FILE, or export KUBECONFIG=FILE",
    ] == capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("argv", "lines"),
    [
        (["rollback", "x", "--yes"], ["`rollout rollback` knows no --yes", "rollout rollback --help"]),
        (["migrat", "x"], ["there is no command 'migrat'; did you mean migrate?", "rollout migrate --help"]),
        (["plan", "x", "--until", "chekcing"],
         ["there is no --until 'chekcing'; did you mean checking?", "rollout plan --help"]),
        (["plan", "x", "-o", "yaml"], ["there is no --output 'yaml'; there are text, json", "rollout plan --help"]),
        (["plan", "x", "--max-rate", "3/x"],
         ["argument --max-rate: '3/x' is no rate; such as 0.5 (per s), 0.5/s, 30/m, 3/h or 14/d",
          "rollout plan --help"]),
        (["help", "me"], ["there is no topic 'me'; there are exit-codes", "rollout help --help"]),
        (["explain"], ["the following arguments are required: ID", "rollout explain --help"]),
    ],
)  # fmt: skip
def test_a_command_line_that_is_wrong(argv: list[str], lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence and the next command, as every error; argparse alone would print its whole usage."""
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert 2 == ended.value.code
    assert [f"rollout: {lines[0]}", f"    next    {lines[1]}"] == capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1000/s", 1000.0), ("0.5", 0.5), ("30/m", 0.5), ("36/h", 0.01), ("864/d", 0.01), ("1.2e-05/s", 1.2e-05)],
)
def test_rates_as_reports_print_them(text: str, expected: float) -> None:
    """Copied from a report they are taken."""
    assert expected == pytest.approx(parser().parse_args(["plan", "x", "--max-rate", text]).max_rate)


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1/week", "", "/s", "1e999"])
def test_what_is_no_rate(text: str) -> None:
    """A ceiling of nan would let everything or nothing through."""
    with pytest.raises(SystemExit):
        parser().parse_args(["plan", "x", f"--max-rate={text}"])


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["plan", "-A", "shop"], "-A means every namespace, and shop is named as well"),
        (["plan", "shop", "-A"], "-A means every namespace, and shop is named as well"),
        (["plan", "x", "--lab", "healthy", "--kubeconfig", "f"],
         "--lab brings a cluster and its Prometheus along, and --kubeconfig would not be used"),
        (["migrate", "x", "--lab", "healthy", "--prometheus", "http://p:1", "--context", "c"],
         "--lab brings a cluster and its Prometheus along, and --context and --prometheus would not be used"),
    ],
)  # fmt: skip
def test_flags_that_contradict_each_other(argv: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    """None is passed over without a word."""
    assert 2 == main(argv)
    assert f"rollout: {problem}" in " ".join(line.strip() for line in capsys.readouterr().err.splitlines())


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["plan", "x", "-o", "json", "--until", "never"], "there is no --until 'never'; there are"),
        (["plan", "-A", "x", "--output=json"], "-A means every namespace, and x is named as well"),
        (["status", "-ojson", "--kubeconfig", "/nowhere/config"], "there is no kubeconfig file"),
    ],
)
def test_a_program_gets_a_document_for_an_error(
    argv: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stdout, with the exit status; the sentence for people stays on stderr."""
    try:
        code: object = main(argv)
    except SystemExit as ended:
        code = ended.code
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert (2, 2, "usage") == (code, document["exit"], document["error"]["outcome"])
    assert document["error"]["problem"].startswith(problem)
    assert {"problem", "limit", "where", "next", "outcome"} == set(document["error"])
    assert shown.err.startswith(f"rollout: {problem}")
    assert FORMAT_VERSION == document["format_version"]


def test_a_document_names_every_mistake_of_a_playbook(
    lab: Lab, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With its lines."""
    path = tmp_path / "broken.yaml"
    path.write_text("- name: x\n  hosts: all\n  tasks:\n    - strct: {}\n")
    assert 2 == main(["plan", "production", "--playbook", str(path), "--lab", lab.api_url, "-o", "json"])
    assert [2, 4] == [one["line"] for one in json.loads(capsys.readouterr().out)["error"]["problems"]]


@pytest.mark.parametrize("path", ["/nowhere/istioctl", "nosuch-istioctl"])
def test_an_istioctl_that_is_not_there(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever names one wants it to be asked."""
    assert 2 == main(["diagnose", "production", "--istioctl", path, "--lab", "healthy"])
    assert f"there is no {path}" in capsys.readouterr().err
