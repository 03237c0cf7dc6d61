"""Edges too slow for the watch's window, judged over the whole watch; and those that stayed unproven at its end.

Pure. An edge of one call in four minutes never makes 15 attempts in two minutes, but a handful in half an hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import log

from rollout.judge.addresses import moved
from rollout.judge.baseline import STRANGER, edges_before, place
from rollout.judge.scaling import Excused
from rollout.judge.signals import SURVIVAL
from rollout.model.judgement import Baseline, EdgeBaseline, EdgeSample, Observation, Signal, Verdict
from rollout.model.traffic import Family
from rollout.world.baseline import edge_key
from rollout.world.sight import partial_answer
from rollout.world.watch import PASSTHROUGH

#: Failures in a long window, below which nothing is said. increase() of so many is often a little less.
FEW, NEARLY = 3, 0.5
#: All of the attempts failing by chance must be rarer than this.
CHANCE = 1e-3


def lost(baseline: Baseline, observation: Observation) -> tuple[Signal, ...]:
    """A regression for each edge whose every attempt failed, and for each whose caller went over to bare addresses.

    Attempts that nobody saw failing are not enough: increase() does not count the first event of a new series, and a
    destination of many pods has many of those.
    """
    sight = observation.sight
    if not observation.steady or not sight.expected or sight.missing or partial_answer(observation.warnings):
        return ()
    return (*_lost(baseline, observation), *moved(baseline, observation, verdict=Verdict.REGRESSED))


def _lost(baseline: Baseline, observation: Observation) -> Iterator[Signal]:
    before = edges_before(baseline)
    excused = Excused(baseline, observation)
    for edge in observation.edges:
        known = before.get(edge_key(edge))
        if (known or edge).destination in excused or not _cut(edge, known, baseline.window):
            continue
        yield Signal(
            name=SURVIVAL,
            where=place(edge, known),
            measured=f"{edge.tried:.0f} tried at the source in {_minutes(observation.window)}, all of them failed, "
            f"{edge.arrived:.0f} seen at the destination",
            limit=f"some of {FEW} or more",
            verdict=Verdict.REGRESSED,
            breached=True,
            window=f"{observation.window:.0f}s",
            query=observation.queries.get(_query(edge), ""),
        )


def _cut(edge: EdgeSample, known: EdgeBaseline | None, seconds: float) -> bool:
    """All failed, nothing arrived, and so many failures in a row were not usual before."""
    if edge.failed < FEW - NEARLY or edge.arrived > 0 or edge.received_bytes > 0:
        return False
    # A connection may be open still, and the first that fails makes a new series, whose first event is not counted.
    through = edge.tried - edge.failed
    if through > (FEW / 2 if edge.family is Family.TCP else NEARLY):
        return False
    if edge.service == PASSTHROUGH:
        return known is None or known.errors < STRANGER
    if known is None or known.arrived <= 0:
        return False
    events = known.tried * seconds
    usual = (known.errors * events + 1) / (events + 2)
    return edge.failed * log(usual) < log(CHANCE)


def _query(edge: EdgeSample) -> str:
    if edge.service == PASSTHROUGH:
        return "passthrough"
    return "disconnected" if edge.family is Family.TCP else "tried"


def unproven(baseline: Baseline, whole: Observation, late: Observation) -> tuple[str, ...]:
    """The edges of the baseline of which nothing shows that they live under STRICT.

    Args:
        baseline: before the flip.
        whole: the watch from its beginning.
        late: its last part; what was silent there for longer than ever before counts as silent.
    """
    first = {edge_key(edge): edge for edge in whole.edges}
    last = {edge_key(edge): edge for edge in late.edges}
    found = []
    for known in baseline.edges:
        key = edge_key(known)
        may_pause = 1.5 * known.longest_pause >= late.window
        if not (_lives(last.get(key)) or (may_pause and _lives(first.get(key)))):
            found.append(place(known, known))
    return tuple(found)


def _lives(edge: EdgeSample | None) -> bool:
    if edge is None:
        return False
    answered = edge.family is Family.HTTP and edge.tried - edge.failed > NEARLY
    return edge.arrived > 0 or edge.received_bytes > 0 or answered


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min"
