"""What several states ask of the world and of the run."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from rollout.checks.run import reads, run_checks
from rollout.checks.view import View
from rollout.mesh.injection import injected, live
from rollout.mesh.peer_authentication import effective_modes, inherited, namespace_policy
from rollout.model.finding import CheckResult
from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.kubernetes import Object, Pod, Ref
from rollout.model.traffic import Evidence
from rollout.ports import AnalyzerMessage
from rollout.record.change import Change, Policy
from rollout.record.events import FailureKind
from rollout.record.run import Run
from rollout.record.state import State
from rollout.stages.arguments import Args
from rollout.stages.exempting import READS, exempted, wanted
from rollout.stages.rights import WATCHED
from rollout.world.reads import Analysis, Certificates, DryRun, Objects, ProxyStatus, Read
from rollout.world.world import Unreadable, World

A = TypeVar("A", bound=Args)
FRESH = timedelta(seconds=60)
#: So many conflicts in a row are somebody who writes all the time.
CONFLICTS = 5


def arguments(run: Run, keyword: str, kind: type[A]) -> A:
    """The task's arguments, or the defaults where no task names the state."""
    task = run.spec.task(keyword)
    return msgspec.convert(task.args if task else {}, kind)


def everything(run: Run) -> tuple[Read, ...]:
    """One list for each kind that a check or a state reads."""
    exempting = READS if wanted(run) else ()
    kinds: dict[type[Object], None] = dict.fromkeys([PeerAuthentication, Pod, *WATCHED, *reads(None), *exempting])
    return (*(Objects(kind) for kind in kinds), Analysis(run.spec.namespace), ProxyStatus(), _certificates(run))


def _certificates(run: Run) -> Certificates:
    """A plan of hundreds of namespaces flips none: it may leave some unasked."""
    return Certificates(run.spec.namespace, spare=run.spec.plan)


def proxies(run: Run, world: World, before: datetime | None = None) -> tuple[Pod, ...]:
    """The namespace's live pods with a sidecar; with `before`, those that existed and were Ready then."""
    pods = [pod for pod in world.of(Pod, run.spec.namespace) if live(pod) and injected(pod)]
    if before is None:
        return tuple(pods)
    return tuple(
        pod for pod in pods
        if pod.ready and pod.metadata.creation_timestamp is not None and pod.metadata.creation_timestamp <= before
    )  # fmt: skip


def modes(run: Run, world: World) -> dict[tuple[str, int], Mode]:
    """The effective mode of every pod and port."""
    policies = world.policies(run.spec.namespace, run.spec.root_namespace)
    return dict(effective_modes(proxies(run, world), policies, run.spec.root_namespace))


def same_modes(run: Run, one: World, other: World) -> bool:
    """No effective mode differs; a port that only one of the worlds names has in the other what its pod has there."""
    here, there = modes(run, one), modes(run, other)
    return all(
        here.get((pod, port), here.get((pod, 0))) is there.get((pod, port), there.get((pod, 0)))
        for pod, port in here.keys() | there.keys()
    )


def deciding(run: Run, world: World) -> PeerAuthentication | None:
    """The policy object that decides for the namespace."""
    return namespace_policy(world.of(PeerAuthentication, run.spec.namespace), run.spec.namespace)


def namespace_mode(run: Run, world: World) -> Mode:
    """The namespace's mode, inherited where it has none of its own."""
    policy = deciding(run, world)
    if policy is not None and policy.mode is not Mode.UNSET:
        return policy.mode
    policies = world.policies(run.spec.namespace, run.spec.root_namespace)
    return inherited(policies, run.spec.namespace, run.spec.root_namespace)


def relaxation(run: Run, world: World) -> Change | None:
    """The change that makes the namespace PERMISSIVE by an object of its own, or None when it is."""
    policy = deciding(run, world)
    after = Policy(Mode.PERMISSIVE)
    if policy is None:
        taken = {p.name for p in world.of(PeerAuthentication, run.spec.namespace)}
        name = "default" if "default" not in taken else "rollout-default"
        return Change(ref=Ref("PeerAuthentication", run.spec.namespace, name), before=None, after=after)
    if policy.mode in (Mode.PERMISSIVE, Mode.STRICT):
        return None
    return Change(ref=policy.ref, before=Policy.of(policy), after=after, uid=policy.metadata.uid)


def flip_change(run: Run, world: World) -> Change | None:
    """The change that makes the deciding policy STRICT; never a creation."""
    policy = deciding(run, world)
    if policy is None or policy.mode is not Mode.PERMISSIVE:
        return None
    before = Policy.of(policy)
    return Change(ref=policy.ref, before=before, after=Policy(Mode.STRICT, before.ports), uid=policy.metadata.uid)


def flipped(run: Run, world: World) -> World:
    """The world after the flip, and after the PERMISSIVE writes that come before it where some are needed."""
    first = relaxation(run, world)
    relaxed = world.after(first) if first else world
    for change in exempted(run, relaxed).changes:
        relaxed = relaxed.after(change)
    flip = flip_change(run, relaxed)
    return relaxed.after(flip) if flip else relaxed


def checked(
    run: Run,
    world: World,
    now: datetime,
    states: set[State] | None,
    evidence: Evidence | None = None,
    only: Collection[str] | None = None,
) -> tuple[CheckResult, ...]:
    """Run the checks of these states and ids (None: all) on the world as it is and as it would be after the flip."""
    analysis: tuple[AnalyzerMessage, ...] | Unreadable = world.get(Analysis(run.spec.namespace))
    told = world.readings.get(_certificates(run))
    status = world.readings.get(ProxyStatus())
    view = View(
        now=world,
        then=flipped(run, world),
        target=run.spec.namespace,
        root_namespace=run.spec.root_namespace,
        evidence=evidence,
        analysis=analysis,
        certificates=told.value if told is not None else None,
        synced=status.value if status is not None else None,
        mesh_config=run.spec.mesh,
        terminal=run.spec.terminal,
        allow_idle=run.spec.allow_idle,
    )
    return run_checks(view, states, run.spec.waivers, run.spec.exemptions, now, only)


def stuck(run: Run) -> str:
    """Why writing again is no use: the server refused the last write, or somebody wrote first again and again."""
    last = run.writes[-1:]
    if last and last[0].failed in (FailureKind.REFUSED, FailureKind.DENIED):
        return f"the server refused {last[0].change}: {last[0].reason}"
    conflicts = run.writes[-CONFLICTS:]
    if len(conflicts) == CONFLICTS and all(w.failed is FailureKind.CONFLICT for w in conflicts):
        return f"{CONFLICTS} conflicts in a row at {conflicts[-1].change.ref}: {conflicts[-1].reason}"
    return ""


def refusal(world: World, change: Change) -> str:
    """What the server's dry run said against a change; '' when it takes it."""
    answer = world.get(DryRun(change))
    return answer.reason if isinstance(answer, Unreadable) else str(answer)


def managers(policy: PeerAuthentication) -> tuple[str, ...]:
    """Who manages the modes, the latest first."""
    ours = {"f:mtls", "f:portLevelMtls"}
    fields = [f for f in policy.metadata.managed_fields if ours & set(f.fields.get("f:spec", {})) and not f.subresource]
    # The server stamps whole seconds: in the same one, somebody else's write is what made the object other than ours.
    fields.sort(key=lambda f: (f.time.timestamp() if f.time else 0.0, f.manager != "rollout"), reverse=True)
    return tuple(f.manager for f in fields)
