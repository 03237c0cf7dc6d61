"""A log without a terminal: each change at once, and a sign of life when nothing changes."""

import re
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from rollout.cli.screen import HEARTBEAT, NOTHING_NEW, Screen
from rollout.errors import Outcome
from rollout.model.judgement import Verdict
from rollout.record.events import Noted, Started
from rollout.record.run import Run, Watch, begin
from rollout.record.spec import Spec, Task
from rollout.record.state import State

T0 = datetime(2026, 3, 2, 10, tzinfo=UTC)
WATCH = Task(name="Watch", keyword="watch", args={"for": "PT1800S", "interval": "PT30S"})


def watching(name: str, minutes: int = 0, **fields: object) -> Run:
    """A run so many minutes into its watch."""
    run = begin(Started(t=T0, seq=1, spec=Spec(run=f"{name}-1", namespace=name, tasks=(WATCH,), started=T0)))
    watch = Watch(began=T0, ticks=2 * minutes, sight=60.0 * minutes, verdict=Verdict.HEALTHY)
    return msgspec.structs.replace(run, **{"state": State.WATCHING, "watch": watch, "entered": T0, **fields})


def wait(screen: Screen, minutes: int, *runs: Run, why: str = "next sample") -> None:
    """As the loop does between two samples."""
    screen.waiting(runs, [why] * len(runs), T0 + timedelta(minutes=minutes))


def test_each_minute_what_is_new_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Sight and samples; ten seconds later there is nothing to say."""
    screen = Screen()
    for minute in range(4):
        wait(screen, minute, watching("production", minute))
        screen.waiting([watching("production", minute)], ["next sample"], T0 + timedelta(minutes=minute, seconds=10))
    assert [
        "10:01:00 watching        healthy: 1m/30m of sight, tick 2/60",
        "10:02:00 watching        healthy: 2m/30m of sight, tick 4/60",
        "10:03:00 watching        healthy: 3m/30m of sight, tick 6/60",
    ] == capsys.readouterr().out.splitlines()


def test_where_nothing_but_time_goes_by_it_is_said_seldom(capsys: pytest.CaptureFixture[str]) -> None:
    """Often enough for a pipeline that takes silence for death."""
    screen = Screen()
    for minute in range(13):
        wait(screen, minute, watching("production", held="approval of 'go'"))
    assert timedelta(minutes=1) == HEARTBEAT
    assert timedelta(minutes=5) == NOTHING_NEW
    assert [
        "10:01:00 watching        held 1m: approval of 'go'",
        "10:06:00 watching        held 6m: approval of 'go'",
        "10:11:00 watching        held 11m: approval of 'go'",
    ] == capsys.readouterr().out.splitlines()


def test_a_change_is_a_sign_of_life(capsys: pytest.CaptureFixture[str]) -> None:
    """The next heartbeat is a minute after it."""
    screen, run = Screen(), watching("production", 1)
    wait(screen, 0, run)
    later = msgspec.structs.replace(run, updated=T0 + timedelta(seconds=50))
    screen.event(later, later, Noted(t=later.updated, text="something"))
    wait(screen, 1, later)
    wait(screen, 2, later)
    assert ["10:00:50", "10:02:00"] == re.findall(r"^[\d:]+", capsys.readouterr().out, re.MULTILINE)


def test_a_batch_is_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    """The run that is worst off, and how many are where; one that ended is still counted."""
    screen = Screen()
    screen.named = True
    ended = watching("web", state=State.BLOCKED, outcome=Outcome.BLOCKED.name)
    screen.event(ended, ended, Noted(t=T0, text="blocked"))
    capsys.readouterr()
    for minute in (0, 1):
        wait(screen, minute, watching("shop", 1), watching("stock", 1, held="approval of 'go'"))
    assert [
        "10:01:00 stock watching        held 1m: approval of 'go' · 3 namespaces, 1",
        "                               ended: 1 blocked, 1 held, 1 watching",
    ] == capsys.readouterr().out.splitlines()


def test_several_runs_say_the_same_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A note about the process belongs to all of them."""
    screen = Screen()
    screen.named = True
    for name in ("shop", "stock"):
        run = watching(name)
        screen.event(run, run, Noted(t=T0, text="if this process dies, nobody picks it up"))
    assert 1 == len(capsys.readouterr().out.splitlines())


def test_a_plan_shows_nothing_on_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    """Its report comes at the end."""
    screen, run = Screen(quiet=True), watching("production")
    screen.event(run, run, Noted(t=T0, text="x"))
    for minute in range(20):
        wait(screen, minute, run)
    assert ("", "") == capsys.readouterr()
