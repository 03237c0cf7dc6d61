"""Lines that fit: width, colour and ASCII are parameters, so that a pipe, a log and a terminal get the same words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

import msgspec

from rollout.model.finding import Status
from rollout.report.commands import Again, is_command, parted
from rollout.report.commands import words as shell_words
from rollout.report.redact import redact

INDENT = 4
_LABEL = 10
_NARROWEST = 24
MARKS = {Status.OK: "√", Status.WARNING: "‼", Status.FAILED: "×", Status.SKIPPED: "–", Status.UNKNOWN: "?"}
_ASCII = {
    "√": "+", "‼": "!", "×": "x", "–": "-", "—": "-", "·": "|", "…": "...", "→": "->", "≥": ">=", "≤": "<=",
    "‘": "'", "’": "'", "“": '"', "”": '"', "\u00a0": " ", "█": "#", "░": ".", "─": "-",
}  # fmt: skip
_CODES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "dim": "2", "bold": "1", "alarm": "1;97;41"}
_TONES = {
    Status.OK: "green",
    Status.WARNING: "yellow",
    Status.FAILED: "red",
    Status.UNKNOWN: "yellow",
    Status.SKIPPED: "dim",
}


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """How lines are set: `width` in columns, `zone` for every time of day, `again` for every next command.

    `folds`: a next command that is too long goes on in further lines; False in a pipe, whose reader takes it whole.
    """

    width: int = 80
    color: bool = False
    ascii: bool = False
    folds: bool = True
    zone: tzinfo = UTC
    again: Again = Again()

    @property
    def columns(self) -> int:
        """The width that is kept; below 24 columns no indented text is readable, or possible."""
        return max(self.width, _NARROWEST)

    def paint(self, line: str, tone: str) -> str:
        """The line in a colour, where colours are wanted; it says the same without."""
        return f"\x1b[{_CODES[tone]}m{line}\x1b[0m" if self.color and tone and line else line

    def mark(self, status: Status) -> str:
        """The symbol of a check's status."""
        return self.clean(MARKS[status])

    def tone(self, status: Status) -> str:
        """The colour of a check's status."""
        return _TONES[status]

    def clean(self, text: str) -> str:
        """One line of printable text without credentials; what a cluster says must not steer a terminal."""
        return self.clean_cell(re.sub(r"\s+", " ", redact(text)))

    def clean_cell(self, text: str) -> str:
        """Printable text with its spaces kept."""
        if not text.isprintable():
            text = "".join(c if c.isprintable() else "�" for c in text)
        if self.ascii:
            text = "".join(_ASCII.get(c, c) for c in text)
            text = text.encode("ascii", "replace").decode()
        return text


def width_of(text: str) -> int:
    """How many columns a terminal needs."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


@lru_cache(maxsize=4096)
def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(text: str, width: int, style: Style) -> str:
    """The text, ended by an ellipsis where it is too long."""
    text = style.clean(text)
    if width_of(text) <= width:
        return text
    dots = style.clean("…")
    return (beginning(text, width - len(dots)) + dots)[: max(width, 0)]


def beginning(text: str, room: int) -> str:
    """As many characters as fit into so many columns."""
    for place, char in enumerate(text):
        room -= _columns(char)
        if room < 0:
            return text[:place]
    return text


def wrap(text: str, style: Style, *, first: str = "", rest: str | None = None) -> list[str]:
    """The text over as many lines as it needs, `first` before the first one and `rest` before the others."""
    rest = " " * width_of(first) if rest is None else rest
    lines: list[str] = []
    line, empty = first, True
    for word in style.clean(text).split():
        for piece in _pieces(word, style.columns - max(width_of(first), width_of(rest))):
            gap = "" if empty else " "
            if not empty and width_of(line) + len(gap) + width_of(piece) > style.columns:
                lines.append(line.rstrip())
                line, gap = rest, ""
            line += gap + piece
            empty = False
    return [*lines, line.rstrip()]


def _pieces(word: str, room: int) -> list[str]:
    """A word that is wider than a line, in parts."""
    if width_of(word) <= room:
        return [word]
    pieces, piece = [], ""
    for char in word:
        if width_of(piece) + _columns(char) > max(room, 2):
            pieces.append(piece)
            piece = ""
        piece += char
    return [*pieces, piece]


def command(text: str, style: Style, *, first: str = "", rest: str = "    ") -> list[str]:
    """The next command on its own line; one that is too long goes on behind backslashes, so that it can be copied.

    A single word that is wider than a line is left whole for the same reason.
    """
    text = style.clean(style.again.command(text))
    if is_command(text) and not style.folds:
        return [first + text]
    if width_of(first + text) <= style.columns or not is_command(text):
        return wrap(text, style, first=first, rest=rest)
    lines: list[str] = []
    line = first
    room = style.columns - len(rest) - 2
    pairs = ([pair] if width_of(pair) <= room or pair[0] != "-" else pair.split(" ", 1) for pair in shell_words(text))
    for word in (part for parts in pairs for part in parts):
        if line.strip() and not line.endswith(" ") and width_of(f"{line} {word}") > style.columns - 2:
            lines.append(f"{line} \\")
            line = rest
        line += word if line.endswith(" ") or not line else f" {word}"
    return [*lines, line]


def followed(sentence: str, following: str, style: Style) -> list[str]:
    """A sentence and its next command, which is never broken as words are: in the last line where it fits, or below."""
    lines = wrap(sentence, style)
    if not following:
        return lines
    whole = style.clean(style.again.command(following))
    if not is_command(whole):
        return wrap(f"{sentence} Next: {whole}", style)
    if lines[-1] and width_of(f"{lines[-1]} Next: {whole}") <= style.columns:
        return [*lines[:-1], f"{lines[-1]} Next: {whole}"]
    return [*(line for line in lines if line), *command(following, style, first="Next: ")]


def items(texts: Sequence[str], style: Style, *, first: str = "") -> list[str]:
    """`a · b · c`, broken between items only where that is possible."""
    lines: list[str] = []
    line = first
    for text in texts:
        shown = style.clean(text)
        joined = f"{line}{style.clean(' · ')}{shown}" if line != first or lines else f"{line}{shown}"
        if width_of(joined) > style.columns and line.strip() not in ("", first.strip()):
            lines.append(line)
            joined = shown
        line = joined
    return [part for line in (*lines, line) for part in wrap(line, style, rest="  ")]


def labelled(label: str, texts: str | Sequence[str], style: Style) -> list[str]:
    """`    measured  …`, further lines under the first; nothing for an empty text."""
    texts = [texts] if isinstance(texts, str) else list(texts)
    blank = " " * (INDENT + _LABEL)
    head = f"{' ' * INDENT}{label:<{_LABEL - 1}} "
    lines: list[str] = []
    for text in texts:
        if text.strip():
            lines += wrap(text, style, first=blank if lines else head, rest=blank)
    return lines


def advice(text: str, style: Style) -> list[str]:
    """A fix: its prose is wrapped, and each command in it stays whole, however long, so that it can be copied."""
    blank = " " * (INDENT + _LABEL)
    parts = list(parted(style.clean(text)))
    if not parts:
        return []
    line, lines, empty = f"{' ' * INDENT}{'fix':<{_LABEL - 1}} ", [], True
    room = style.columns - len(blank)
    for part, whole in parts:
        for piece in [part] if whole else (piece for word in part.split() for piece in _pieces(word, room)):
            if not empty and width_of(f"{line} {piece}") > style.columns:
                lines.append(line)
                line, empty = blank, True
            line += piece if empty else f" {piece}"
            empty = False
    return [*lines, line]


def labelled_once(label: str, text: str, style: Style) -> list[str]:
    """As `labelled`, in one line that is cut: for a query, whose whole text is in the JSON."""
    room = style.columns - INDENT - _LABEL
    return [f"{' ' * INDENT}{label:<{_LABEL - 1}} {cut(text, room, style)}"] if text.strip() else []


def span(length: timedelta | float) -> str:
    """`8d`, `1h30m`, `12m`, `45s`: two units at most."""
    seconds = round(length.total_seconds() if isinstance(length, timedelta) else length)
    if seconds < 0:
        return f"-{span(-seconds)}"
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return "".join(parts[:2]) or "0s"


def clock(at: datetime, style: Style) -> str:
    """`10:13:04`."""
    return f"{at.astimezone(style.zone):%H:%M:%S}"


def day(at: datetime, style: Style) -> str:
    """`Sun 22 Feb 10:12`."""
    local = at.astimezone(style.zone)
    return f"{local:%a} {local.day} {local:%b %H:%M}"


def count(number: float, noun: str) -> str:
    """`1 edge`, `1,234 requests`, `0.5 requests`."""
    shown = f"{number:,.0f}" if number == int(number) or abs(number) >= 10 else f"{number:.1f}"
    return f"{shown} {noun}{'' if shown == '1' else 's'}"


def share(part: float) -> str:
    """A share as a percentage that never rounds up to all or down to nothing."""
    percent = part * 100
    if 99.95 <= percent < 100:
        return ">99.9%"
    if 0 < percent < 0.05:
        return "<0.1%"
    return f"{percent:.1f}%".replace(".0%", "%")
