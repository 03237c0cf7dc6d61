"""Ctrl-C, SIGTERM and a lost terminal.

A signal sets a flag; it breaks off only what is marked as interruptible (sleeps and reads), so that a write is never
cut in half and the journal's order holds (DESIGN.md, "Stops").
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any


class Interrupted(BaseException):
    """A stop was asked for inside an interruptible part; no `except Exception` swallows it.

    Args:
        signal: which one.
        presses: how many so far, this one included.
    """

    def __init__(self, signal: signal.Signals, presses: int) -> None:
        """Keep them."""
        super().__init__(signal.name)
        self.signal = signal
        self.presses = presses


def silence_output() -> None:
    """Point stdout and stderr to nowhere: the terminal is gone and writing to it fails."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)
    finally:
        os.close(nowhere)


class Stopper:
    """Hears SIGINT, SIGTERM and SIGHUP while it is entered as a context manager.

    Args:
        terminal: a human sits there, so a second press means more than the first; without one it is the same stop.
        mute: called once at SIGHUP.
    """

    def __init__(self, *, terminal: bool = False, mute: Callable[[], None] = silence_output) -> None:
        """Hear nothing yet."""
        self.asked: signal.Signals | None = None
        self.presses = 0
        self.muted = False
        self._pending = False
        self._depth = 0
        self._terminal = terminal
        self._mute = mute
        self._before: dict[signal.Signals, Any] = {}

    @property
    def stopping(self) -> bool:
        """A stop was asked for that nobody has taken notice of."""
        return self._pending

    def __enter__(self) -> Stopper:
        """Install the handlers (main thread only; elsewhere nothing is heard)."""
        if threading.current_thread() is threading.main_thread():
            for number, handler in (
                (signal.SIGINT, self._stop),
                (signal.SIGTERM, self._stop),
                (signal.SIGHUP, self._hang_up),
            ):
                self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put back what was installed before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Inside, a stop raises `Interrupted` at once; also one that came before and was not acknowledged."""
        self._depth += 1
        try:
            self.check()
            yield
        finally:
            self._depth -= 1

    def check(self) -> None:
        """Raise `Interrupted` if a stop waits for notice."""
        if self._pending and self.asked is not None:
            raise Interrupted(self.asked, self.presses)

    def acknowledge(self) -> None:
        """Take notice: the undo's own sleeps and reads go on until the next press."""
        self._pending = False

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        if self.presses and not self._terminal:
            return
        self.asked = signal.Signals(number)
        self.presses += 1
        self._pending = True
        if self._depth:
            raise Interrupted(self.asked, self.presses)

    def _hang_up(self, _number: int, _frame: FrameType | None) -> None:
        if not self.muted:
            self.muted = True
            self._mute()
