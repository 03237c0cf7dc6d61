"""The pages keep their word: what they quote comes out of the command above it, and every command can be typed."""

from __future__ import annotations

import argparse
import io
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from rollout.cli import main
from rollout.cli.parser import parser
from rollout.diagnosis.patterns import match
from rollout.lab.lab import Lab

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide.md"
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))

#: The lab's present: a job of every night says other things while it runs.
NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)

_PROMPT = "$ "
_CUT = "…"
_EXIT = re.compile(r"# exit (\d+)$")
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`(?:\$ )?([^`]*)`(?!`)")


class Typed(msgspec.Struct, frozen=True):
    """A command of a page, its exit status, and the lines under it."""

    page: str
    line: str
    exit_code: int
    quoted: tuple[str, ...]

    @property
    def argv(self) -> list[str]:
        """Without the program's name, and without what is piped in."""
        words = shlex.split(self.line, comments=True)
        return words[1 : words.index("<<<")] if "<<<" in words else words[1:]

    @property
    def stdin(self) -> str:
        """What the shell's `<<<` gives it."""
        words = shlex.split(self.line, comments=True)
        return words[words.index("<<<") + 1] + "\n" if "<<<" in words else ""


def typed(page: Path) -> Iterator[Typed]:
    """The commands of a page's console blocks; of an exit status that is not 0 the page says which."""
    for language, text in _FENCED.findall(page.read_text(encoding="utf-8")):
        if language != "console":
            continue
        assert text.startswith(_PROMPT), f"{page.name}: a console block begins with a command: {text[:40]!r}"
        for part in re.split(rf"^{re.escape(_PROMPT)}", text, flags=re.MULTILINE)[1:]:
            line, *quoted = part.rstrip("\n").splitlines()
            stated = _EXIT.search(line)
            yield Typed(page.name, line, int(stated[1]) if stated else 0, tuple(quoted))


def collapsed(text: str) -> str:
    """Every run of white space as one blank."""
    return " ".join(text.split())


ON_THE_LAB = [
    each
    for page in (GUIDE, ROOT / "README.md")
    for each in typed(page)
    if each.line.startswith("rollout ") and (each.quoted or page == GUIDE)
]


@pytest.mark.parametrize("each", ON_THE_LAB, ids=lambda each: f"{each.page}: {each.line[:70]}")
def test_what_a_page_quotes_comes_out(
    each: Typed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line under a command stands in its output, in that order; `…` is what was left out."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    start = Lab.start
    monkeypatch.setattr(Lab, "start", lambda scenario, **given: start(scenario, **{"start": NOW, **given}))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(each.stdin.encode())))
    assert each.exit_code == main(each.argv)
    shown, at = collapsed(capsys.readouterr().out), 0
    parts = [collapsed(part) for line in each.quoted for part in line.split(_CUT)]
    assert any(parts), "nothing is quoted"
    for part in parts:
        found = shown.find(part, at)
        assert found >= 0, f"{part!r} is not in what follows: {shown[at : at + 4000]}"
        at = found + len(part)


def commands(page: Path) -> Iterator[str]:
    """Every `rollout …` of a page: in a block, or in the text between backticks."""
    text = page.read_text(encoding="utf-8")
    yield from (each.line for each in typed(page))
    for inline in _INLINE.findall(_FENCED.sub("", text)):
        yield from (part.strip() for part in re.split(r"\\?\|(?=\s)", collapsed(inline)))


NAMED = sorted({(page.name, line) for page in PAGES for line in commands(page) if re.match(r"rollout( |$)", line)})
SUBCOMMANDS = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)).choices


@pytest.mark.parametrize(("page", "line"), NAMED, ids=lambda value: value)
def test_every_command_of_the_pages_can_be_typed(page: str, line: str) -> None:
    """By the real tree: a subcommand or a flag that is gone would be named for ever."""
    words = [word for word in Typed(page, line, 0, ()).argv if word != _CUT]
    if len(words) <= 1:
        assert not words or words[0] in SUBCOMMANDS
        return
    parser().parse_args(words)


def rows() -> Iterator[tuple[str, str]]:
    """The table of error patterns: what a log says, and the pattern that it is to be."""
    _, _, table = GUIDE.read_text(encoding="utf-8").partition("### Common error patterns")
    yield from re.findall(r"^\| `([^`]+)` \| ([\w-]+) \|", table, re.MULTILINE)


@pytest.mark.parametrize(("text", "expected"), list(rows()))
def test_an_error_of_the_table_is_recognised(text: str, expected: str) -> None:
    """As it is written there."""
    found = match(text)
    assert expected == (found.id if found is not None else "none")


def test_the_guide_has_its_parts() -> None:
    """A block that the reader here overlooks would not be held."""
    text = GUIDE.read_text(encoding="utf-8")
    assert len(list(rows())) >= 12
    assert len(re.findall(r"^\$ rollout ", text, re.MULTILINE)) == len(list(typed(GUIDE)))
    headings = re.findall(r"^### (\w+)(?: and (\w+))?\. ", text, re.MULTILINE)
    assert [*"123456789", *("I", "II", "III", "IV", "V")] == [first for first, _ in headings]
    assert ["VI"] == [second for _, second in headings if second]
    assert text.count("**Wrong**") >= 9
    assert text.count("**Dated**") >= 2
