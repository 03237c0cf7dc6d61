"""docs/incidents.md keeps its word: what it names exists, and each claim has a case in which the claim is tested."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from rollout.checks.registry import checks
from rollout.judge.signals import SIGNALS
from rollout.lab.lab import list_scenarios
from rollout.record.state import State
from tests.checks.test_cases import load

ROOT = Path(__file__).parents[2]
SHOWN_BY = {"objects", "metrics", "proxies", "nothing"}
CHECKS = {check.meta.id for check in checks()}
SCENARIOS = {name for name, _ in list_scenarios()}
_TICKED = re.compile(r"`([^`]+)`")


class Row(msgspec.Struct, frozen=True):
    """One class: `held_by` are ids, `not_yet` the reason why something is left open, `cases` what runs."""

    section: int
    name: str
    effect: str
    shown_by: str
    held_by: tuple[str, ...]
    not_yet: str
    cases: tuple[str, ...]


def _rows() -> list[Row]:
    rows = []
    section = 0
    for line in (ROOT / "docs/incidents.md").read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"## (\d)\. ", line):
            section = int(heading[1])
        if not section or not line.startswith("| ") or line.startswith("| class "):
            continue
        name, effect, shown_by, held_by, cases = (cell.strip() for cell in line.strip("|").split("|"))
        named, _, reason = held_by.partition("not yet:")
        assert not _TICKED.sub("", named).strip(" ,;"), f"{name}: only ids stand before 'not yet'"
        assert not _TICKED.sub("", cases).strip(" ,"), f"{name}: only cases stand in the last column"
        ids, run = tuple(_TICKED.findall(named)), tuple(_TICKED.findall(cases))
        rows.append(Row(section, name, effect, shown_by, ids, reason.strip(), run))
    return rows


ROWS = _rows()


def _of_check(case: str) -> str:
    """The check of a case `CHECK/CASE`; '' for scenarios and tests."""
    check, slash, _ = case.partition("/")
    return check if slash and check != "tests" else ""


def _test_exists(case: str) -> bool:
    path, _, name = case.partition("::")
    file = ROOT / path
    return file.is_file() and re.search(rf"^def {name}\(", file.read_text(encoding="utf-8"), re.MULTILINE) is not None


def test_every_section_has_its_classes_and_none_twice() -> None:
    """A row that the table's reader overlooks would not be held."""
    assert [1, 2, 3, 4] == sorted({row.section for row in ROWS})
    assert len(ROWS) == len({row.name for row in ROWS})
    lines = (ROOT / "docs/incidents.md").read_text(encoding="utf-8").splitlines()
    tables = [line for line in lines if line.startswith("|") and not line.startswith(("| class", "|---"))]
    assert len(tables) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_held_or_says_why_not(row: Row) -> None:
    """Ids are those of checks, signals and states; `not yet` has a reason of some words."""
    assert set() == set(row.held_by) - CHECKS - set(SIGNALS) - set(State)
    assert row.held_by or row.not_yet
    assert not row.not_yet or len(row.not_yet.split()) >= 8
    assert row.effect
    assert {word.strip() for word in re.sub(r"\(.*?\)|, (if|where) .*", "", row.shown_by).split(",")} <= SHOWN_BY


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_claim_has_a_case_that_runs(row: Row) -> None:
    """A check has a case of its own, a signal or a state a scenario or a test; and no case is for nothing."""
    own = {_of_check(case) for case in row.cases} - {""}
    assert own == CHECKS & set(row.held_by)
    if set(row.held_by) - CHECKS:
        assert [case for case in row.cases if not _of_check(case)]
    assert bool(row.held_by) is bool(row.cases)


@pytest.mark.parametrize("case", sorted({case for row in ROWS for case in row.cases}))
def test_a_case_is_there_and_finds_something(case: str) -> None:
    """Its file expects a finding, or that the check cannot tell; a pass would prove nothing."""
    kind, _, name = case.partition(" ")
    if kind == "scenario":
        assert name in SCENARIOS
        expect = load(ROOT / "rollout/lab/scenarios" / f"{name}.yaml")["expect"]
        assert expect["exit"] or expect.get("mentions")
    elif not _of_check(case):
        assert _test_exists(case)
    else:
        expected = load(ROOT / "tests/checks" / f"{case}.yaml")["expect"]
        assert expected["status"] in {"failed", "warning", "unknown"}
        assert expected.get("findings") or (expected["status"] == "unknown" and expected.get("reason"))


def test_what_is_not_there_is_not_believed() -> None:
    """The guard itself can fail."""
    assert _test_exists("tests/checks/test_incidents.py::test_what_is_not_there_is_not_believed")
    assert not _test_exists("tests/checks/test_incidents.py::test_of_nothing")
    assert not _test_exists("tests/checks/test_gone.py::test_of_nothing")
    assert _of_check("probes/fail_opted_out") == "probes"
    assert _of_check("scenario healthy") == _of_check("tests/judge/test_verdict.py::test_x") == ""
