"""Whole commands at a real terminal: what a person sees after each redraw, and what is left in the end."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
QUICK = str(HERE.parent / "lifecycle" / "quick.yaml")
BATCH = ("migrate", "ledger", "shop", "stock", "web", "--yes", "--lab", str(HERE / "batch.yaml"),
         "--playbook", str(HERE / "together.yaml"))  # fmt: skip
SINGLE = ("migrate", "production", "--yes", "--lab", "oldest-policy-wins", "--playbook", QUICK)

Terminals = Callable[..., Any]


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (40, 9)])
def test_a_batch_is_a_live_tree(terminal: Terminals, tmp_path: Path, columns: int, lines: int) -> None:
    """One block, never two; it fits; the failing first; and at the end only lines that stay."""
    seen = terminal(columns, lines)
    assert 5 == seen.run(*BATCH, state=tmp_path)
    trees = [(at, frame) for frame in seen.frames for at, line in enumerate(frame) if "4 namespaces, " in line]
    assert trees
    assert len(trees) == sum("4 namespaces, " in "".join(frame) for frame in seen.frames)
    blocks = [frame[at:] for at, frame in trees]
    assert all(len(block) <= lines - 2 for block in blocks)
    assert all(len(line) < columns for block in blocks for line in block)
    complete = 5 <= lines - 2
    for block in blocks:
        rows = [line.split()[1 if line[0] in "×‼√–" else 0] for line in block[1:] if not line.startswith("  +")]
        assert sorted(rows) == sorted(set(rows))
        assert len(rows) == 4 or not complete
        marks = [line[0] for line in block[1:] if not line.startswith("  +")]
        assert marks == sorted(marks, key="×‼ √".index)
    assert any(block[1].split()[:3] == ["×", "stock", "blocked"] for block in blocks)
    assert any(block[1].split()[:3] == ["×", "ledger", "rolling_back"] for block in blocks)
    assert not any("namespaces, " in line or re.match(r"[×‼√]|  \w+ +watching", line) for line in seen.seen())
    assert "Next: rollout plan web --lab" in re.sub(r"\s*\\\s+", " ", " ".join(seen.seen()))


def test_one_run_is_a_block_of_two_lines(terminal: Terminals, tmp_path: Path) -> None:
    """Sight with its bar, then what else is known; the lines that stay are whole."""
    seen = terminal(80, 24)
    assert 0 == seen.run(*SINGLE, state=tmp_path)
    blocks = [frame[-2:] for frame in seen.frames if len(frame) > 1 and frame[-2].startswith("watching    ")]
    assert any(re.fullmatch(r"watching    ███░{7} healthy 30s/1m30s of sight · 1/3 samples · edges 1/1", b[0])
               for b in blocks)  # fmt: skip
    assert all(b[1].startswith("            ") for b in blocks)
    assert not any(line.startswith(("watching ", "enforcing ")) for line in seen.seen())
    assert "RECAP  production  enforced" in " ".join(seen.seen())


def test_without_colour_it_moves_all_the_same(terminal: Terminals, tmp_path: Path) -> None:
    """NO_COLOR is about colours."""
    seen = terminal()
    assert 0 == seen.run(*SINGLE, state=tmp_path, NO_COLOR="1")
    assert not re.search(rb"\x1b\[[\d;]*m", seen.raw)
    assert any(frame[-2].startswith("watching  ") for frame in seen.frames if len(frame) > 1)


def test_a_dumb_terminal_gets_lines(terminal: Terminals, tmp_path: Path) -> None:
    """No escape sequence at all."""
    seen = terminal(80, 60)
    assert 0 == seen.run(*SINGLE, state=tmp_path, TERM="dumb")
    assert b"\x1b" not in seen.raw
    assert any(re.match(r"\d\d:\d\d:\d\d watching        healthy: 30s/1m30s of sight, tick 1/3", line)
               for line in seen.seen())  # fmt: skip


@pytest.mark.parametrize("locale", [{"LANG": "C"}, {"LC_ALL": "POSIX"}, {"PYTHONIOENCODING": "latin-1"}])
def test_a_terminal_without_unicode_gets_ascii(terminal: Terminals, tmp_path: Path, locale: dict[str, str]) -> None:
    """Python takes the C locale for UTF-8, the terminal does not."""
    seen = terminal(80, 60)
    assert 0 == seen.run("plan", *SINGLE[1:2], *SINGLE[3:], state=tmp_path, **locale)
    assert seen.raw.isascii()
    assert any(line.startswith("+ All inbound traffic is mutual TLS already") for line in seen.seen())


def test_status_needs_no_block(terminal: Terminals, tmp_path: Path) -> None:
    """It prints once."""
    seen = terminal()
    assert 0 == seen.run("status", "--lab", "oldest-policy-wins", state=tmp_path)
    assert ["no runs"] == seen.seen()
    assert b"no runs\r\n" == seen.raw


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_file_gets_the_lines_and_the_terminal_the_block(terminal: Terminals, tmp_path: Path, output: str) -> None:
    """`> log`: the block stays on stderr, and goes; with JSON the lines are there, too."""
    seen, log = terminal(), tmp_path / "log"
    with log.open("wb") as file:
        assert 0 == seen.run(*SINGLE, "-o", output, state=tmp_path, stdout=file.fileno())
    assert b"\x1b" not in log.read_bytes()
    waiting = re.compile(r"(enforcing|watching) ")
    assert any(waiting.match(line) for frame in seen.frames for line in frame)
    assert bool(seen.seen()) == (output == "json")
    assert not any(waiting.match(line) for line in seen.seen())


@pytest.mark.parametrize("argv", [["lab", "list"], ["checks", "list"], ["evidence", "shop", "--lab", "healthy"]])
@pytest.mark.parametrize("columns", [60, 80])
def test_lists_fit_a_terminal(terminal: Terminals, tmp_path: Path, argv: list[str], columns: int) -> None:
    """A terminal that has to break lines breaks them anywhere; in a pipe each row is a line, in full."""
    seen = terminal(columns, 200)
    assert 0 == seen.run(*argv, state=tmp_path)
    lines = [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", seen.raw.decode()).splitlines()]
    assert [] == [line for line in lines if len(line) > columns]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    piped = subprocess.run([sys.executable, "-m", "rollout", *argv], capture_output=True, text=True, check=True,
                           timeout=60, env=environment, encoding="utf-8").stdout.splitlines()  # fmt: skip
    assert max(map(len, piped)) > 80
    assert len(piped) < len(lines)


def test_a_pipe_may_lead_back_to_the_terminal(terminal: Terminals, tmp_path: Path) -> None:
    """`| tee`: its lines would run into the block, so there is none."""
    seen = terminal()
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as lines:
        with os.fdopen(writer, "wb") as pipe:
            assert 0 == seen.run(*SINGLE, state=tmp_path, stdout=pipe.fileno())
        assert "Result: ENFORCED" in lines.read().decode()
    assert b"" == seen.raw


def test_a_pipeline_hears_each_minute(tmp_path: Path) -> None:
    """Without a terminal: a line for each change, and each minute what is new (sight, edges)."""
    done = subprocess.run(
        [sys.executable, "-m", "rollout", "migrate", "ledger", "--yes", *BATCH[6:]],
        capture_output=True, text=True, check=False, timeout=100, encoding="utf-8",
        env={"XDG_STATE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
    )  # fmt: skip
    assert 5 == done.returncode
    assert "\x1b" not in done.stdout + done.stderr
    told = re.findall(r"^(\d\d):(\d\d):(\d\d) watching        healthy: (\S+)/8m of sight, tick (\d+)/16( · edges 1/1)?",
                      done.stdout, re.MULTILINE)  # fmt: skip
    beats = [int(h) * 3600 + int(m) * 60 + int(s) for h, m, s, *_, edges in told if edges]
    assert len(beats) >= 2
    assert all((later - one) % 86400 >= 60 for one, later in pairwise(beats))
    ticks = [int(tick) for *_, tick, _ in told]
    assert ticks == sorted(set(ticks))
