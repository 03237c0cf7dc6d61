"""`rollout diagnose --logs` follows the logs: what it shows as it comes, what of it is counted, and in what memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.following import Follower
from rollout.cli import main
from rollout.lab.lab import Lab
from tests.cli.conftest import Terminal

REFUSED = '[2026-03-02T12:00:00.000Z] "- - -" 0 NR filter_chain_not_found - "-" 0 0 0 - "-" "-" "-" "-" "-" - - '
REFUSED += "10.0.0.1:8080 10.0.0.9:41234 - -"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A namespace without a fault."""
    with Lab.start("rbac-denial") as started:
        yield started
    assert [] == (started._server.failures if started._server is not None else [])


def writes(lab: Lab, **texts: Any) -> None:
    """Let these pods' proxies write a line of this text for each second from now on, whatever their loggers are."""
    begun = lab.clock.now()

    def source(namespace: str, pod: str, container: str, since: datetime | None) -> list[tuple[datetime, str]]:
        now = lab.clock.now()
        text = next((text for name, text in texts.items() if pod.startswith(name)), None)
        every = (begun + timedelta(seconds=n) for n in range(1, 1 + int((now - begun).total_seconds())))
        return [(at, text) for at in every if text and (since is None or at >= since)]

    lab._serving().api.logs = source


def logs(shown: str) -> dict[str, Any]:
    """The fourth layer."""
    return next(dict(layer) for layer in json.loads(shown)["layers"] if layer["layer"] == "logs")


def test_a_new_pattern_is_shown_once_as_it_comes(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each pod: time, pod, pattern, example; beside the diagnosis, whose counts are those of the log."""
    writes(lab, orders=REFUSED)
    begun = lab.clock.now()
    assert 3 == main(["diagnose", "production", "--logs", "60s", "--lab", lab.api_url])
    out, err = capsys.readouterr()
    shown = re.findall(r"^(\d\d:\d\d:\d\d) production/(orders-\S+) filter-chain-not-found: (.*)$", err, re.MULTILINE)
    assert 2 == len(shown)
    assert {REFUSED} == {example for _, _, example in shown}
    assert {f"{begun + timedelta(seconds=1):%H:%M:%S}"} == {at for at, _, _ in shown}
    assert "filter_chain_not_found" not in out.partition("4 logs")[0]


def test_no_line_is_counted_twice_or_lost(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """One a second for a minute, and no other line."""
    writes(lab, orders=REFUSED)
    main(["diagnose", "production", "--logs", "60s", "-o", "json", "--lab", lab.api_url])
    out, err = capsys.readouterr()
    found = [finding["measured"] for finding in logs(out)["findings"]]
    assert ["Plaintext was refused by STRICT: 60 lines"] * 2 == found
    assert "filter-chain-not-found" not in err


def test_a_stream_that_is_closed_again_and_again(
    lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same counts; each time it goes on from where it stood."""
    writes(lab, orders=REFUSED)
    api = lab._serving().api
    source, streams = api.logs, list[datetime | None]()

    def closing(namespace: str, pod: str, container: str, since: datetime | None) -> list[tuple[datetime, str]]:
        streams.append(since)
        return source(namespace, pod, container, since)

    api.logs = closing
    monkeypatch.setattr("rollout.lab.api.logs._followed", lambda lines, _more, asked, _closed, **_: iter(
        [b"".join(_shown(line, asked) for line in lines)]))  # fmt: skip
    monkeypatch.setattr("rollout.cli.following.Follower", partial(Follower, pause=0.001))
    main(["diagnose", "production", "--logs", "60s", "-o", "json", "--lab", lab.api_url])
    found = [finding["measured"] for finding in logs(capsys.readouterr().out)["findings"]]
    assert ["Plaintext was refused by STRICT: 60 lines"] * 2 == found
    assert len(streams) > 8


def _shown(line: Any, asked: Any) -> bytes:
    from rollout.lab.api import logs as api_logs

    return api_logs._shown(line, asked)


def test_a_terminal_gets_lines_that_fit(lab: Lab, terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    """One line each, and nothing of a log moves its cursor."""
    writes(lab, orders=f"{REFUSED} \x1b[2J\x07 {'x' * 300}")
    shown = terminal(80, 60)
    code = shown.run(
        "diagnose", "production", "--logs", "5s", "--lab", lab.api_url, state=tmp_path, stdout=subprocess.DEVNULL
    )
    assert 3 == code
    mine = [line for line in shown.seen() if "filter-chain-not-found" in line]
    assert 2 == len(mine)
    assert {"…"} == {line[-1] for line in mine}
    assert b"\x1b[2J" not in shown.raw


def test_a_log_of_a_hundred_megabytes_needs_little_memory(lab: Lab, tmp_path: Path) -> None:
    """A process that follows it stays within thirty megabytes of one that does not."""
    many = [(lab.clock.now() + timedelta(seconds=30), "x" * 1000)] * 100_000
    lab._serving().api.logs = lambda *_: many
    plain, followed = peak(lab, tmp_path), peak(lab, tmp_path, "--logs", "60s")
    assert followed - plain < 30 << 20


def peak(lab: Lab, state: Path, *argv: str) -> int:
    """The most memory that a diagnosis took, in bytes."""
    pod = next(p["metadata"]["name"] for p in lab.store.list("v1", "Pod", "production"))
    command = [sys.executable, "-m", "rollout", "diagnose", f"{pod}.production", *argv, "--lab", lab.api_url]
    environment = {**os.environ, "XDG_STATE_HOME": str(state)}
    with (state / "out").open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert 0 == process.returncode, (state / "out").read_text()
    return usage.ru_maxrss * 1024
