"""The gate: the only maker of a Permit."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import msgspec

from rollout.checks.words import many, some
from rollout.errors import Outcome
from rollout.model.finding import CheckResult
from rollout.model.judgement import Baseline
from rollout.model.kubernetes import Pod
from rollout.model.traffic import Evidence, EvidenceVerdict
from rollout.record.change import Change, Permit
from rollout.record.events import Baselined, Checked
from rollout.record.run import Run
from rollout.record.state import State
from rollout.stages.arguments import ConfirmMtls, Strict
from rollout.stages.context import arguments, checked, deciding, everything, flip_change, proxies, refusal
from rollout.stages.proof import POLL, concerned
from rollout.stages.step import Move, Wait
from rollout.stages.verifying import blocked
from rollout.world.evidence import settle
from rollout.world.reads import Before, DryRun, Objects, Traffic
from rollout.world.world import Unreadable, World

#: How far the evidence since `confirming` overlaps with it, in seconds: more than two scrapes of any interval.
OVERLAP = 600.0
#: How long the first sample of a new proxy is waited for: discovery takes a minute or two, then comes a scrape.
SCRAPED = timedelta(minutes=5)
#: What a plan says of dry runs of an object that would have to be created first.
UNPROVEN = "server dry run: not proven, because the policy is not there yet"


class Passed(msgspec.Struct, frozen=True):
    """The flip, its permit, and what is to be recorded before it."""

    change: Change
    permit: Permit
    baseline: Baseline
    facts: tuple[Checked | Baselined, ...]


def gate(args: Strict, run: Run, world: World, now: datetime) -> Passed | Move | Wait:
    """Everything that must be true at the moment of the flip, on answers at most `args.world` old.

    A proxy that is Ready and was not scraped yet is waited for: a counter without a value before the flip cannot be
    seen to move, so its proof could never come.

    Raises:
        Needs: an answer is missing or too old.
    """
    since = now - args.world
    world.need(*everything(run), Objects(Pod), since=since)
    change = flip_change(run, world)
    policy = deciding(run, world)
    if change is None or policy is None:
        return Move(State.BLOCKED, "the deciding policy is not PERMISSIVE any more", Outcome.BLOCKED)
    before = Before(run.spec.namespace, args.baseline.total_seconds(), run.spec.metrics_match)
    tail = _tail(run, now)
    dry_runs = () if _pending(run, world, change) else (DryRun(change), DryRun(change.inverse))
    world.need(tail, before, *dry_runs, since=since)
    evidence, baseline = world.get(tail), world.get(before)
    if isinstance(evidence, Unreadable) or isinstance(baseline, Unreadable):
        answer = evidence if isinstance(evidence, Unreadable) else baseline
        return Move(State.BLOCKED, answer.reason, answer.outcome)
    assert isinstance(baseline, Baseline)
    for asked in dry_runs:
        if words := refusal(world, asked.change):
            what = "flip" if asked.change.strict else "undo"
            return Move(State.BLOCKED, f"the server refuses the {what}, {asked.change}: {words}", Outcome.BLOCKED)
    results = list(checked(run, world, now, None, _joined(run.evidence, settle(evidence, run.spec.fixed))))
    shown = Checked(t=now, state=State.ENFORCING, results=tuple(results))
    if any(r.blocks for r in results):
        move = blocked(results, (shown,))
        assert isinstance(move, Move)
        return move
    if unseen := _unscraped(run, world, change, baseline, now):
        return unseen
    permit = Permit(
        at=now,
        resource_version=policy.metadata.resource_version,
        oldest_read=min(world.age(read) for read in (*everything(run), tail, before, *dry_runs)),
        evidence=_digest(evidence.edges),
        evidence_end=evidence.end,
        checks=_digest(tuple(results)),
        undo_proof=UNPROVEN if not dry_runs else "server dry run: both accepted",
    )
    return Passed(change, permit, baseline, (shown, Baselined(t=now, baseline=baseline)))


def _unscraped(run: Run, world: World, change: Change, baseline: Baseline, now: datetime) -> Move | Wait | None:
    ready = {pod.name for pod in proxies(run, world, before=now)} & concerned(run, world, change)
    names = sorted(ready - set(baseline.sight.seen))
    if not names or run.spec.plan:
        return None
    why = f"Ready and not scraped yet: {many(len(names), 'proxy', 'proxies')}, {some(names)}"
    if now < run.entered + SCRAPED:
        return Wait(now + POLL, why)
    return Move(State.BLOCKED, f"{why}; limit {SCRAPED}, and none of them could prove the flip", Outcome.CANNOT_SEE)


def _pending(run: Run, world: World, change: Change) -> bool:
    """In a plan the policy may be one that the run would create: the server cannot be asked about it."""
    return run.spec.plan and any(made.ref == change.ref and made.before is None for made in world.changes)


def _tail(run: Run, now: datetime) -> Traffic:
    """The evidence from where `confirming` stopped up to now."""
    if run.evidence is None:
        whole = arguments(run, "confirm_mtls", ConfirmMtls).look_back.total_seconds()
        return Traffic(run.spec.namespace, whole, run.spec.metrics_match)
    age = max(0.0, (now - run.evidence.end).total_seconds())  # Prometheus' clock may be ahead of ours
    return Traffic(run.spec.namespace, OVERLAP * (2 + age // OVERLAP), run.spec.metrics_match)


def _joined(whole: Evidence | None, tail: Evidence) -> Evidence:
    """The look-back as confirmed, made worse by whatever the tail shows."""
    if whole is None:
        return tail
    if tail.verdict in (EvidenceVerdict.PLAINTEXT, EvidenceVerdict.NO_DATA):
        return _dated(tail, whole.end - whole.start)
    return msgspec.structs.replace(whole, end=tail.end, sight=tail.sight)


def _dated(tail: Evidence, look_back: timedelta) -> Evidence:
    """A caller counts as repaired when the whole look-back is without it, not when the tail is."""
    offenders = tuple(
        msgspec.structs.replace(each, clean_from=each.edge.last + look_back) if each.edge.last else each
        for each in tail.offenders
    )
    return msgspec.structs.replace(tail, offenders=offenders)


def _digest(value: tuple[object, ...] | tuple[CheckResult, ...]) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:16]
