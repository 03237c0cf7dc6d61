"""`strict: {via: commit}`: the flip and its way back are commits that somebody else's controller applies."""

from __future__ import annotations

from datetime import datetime, timedelta

from rollout.errors import Outcome
from rollout.model.istio import PeerAuthentication
from rollout.record.change import Policy
from rollout.record.events import Done, Failed, FailureKind
from rollout.record.run import Run, Write
from rollout.stages.arguments import Strict, Via, Watch
from rollout.stages.context import arguments, deciding, relaxation
from rollout.stages.owners import owner
from rollout.stages.step import End, Learn, Step, Wait
from rollout.world.reads import Objects
from rollout.world.world import World

POLL = timedelta(seconds=15)


def by_commit(run: Run) -> bool:
    """The policy is not written by this tool, but committed for its owner."""
    return arguments(run, "strict", Strict).via is Via.COMMIT


def unfit(run: Run, world: World) -> str:
    """Why the flip cannot go by commit, or must be accepted first; '' when it may."""
    policy = deciding(run, world)
    first = relaxation(run, world)
    if policy is None or first is not None:
        where = policy.ref if policy else f"a PeerAuthentication of {run.spec.namespace}"
        return f"the flip goes by commit, from PERMISSIVE: commit spec.mtls.mode: PERMISSIVE to {where} first"
    if run.spec.accept_slow_rollback:
        return ""
    owned = owner(policy.metadata)
    heals = f"{owned.name} puts its own state back" if owned and owned.heals else "the policy is kept in a repository"
    limit = arguments(run, "watch", Watch).rollback_timeout
    return (
        f"{heals}, so the way back is a commit, too: a revert that is not merged and applied within {limit} "
        "(rollback_timeout) ends the run as rollback_failed; --accept-slow-rollback accepts that"
    )


def applied(live: PeerAuthentication, not_before: datetime) -> datetime:
    """When the modes were last written, as far as the object tells: managedFields, in whole seconds."""
    times = [f.time for f in live.metadata.managed_fields if f.time and "f:spec" in f.fields and not f.subresource]
    return max([not_before, *times])


def settle(run: Run, intent: Write, world: World, now: datetime) -> Step:
    """A commit that was proposed: applied, still to come, or something else happened to the object."""
    limit = arguments(run, "strict", Strict).commit_timeout
    name = run.spec.namespace
    if run.stop is not None or run.roll_back is not None:
        said = f"the commit that makes {name} STRICT is proposed and not applied: take it back, or resume"
        return End(Outcome.INTERRUPTED, said, f"rollout resume {run.id}")
    world.need(Objects(PeerAuthentication), since=max(intent.intended, now - POLL + timedelta(seconds=1)))
    ref = intent.change.ref
    live = next((p for p in world.of(PeerAuthentication, ref.namespace) if p.name == ref.name), None)
    state = Policy.of(live) if live else None
    if live is not None and state == intent.change.after:
        since = applied(live, intent.intended)
        version = live.metadata.resource_version
        return Learn((Done(t=now, of=intent.seq, change=intent.change, resource_version=version, since=since),))
    if state != intent.change.before:
        return Learn((Failed(t=now, of=intent.seq, kind=FailureKind.FOREIGN, reason=f"it is {state or 'gone'}"),))
    until = max(intent.intended, run.resumed or intent.intended) + limit
    if now < until:
        return Wait(min(now + POLL, until), f"waiting for the commit of {intent.change} to be applied")
    said = (
        f"the commit that makes {name} STRICT was not applied within {limit}; when it is, nobody watches until resume"
    )
    return End(Outcome.PAUSED, said, f"rollout resume {run.id}")
