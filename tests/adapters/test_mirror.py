"""This machine's copy of a journal, and the one in memory."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.configmap import label
from rollout.adapters.journal import ConfigMapJournal
from rollout.adapters.memory import MemoryJournal
from rollout.adapters.mirror import state_folder
from rollout.errors import Exists, NotFound, RecordError, Unreachable
from rollout.record.events import (
    Held,
    Noted,
    Requested,
    Started,
)
from tests.adapters.journals import KEY, NOW, NS, RUN, facts, proof, started, stop


def test_a_torn_last_line_is_passed_over_and_then_replaced(
    cluster: Any, journal: ConfigMapJournal, tmp_path: Path
) -> None:
    """As a killed process leaves it."""
    path = tmp_path / RUN / "journal.jsonl"
    path.write_bytes(path.read_bytes() + b'{"v":1,"seq":2,"t":"2026')
    resumed = ConfigMapJournal(cluster, tmp_path)
    assert resumed.mirror.read(RUN) == (started(),)
    resumed.load(RUN, NS)
    resumed.append(RUN, NS, proof(2))
    assert resumed.mirror.read(RUN) == (started(), proof(2))


def test_a_broken_line_inside_the_mirror_is_an_error(journal: ConfigMapJournal, tmp_path: Path) -> None:
    """With its place."""
    path = tmp_path / RUN / "journal.jsonl"
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    with pytest.raises(RecordError) as error:
        journal.mirror.read(RUN)
    assert error.value.where.endswith("journal.jsonl:1")


def test_a_resumed_run_has_the_clusters_facts_and_this_machines_notes(
    cluster: Any, journal: ConfigMapJournal, tmp_path: Path
) -> None:
    """Another machine went on meanwhile, and an event of ours never arrived."""
    journal.append(RUN, NS, Noted(t=NOW + timedelta(seconds=1), seq=1, text="here"))
    cluster.down = True
    with pytest.raises(Unreachable):
        journal.append(RUN, NS, proof(2, "lost"))
    cluster.down = False
    elsewhere = ConfigMapJournal(cluster, tmp_path / "elsewhere")
    elsewhere.load(RUN, NS)
    elsewhere.append(RUN, NS, proof(2, "theirs"))
    again = ConfigMapJournal(cluster, tmp_path)
    again.load(RUN, NS)
    again.append(RUN, NS, proof(3))
    assert facts(cluster, tmp_path) == (started(), proof(2, "theirs"), proof(3))
    assert [e.text for e in again.mirror.read(RUN) if isinstance(e, Noted)] == ["here"]


def test_a_machine_that_cannot_write_does_not_stop_the_run(cluster: Any, tmp_path: Path) -> None:
    """The cluster's record is enough; the reason is kept."""
    (tmp_path / "file").write_text("in the way")
    made = ConfigMapJournal(cluster, tmp_path / "file")
    made.create(started())
    made.append(RUN, NS, proof(2))
    assert len(made.load(RUN, NS)) == 2
    assert "cannot be written" in made.mirror.error


def test_loading_what_is_no_journal(cluster: Any, journal: ConfigMapJournal) -> None:
    """NotFound, or a RecordError that names the ConfigMap."""
    with pytest.raises(NotFound):
        journal.load("nosuch", NS)
    cluster.objects[KEY]["data"] = {"other": "x"}
    with pytest.raises(RecordError, match=RUN):
        ConfigMapJournal(cluster, Path("unused")).load(RUN, NS)


def test_a_label_is_never_longer_than_63_characters() -> None:
    """And two long runs do not share one."""
    long = "a" * 60 + "-20260302-1000-b4"
    assert label(RUN) == RUN
    assert len(label(long)) <= 63
    assert label(long) != label(long[:-1] + "5")


def test_the_state_folder_follows_xdg() -> None:
    """A relative value does not count."""
    assert state_folder({"XDG_STATE_HOME": "/s", "HOME": "/h"}) == Path("/s/rollout/runs")
    assert state_folder({"XDG_STATE_HOME": "s", "HOME": "/h"}) == Path("/h/.local/state/rollout/runs")


def test_a_memory_journal_keeps_facts_and_notes() -> None:
    """For plans."""
    memory = MemoryJournal()
    memory.create(started())
    memory.append(RUN, NS, Noted(t=NOW, seq=1, text="x"))
    memory.append(RUN, NS, Held(t=NOW, seq=2, on=True, why="approval"))
    memory.request(RUN, NS, stop())
    memory.flush()
    assert [type(e) for e in memory.load(RUN, NS)] == [Started, Held, Requested]
    assert len(memory.everything(RUN)) == 4
    assert memory.runs(NS) == ((RUN, NS),)
    with pytest.raises(Exists):
        memory.create(started())
    with pytest.raises(NotFound):
        memory.load("nosuch", NS)
