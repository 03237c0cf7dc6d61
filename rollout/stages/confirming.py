"""confirming: all traffic of the look-back is already mutual TLS."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rollout.record.events import Checked, Confirmed
from rollout.record.run import Run
from rollout.record.state import State
from rollout.stages.arguments import ConfirmMtls
from rollout.stages.context import FRESH, arguments, checked, everything
from rollout.stages.step import Move, Step
from rollout.stages.verifying import blocked
from rollout.world.evidence import settle
from rollout.world.reads import Traffic
from rollout.world.world import Unreadable, World

SHOWN = 100


def question(run: Run) -> Traffic:
    """The look-back of this run. What the run itself made PERMISSIVE starts the clock of its evidence."""
    args = arguments(run, "confirm_mtls", ConfirmMtls)
    raised = run.raised
    since = run.spec.permissive_since or (raised.done if raised else None)
    spec, look_back = run.spec, args.look_back.total_seconds()
    return Traffic(
        spec.namespace, look_back, spec.metrics_match, spec.holes, since, periods=True, short=bool(spec.short_evidence)
    )


def decide(run: Run, world: World, now: datetime) -> Step:
    """Evidence as a check; `no_data` is unknown and blocks, never good."""
    traffic = question(run)
    world.need(traffic, *everything(run), since=now - FRESH)
    answer = world.get(traffic)
    if isinstance(answer, Unreadable):
        return Move(State.BLOCKED, answer.reason, answer.outcome)
    evidence = settle(answer, run.spec.fixed)
    results = list(checked(run, world, now, {State.CONFIRMING}, evidence))
    worst_first = sorted(evidence.edges, key=lambda e: (e.mutual, -e.volume))
    shown = msgspec.structs.replace(evidence, edges=tuple(worst_first[:SHOWN]))
    facts = (Confirmed(t=now, evidence=shown), Checked(t=now, state=State.CONFIRMING, results=tuple(results)))
    if any(r.blocks for r in results):
        move = blocked(results, ())
        assert isinstance(move, Move)
        return msgspec.structs.replace(move, facts=facts)
    return Move(State.CHECKING, facts=facts)
