"""What the terminal shows while it happens: lines for changes, one moving line for waiting."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TextIO

from rollout.judge.signals import SILENCE
from rollout.record.events import Ended, Fact, Note, Ticked
from rollout.record.run import Run
from rollout.report import text
from rollout.report.layout import Style, wrap

HEARTBEAT = timedelta(minutes=5)


def style(stream: TextIO) -> Style:
    """How lines are set on this stream: its width (80 where it has none), colour, and what it can encode."""
    columns = min(100, shutil.get_terminal_size((80, 24)).columns) if stream.isatty() else 80
    encoding = (stream.encoding or "ascii").lower()
    return Style(width=columns, color=colour(stream), ascii=not encoding.startswith("utf"))


def colour(stream: TextIO) -> bool:
    """NO_COLOR, FORCE_COLOR and TERM, as people expect."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Screen:
    """A listener of the loop. `stream` is stdout for text and stderr where stdout carries JSON."""

    def __init__(self, *, quiet: bool = False, json: bool = False) -> None:
        """`quiet` shows nothing (a plan prints its report at the end)."""
        self._quiet = quiet
        self._stream = sys.stderr if json else sys.stdout
        self.style = style(self._stream)
        self._moving = sys.stderr.isatty() and not quiet
        self._beat: datetime | None = None
        self._told: set[str] = set()
        self.named = False

    def say(self, sentence: str) -> None:
        """One sentence, wrapped."""
        self.lines(wrap(sentence, self.style, rest="    "))

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines that stay."""
        self._clear()
        for line in lines:
            self._stream.write(line + "\n")
        self._stream.flush()

    def event(self, before: Run, after: Run, event: Fact | Note) -> None:
        """One change; ends are told together, after the recap."""
        if isinstance(event, Ticked):
            self._silent(event)
        if not self._quiet and not isinstance(event, Ended):
            self.lines(text.event(before, after, event, self.style, named=self.named))

    def _silent(self, tick: Ticked) -> None:
        """Callers that stopped by themselves: said once, no reason to roll back."""
        for signal in tick.signals:
            if signal.name == SILENCE and not signal.breached and signal.where not in self._told and not self._quiet:
                self._told.add(signal.where)
                said = f"{tick.due:%H:%M:%S} {signal.where}: {signal.measured}; reported only"
                self.lines(wrap(said, self.style, rest="    "))

    def waiting(self, runs: Iterable[Run], why: Iterable[str], now: datetime) -> None:
        """The moving line on a terminal; elsewhere a heartbeat."""
        if self._quiet:
            return
        active = list(runs)
        if not active:
            return
        wide = self.style if self._moving else Style(width=400, ascii=self.style.ascii)
        line = text.progress(active[0], now, wide, detail=next(iter(why), ""))
        if self._moving:
            sys.stderr.write("\r\x1b[K" + line[: self.style.columns - 1])
            sys.stderr.flush()
        elif self._beat is None or now - self._beat >= HEARTBEAT:
            self._beat = now
            self.lines(wrap(f"{now:%H:%M:%S} {line}", self.style, rest=" " * 25))

    def _clear(self) -> None:
        if self._moving:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
