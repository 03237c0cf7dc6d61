"""A look-back is told before it is long: how much, at most how long, and then by its own pace."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from rollout.cli import main
from rollout.cli.looking import Looking
from rollout.lab.lab import Lab
from rollout.model.look import Look, Pace, ScrapeLabels, Taken
from rollout.report import looking as told
from rollout.report.looking import before, looks_json

HERE = Path(__file__).parent
QUICK = str(HERE.parents[0] / "lifecycle" / "quick.yaml")
DAY = 86_400.0
BIG = Look(namespaces=20, series=10_000, look_back=8 * DAY, slices=8, queries=43)
SMALL = Look(namespaces=1, series=120, look_back=8 * DAY, slices=8, queries=43)


class Wall:
    """A clock that is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def _heard(*steps: tuple[float, Look | Pace | Taken]) -> tuple[list[str], Looking]:
    """Each step with the seconds since the beginning."""
    said: list[str] = []
    wall = Wall()
    looking = Looking(said.append, monotonic=wall)
    for seconds, step in steps:
        wall.now = 100.0 + seconds
        looking(step)
    return said, looking


def test_a_big_look_back_is_told_before_it_begins_and_then_by_its_pace() -> None:
    """Series, slices, queries and a bound; once, however many slices follow; and at the end what it took."""
    paces = (20, Pace(1, 8, 5)), (41, Pace(2, 8, 9)), (160, Pace(8, 8, 33))
    said, looking = _heard((0, BIG), *paces, (163, Taken(46)))
    expected = (
        "Asking Prometheus for 8d of 20 namespaces (10,000 series): 8 slices, 43 queries or more, each at most 30s, "
        "so 21m30s at most for these; a heavier one is asked in halves"
    )
    assert [expected, "About 2m32s to go, by the slices so far"] == said
    assert ("Prometheus was asked for 8d in 46 queries, 163.0 s: 10,000 series",) == told.told(looking.looks)


def test_a_small_one_is_not_worth_a_line() -> None:
    """Neither before nor after."""
    said, looking = _heard((0, SMALL), (0.1, Pace(1, 8, 5)), (0.9, Pace(8, 8, 33)), (1, Taken(43)))
    assert [] == said
    assert () == told.told(looking.looks)


def test_a_slow_prometheus_is_told_by_its_first_slice() -> None:
    """However few series it has."""
    said, looking = _heard((0, SMALL), (4, Pace(1, 8, 5)), (33, Pace(8, 8, 33)), (34, Taken(43)))
    assert ["(120 series)", "About 30s to go"] == [
        said[0][len("Asking Prometheus for 8d ") :].partition(":")[0],
        said[1].partition(",")[0],
    ]
    assert 1 == len(told.told(looking.looks))


def test_a_pace_that_halves_is_told_again() -> None:
    """The oldest slice was nearly empty; and what is asked in halves takes more queries than were announced."""
    said, _ = _heard((0, BIG), (2, Pace(1, 8, 5)), (12, Pace(2, 8, 9)), (26, Pace(3, 8, 13)), (100, Pace(4, 8, 60)))
    assert ["About 15s", "About 45s", "About 1m40s"] == [one.partition(" to go")[0] for one in said[1:]]


def test_unusual_labels_are_told_once() -> None:
    """In the report, however many look-backs there are."""
    other = msgspec.structs.replace(SMALL, labels=ScrapeLabels("namespace", "pod_name"))
    said, looking = _heard((0, other), (1, Taken(6)), (1, other), (2, Taken(6)))
    assert [] == said
    assert ("Prometheus names the scraped pods by namespace and pod_name",) == told.told(looking.looks)


def test_one_that_was_broken_off_has_no_number_of_queries() -> None:
    """In JSON null; in text nothing."""
    _, looking = _heard((0, BIG), (3, Pace(1, 8, 5)))
    assert [None] == [one["queries"] for one in looks_json(looking.looks)]
    assert () == told.told(looking.looks)


def test_the_bound_follows_the_limit_of_a_query() -> None:
    """Through the API server it is another one."""
    assert "each at most 1m, so 43m at most" in before(BIG, 60.0)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a scenario, for whom everything is worth a line."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(told, "MANY", 0.0)
    return "classic-scrape-labels"


@pytest.mark.parametrize("command", [["plan", "--playbook", QUICK], ["evidence", "--look-back", "1d"]])
def test_commands_tell_it_on_stderr_and_the_report_what_it_took(
    command: list[str], lab: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pipe; stdout has the report alone."""
    assert 0 == main([command[0], "shop", *command[1:], "--lab", lab])
    out = capsys.readouterr()
    beforehand = " ".join(out.err.split())
    assert "Asking Prometheus for 1d (" in beforehand
    assert "queries or more, each at most 30s" in beforehand
    assert "Asking Prometheus" not in out.out
    report = " ".join(out.out.split())
    assert "Prometheus names the scraped pods by kubernetes_namespace and kubernetes_pod_name" in report
    assert "Prometheus was asked for 1d in " in report


@pytest.mark.parametrize("command", [["plan", "--playbook", QUICK], ["migrate", "--yes", "--playbook", QUICK],
                                     ["evidence", "--look-back", "1d"]])  # fmt: skip
def test_json_has_it_as_a_field_and_nothing_beside(
    command: list[str], lab: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Announced and real numbers, and the labels."""
    assert 0 == main([command[0], "shop", *command[1:], "--lab", lab, "-o", "json"])
    out = capsys.readouterr()
    looks = json.loads(out.out)["look_backs"]
    first = looks[0]
    assert (DAY, 1, {"namespace": "kubernetes_namespace", "pod": "kubernetes_pod_name", "reporter": True}) == (
        first["look_back"], first["namespaces"], first["labels"],
    )  # fmt: skip
    assert first["series"] > 0
    assert first["announced_queries"] <= first["queries"]
    assert "Asking Prometheus" not in out.err


def test_migrate_tells_it_as_well(lab: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Once for the look-back, and what it took before the recap."""
    with Lab.start(lab) as running:
        assert 0 == main(["migrate", "shop", "--yes", "--playbook", QUICK, "--lab", running.api_url])
    out = capsys.readouterr()
    assert "Asking Prometheus for 1d (" in out.err
    said = " ".join(out.out.split())
    assert said.index("Prometheus was asked for 1d in ") < said.index("RECAP")
