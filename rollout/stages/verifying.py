"""verifying: prove what the run will need, before the first write."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rollout.checks.words import many, some
from rollout.errors import Outcome
from rollout.model.finding import CheckResult, Severity, Status
from rollout.model.istio import Mode, PeerAuthentication
from rollout.ports import Right
from rollout.record.change import Change
from rollout.record.events import Checked, Fact, Note, Noted, ProofKind, Proven
from rollout.record.run import Run
from rollout.record.state import State
from rollout.stages.committing import by_commit, unfit
from rollout.stages.context import FRESH, checked, deciding, everything, managers, modes, refusal, relaxation
from rollout.stages.exempting import exempted
from rollout.stages.guard import successor, unguarded
from rollout.stages.length import too_long
from rollout.stages.owners import owner
from rollout.stages.ownership import disowned, proven
from rollout.stages.rechecked import bare
from rollout.stages.rights import to_watch, to_write
from rollout.stages.step import Move, Step, Wait
from rollout.world.reads import DryRun, Objects, Rights
from rollout.world.world import Unreadable, World

SYSTEM = frozenset({"kube-system", "kube-public", "kube-node-lease"})


def decide(run: Run, world: World, now: datetime) -> Step:
    """Refuse what must not be touched, prove rights and the first write, show every check."""
    if why := refused(run):
        return Move(State.BLOCKED, why, Outcome.BLOCKED)
    rights = Rights((*to_write(run.spec.namespace, run.spec.record_namespace), *to_watch()))
    world.need(*everything(run), rights, since=now - FRESH)
    if isinstance(policies := world.get(Objects(PeerAuthentication)), Unreadable):
        return unreadable(policies)
    results = checked(run, world, now, None)
    shown = Checked(t=now, state=State.VERIFYING, results=tuple(r for r in results if r.state != State.CONFIRMING))
    if strict_already(run, world):
        return unchanged(run, world, shown)
    if why := foreign(run, world):
        return Move(State.BLOCKED, why, Outcome.BLOCKED, facts=(shown,))
    return _means(run, world, now, rights, results, shown)


def _means(
    run: Run, world: World, now: datetime, rights: Rights, results: tuple[CheckResult, ...], shown: Checked
) -> Step:
    """Rights, a successor, every pod injected, and the first write, each proven before anything is written."""
    if why := too_long(run, now):
        return Move(State.BLOCKED, why, Outcome.BLOCKED, facts=(shown,))
    missing: tuple[Right, ...] | Unreadable = world.get(rights)
    if isinstance(missing, Unreadable):
        return Move(State.BLOCKED, missing.reason, missing.outcome, facts=(shown,))
    if missing:
        names = "; ".join(str(right) for right in missing)
        why = f"a right is missing: {names} (rollout rbac prints them all)"
        return Move(State.BLOCKED, why, Outcome.BLOCKED, facts=(shown,))
    heir = successor(run, world)
    if why := unguarded(run, world):
        return Move(State.BLOCKED, why, Outcome.BLOCKED, facts=(shown,))
    own = [r for r in results if r.state == State.VERIFYING]
    if any(r.blocks for r in own):
        return blocked(own, (shown,))
    if against := disowned(run, world, now):
        return against if isinstance(against, Wait) else msgspec.structs.replace(against, facts=(shown,))
    exemptions = exempted(run, world)
    words, proof = "; ".join(exemptions.problems), ""
    if not words:
        proof, words = _first_writes(run, world, now, exemptions.changes)
    if words:
        return Move(State.BLOCKED, words, Outcome.BLOCKED, facts=(shown,))
    ours = proven(run, world)
    facts: tuple[Fact | Note, ...] = (
        shown,
        *(Noted(t=now, text=note) for note in exemptions.notes),
        Noted(t=now, text=f"if this process dies, the run is picked up by {heir or 'whoever types rollout resume'}"),
        *((Noted(t=now, text=ours),) if ours else ()),
        Proven(t=now, of=ProofKind.RIGHTS, ok=True, detail=f"{len(rights.rights)} rights"),
        Proven(t=now, of=ProofKind.FIRST_WRITE, ok=True, detail=proof),
    )
    return Move(State.PERMISSIVE, facts=facts)


def _first_writes(run: Run, world: World, now: datetime, exemptions: tuple[Change, ...]) -> tuple[str, str]:
    """What the server's dry runs of all writes before the flip said: the proof, or the refusal's words."""
    first = [change for change in (relaxation(run, world), *exemptions) if change is not None]
    world.need(*(DryRun(change) for change in first), since=now - FRESH)
    for change in first:
        if words := refusal(world, change):
            return "", f"the server refuses the first write, {change}: {words}"
    return (f"server dry run accepted {'; '.join(map(str, first))}" if first else "no write needed"), ""


def refused(run: Run) -> str:
    """Why this namespace is never touched; '' when it may be."""
    name = run.spec.namespace
    if name == run.spec.root_namespace:
        return f"{name} is MeshConfig.rootNamespace: a policy there would flip the whole mesh"
    if name in SYSTEM and not run.spec.allow_system:
        return f"{name} is a system namespace; --allow-system takes it all the same"
    return ""


def unreadable(answer: Unreadable) -> Step:
    """PeerAuthentication cannot be read: no Istio, or no right."""
    why = "Istio is not installed: this server knows no PeerAuthentication" if answer.absent else answer.reason
    return Move(State.BLOCKED, why, Outcome.BLOCKED if answer.absent else answer.outcome)


def strict_already(run: Run, world: World) -> bool:
    """Every pod and port refuses plaintext."""
    from rollout.stages.context import namespace_mode

    return namespace_mode(run, world) is Mode.STRICT and all(m is Mode.STRICT for m in modes(run, world).values())


def unchanged(run: Run, world: World, shown: Checked) -> Step:
    """STRICT already: nothing to write, and what a check refuses is a warning, for no flip can break it any more.

    But a STRICT of ours that was never watched to the end is no success, and a pod without the sidecar is an exception.
    """
    policy = deciding(run, world)
    ours = policy is not None and policy.mode is Mode.STRICT and "rollout" in managers(policy)[:1]
    if ours and not run.spec.enforced_before:
        why = f"{policy.ref} is STRICT by rollout, but no record says that it was watched to the end" if policy else ""
        return Move(State.BLOCKED, why, Outcome.BLOCKED, facts=(shown,))
    opened = [str(ref) for ref in bare(run, world, shown.results)]
    warned = msgspec.structs.replace(shown, results=tuple(_warned(result) for result in shown.results))
    if opened:
        why = f"STRICT already; past the sidecar, and accepting plaintext: {many(len(opened), 'pod')}, {some(opened)}"
        return Move(State.ENFORCED, why, Outcome.EXCEPTIONS, facts=(warned,))
    return Move(State.ENFORCED, "STRICT already", Outcome.UNCHANGED, facts=(warned,))


def _warned(result: CheckResult) -> CheckResult:
    findings = tuple(msgspec.structs.replace(f, severity=Severity.WARNING) if f.blocks else f for f in result.findings)
    status = Status.WARNING if result.status is Status.FAILED else result.status
    return msgspec.structs.replace(result, findings=findings, status=status)


def foreign(run: Run, world: World) -> str:
    """Who else owns the deciding policy, and what to do; '' when nobody does, or it may be overridden."""
    if by_commit(run):
        return unfit(run, world)
    policy = deciding(run, world)
    found = owner(policy.metadata) if policy else None
    if policy is None or found is None or (run.spec.override_owner and not found.heals):
        return ""
    change = relaxation(run, world) or Change(ref=policy.ref, before=None, after=None)
    wanted = "STRICT" if change.after is None else str(change.after)
    heals = (
        f"{found.name} puts its own state back, so --override-owner is refused"
        if found.heals
        else "or --override-owner"
    )
    return (
        f"{policy.ref} is owned by {found.name} ({found.because}): commit spec.mtls.mode: {wanted} there, "
        f"or let the playbook say strict: {{via: commit}}; {heals}"
    )


def blocked(results: list[CheckResult], facts: tuple[Checked, ...]) -> Step:
    """Name the checks that say no; unknown alone means that we cannot see."""
    failing = [r for r in results if any(f.blocks for f in r.findings)]
    names = ", ".join(r.check for r in results if r.blocks)
    return Move(State.BLOCKED, names, Outcome.BLOCKED if failing else Outcome.CANNOT_SEE, facts=facts)
