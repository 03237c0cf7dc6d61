"""enforcing: through the gate, flip, prove that every proxy took it, and wait for the drain."""

from __future__ import annotations

from datetime import datetime, timedelta

from rollout.errors import Outcome
from rollout.model.kubernetes import CronJob
from rollout.record.events import ProofKind, Proven
from rollout.record.run import Run, Write
from rollout.record.state import State
from rollout.stages.arguments import Strict
from rollout.stages.context import arguments, refusal, stuck
from rollout.stages.gate import Passed, gate
from rollout.stages.guard import unguarded
from rollout.stages.judging import earlier, tick
from rollout.stages.length import too_long
from rollout.stages.proof import proven_by_proxies
from rollout.stages.step import Flip, Learn, Move, Step, Wait
from rollout.world.reads import DryRun, Objects
from rollout.world.world import World


def decide(run: Run, world: World, now: datetime) -> Step:
    """Before the flip the gate decides; after it the proxies do, and the judge looks on."""
    args = arguments(run, "strict", Strict)
    flip = run.flip
    if flip is not None and flip.done is not None:
        return _after(args, run, world, flip, flip.done, now)
    if why := stuck(run) or too_long(run, now) or _unguarded(args, run, world, now):
        return Move(State.BLOCKED, why, Outcome.BLOCKED)
    passed = gate(args, run, world, now)
    if not isinstance(passed, Passed):
        return passed
    if run.baseline != passed.baseline:
        return Learn(passed.facts)
    return Flip(passed.change, passed.permit, (passed.permit.undo_proof,))


def _after(args: Strict, run: Run, world: World, flip: Write, written: datetime, now: datetime) -> Step:
    undo = DryRun(flip.change.inverse)
    if run.proof(ProofKind.UNDO) is None or not run.proofs[ProofKind.UNDO].t >= written:
        world.need(undo, since=written)
        words = refusal(world, flip.change.inverse)
        detail = words or "server dry run of the undo: accepted"
        return Learn((Proven(t=now, of=ProofKind.UNDO, ok=not words, detail=detail),))
    sample = tick(run, world, now, written)
    if not isinstance(sample, Wait):
        return sample
    if not run.proven(ProofKind.PROPAGATION, written):
        answer = proven_by_proxies(run, world, written, now, args.propagation, flip.change)
        if isinstance(answer, Wait):
            return earlier(answer, sample)
        if not answer.ok:
            return Move(State.ROLLING_BACK, f"the flip is not proven: {answer.detail}", facts=(answer,))
        return Learn((answer,))
    proof = run.proofs[ProofKind.PROPAGATION]
    over = proof.t + timedelta(seconds=run.spec.drain)
    if now < over:
        return earlier(Wait(over, f"drain: open connections are cut at {over:%H:%M:%S}"), sample)
    drained = Proven(t=now, of=ProofKind.DRAIN, ok=True, detail=f"drain over ({(now - written).total_seconds():.0f}s)")
    return Move(State.WATCHING, facts=(drained,))


def _unguarded(args: Strict, run: Run, world: World, now: datetime) -> str:
    """Asked again: between `verifying` and the flip may lie an approval, and days."""
    if run.spec.plan or run.spec.terminal or not run.spec.require_guard:
        return ""
    world.need(Objects(CronJob), since=now - args.world)
    return unguarded(run, world)
