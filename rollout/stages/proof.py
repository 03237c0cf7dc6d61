"""Did every proxy take the new policy? Proven per proxy from its own listener counters (facts: observed.md c)."""

from __future__ import annotations

from datetime import datetime, timedelta

from rollout.model.istio import PeerAuthentication
from rollout.model.kubernetes import Pod
from rollout.record.change import Change
from rollout.record.events import ProofKind, Proven
from rollout.record.run import Run
from rollout.stages.context import modes, proxies
from rollout.stages.step import Wait
from rollout.world.reads import Objects, Propagation, PropagationAnswer
from rollout.world.world import Unreadable, World

POLL = timedelta(seconds=15)
#: istiod debounces for at most ten seconds; the rest is for two scrapes of a minute.
SETTLED = timedelta(seconds=150)


def proven_by_proxies(
    run: Run,
    world: World,
    written: datetime,
    now: datetime,
    budget: timedelta,
    change: Change,
    kind: ProofKind = ProofKind.PROPAGATION,
    *,
    untouched_since: datetime | None = None,
) -> Proven | Wait:
    """A good proof, a bad one (rejected, or the budget is over), or a wait for the next look.

    Counts the proxies that were Ready at the write and still live: one that started later has the new policy from
    its first config. One that became Ready just before or after it, and was not scraped until then, has no counter to
    be compared with, and is left to the judge.

    `untouched_since` is for a way back that overtook the flip: a proxy that took no listener update at all since then
    never had STRICT, and identical content moves no counter (facts: observed.md b). It counts once `SETTLED` is over,
    when no push of the flip can still be under way.
    """
    question = Propagation(run.spec.namespace, written, run.spec.metrics_match)
    world.need(question, Objects(Pod), since=max(written, now - POLL + timedelta(seconds=1)))
    world.need(Objects(PeerAuthentication), since=written)
    wanted = {pod.name for pod in proxies(run, world, before=written)} & concerned(run, world, change)
    answer: PropagationAnswer | Unreadable = world.get(question)
    took = f"{(now - written).total_seconds():.0f}s"
    if isinstance(answer, Unreadable):
        left, detail = wanted or {"?"}, f"no proxy can be asked: {answer.reason}"
    else:
        if rejected := sorted(wanted & set(answer.rejected)):
            detail = f"{len(rejected)} proxies rejected the config: {', '.join(rejected[:5])}"
            return Proven(t=now, of=kind, ok=False, detail=detail)
        wanted -= _unprovable(run, world, answer, written)
        left = wanted - set(answer.updated)
        if left and untouched_since is not None and now >= written + SETTLED:
            left -= _untouched(run, world, untouched_since, now)
        if not left:
            return Proven(t=now, of=kind, ok=True, detail=f"{len(wanted)}/{len(wanted)} proxies prove it ({took})")
        detail = f"{len(wanted) - len(left)}/{len(wanted)} proxies after {took}; missing {', '.join(sorted(left)[:5])}"
    if now >= written + budget:
        return Proven(t=now, of=kind, ok=False, detail=f"{detail}; limit {budget}")
    return Wait(min(now + POLL, written + budget), detail)


def _unprovable(run: Run, world: World, answer: PropagationAnswer, written: datetime) -> set[str]:
    """Without a sample from before the write, because they were not Ready, or not for long enough to be scraped."""
    young = {p.name for p in proxies(run, world) if p.turned is not None and p.turned > written - SETTLED}
    return young & set(answer.new)


def concerned(run: Run, world: World, change: Change) -> set[str]:
    """The pods whose listener the change moves: identical content moves no counter (facts: observed.md b)."""
    here, there = modes(run, world.after(change)), modes(run, world.after(change.inverse))
    return {pod for pod, port in here.keys() | there.keys() if here.get((pod, port)) != there.get((pod, port))}


def _untouched(run: Run, world: World, since: datetime, now: datetime) -> set[str]:
    """The proxies that have a fresh sample and took no update since then."""
    question = Propagation(run.spec.namespace, since, run.spec.metrics_match)
    world.need(question, since=now - POLL + timedelta(seconds=1))
    answer = world.get(question)
    if isinstance(answer, Unreadable):
        return set()
    pods = {pod.name for pod in proxies(run, world)}
    return pods - set(answer.updated) - set(answer.unseen) - set(answer.rejected)
