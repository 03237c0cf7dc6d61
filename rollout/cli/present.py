"""What is true of a namespace now, and which run answers for it: an ended run's last words may be long out of date."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec

from rollout.adapters.restoring import put_back
from rollout.cli.history import Damaged, is_of, newest, readable_runs, searched
from rollout.cli.wiring import Ports
from rollout.errors import ClusterError, Outcome, RecordError, RolloutError
from rollout.lifecycle.writes import authorise
from rollout.mesh.peer_authentication import inherited, namespace_policy
from rollout.model.istio import Mode, PeerAuthentication
from rollout.record.events import NOTES, Fact
from rollout.record.run import Run, fold
from rollout.record.state import ENDS, State
from rollout.report.commands import namespace_of
from rollout.stages.context import managers

#: Between the API server's clock and ours.
_SKEW = timedelta(minutes=5)


class Present(msgspec.Struct, frozen=True):
    """A namespace as the API server has it, and what the journals say of it.

    Args:
        namespace: its name.
        mode: of its pods without a policy of their own.
        strict: the policy that is STRICT: the deciding one, else one that `rollout` made so.
        runs: that can be read, oldest first.
        damaged: journals that cannot.
    """

    namespace: str
    mode: Mode
    strict: PeerAuthentication | None
    runs: tuple[Run, ...]
    damaged: tuple[Damaged, ...]

    @property
    def ours(self) -> bool:
        """It is STRICT by `rollout`."""
        return self.strict is not None and "rollout" in managers(self.strict)[:1]

    @property
    def refuses(self) -> bool:
        """It refuses plaintext, by whomever."""
        return self.strict is not None or self.mode is Mode.STRICT

    @property
    def covering(self) -> Run | None:
        """The newest run whose record has this STRICT."""
        return next((run for run in reversed(self.runs) if self.covered_by(run)), None)

    def covered_by(self, run: Run) -> bool:
        """Its flip made this policy STRICT, was not taken back as far as it knows, and nobody flipped it again."""
        strict = self.strict
        return strict is not None and any(
            w.change.strict
            and w.standing
            and w.change.ref == strict.ref
            and w.change.uid == strict.metadata.uid
            and not _written_since(strict, w.done)
            for w in run.writes
        )

    def said(self) -> str:
        """`shop is STRICT (PeerAuthentication shop/default, by rollout)`."""
        if self.strict is None:
            return f"{self.namespace} is {self.mode}"
        by = next(iter(managers(self.strict)), "somebody")
        return f"{self.namespace} is STRICT ({self.strict.ref}, by {by})"


def _written_since(policy: PeerAuthentication, done: datetime | None) -> bool:
    """`rollout` wrote its mode after this flip: then another run did, whose record is needed."""
    written = [
        f.time for f in policy.metadata.managed_fields if f.manager == "rollout" and f.time and not f.subresource
    ]
    return done is not None and any(at > done + _SKEW for at in written)


def look(p: Ports, name: str, state_namespace: str) -> Present:
    """Read the policies and the journals of a namespace, or of a run's.

    Raises:
        ClusterError: they cannot be read.
    """
    runs, damaged = readable_runs(p.journal, searched(name, state_namespace), state_namespace)
    known = [run.spec.namespace for run in runs if run.id == name] + [d.namespace for d in damaged if d.run == name]
    namespace = next(iter(known), namespace_of(name))
    for one in damaged:
        if not one.run:
            raise one.error
    policies = p.cluster.list(PeerAuthentication, namespace=namespace)
    deciding = namespace_policy(policies, namespace)
    made = [policy for policy in policies if policy.mode is Mode.STRICT and "rollout" in managers(policy)[:1]]
    strict = deciding if deciding is not None and deciding.mode is Mode.STRICT else next(iter(made), None)
    return Present(
        namespace=namespace,
        mode=_mode(p, policies, namespace),
        strict=strict,
        runs=tuple(run for run in runs if run.spec.namespace == namespace),
        damaged=tuple(one for one in damaged if is_of(one.run, namespace)),
    )


def _mode(p: Ports, policies: Sequence[PeerAuthentication], namespace: str) -> Mode:
    root = p.mesh.root_namespace
    everywhere = list(policies)
    if root != namespace:
        with suppress(ClusterError):  # without the right to read it, the namespace's own policies are what is known
            everywhere += p.cluster.list(PeerAuthentication, namespace=root)
    deciding = namespace_policy(policies, namespace)
    own = deciding.mode if deciding is not None else Mode.UNSET
    return own if own is not Mode.UNSET else inherited(everywhere, namespace, root)


def to_take_back(now: Present, name: str, *, to_start: bool) -> Run | None:
    """The run named, or the newest one of the namespace, that has something of ours standing."""
    asked = [run for run in now.runs if name in (run.id, now.namespace)]
    return next((run for run in reversed(asked) if _has_ours(run, to_start=to_start)), None)


def _has_ours(run: Run, *, to_start: bool) -> bool:
    if run.state is State.OVERRIDDEN:
        return False
    standing = run.flip is not None or (to_start and any(write.standing for write in run.writes))
    return standing or run.state in (State.ROLLING_BACK, State.ROLLBACK_FAILED)


def answering(p: Ports, now: Present, name: str, state_namespace: str) -> Run | None:
    """The run that answers for `name` where none of its own has anything standing: checked against what is there.

    An ended run is given only when what it ended as is still true; None: the namespace accepts plaintext, and no run
    has anything to say.

    Raises:
        RolloutError: it is STRICT, and no record can take it back; or the run ended as something else.
        NotOurs: its journal is lost, and the process that lost it lives.
    """
    run = newest(now.runs, name)
    if now.ours and now.covering is None:
        return _restored(p, now, state_namespace)
    if run is None or (run.state not in ENDS and not now.ours):
        return run
    if run.state not in ENDS:
        return run if now.covered_by(run) or now.covering is None else _elsewhere(now, run)
    if run.state is State.ENFORCED and not now.refuses:
        raise _untrue(now, run, f"rollout plan {now.namespace}")
    if run.state in (State.ROLLED_BACK, State.BLOCKED) and now.refuses:
        return _elsewhere(now, run)
    return run


def _elsewhere(now: Present, run: Run) -> Run:
    other = now.covering
    raise _untrue(now, run, f"rollout rollback {other.id}" if now.ours and other is not None else taking_back(now))


def _untrue(now: Present, run: Run, following: str) -> RolloutError:
    return RolloutError(
        f"{run.id} is {run.state} since {run.entered:%Y-%m-%d %H:%M:%SZ}, but {now.said()} now",
        outcome=Outcome.BLOCKED,
        next=following,
    )


def taking_back(now: Present) -> str:
    """The command by which a human takes the STRICT back."""
    if now.strict is None:
        return f"kubectl get peerauthentications -n {now.namespace} -o yaml"
    patch = '\'{"spec":{"mtls":{"mode":"PERMISSIVE"}}}\''
    ref = now.strict.ref
    return f"kubectl patch peerauthentication {ref.name} -n {ref.namespace} --type merge -p {patch}"


def not_ours(now: Present) -> RolloutError:
    """Refuse to take back a STRICT that no record of ours has."""
    journals = "; ".join(one.error.problem for one in now.damaged)
    return RolloutError(
        f"{now.said()}, and no journal here or in the cluster can take it back" + (f": {journals}" if journals else ""),
        outcome=Outcome.BLOCKED,
        next=taking_back(now),
    )


def _restored(p: Ports, now: Present, state_namespace: str) -> Run:
    """The newest run of this machine's mirror whose flip stands, its ConfigMap put back."""
    found = _mirrored(p, now)
    if found is None:
        raise not_ours(now)
    run, facts = found
    if run.spec.state_namespace != state_namespace:
        kept = f" --state-namespace {run.spec.state_namespace}" if run.spec.state_namespace else ""
        raise RolloutError(f"{now.said()}; the journal of {run.id} is kept in {run.spec.record_namespace}",
                           outcome=Outcome.BLOCKED, next=f"rollout rollback {run.id}{kept}")  # fmt: skip
    p.lease.acquire(now.namespace, run.id, takeover=True)  # whoever lives and lost its journal puts it back itself
    try:
        put_back(p.cluster, run.id, run.spec.record_namespace, facts)
    except RecordError as error:
        raise RolloutError(f"{now.said()}, and its journal cannot be mended: {error.problem}",
                           outcome=Outcome.BLOCKED, where=error.where, next=taking_back(now)) from error  # fmt: skip
    again = fold(p.journal.load(run.id, run.spec.record_namespace))
    authorise(again)
    return again


def _mirrored(p: Ports, now: Present) -> tuple[Run, list[Fact]] | None:
    """A mirror is data, too: only the flip of the very object that is STRICT now counts."""
    found = []
    for name in p.journal.mirror.runs():
        if not is_of(name, now.namespace):
            continue
        try:
            facts = [event for event in p.journal.mirror.read(name) if not isinstance(event, NOTES)]
            run = fold(facts)
            authorise(run)
        except RecordError:
            continue
        if run.spec.run == name and run.spec.namespace == now.namespace and now.covered_by(run):
            found.append((run, facts))
    return max(found, key=lambda one: one[0].spec.started, default=None)
