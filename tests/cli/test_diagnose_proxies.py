"""`rollout diagnose` asks the proxies: each scenario's diagnosis, what cannot be read, and levels that go back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.cli import main
from rollout.lab.api import Effect, Fault
from rollout.lab.api.exec import Executed, not_found
from rollout.lab.lab import Lab, list_scenarios
from rollout.lab.scenario import SHIPPED, Diagnosed, load_scenario

SAID = [
    pytest.param(name, said, id=f"{name}: {' '.join(said.arguments)}")
    for name, _ in list_scenarios()
    for said in load_scenario(name).diagnosis
]


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def first_line(shown: str) -> str:
    """The sentence: up to the line of the context."""
    return " ".join(shown.partition("\ncontext ")[0].split())


@pytest.mark.parametrize(("name", "said"), SAID)
def test_the_first_line_is_right(name: str, said: Diagnosed, capsys: pytest.CaptureFixture[str]) -> None:
    """As the scenario's file says; nothing is written."""
    with Lab.start(name) as lab:
        before = len(lab.store.writes)
        code = main(["diagnose", *said.arguments, "--lab", lab.api_url])
        sentence = first_line(capsys.readouterr().out)
        assert said.exit_code == code, sentence
        assert [] == [words for words in said.words if words not in sentence], sentence
        assert before == len(lab.store.writes)
        assert [] == lab._serving().failures


def test_every_new_scenario_has_a_diagnosis() -> None:
    """So that none is left out of the test above."""
    names = {name for name, _ in list_scenarios() if load_scenario(name).diagnosis}
    assert names >= {
        "expired-certificate", "foreign-root", "san-mismatch", "rbac-denial", "deny-all-catches-unrewritten-probes",
        "missing-sidecar-one-replica", "stale-proxy", "passthrough-gateway", "nodeport-to-pods", "headless-mixed",
    }  # fmt: skip


@pytest.fixture
def lab() -> Iterator[Lab]:
    """web and ledger call orders, whose certificate has expired."""
    with Lab.start("expired-certificate") as started:
        yield started
    assert [] == started_failures(started)


def started_failures(lab: Lab) -> list[BaseException]:
    return lab._server.failures if lab._server is not None else []


def raised(lab: Lab) -> set[str]:
    """The pods whose loggers are at debug."""
    return {
        proxy.pod.name for proxy in lab.simulation.proxies.values() if "debug" in proxy.levels.now.values()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "patterns"),
    [
        ("expired-certificate", {"certificate-expired"}),
        ("foreign-root", {"unknown-ca"}),
        ("san-mismatch", {"san-mismatch", "certificate-rejected"}),
        ("rbac-denial", {"rbac-denied"}),
    ],
)
def test_logs_name_what_happens_and_the_levels_go_back(
    name: str, patterns: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """60 seconds of debug lines; said beforehand, put back afterwards."""
    with Lab.start(name) as lab:
        main(["diagnose", "production", "--logs", "60s", "-o", "json", "--lab", lab.api_url])
        out = capsys.readouterr()
        (logs,) = (layer for layer in json.loads(out.out)["layers"] if layer["layer"] == "logs")
        assert patterns == {finding["check"] for finding in logs["findings"]}
        assert "failed" == logs["status"]
        assert "connection, conn_handler, rbac of" in out.err
        assert set() == raised(lab)


def test_on_a_healthy_pair_all_layers_pass(capsys: pytest.CaptureFixture[str]) -> None:
    """With their logs, too; where no istioctl is named, its layer is skipped."""
    pair = ["--from", "web-0.production", "--to", "orders.production:8080"]
    with Lab.start("rbac-denial") as lab:
        assert 0 == main(["diagnose", *pair, "--lab", lab.api_url])
        assert "mutual TLS works here, all layers pass (skipped: logs, analyze)" in first_line(capsys.readouterr().out)


def test_without_the_right_to_exec_two_layers_are_unknown(
    lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is raised, and the others go on."""
    body = {"kind": "Status", "reason": "Forbidden", "message": "pods/exec is forbidden", "code": 403}
    lab.faults.add(Fault(Effect.STATUS, path="/exec", status=403, body=json.dumps(body)))
    assert 4 == main(["diagnose", "production", "--logs", "60s", "-o", "json", "--lab", lab.api_url])
    shown = json.loads(capsys.readouterr().out)
    status = {layer["layer"]: (layer["status"], layer.get("reason", "")) for layer in shown["layers"]}
    assert "unknown" == status["certificates"][0] == status["logs"][0]
    assert "forbidden" in status["certificates"][1]
    assert ("ok", "ok") == (status["injection"][0], status["peer-authentication"][0])


def hung_up() -> Executed:
    raise ConnectionResetError


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda: not_found(("pilot-agent",)), "the image has no pilot-agent"),
        (lambda: Executed(code=255, err=b"Error: the proxy does not answer\n"), "the proxy does not answer"),
        (lambda: Executed(out=b"<html>"), "holds no secrets"),
        (hung_up, "the connection broke before the command ended"),
    ],
)
def test_a_proxy_that_cannot_be_asked_is_a_sentence(
    lab: Lab, answer: Callable[[], Executed], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The layer is unknown, the others go on."""
    lab._serving().api.exec = lambda *_: answer()
    assert 4 == main(["diagnose", "production", "-o", "json", "--lab", lab.api_url])
    shown = json.loads(capsys.readouterr().out)
    (layer,) = (layer for layer in shown["layers"] if layer["layer"] == "certificates")
    assert ("unknown", True) == (layer["status"], why in layer["reason"]), layer


def start(lab: Lab, state: Path, *argv: str) -> subprocess.Popen[str]:
    """One `rollout` process against the lab."""
    return subprocess.Popen(
        [sys.executable, "-m", "rollout", "diagnose", "production", *argv, "--lab", lab.api_url],
        env={**os.environ, "XDG_STATE_HOME": str(state), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def hanging(lab: Lab, state: Path) -> subprocess.Popen[str]:
    """A diagnosis in the middle of its logs: the levels are raised, and the log does not come."""
    slow = lab.faults.add(Fault(Effect.LATENCY, path="/log.*limitBytes", seconds=60))
    process = start(lab, state, "--logs", "60s")
    end = time.monotonic() + 60
    while len(raised(lab)) < 4 or not slow.hits:
        assert time.monotonic() < end, "the levels were never raised"
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def test_levels_go_back_after_sigkill(lab: Lab, tmp_path: Path) -> None:
    """Whatever the next command is: it finds on disk what they were."""
    process = hanging(lab, tmp_path)
    process.kill()
    process.communicate()
    assert 4 == len(raised(lab))
    lab.faults.clear()
    after = start(lab, tmp_path)
    out, err = after.communicate(timeout=60)
    assert 3 == after.returncode, out + err
    assert "the log levels of 4 proxies were raised by a diagnosis that was killed: put back" in err
    assert set() == raised(lab)
    levels = {(name, p.levels.now[name]) for p in lab.simulation.proxies.values() for name in ("connection", "rbac")}
    assert {("connection", "warning"), ("rbac", "warning")} == levels
    again = start(lab, tmp_path)
    assert "" == again.communicate(timeout=60)[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_levels_go_back_after_a_stop(lab: Lab, tmp_path: Path, number: signal.Signals, code: int) -> None:
    """By the process itself, which says that it was stopped."""
    process = hanging(lab, tmp_path)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert code == process.returncode, out + err
    assert set() == raised(lab)
    assert [] == list(tmp_path.glob("**/levels-*.json"))
    assert f"broken off by {number.name}" in " ".join(out.split())


def test_levels_of_a_diagnosis_that_runs_are_its_own(lab: Lab, tmp_path: Path) -> None:
    """Another command does not put them back under it."""
    first = hanging(lab, tmp_path)
    lab.faults.clear()
    second = start(lab, tmp_path)
    out, err = second.communicate(timeout=60)
    assert (3, "", 4) == (second.returncode, err, len(raised(lab))), out
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    assert set() == raised(lab)


@pytest.mark.parametrize("text", ["soon", "60"])
def test_a_time_that_is_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Is said with the flag, before anything is asked."""
    assert 2 == main(["diagnose", "production", "--logs", text, "--lab", "healthy"])
    assert "--logs" in capsys.readouterr().err


def test_a_log_of_a_hundred_megabytes(lab: Lab, capsys: pytest.CaptureFixture[Any]) -> None:
    """Its newest part is read, and no more of it than fits."""
    from datetime import timedelta

    line = "x" * 1000
    now = lab.clock.now()
    many = [(now + timedelta(seconds=30), line)] * 100_000
    lab._serving().api.logs = lambda *_: many
    assert 3 == main(["diagnose", "production", "--logs", "60s", "-o", "json", "--lab", lab.api_url])
    (logs,) = (la for la in json.loads(capsys.readouterr().out)["layers"] if la["layer"] == "logs")
    assert "ok" == logs["status"]
    assert "lines" in logs["lines"][0]


@pytest.mark.parametrize(("left_out", "unknown"), [("", set()), ("pods/exec", {"certificates", "logs"})])
def test_the_printed_rights_suffice_to_diagnose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], left_out: str, unknown: set[str]
) -> None:
    """With `rbac --for diagnose` everything is read; without exec what is missing is said."""
    assert 0 == main(["rbac", "--user", "ana", "--namespace", "production", "--for", "diagnose"])
    roles = list(yaml.safe_load_all(capsys.readouterr().out))
    for role in roles:
        role["rules"] = [rule for rule in role.get("rules", []) if rule["resources"] != [left_out]]
    document = yaml.safe_load((SHIPPED / "rbac-denial.yaml").read_text())
    path = tmp_path / "ana.yaml"
    path.write_text(yaml.safe_dump({**document, "user": "ana", "manifests": [*document["manifests"], *roles]}))
    pair = ["--from", "web-0.production", "--to", "orders.production:8080", "--logs", "60s", "-o", "json"]
    main(["diagnose", *pair, "--lab", str(path)])
    shown = json.loads(capsys.readouterr().out)
    assert unknown == {layer["layer"] for layer in shown["layers"] if layer["status"] == "unknown"}, shown
