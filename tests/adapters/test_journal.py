"""The journal: fence, requests of others, lost answers, mirror."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.journal import ConfigMapJournal
from rollout.adapters.memory import MemoryJournal
from rollout.errors import Exists, Forbidden, NotOurs, Overloaded, Rejected, Unreachable
from rollout.model.judgement import Verdict
from rollout.ports import Heard, Journal
from rollout.record.events import (
    Ended,
    Moved,
    Noted,
    Proven,
    Requested,
    RequestKind,
    Resumed,
    Started,
    Ticks,
)
from rollout.record.run import fold
from rollout.record.state import State
from tests.adapters.journals import KEY, NOW, NS, RUN, facts, proof, started, stop, tick


def test_it_fulfils_the_port(journal: ConfigMapJournal) -> None:
    """mypy holds the signatures; the folder is where the mirror lies."""
    port: Journal = journal
    memory: Journal = MemoryJournal()
    assert port.folder(RUN).endswith(RUN)
    assert memory.folder(RUN) == ""


def test_a_run_is_one_labelled_configmap_with_a_key_an_event(
    cluster: Any, journal: ConfigMapJournal, tmp_path: Path
) -> None:
    """Name, labels and keys are what people and other tools select by."""
    journal.append(RUN, NS, proof(2))
    made = cluster.objects[KEY]
    assert sorted(made["data"]) == ["e00000001", "e00000002"]
    assert made["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "rollout", "rollout.dev/run-id": RUN}
    assert facts(cluster, tmp_path) == (started(), proof(2))


def test_notes_stay_on_this_machine(cluster: Any, journal: ConfigMapJournal, tmp_path: Path) -> None:
    """The cluster gets facts only."""
    journal.append(RUN, NS, Noted(t=NOW, seq=2, text="hello"))
    assert len(cluster.objects[KEY]["data"]) == 1
    assert [type(e) for e in journal.mirror.read(RUN)] == [Started, Noted]
    assert facts(cluster, tmp_path) == (started(),)


def test_the_mirror_is_private(journal: ConfigMapJournal, tmp_path: Path) -> None:
    """Nobody else reads a run's folder."""
    folder = tmp_path / RUN
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "journal.jsonl").stat().st_mode) & 0o077 == 0


def test_creating_the_same_run_again_is_as_good_as_once(
    cluster: Any, journal: ConfigMapJournal, tmp_path: Path
) -> None:
    """A repeated first write is recognised; another run of that name is not."""
    ConfigMapJournal(cluster, tmp_path / "b").create(started())
    journal.append(RUN, NS, proof(2))
    with pytest.raises(Exists):
        ConfigMapJournal(cluster, tmp_path / "c").create(started())


def test_a_creation_whose_answer_is_lost_counts(cluster: Any, tmp_path: Path) -> None:
    """What is there is what we wrote."""
    cluster.lose_answers = 1
    made = ConfigMapJournal(cluster, tmp_path)
    made.create(started())
    made.append(RUN, NS, proof(2))
    assert facts(cluster, tmp_path) == (started(), proof(2))


def test_a_request_is_heard_instead_of_an_append(cluster: Any, journal: ConfigMapJournal, tmp_path: Path) -> None:
    """The event in hand is dropped everywhere, and the next one continues behind the request."""
    ConfigMapJournal(cluster, tmp_path / "other").request(RUN, NS, stop())
    with pytest.raises(Heard) as heard:
        journal.append(RUN, NS, proof(2, "dropped"))
    assert [(r.kind, r.by, r.seq) for r in heard.value.requests] == [(RequestKind.STOP, "ana", 2)]
    journal.append(RUN, NS, proof(3))
    assert [e.seq for e in facts(cluster, tmp_path)] == [1, 2, 3]
    assert "dropped" not in (tmp_path / RUN / "journal.jsonl").read_text()


def test_a_request_that_slips_in_during_the_write_is_heard(
    cluster: Any, journal: ConfigMapJournal, tmp_path: Path
) -> None:
    """The fence holds between reading and writing too."""
    other = ConfigMapJournal(cluster, tmp_path / "other")
    cluster.before_write.append(lambda: other.request(RUN, NS, stop()))
    with pytest.raises(Heard):
        journal.append(RUN, NS, proof(2))
    assert [type(e) for e in facts(cluster, tmp_path)] == [Started, Requested]


def test_a_request_is_tried_again_when_the_run_writes_at_the_same_time(
    cluster: Any, journal: ConfigMapJournal, tmp_path: Path
) -> None:
    """It lands behind the run's event."""
    cluster.before_write.append(lambda: journal.append(RUN, NS, proof(2)))
    ConfigMapJournal(cluster, tmp_path / "other").request(RUN, NS, stop())
    with pytest.raises(Heard):
        journal.append(RUN, NS, proof(3))
    assert [e.seq for e in facts(cluster, tmp_path)] == [1, 2, 3]


def test_another_process_that_goes_on_makes_the_run_not_ours(
    cluster: Any, journal: ConfigMapJournal, tmp_path: Path
) -> None:
    """Any fact but a request; nothing is written, and the event in hand is not in the mirror."""
    other = ConfigMapJournal(cluster, tmp_path / "other")
    other.load(RUN, NS)
    other.append(RUN, NS, Resumed(t=NOW, seq=2, by="ben"))
    for _ in range(2):
        with pytest.raises(NotOurs, match=RUN):
            journal.append(RUN, NS, proof(2, "mine"))
    assert "mine" not in json.dumps(cluster.objects[KEY]["data"])
    assert "mine" not in (tmp_path / RUN / "journal.jsonl").read_text()


def test_reading_a_run_again_does_not_hide_that_it_was_taken_over(
    cluster: Any, journal: ConfigMapJournal, tmp_path: Path
) -> None:
    """The report of a running process reads its own journal."""
    other = ConfigMapJournal(cluster, tmp_path / "other")
    other.append(RUN, NS, Resumed(t=NOW, seq=2, by="ben"))
    assert len(journal.load(RUN, NS)) == 2
    with pytest.raises(NotOurs):
        journal.append(RUN, NS, proof(3))


def test_an_ended_run_may_be_taken_up_again(cluster: Any, journal: ConfigMapJournal, tmp_path: Path) -> None:
    """By the same process, although another one had it in between."""
    journal.append(RUN, NS, Ended(t=NOW, seq=2, outcome="PAUSED"))
    other = ConfigMapJournal(cluster, tmp_path / "other")
    other.append(RUN, NS, Resumed(t=NOW, seq=3, by="ben"))
    other.append(RUN, NS, Ended(t=NOW, seq=4, outcome="PAUSED"))
    journal.load(RUN, NS)
    journal.append(RUN, NS, Resumed(t=NOW, seq=5, by="ana"))
    assert [e.seq for e in facts(cluster, tmp_path)] == [1, 2, 3, 4, 5]


def test_an_append_whose_answer_is_lost_counts(cluster: Any, journal: ConfigMapJournal, tmp_path: Path) -> None:
    """Our own key with our own content is our own write."""
    cluster.lose_answers = 1
    journal.append(RUN, NS, proof(2))
    journal.append(RUN, NS, proof(3))
    assert facts(cluster, tmp_path) == (started(), proof(2), proof(3))


def test_what_an_outage_kept_back_is_written_with_the_next_event(
    cluster: Any, journal: ConfigMapJournal, tmp_path: Path
) -> None:
    """The mirror has it meanwhile."""
    cluster.down = True
    with pytest.raises(Unreachable):
        journal.append(RUN, NS, proof(2))
    assert len(journal.mirror.read(RUN)) == 2
    cluster.down = False
    journal.append(RUN, NS, proof(3))
    assert facts(cluster, tmp_path) == (started(), proof(2), proof(3))


def test_an_event_that_is_given_again_after_an_outage_is_recorded_once(
    cluster: Any, journal: ConfigMapJournal, tmp_path: Path
) -> None:
    """The loop keeps what failed too, and gives it again: facts and ticks, also past a request."""
    cluster.down = True
    waiting = [proof(2), tick(3, 15), tick(4, 30, Verdict.REGRESSED)]
    for _ in range(2):
        for event in waiting:
            with pytest.raises(Unreachable):
                journal.append(RUN, NS, event)
    cluster.down = False
    ConfigMapJournal(cluster, tmp_path / "other").request(RUN, NS, stop())
    with pytest.raises(Heard):
        journal.append(RUN, NS, waiting[0])
    for event in waiting:
        journal.append(RUN, NS, event)
    assert [type(e) for e in facts(cluster, tmp_path)] == [Started, Requested, Proven, Ticks, Ticks]
    assert fold(facts(cluster, tmp_path)).watch.ticks == 2


def test_what_an_outage_kept_back_survives_a_request_with_its_number(
    cluster: Any, journal: ConfigMapJournal, tmp_path: Path
) -> None:
    """It was folded long ago, so it is not dropped, and stands behind the request."""
    cluster.down = True
    with pytest.raises(Unreachable):
        journal.append(RUN, NS, proof(2))
    cluster.down = False
    ConfigMapJournal(cluster, tmp_path / "other").request(RUN, NS, stop())
    with pytest.raises(Heard):
        journal.append(RUN, NS, proof(3))
    journal.append(RUN, NS, proof(3))
    assert sorted(cluster.objects[KEY]["data"]) == ["e00000001", "e00000002", "e00000002a", "e00000003"]
    assert [type(e) for e in facts(cluster, tmp_path)] == [Started, Requested, Proven, Proven]


def test_a_deleted_configmap_is_made_anew(cluster: Any, journal: ConfigMapJournal, tmp_path: Path) -> None:
    """From what this process knows."""
    journal.append(RUN, NS, proof(2))
    del cluster.objects[KEY]
    journal.append(RUN, NS, proof(3))
    assert facts(cluster, tmp_path) == (started(), proof(2), proof(3))


def test_an_event_that_somebody_removed_is_written_again(
    cluster: Any, journal: ConfigMapJournal, tmp_path: Path
) -> None:
    """A run's history does not shrink."""
    journal.append(RUN, NS, proof(2))
    del cluster.objects[KEY]["data"]["e00000002"]
    cluster.objects[KEY]["metadata"]["resourceVersion"] = "7"
    journal.append(RUN, NS, proof(3))
    assert facts(cluster, tmp_path) == (started(), proof(2), proof(3))


def test_an_event_that_somebody_changed_stops_us(cluster: Any, journal: ConfigMapJournal) -> None:
    """We no longer know what is true."""
    cluster.objects[KEY]["data"]["e00000001"] = "{}"
    cluster.objects[KEY]["metadata"]["resourceVersion"] = "7"
    with pytest.raises(NotOurs):
        journal.append(RUN, NS, proof(2))


def test_the_end_prunes_old_finished_runs_but_no_unfinished_one(cluster: Any, tmp_path: Path) -> None:
    """Ten finished ones stay; what cannot be read stays too."""
    names = [f"production-{number:02d}" for number in range(14)]
    made = ConfigMapJournal(cluster, tmp_path)
    for number, name in enumerate(names):
        made.create(started(name))
        if number != 1:
            made.append(
                name, NS, Moved(t=NOW, seq=2, from_=State.PLANNED, to=State.BLOCKED, why="no", outcome="BLOCKED")
            )
        made.append(name, NS, Ended(t=NOW, seq=3, outcome="BLOCKED"))
    assert made.runs(NS) == tuple((name, NS) for name in (names[1], *names[4:]))
    assert made.runs("") == made.runs(NS)
    assert made.runs("other") == ()


def test_a_request_whose_answer_is_lost_is_written_once(
    cluster: Any, journal: ConfigMapJournal, tmp_path: Path
) -> None:
    """With and without tries in between."""
    cluster.lose_answers = 1
    ConfigMapJournal(cluster, tmp_path / "other").request(RUN, NS, stop())
    cluster.lose_answers = 1
    ConfigMapJournal(cluster, tmp_path / "other", lambda _: None).request(RUN, NS, stop())
    with pytest.raises(Heard) as heard:
        journal.append(RUN, NS, proof(2))
    assert [r.seq for r in heard.value.requests] == [2, 3]


def test_a_busy_server_is_waited_for(cluster: Any, tmp_path: Path) -> None:
    """The fence makes a second try of the same write safe."""
    slept: list[float] = []
    made = ConfigMapJournal(cluster, tmp_path, slept.append)
    made.create(started())

    def busy() -> None:
        raise Overloaded("slow down")

    cluster.before_write.append(busy)
    cluster.lose_answers = 1
    made.append(RUN, NS, proof(2))
    assert slept == [1.0, 0.5]
    assert facts(cluster, tmp_path) == (started(), proof(2))


def test_an_event_that_is_refused_does_not_keep_the_others_out(
    cluster: Any, journal: ConfigMapJournal, tmp_path: Path
) -> None:
    """A ConfigMap holds a mebibyte."""
    cluster.limit = 10_000
    with pytest.raises(Rejected):
        journal.append(RUN, NS, proof(2, "x" * 20_000))
    journal.append(RUN, NS, proof(3))
    assert sorted(cluster.objects[KEY]["data"]) == ["e00000001", "e00000003"]
    with pytest.raises(Rejected):
        journal.append(RUN, NS, proof(4, "x" * 20_000))
    assert [e.seq for e in journal.mirror.read(RUN)] == [1, 2, 3, 4]


def test_what_somebody_else_wrote_to_is_told_by_one_list(cluster: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Of many runs, those whose version is not the one that this process left; a few are simply read."""
    made = ConfigMapJournal(cluster, tmp_path)
    runs = [f"production-20260302-100{n}-b4" for n in range(5)]
    for run in runs:
        made.create(started(run))
    lists: list[str] = []
    listed = cluster.list

    def noted(*args: Any, **options: Any) -> Any:
        lists.append(options["namespace"])
        return listed(*args, **options)

    monkeypatch.setattr(cluster, "list", noted)
    pairs = [(run, NS) for run in runs]
    assert made.moved(pairs) == frozenset()
    ConfigMapJournal(cluster, tmp_path / "other").request(runs[1], NS, stop())
    assert made.moved(pairs) == {runs[1]}
    assert lists == [NS, NS]
    assert made.moved(pairs[2:4]) == {runs[2], runs[3]}
    del cluster.objects["ConfigMap", NS, f"rollout-{runs[4]}"]
    assert made.moved(pairs) == {runs[1], runs[4]}
    assert len(lists) == 3


def test_where_journals_cannot_be_listed_each_is_read(cluster: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """A missing right is asked about once; an outage is not held against the list."""
    made = ConfigMapJournal(cluster, tmp_path)
    pairs = [(f"production-20260302-100{n}-b4", NS) for n in range(5)]
    for run, _ in pairs:
        made.create(started(run))
    errors: list[Exception] = [Unreachable("timeout"), Forbidden("403")]

    def refuse(*_: Any, **__: Any) -> Any:
        raise errors.pop(0)

    monkeypatch.setattr(cluster, "list", refuse)
    for _ in range(3):
        assert made.moved(pairs) == {run for run, _ in pairs}
    assert errors == []
