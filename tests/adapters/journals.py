"""Events of one run, and what a machine without its mirror reads of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rollout.adapters.journal import ConfigMapJournal
from rollout.model.judgement import Verdict
from rollout.record.events import (
    NOTES,
    Fact,
    ProofKind,
    Proven,
    Requested,
    RequestKind,
    Started,
    Ticks,
)
from rollout.record.run import fold
from rollout.record.spec import Spec

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
RUN, NS = "production-20260302-1000-b4", "production"
KEY = ("ConfigMap", NS, f"rollout-{RUN}")


def started(run: str = RUN) -> Started:
    return Started(t=NOW, seq=1, spec=Spec(run=run, namespace=NS, tasks=(), started=NOW))


def proof(seq: int, detail: str = "") -> Proven:
    return Proven(t=NOW + timedelta(seconds=seq), seq=seq, of=ProofKind.RIGHTS, ok=True, detail=detail)


def tick(seq: int, at: int, verdict: Verdict = Verdict.HEALTHY) -> Ticks:
    due = NOW + timedelta(seconds=at)
    return Ticks(t=due, seq=seq, verdict=verdict, since=due, until=due, n=1, sight=15.1)


def stop() -> Requested:
    return Requested(t=NOW + timedelta(seconds=90), kind=RequestKind.STOP, by="ana")


def facts(cluster: Any, folder: Path) -> tuple[Fact, ...]:
    """What the cluster has, after proof that the mirror has the same."""
    other = ConfigMapJournal(cluster, folder)
    there = tuple(e for e in other.load(RUN, NS) if not isinstance(e, NOTES))
    here = tuple(e for e in other.mirror.read(RUN) if not isinstance(e, NOTES))
    assert fold(here) == fold(there)
    return there
