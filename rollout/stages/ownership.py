"""Does Prometheus show our own proxies, and no other cluster's? Without that an empty answer may be about others."""

from __future__ import annotations

from datetime import datetime, timedelta

from rollout.errors import Outcome
from rollout.record.run import Run
from rollout.record.state import State
from rollout.stages.step import Move, Wait
from rollout.world.reads import Ownership, OwnershipAnswer
from rollout.world.world import Unreadable, World

#: A deleted pod's samples are forgotten after this: whoever still has new ones then is not ours.
STALE = timedelta(minutes=5)
SHOWN = 3


def disowned(run: Run, world: World, now: datetime) -> Move | Wait | None:
    """What stands against the metrics; None when they are ours, or cannot be told to be others'.

    Raises:
        Needs: it was not looked at, or must be looked at again.
    """
    spec = run.spec
    first = Ownership(spec.namespace, spec.metrics_match)
    world.need(first)
    answer: OwnershipAnswer | Unreadable = world.get(first)
    if isinstance(answer, Unreadable) or not answer.expected:
        return None  # `confirming` says so, and blocks
    if spec.metrics_match and not answer.seen:
        return _refused(f"{given(run)} finds none of the {answer.expected} proxies of {spec.namespace}{_other(answer)}")
    if len(answer.clusters) > 1 or (answer.foreign and answer.ours):
        return _refused(_two(run, answer))
    if not answer.foreign:
        return None
    return _looked_again(run, world, now, first, answer)


def given(run: Run) -> str:
    """The flag as it was typed."""
    return f"--metrics-match '{run.spec.metrics_match}'"


def proven(run: Run, world: World) -> str:
    """What is to be said of a match that passed; '' without one."""
    answer = world.get(Ownership(run.spec.namespace, run.spec.metrics_match))
    if not run.spec.metrics_match or isinstance(answer, Unreadable):
        return ""
    seen = f"{answer.seen} of {answer.expected} proxies of {run.spec.namespace}"
    return f"{given(run)} shows {seen} and no foreign pod (one that was deleted less than 5 minutes ago is none)"


def _looked_again(
    run: Run, world: World, now: datetime, first: Ownership, answer: OwnershipAnswer
) -> Move | Wait | None:
    """No label tells: a pod that was just deleted looks the same, so the same names must be there later."""
    due = world.age(first) + STALE
    names = _names(answer.foreign)
    if now < due:
        why = (
            f"Prometheus has samples of {names} in {run.spec.namespace} and this API server does not know them: "
            f"deleted just now or of another cluster; after {due:%H:%M:%S} that is clear"
        )
        return Move(State.BLOCKED, why, Outcome.CANNOT_SEE) if run.spec.plan else Wait(due, why)
    second = Ownership(run.spec.namespace, run.spec.metrics_match, again=True)
    world.need(second, since=due)
    later: OwnershipAnswer | Unreadable = world.get(second)
    if isinstance(later, Unreadable):
        return None
    lasting = tuple(name for name in later.foreign if name in answer.foreign)
    if not lasting:
        return None
    why = (
        f"Prometheus also holds another cluster's {run.spec.namespace}: {_names(lasting)} had samples for 5 minutes "
        "and this API server does not know them. No label tells the clusters apart: give each Prometheus an external "
        "label such as cluster and use --metrics-match 'cluster=\"NAME\"'"
    )
    return _refused(why)


def _two(run: Run, answer: OwnershipAnswer) -> str:
    who = given(run) if run.spec.metrics_match else "Prometheus"
    said = f"{who} also shows another cluster's {run.spec.namespace}"
    if answer.foreign:
        said += f": {_names(answer.foreign)} (samples younger than two scrapes; this API server does not know them)"
    kept = f"{run.spec.metrics_match.strip().strip('{},')}," if run.spec.metrics_match else ""
    choices = (answer.ours,) if answer.ours else answer.clusters
    label = choices[0].partition("=")[0]
    following = " or ".join(f"--metrics-match '{kept}{choice}'" for choice in choices)
    return f"{said}. The label {label} tells them apart: {following}"


def _other(answer: OwnershipAnswer) -> str:
    if answer.ours:
        return f"; without it Prometheus shows them with {answer.ours}: --metrics-match '{answer.ours}'"
    return "; is it the right Prometheus and are the label and its value spelled right?"


def _names(pods: tuple[str, ...]) -> str:
    more = (f"{len(pods) - SHOWN} more pods",) if len(pods) > SHOWN else ()
    return " and ".join((*pods[:SHOWN], *more))


def _refused(why: str) -> Move:
    return Move(State.BLOCKED, why, Outcome.BLOCKED)
