"""A terminal to look at: a real pty, and what a person sees on it."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pyte
import pytest

#: Every frame of a block ends with it.
FRAME = b"\x1b[J"


class Terminal:
    """A pty of this size with an emulator at its other end; `frames` are its screens after each redraw."""

    def __init__(self, columns: int = 80, lines: int = 24) -> None:
        self.master, self.slave = pty.openpty()
        self.screen = pyte.Screen(columns, lines)
        self.emulator = pyte.ByteStream(self.screen)
        self.frames: list[list[str]] = []
        self.raw = b""
        self._pending = b""
        self.resize(columns, lines)

    def resize(self, columns: int, lines: int) -> None:
        """As a person drags the window; a signal is the kernel's part."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def stream(self) -> TextIO:
        """What a process writes to."""
        return os.fdopen(os.dup(self.slave), "w", encoding="utf-8")

    def look(self) -> list[str]:
        """The lines on the screen once everything written has arrived."""
        while select.select([self.master], [], [], 0)[0]:
            self._feed(os.read(self.master, 65536))
        return self.seen()

    def seen(self) -> list[str]:
        """The screen's lines, without the empty ones below."""
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def _feed(self, data: bytes) -> None:
        self.raw += data
        *frames, self._pending = (self._pending + data).split(FRAME)
        for frame in frames:
            self.emulator.feed(frame + FRAME)
            self.frames.append(self.seen())
        if FRAME not in self._pending and not select.select([self.master], [], [], 0)[0]:
            self.emulator.feed(self._pending)
            self._pending = b""

    def run(self, *argv: str, state: Path, stdout: int | None = None, **environ: str) -> int:
        """`rollout` with this terminal as its stdin, stdout (unless given) and stderr; its exit status."""
        env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LC_ALL", "LANG")}
        env |= {"TERM": "xterm-256color", "LC_CTYPE": "C.UTF-8", "XDG_STATE_HOME": str(state), **environ}
        out = self.slave if stdout is None else stdout
        process = subprocess.Popen(
            [sys.executable, "-m", "rollout", *argv], env=env, stdin=self.slave, stdout=out, stderr=self.slave
        )
        while process.poll() is None:
            if select.select([self.master], [], [], 0.1)[0]:
                self._feed(os.read(self.master, 65536))
        self.look()
        return process.returncode

    def close(self) -> None:
        """Hang up."""
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Terminals of a size."""
    made: list[Terminal] = []

    def make(columns: int = 80, lines: int = 24) -> Terminal:
        made.append(Terminal(columns, lines))
        return made[-1]

    yield make
    for one in made:
        one.close()
