"""Whatever goes wrong between appends, mirror, cluster and process end with the same run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.adapters.journal import ConfigMapJournal
from rollout.errors import ClusterError
from rollout.model.judgement import Verdict
from rollout.ports import Heard
from rollout.record.events import NOTES, Fact, Noted, ProofKind, Proven, Requested, RequestKind, Started, Ticks
from rollout.record.run import Run, apply, begin, fold
from rollout.record.spec import Spec

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
RUN, NS = "run", "production"

MOVES = st.lists(
    st.sampled_from(
        ["fact", "healthy", "healthy", "regressed", "note", "request", "slips in", "lose", "down", "up", "delete"]
    ),
    max_size=40,
)


class Process:
    """The loop, as far as the journal sees it: number, append, fold; fold what is heard and go on."""

    def __init__(self, cluster: Any, folder: Path, *, gives_again: bool) -> None:
        self.gives_again = gives_again
        self.waiting: list[Fact] = []
        self.cluster = cluster
        self.other = ConfigMapJournal(cluster, folder / "other")
        self.journal = ConfigMapJournal(cluster, folder / "mine")
        first = Started(t=NOW, seq=1, spec=Spec(run=RUN, namespace=NS, tasks=(), started=NOW))
        self.journal.create(first)
        self.run: Run = begin(first)
        self.at = NOW
        self.asked = 0

    def append(self, build: Callable[[datetime, int], Fact]) -> None:
        while True:
            event = build(self.at, self.run.seq + 1)
            try:
                for kept in list(self.waiting):
                    self.journal.append(RUN, NS, kept)
                    self.waiting.remove(kept)
                self.journal.append(RUN, NS, event)
            except Heard as heard:
                for request in heard.requests:
                    self.run = apply(self.run, request)
                continue
            except ClusterError:
                if self.gives_again:
                    self.waiting.append(event)
            self.run = apply(self.run, event)
            return

    def request(self) -> None:
        self.asked += 1
        asked = Requested(t=self.at, kind=RequestKind.APPROVE, task=f"task {self.asked}")
        try:
            self.other.request(RUN, NS, asked)
        except ClusterError:
            self.asked -= 1

    def tick(self, verdict: Verdict) -> None:
        self.append(lambda at, seq: Ticks(t=at, seq=seq, verdict=verdict, since=at, until=at, sight=15.0))

    def go(self, move: str) -> None:
        self.at += timedelta(seconds=15)
        match move:
            case "fact":
                self.append(lambda at, seq: Proven(t=at, seq=seq, of=ProofKind.UNDO, ok=True, detail=str(seq)))
            case "healthy" | "regressed":
                self.tick(Verdict(move))
            case "note":
                self.journal.append(RUN, NS, Noted(t=self.at, seq=self.run.seq, text="x"))
            case "request":
                self.request()
            case "slips in":
                self.cluster.before_write.append(self.request)
            case "lose":
                self.cluster.lose_answers += 1
            case "down" | "up":
                self.cluster.down = move == "down"
            case _:
                self.cluster.objects.pop(("ConfigMap", NS, f"rollout-{RUN}"), None)

    def settle(self) -> None:
        self.cluster.down = False
        self.cluster.lose_answers = 0
        self.cluster.before_write.clear()
        self.append(lambda at, seq: Proven(t=at, seq=seq, of=ProofKind.DRAIN, ok=True))
        self.journal.flush()


@given(moves=MOVES, gives_again=st.booleans())
@settings(max_examples=60, deadline=None)
def test_all_three_agree(new_cluster: Callable[[], Any], moves: list[str], gives_again: bool) -> None:
    """Also after conflicts, requests, lost answers, outages and deletions."""
    with tempfile.TemporaryDirectory() as folder:
        process = Process(new_cluster(), Path(folder), gives_again=gives_again)
        for move in moves:
            process.go(move)
        process.settle()
        there = fold(ConfigMapJournal(process.cluster, Path(folder) / "reader").load(RUN, NS))
        here = fold(event for event in process.journal.mirror.read(RUN) if not isinstance(event, NOTES))
    assert there == here
    assert there.watch.ticks == process.run.watch.ticks
    assert there.watch.sight == process.run.watch.sight
    assert there.watch.verdict == process.run.watch.verdict
    assert there.proofs == process.run.proofs
    assert sorted(there.approved) == sorted(process.run.approved)
