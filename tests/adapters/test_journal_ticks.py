"""Ticks wait, and are written as one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.journal import ConfigMapJournal
from rollout.model.judgement import Verdict
from rollout.ports import Heard
from rollout.record.events import (
    Ticks,
)
from rollout.record.run import fold
from tests.adapters.journals import NOW, NS, RUN, facts, proof, stop, tick


def test_ticks_are_merged_until_five_minutes_are_over(cluster: Any, journal: ConfigMapJournal, tmp_path: Path) -> None:
    """The first of a verdict at once, then one event for five minutes."""
    for number in range(25):
        journal.append(RUN, NS, tick(2 + number, 15 * number))
    assert [(e.seq, e.n) for e in facts(cluster, tmp_path) if isinstance(e, Ticks)] == [(2, 1), (23, 21)]
    journal.flush()
    last = facts(cluster, tmp_path)[-1]
    assert isinstance(last, Ticks)
    assert (last.seq, last.n, last.until) == (26, 3, NOW + timedelta(seconds=360))


def test_a_change_of_verdict_is_written_at_once(cluster: Any, journal: ConfigMapJournal, tmp_path: Path) -> None:
    """With what waited before it."""
    for number in range(4):
        journal.append(RUN, NS, tick(2 + number, 15 * number))
    journal.append(RUN, NS, tick(6, 60, Verdict.REGRESSED))
    ticks = [e for e in facts(cluster, tmp_path) if isinstance(e, Ticks)]
    assert [(e.verdict, e.n) for e in ticks] == [
        (Verdict.HEALTHY, 1),
        (Verdict.HEALTHY, 3),
        (Verdict.REGRESSED, 1),
    ]


def test_ticks_that_wait_are_written_before_another_fact(
    cluster: Any, journal: ConfigMapJournal, tmp_path: Path
) -> None:
    """In one write."""
    journal.append(RUN, NS, tick(2, 0))
    journal.append(RUN, NS, tick(3, 15))
    before = len(cluster.writes)
    journal.append(RUN, NS, proof(4))
    assert len(cluster.writes) == before + 1
    assert [e.seq for e in facts(cluster, tmp_path)] == [1, 2, 3, 4]


def test_a_request_is_heard_with_the_next_tick(cluster: Any, journal: ConfigMapJournal, tmp_path: Path) -> None:
    """Not after five minutes; the tick was not appended, and may be given again."""
    journal.append(RUN, NS, tick(2, 0))
    journal.append(RUN, NS, tick(3, 15))
    ConfigMapJournal(cluster, tmp_path / "other").request(RUN, NS, stop())
    with pytest.raises(Heard):
        journal.append(RUN, NS, tick(4, 30))
    journal.append(RUN, NS, tick(4, 30))
    journal.flush()
    run = fold(facts(cluster, tmp_path))
    assert (run.watch.ticks, run.stop is not None, run.seq) == (3, True, 4)


def test_a_held_tick_and_an_outage_are_no_error(cluster: Any, journal: ConfigMapJournal, tmp_path: Path) -> None:
    """Nothing had to be written."""
    journal.append(RUN, NS, tick(2, 0))
    cluster.down = True
    journal.append(RUN, NS, tick(3, 15))
    cluster.down = False
    journal.flush()
    assert [e.seq for e in facts(cluster, tmp_path)] == [1, 2, 3]
