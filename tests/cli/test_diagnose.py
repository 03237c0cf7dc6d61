"""`rollout diagnose` on the lab, on a log, and with bad input."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout.cli import main
from rollout.lab.lab import Lab
from rollout.report.json import FORMAT_VERSION

STRICT = {
    "apiVersion": "security.istio.io/v1",
    "kind": "PeerAuthentication",
    "metadata": {"name": "default", "namespace": "payments"},
    "spec": {"mtls": {"mode": "STRICT"}},
}


def first_line(shown: str) -> str:
    """The sentence: up to the line of the context."""
    return " ".join(shown.partition("\ncontext ")[0].split())


def named(lab: Lab, name: str, namespace: str) -> str:
    """A pod whose name begins so, as the command line wants it."""
    pods = lab.store.list("v1", "Pod", namespace)
    return next(str(p["metadata"]["name"]) for p in pods if p["metadata"]["name"].startswith(name)) + f".{namespace}"


@pytest.mark.parametrize(
    ("scenario", "namespace", "code", "words"),
    [
        ("missing-sidecar", "production", 3, ["legacy-export", "no istio-proxy", "sidecar.istio.io/inject is false"]),
        (
            "destination-rule-disable",
            "payments",
            3,
            ["DestinationRule shop/ledger-plain", "DISABLE", "accepted now, STRICT would refuse it"],
        ),
        ("probe-rewrite-off", "payments", 3, ["Deployment payments/ledger", "readinessProbe", "is not rewritten"]),
        (
            "healthy",
            "shop",
            0,
            ["namespace shop: mutual TLS works here, all layers pass (skipped: logs"],
        ),
    ],
)
def test_the_cause_is_in_the_first_line(
    scenario: str, namespace: str, code: int, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each scenario's own; on a healthy one nothing, and what could not be seen."""
    assert code == main(["diagnose", namespace, "--lab", scenario])
    sentence = first_line(capsys.readouterr().out)
    assert [True] * len(words) == [word in sentence for word in words], sentence


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """The scenario with a client's DestinationRule."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with Lab.start("destination-rule-disable") as started:
        yield started


def test_a_pair_that_strict_refuses(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """The verdict with both sides' objects, and nothing written; the lab's traffic agrees that it is refused."""
    lab.store.create(STRICT)
    before = len(lab.store.writes)
    client = named(lab, "web", "shop")
    code = main(["diagnose", "--from", client, "--to", "ledger.payments:8080", "--lab", lab.api_url])
    shown = capsys.readouterr().out
    assert code == 3
    assert "the client sends plaintext to a port that is STRICT" in first_line(shown)
    flat = " ".join(shown.split())
    assert f"{client} to ledger.payments:8080: will be refused" in flat
    assert "decided by PeerAuthentication payments/default" in flat
    assert "√ 3 certificates" in shown
    assert before == len(lab.store.writes)


def test_a_pair_as_json(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Versioned, with all layers in order."""
    client = named(lab, "web", "shop")
    code = main(["diagnose", "--from", client, "--to", "ledger.payments", "-o", "json", "--lab", lab.api_url])
    shown = json.loads(capsys.readouterr().out)
    assert (3, FORMAT_VERSION, "peer-authentication") == (code, shown["format_version"], shown["cause"])
    assert ["injection", "peer-authentication", "certificates", "logs", "authorization", "analyze"] == [
        layer["layer"] for layer in shown["layers"]
    ]
    assert "DestinationRule shop/ledger-plain" in shown["sentence"]
    assert shown["fix"].startswith("kubectl patch destinationrule ledger-plain -n shop")


def test_a_pod(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Its ports and their modes."""
    assert 0 == main(["diagnose", named(lab, "ledger", "payments"), "--lab", lab.api_url])
    assert "port 8080 (ledger:8080): PERMISSIVE" in capsys.readouterr().out


def test_a_pair_without_a_fault(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Another client than that of the rule: STRICT, and it works."""
    lab.store.create(STRICT)
    client = named(lab, "ledger", "payments")
    code = main(["diagnose", "--from", client, "--to", "ledger.payments:8080", "--lab", lab.api_url])
    assert code == 0
    assert "ledger.payments:8080: will work" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["diagnose"], "nothing is named"),
        (["diagnose", "paymens"], "did you mean payments?"),
        (["diagnose", "zzz"], "there is no namespace zzz"),
        (["diagnose", "web.shop"], "did you mean web-"),
        (["diagnose", "--from", "web.shop"], "a pair needs its two ends"),
        (["diagnose", "-", "--to", "ledger.payments:80"], "a log on standard input is diagnosed by itself"),
    ],
)
def test_bad_input(lab: Lab, capsys: pytest.CaptureFixture[str], argv: list[str], words: str) -> None:
    """Exit 2, a sentence and what to type next."""
    assert 2 == main([*argv, "--lab", lab.api_url])
    shown = capsys.readouterr()
    assert words in " ".join(shown.err.split())
    assert "" == shown.out


def test_a_port_that_is_not_there(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that are there are named."""
    client = named(lab, "web", "shop")
    assert 2 == main(["diagnose", "--from", client, "--to", "ledger.payments:9", "--lab", lab.api_url])
    assert "Service payments/ledger has no port 9" in capsys.readouterr().err


class _Stdin:
    def __init__(self, text: bytes, *, terminal: bool = False) -> None:
        self.buffer = io.BytesIO(text)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


LOG = (
    b'[2026-03-02T12:00:00.000Z] "- - -" 0 NR filter_chain_not_found - "-" 0 0 0 - "-" "-" "-" "-" "-" - - '
    b"10.0.0.1:8080 10.0.0.9:41234 - -\n"
    b'[2026-03-02T12:00:01Z] "GET /pay?token=hunter2 HTTP/1.1" 403 - rbac_access_denied_matched_policy[none] - "-"\n'
)


def piped(monkeypatch: pytest.MonkeyPatch, text: bytes, *argv: str) -> int:
    """`… | rollout diagnose -`; nothing is connected to."""
    monkeypatch.setattr("sys.stdin", _Stdin(text))
    return main(["diagnose", "-", *argv])


def test_a_log_on_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Meaning, callers and fix; no secret."""
    assert 3 == piped(monkeypatch, LOG)
    shown = capsys.readouterr().out
    assert shown.startswith("Plaintext was refused by STRICT: 1 line of 2\n")
    assert "10.0.0.9: 1 line" in shown
    assert "An AuthorizationPolicy denied the call (rbac-denied)" in shown
    assert "hunter2" not in shown


def test_a_log_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for programs."""
    assert 3 == piped(monkeypatch, LOG, "-o", "json")
    text = capsys.readouterr().out
    shown = json.loads(text)
    found: list[tuple[Any, ...]] = [(p["id"], p["count"], p["details"]) for p in shown["patterns"]]
    assert [("filter-chain-not-found", 1, [["10.0.0.9", 1]]), ("rbac-denied", 1, [["none", 1]])] == found
    assert (2, FORMAT_VERSION) == (shown["lines"], shown["format_version"])
    assert "hunter2" not in text


def test_a_log_without_a_pattern(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0, and how much was looked at."""
    assert 0 == piped(monkeypatch, b"info all is well\n")
    assert "no known pattern in 1 line\n" == capsys.readouterr().out


def test_a_terminal_instead_of_a_log(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody waits for lines that never come."""
    monkeypatch.setattr("sys.stdin", _Stdin(b"", terminal=True))
    assert 2 == main(["diagnose", "-"])
    assert "nothing is piped in" in capsys.readouterr().err
