"""Every mistake of a playbook at once, each with the place where a person would put the finger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from rollout.errors import UsageError

#: With its indentation the source line fits 80 columns, so that the caret stays under its place.
_LONGEST = 74


class Mark(Protocol):
    """A place as PyYAML names it: line and column from 0."""

    line: int
    column: int


class Problem(msgspec.Struct, frozen=True, order=True):
    """One mistake; line and column from 1, `source` the line of the file ('' where there is none)."""

    line: int
    column: int
    message: str
    hint: str = ""
    source: str = ""

    def lines(self, path: str) -> list[str]:
        """`file:line:col: message`, the line with a caret, and the hint."""
        shown = [f"{path}:{self.line}:{self.column}: {self.message}"]
        if self.source.strip():
            start = max(0, self.column - _LONGEST // 2)
            text = "".join(c if c.isprintable() else " " for c in self.source)[start : start + _LONGEST]
            shown += [f"    {text}", f"    {' ' * (self.column - 1 - start)}^"]
        if self.hint:
            shown.append(f"    {self.hint}")
        return shown


class PlaybookErrors(UsageError):
    """All mistakes of one playbook, in the order of its lines."""

    def __init__(self, path: str, problems: Sequence[Problem]) -> None:
        """Keep the mistakes apart, so that each format can set them."""
        self.path = path
        self.problems = tuple(sorted(set(problems)))
        first = self.problems[0]
        count = "1 error" if len(self.problems) == 1 else f"{len(self.problems)} errors"
        super().__init__(
            f"{count} in playbook {path}, the first in line {first.line}: {first.message}",
            where=f"{path}:{first.line}:{first.column}",
            next=first.hint,
        )

    def lines(self) -> list[str]:
        """Every mistake with its source line and caret."""
        count = "1 error" if len(self.problems) == 1 else f"{len(self.problems)} errors"
        return [line for problem in self.problems for line in problem.lines(self.path)] + [
            f"{count} in playbook {self.path}; nothing was read from or written to the cluster"
        ]


class Problems:
    """Where the loader collects mistakes, so that a person sees all of them in one go."""

    def __init__(self, path: str, text: str) -> None:
        """Begin without a mistake."""
        self.path = path
        self._lines = text.splitlines()
        self._found: list[Problem] = []

    def add(self, mark: Mark, message: str, hint: str = "") -> None:
        """Note a mistake at a place."""
        self.at(mark.line, mark.column, message, hint)

    def at(self, line: int, column: int, message: str, hint: str = "") -> None:
        """Note a mistake at a line and column counted from 0."""
        source = self._lines[line] if 0 <= line < len(self._lines) else ""
        self._found.append(Problem(line + 1, min(column, len(source)) + 1, message, hint, source))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._found)

    def check(self) -> None:
        """Stop if there is any.

        Raises:
            PlaybookErrors: all of them.
        """
        if self._found:
            raise PlaybookErrors(self.path, self._found)
