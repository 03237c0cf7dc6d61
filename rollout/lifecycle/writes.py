"""The only two writes to the mesh: a change, and its way back. Each is sent once and its result is told as it is."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from rollout.errors import ClusterError, Conflict, Exists, Forbidden, NotFound, RecordError, Rejected, Unauthorized
from rollout.model.istio import Mode, PeerAuthentication
from rollout.ports import Cluster
from rollout.record.change import Change, Permit, Policy
from rollout.record.events import FailureKind
from rollout.record.run import Run
from rollout.stages.committing import applied
from rollout.stages.context import managers
from rollout.world.bodies import body_of

#: How often an undo is tried again at once after a conflict; later tries are the loop's.
AT_ONCE = 5


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a write; `failed` None means that it is done."""

    change: Change
    failed: FailureKind | None = None
    reason: str = ""
    owner: str = ""
    resource_version: str = ""
    since: datetime | None = None


def write(cluster: Cluster, change: Change, permit: Permit | None = None) -> Result:
    """Make a change whose intent is in the journal.

    A STRICT change goes out under its permit's resourceVersion: what changed since the gate refuses it.
    """
    if change.strict and (permit is None or change.before is None):
        raise RecordError(f"{change} has no permit, or would create STRICT")
    try:
        if change.before is None:
            made = cluster.create(PeerAuthentication, change.ref.namespace, body_of(change))
            return _done(change, made)
        live = cluster.get(PeerAuthentication, change.ref.namespace, change.ref.name)
        if live.metadata.uid != change.uid or Policy.of(live) != change.before:
            return _foreign(change, live)
        version = permit.resource_version if permit else live.metadata.resource_version
        return _done(change, _patch(cluster, change, version))
    except ClusterError as error:
        return _failed(change, error)


def undo(cluster: Cluster, change: Change) -> Result:
    """Write the way back: read, patch under the version just read, and again on a conflict while it is still ours."""
    for _ in range(AT_ONCE):
        try:
            live = cluster.get(PeerAuthentication, change.ref.namespace, change.ref.name)
            if change.uid and live.metadata.uid != change.uid:
                return _foreign(change, live)
            if change.after is not None and Policy.of(live) == change.after:
                return _done(change, live)
            if Policy.of(live) != change.before or "rollout" not in managers(live):
                return _foreign(change, live)
            if change.after is None:
                cluster.delete(PeerAuthentication, change.ref.namespace, change.ref.name, uid=live.metadata.uid)
                return _done(change, live)
            return _done(change, _patch(cluster, change, live.metadata.resource_version))
        except NotFound:
            if change.after is None:
                return Result(change=change)
            return Result(change=change, failed=FailureKind.FOREIGN, reason=f"{change.ref} is gone", owner="somebody")
        except Conflict:
            continue
        except ClusterError as error:
            return _failed(change, error)
    return Result(change=change, failed=FailureKind.CONFLICT, reason=f"{AT_ONCE} conflicts in a row")


def reverted(cluster: Cluster, change: Change) -> Result:
    """Whether somebody else's controller has applied the way back; nothing is written."""
    try:
        live = cluster.get(PeerAuthentication, change.ref.namespace, change.ref.name)
    except ClusterError as error:
        return Result(change=change, failed=FailureKind.UNSURE, reason=error.problem)
    if Policy.of(live) == change.after:
        since = applied(live, datetime.min.replace(tzinfo=UTC))
        return msgspec.structs.replace(_done(change, live), since=since)
    if Policy.of(live) != change.before:
        return _foreign(change, live)
    return Result(change=change, failed=FailureKind.UNSURE, reason=f"the revert of {change.ref} is not applied yet")


def authorise(run: Run) -> None:
    """A record is data, not authority: refuse what a forged journal asks for (safety 11).

    Raises:
        RecordError: a write outside the run's namespace, of another kind, or from and to modes that are not ours.
    """
    for made in run.writes:
        change = made.change
        ours = change.ref.kind == "PeerAuthentication" and change.ref.namespace == run.spec.namespace
        if not ours or not (_turns(change) or _exempts(change)):
            raise RecordError(
                f"the journal of {run.id} asks for {change}",
                limit=f"PeerAuthentications of {run.spec.namespace}, between PERMISSIVE and STRICT",
                where=f"ConfigMap {run.spec.record_namespace}/rollout-{run.id}",
                next="look who wrote this ConfigMap; nothing was changed",
            )


def _turns(change: Change) -> bool:
    """The mode of a policy, one step up, its ports untouched."""
    before, after = change.before or Policy(), change.after or Policy()
    steps = {(Mode.PERMISSIVE, Mode.STRICT), (Mode.DISABLE, Mode.PERMISSIVE), (None, Mode.PERMISSIVE),
             (Mode.UNSET, Mode.PERMISSIVE)}  # fmt: skip
    return (before.mode, after.mode) in steps and before.ports == after.ports and not change.selector


def _exempts(change: Change) -> bool:
    """Ports of a workload that had no mode of their own become PERMISSIVE, and nothing else."""
    before, after = change.before or Policy(), change.after or Policy()
    new = {port: mode for port, mode in after.ports.items() if before.ports.get(port) is not mode}
    kept = all(after.ports.get(port) is mode for port, mode in before.ports.items() if port not in new)
    opened = all(mode is Mode.PERMISSIVE and before.ports.get(p, Mode.UNSET) is Mode.UNSET for p, mode in new.items())
    return (
        bool(new)
        and kept
        and opened
        and before.mode is after.mode
        and (change.before is not None or bool(change.selector))
    )


def _patch(cluster: Cluster, change: Change, version: str) -> PeerAuthentication:
    return cluster.patch(PeerAuthentication, change.ref.namespace, change.ref.name, body_of(change, version))


def _done(change: Change, live: PeerAuthentication) -> Result:
    known = msgspec.structs.replace(change, uid=live.metadata.uid)
    return Result(change=known, resource_version=live.metadata.resource_version)


def _foreign(change: Change, live: PeerAuthentication) -> Result:
    who = next(iter(managers(live)), "somebody")
    reason = f"{change.ref} is {Policy.of(live)} by {who}, expected {change.before}"
    return Result(change=change, failed=FailureKind.FOREIGN, reason=reason, owner=who)


def _failed(change: Change, error: ClusterError) -> Result:
    match error:
        case Exists() | Conflict():
            kind = FailureKind.CONFLICT
        case NotFound():
            kind = FailureKind.FOREIGN
        case Forbidden() | Unauthorized():
            kind = FailureKind.DENIED
        case Rejected():
            kind = FailureKind.REFUSED
        case _:
            kind = FailureKind.UNSURE
    return Result(change=change, failed=kind, reason=error.problem)
