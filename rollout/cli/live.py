"""Lines that are redrawn in place, below everything that was printed; own code, because it is one escape sequence.

Each frame is one write: up to the block's first line, every line with the rest of its row erased, and what is left of
an older block below. Nothing is erased before it is replaced, so nothing flickers.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TextIO

#: Seconds between two frames that show nothing but time passing.
FRAME = 0.2

Render = Callable[[int, int], list[str]]


def size(stream: TextIO) -> tuple[int, int]:
    """Columns and lines of this stream's terminal; 80 by 24 where it has none or tells none."""
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 80, 24
    return columns or 80, lines or 24


class Live:
    """A block at the end of a terminal.

    Args:
        stream: the terminal that lines which stay are written to as well.
        monotonic: for tests.
    """

    def __init__(self, stream: TextIO, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Nothing is drawn; from now on a resize is heard (main thread only)."""
        self._stream = stream
        self._monotonic = monotonic
        self._render: Render | None = None
        self._height = 0
        self._drawn = float("-inf")
        self._writing = False
        self._before: Any = None
        if hasattr(signal, "SIGWINCH") and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGWINCH, self._resized)

    def draw(self, render: Render) -> None:
        """Show these lines; `render` takes the terminal's columns and lines. Frames that come too soon are left out."""
        self._render = render
        if self._monotonic() - self._drawn >= FRAME:
            self._drawn = self._monotonic()
            self._frame([])

    def print(self, lines: Iterable[str]) -> None:
        """Lines that stay, above the block."""
        self._frame(list(lines))

    def erase(self) -> None:
        """Take the block away."""
        self._render = None
        self._frame([])

    def close(self) -> None:
        """Take the block away, and hear no resize any more."""
        if self._height:
            self.erase()
        if self._before is not None:
            signal.signal(signal.SIGWINCH, self._before)
            self._before = None

    def _frame(self, staying: list[str]) -> None:
        columns, rows = size(self._stream)
        block = self._render(columns, rows) if self._render else []
        block = block[: max(rows - 1, 0)]
        up = min(self._height, rows - 1)
        if up or block:
            text = f"\x1b[{up}A\r" if up else "\r"
            text += "".join(f"{line}\x1b[K\n" for line in (*staying, *block)) + "\x1b[J"
        else:
            text = "".join(f"{line}\n" for line in staying)
        self._writing = True
        try:
            self._stream.write(text)
            self._stream.flush()
        finally:
            self._writing = False
        self._height = len(block)

    def _resized(self, *_: object) -> None:
        """A frame under way is not broken into; the next one fits."""
        if self._render is not None and self._height and not self._writing:
            self._frame([])
