"""What the terminal shows while it happens: lines for changes that stay, and below them what is awaited."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TextIO

import msgspec

from rollout.cli.live import Live
from rollout.cli.looking import Looking
from rollout.cli.output import GOES_ON, complain, unheard
from rollout.judge.signals import SILENCE
from rollout.record.events import Ended, Fact, Note, Noted, Ticked
from rollout.record.run import Run
from rollout.report import lifecycle, text, tree
from rollout.report.commands import Again
from rollout.report.layout import Style, followed, wrap

#: A log hears of progress each minute; where nothing but time went by, often enough for a pipeline's patience.
HEARTBEAT = timedelta(minutes=1)
NOTHING_NEW = timedelta(minutes=5)
_WIDEST = 100
#: Columns of a table that no terminal shows.
_PIPE = 10_000
#: What Python itself puts into LC_CTYPE where LANG is C (PEP 538).
_COERCED = "C.UTF-8"
#: A longer namespace moves what stands behind it, and no other line.
_NAME = 20
_SAMPLE = "next sample"


def style(stream: TextIO, again: Again | None = None) -> Style:
    """How lines are set on this stream: its width (80 where it has none), colour, and what it can encode."""
    columns = min(_WIDEST, shutil.get_terminal_size((80, 24)).columns) if stream.isatty() else 80
    return Style(
        width=columns, color=colour(stream), ascii=plain(stream), folds=stream.isatty(), again=again or Again()
    )


def whole(stream: TextIO, again: Again | None = None) -> Style:
    """The same for a table, which only a terminal has to cut or to fold: what reads a pipe needs each row's whole."""
    made = style(stream, again)
    return made if stream.isatty() else msgspec.structs.replace(made, width=_PIPE)


def plain(stream: TextIO) -> bool:
    """ASCII alone is safe: by the stream's encoding, or by a locale that Python, but no terminal, takes for UTF-8."""
    if not (stream.encoding or "ascii").lower().startswith("utf"):
        return True
    asked = [os.environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG")]
    said = next((value for value in asked if value and value != _COERCED), "")
    return said in ("C", "POSIX") and not os.environ.get("PYTHONIOENCODING")


def colour(stream: TextIO) -> bool:
    """NO_COLOR, FORCE_COLOR and TERM, as people expect."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def moving(json: bool) -> TextIO | None:
    """The terminal that can show a block in place: where the lines go, else stderr.

    None where there is none, where it knows no escape sequences, and where a pipe may lead back to the same terminal
    (`| tee`): its lines would run into the block.
    """
    if os.environ.get("TERM", "dumb") == "dumb":
        return None
    if not json and sys.stdout.isatty():
        return sys.stdout
    return sys.stderr if sys.stderr.isatty() and (json or not _pipe(sys.stdout)) else None


def _pipe(stream: TextIO) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return True


class Screen:
    """A listener of the loop. Lines go to stdout, and to stderr where stdout carries JSON."""

    def __init__(self, *, quiet: bool = False, json: bool = False, again: Again | None = None) -> None:
        """`quiet` shows nothing (a plan prints its report at the end); `again` is what next commands repeat."""
        self._quiet = quiet
        self._stream = sys.stderr if json else sys.stdout
        terminal = None if quiet else moving(json)
        self._live = Live(terminal) if terminal is not None else None
        self._together = terminal is self._stream
        self._again = again or Again()
        self._runs: dict[str, tree.Shown] = {}
        self._now: datetime | None = None
        self._beat: datetime | None = None
        self._beaten: tuple[object, ...] = ()
        self._told: set[str] = set()
        self.looking = Looking(self.aside)
        self._mute = False
        self.named = False

    @property
    def style(self) -> Style:
        """How lines are set now: a terminal may have been resized."""
        return style(self._stream, self._again)

    @property
    def again(self) -> Again:
        """What next commands repeat."""
        return self._again

    def say(self, sentence: str, following: str = "") -> None:
        """One sentence, and its next command."""
        self.lines(followed(sentence, following, self.style))

    def aside(self, sentence: str) -> None:
        """Progress that is no part of what is printed: on stderr, but above the block where one moves; not in JSON."""
        if self._stream is sys.stderr:
            return
        if self._live is not None:
            self.lines(wrap(sentence, self.style, rest="  "))
            return
        complain("".join(f"{line}\n" for line in wrap(sentence, style(sys.stderr), rest="  ")))

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines that stay."""
        lines = list(lines)
        if not lines or self._mute:
            return
        try:
            if self._live is not None and self._together:
                self._live.print(lines)
                return
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()
        except OSError as error:
            self._muted(error, self._stream)

    def data(self, text: str) -> None:
        """What a program reads, on stdout; the exit code stays the run's where nobody reads any more."""
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError as error:
            self._muted(error, sys.stdout)

    def _muted(self, error: OSError, stream: TextIO) -> None:
        """A reader that left, a full disk: the run must not end with it, least of all between a flip and its watch."""
        if stream is self._stream:
            self._mute, self._live = True, None
        unheard(error, stream, more=GOES_ON)

    def close(self) -> None:
        """Leave nothing behind but the lines that stay."""
        if self._live is not None:
            self._live.close()

    def event(self, before: Run, after: Run, event: Fact | Note) -> None:
        """One change; ends are told together, after the recap."""
        self._known(after, event)
        if isinstance(event, Ticked):
            self._silent(event)
        if not (self._quiet or isinstance(event, Ended) or (self.named and self._elsewhere(after, event))):
            self._said(text.event(before, after, event, self.style, named=self._column()), after.updated)

    def _said(self, lines: list[str], at: datetime) -> None:
        """A change is a sign of life as well."""
        if lines:
            self.lines(lines)
            self._beat = at

    def _elsewhere(self, run: Run, event: Fact | Note) -> bool:
        """The tree shows it, or another run of the batch has said the same."""
        if isinstance(event, Noted):
            told = event.text in self._told
            self._told.add(event.text)
            return told
        return self._live is not None and tree.minor(run, event)

    def _column(self) -> int:
        """How wide the names are that lines begin with; 0 where there is one run."""
        widest = max((len(one.run.spec.namespace) for one in self._runs.values()), default=0)
        return min(widest, _NAME) if self.named else 0

    def _known(self, run: Run, event: Fact | Note) -> None:
        """Runs of a wave stay together; the next wave begins anew."""
        old = self._runs.get(run.id)
        if old is None and all(one.run.ended for one in self._runs.values()):
            self._runs.clear()
        tick = event if isinstance(event, Ticked) else old.tick if old else None
        why = old.why if old and old.run.state is run.state else ""
        self._runs[run.id] = tree.Shown(run, tick, why)

    def _silent(self, tick: Ticked) -> None:
        """Callers that stopped by themselves: said once, no reason to roll back."""
        for signal in tick.signals:
            if signal.name == SILENCE and not signal.breached and signal.where not in self._told and not self._quiet:
                self._told.add(signal.where)
                said = f"{tick.due:%H:%M:%S} {signal.where}: {signal.measured}; reported only"
                self.lines(wrap(said, self.style, rest="    "))

    def waiting(self, runs: Iterable[Run], why: Iterable[str], now: datetime) -> None:
        """The block on a terminal; elsewhere a heartbeat."""
        if self._quiet or self._mute:
            return
        for run, reason in zip(runs, why, strict=False):
            old = self._runs.get(run.id) or tree.Shown(run)
            self._runs[run.id] = msgspec.structs.replace(old, run=run, why="" if reason == _SAMPLE else reason)
        self._now = now
        if self._live is not None:
            try:
                self._live.draw(self._block)
            except OSError as error:
                self._muted(error, self._stream)
        elif any(not one.run.ended for one in self._runs.values()):
            self._beating(list(self._runs.values()), now)

    def _block(self, columns: int, rows: int) -> list[str]:
        """How it stands now; one line of what was printed stays in sight."""
        shown = list(self._runs.values())
        if self._now is None or all(one.run.ended for one in shown):
            return []
        fitting = msgspec.structs.replace(self.style, width=min(columns, _WIDEST))
        now = max(self._now, *(one.run.updated for one in shown))
        return tree.block(shown, now, fitting, height=rows - 2)

    def _beating(self, shown: list[tree.Shown], now: datetime) -> None:
        news = tuple((one.run.state, one.run.held, one.run.watch.ticks, one.run.watch.verdict, one.run.ended, one.why)
                     for one in shown)  # fmt: skip
        due = HEARTBEAT if news != self._beaten else NOTHING_NEW
        self._beat = self._beat or now
        if now - self._beat < due:
            return
        self._beat, self._beaten = now, news
        going = sorted((one for one in shown if not one.run.ended), key=lambda one: lifecycle.rank(one.run))
        worst = going[0]
        several = tree.counted([one.run for one in shown]) if len(shown) > 1 else ""
        detail = " · ".join(said for said in ("" if worst.run.held else worst.why, several) if said)
        self.lines(text.heartbeat(worst.run, now, self.style, last=worst.tick, detail=detail, named=self._column()))
