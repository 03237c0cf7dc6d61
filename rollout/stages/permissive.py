"""permissive: the object that really decides says PERMISSIVE, and no pod or port is lowered."""

from __future__ import annotations

from datetime import datetime, timedelta

from rollout.errors import Outcome
from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.judgement import Baseline
from rollout.model.kubernetes import Pod
from rollout.record import run as record
from rollout.record.events import Baselined, Checked, ProofKind, Proven
from rollout.record.run import Run
from rollout.record.state import State
from rollout.stages.arguments import Permissive, Strict, Watch
from rollout.stages.context import (
    FRESH,
    arguments,
    checked,
    everything,
    namespace_mode,
    refusal,
    relaxation,
    same_modes,
    stuck,
)
from rollout.stages.exempting import exempted
from rollout.stages.judging import earlier, interval, tick
from rollout.stages.proof import proven_by_proxies
from rollout.stages.step import Learn, Move, Step, Wait, Write
from rollout.stages.verifying import blocked
from rollout.world.reads import Before, DryRun, Objects
from rollout.world.world import Unreadable, World


def decide(run: Run, world: World, now: datetime) -> Step:
    """Write at most one change; a raise from DISABLE is proven by the proxies before it counts."""
    args = arguments(run, "permissive", Permissive)
    raised = run.raised
    if raised is not None and raised.done and not run.spec.plan and not run.proven(ProofKind.DRAIN, raised.done):
        return _after_raise(args, run, world, raised, raised.done, now)
    written = max((w.done for w in run.writes if w.done), default=None)
    since = max(now - FRESH, written) if written else now - FRESH
    world.need(*everything(run), Objects(Pod), Objects(PeerAuthentication), since=since)
    change = relaxation(run, world)
    if change is not None:
        if why := stuck(run):
            return Move(State.BLOCKED, why, Outcome.BLOCKED)
        raises = namespace_mode(run, world) is Mode.DISABLE
        if raises and (first := _baseline(run, world, now)):
            return first
        reads = [DryRun(change), *([DryRun(change.inverse)] if raises and change.before else [])]
        world.need(*reads, since=now - FRESH)
        if words := refusal(world, change):
            return Move(State.BLOCKED, f"the server refuses {change}: {words}", Outcome.BLOCKED)
        return Write(change, ("server dry run: accepted",))
    if (exemption := _exemption(run, world, now)) is not None:
        return exemption
    results = list(checked(run, world, now, {State.PERMISSIVE}))
    facts = (Checked(t=now, state=State.PERMISSIVE, results=tuple(results)),)
    if any(r.blocks for r in results):
        return blocked(results, facts)
    return Move(State.CONFIRMING, facts=facts)


def _exemption(run: Run, world: World, now: datetime) -> Step | None:
    """The next policy that keeps a port open; it must change no effective mode now."""
    found = exempted(run, world)
    if found.problems:
        return Move(State.BLOCKED, "; ".join(found.problems), Outcome.BLOCKED)
    change = next(iter(found.changes), None)
    if change is None:
        return None
    if why := stuck(run):
        return Move(State.BLOCKED, why, Outcome.BLOCKED)
    if not same_modes(run, world, world.after(change)):
        return Move(State.BLOCKED, f"{change} would change a mode before the flip", Outcome.BLOCKED)
    world.need(DryRun(change), since=now - FRESH)
    if words := refusal(world, change):
        return Move(State.BLOCKED, f"the server refuses {change}: {words}", Outcome.BLOCKED)
    return Write(change, ("server dry run: accepted",))


def _baseline(run: Run, world: World, now: datetime) -> Step | None:
    """What the raise will be judged by, recorded before it; None when it is."""
    before = Before(
        run.spec.namespace, arguments(run, "strict", Strict).baseline.total_seconds(), run.spec.metrics_match
    )
    world.need(before, since=now - FRESH)
    found: Baseline | Unreadable = world.get(before)
    if isinstance(found, Unreadable):
        return Move(State.BLOCKED, f"a raise cannot be judged: {found.reason}", found.outcome)
    return None if run.baseline == found else Learn((Baselined(t=now, baseline=found),))


def _after_raise(
    args: Permissive, run: Run, world: World, raised: record.Write, written: datetime, now: datetime
) -> Step:
    """Prove it, and judge it as a flip: callers may have begun to speak mutual TLS, and to fail at it.

    No watch follows, so it is judged until whole windows lie behind the drain, with one sample more for the hysteresis.
    """
    drained = written + timedelta(seconds=run.spec.drain)
    sample = tick(run, world, now, written, settled=drained)
    if not isinstance(sample, Wait):
        return sample
    if not run.proven(ProofKind.PROPAGATION, written):
        answer = proven_by_proxies(run, world, written, now, args.propagation, raised.change)
        if isinstance(answer, Wait):
            return earlier(answer, sample)
        if not answer.ok:
            return Move(State.ROLLING_BACK, f"the raise is not proven: {answer.detail}", facts=(answer,))
        return Learn((answer,))
    watch = arguments(run, "watch", Watch)
    over = drained + watch.window + 3 * interval(watch, run)
    if now < over:
        return earlier(Wait(over, f"drain, and judged until {over:%H:%M:%S}"), sample)
    return Learn(
        (Proven(t=now, of=ProofKind.DRAIN, ok=True, detail=f"{run.spec.drain:g}s, judged {run.watch.ticks} times"),)
    )
