"""Who works on a namespace: a Lease `rollout-<namespace>` beside the journals.

It keeps two processes from starting; what keeps them from both *writing* is the journal's fence. Its times are
compared with this machine's clock, so a clock that is wrong by more than the lease's time may take over too early.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from rollout.adapters.wire import microtime
from rollout.errors import ClusterError, Conflict, Exists, NotFound, NotOurs, Unreachable
from rollout.model.kubernetes import Object, Resource, Value
from rollout.ports import Cluster

PREFIX = "rollout-"
#: Seconds that a lease lasts; it is renewed at a third of them.
DURATION = 30


class LeaseSpec(Value, frozen=True):
    """spec of a Lease; every field may be absent."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: datetime | None = None
    renew_time: datetime | None = None
    lease_transitions: int | None = None


class LeaseObject(Object, frozen=True):
    """A coordination.k8s.io Lease."""

    RESOURCE = Resource("coordination.k8s.io", ("v1",), "leases", "Lease")
    spec: LeaseSpec = LeaseSpec()

    @property
    def holder(self) -> str:
        """holderIdentity, '' when nobody holds it."""
        return self.spec.holder_identity or ""

    @property
    def run(self) -> str:
        """The run in `<user>@<host>/<run>`."""
        return self.holder.rpartition("/")[2]

    def expiry(self) -> datetime | None:
        """When it ends unless it is renewed; None: it holds nobody."""
        if not self.holder or self.spec.renew_time is None:
            return None
        return self.spec.renew_time + timedelta(seconds=self.spec.lease_duration_seconds or DURATION)


class KubernetesLease:
    """`ports.Lease` over a cluster.

    Args:
        cluster: where the Leases live.
        now: the clock.
        who: `<user>@<host>`.
        state_namespace: where they are kept, '' for each namespace's own.
    """

    def __init__(self, cluster: Cluster, now: Callable[[], datetime], who: str, state_namespace: str = "") -> None:
        """Hold nothing."""
        self._cluster = cluster
        self._now = now
        self._who = who
        self._place = state_namespace
        self._renewed: dict[str, datetime] = {}
        self._versions: dict[str, str] = {}

    def acquire(self, namespace: str, run: str, *, takeover: bool = False) -> None:
        """Take it when it is free, when it is stale and of the same run, or when it is stale and `takeover` is given.

        Args:
            namespace: the one to work on.
            run: for whom.
            takeover: the caller has made sure that the stale holder's run is finished.

        Raises:
            NotOurs: held by somebody, or stale and of another run.
        """
        try:
            lease = self._get(namespace)
        except NotFound:
            self._create(namespace, run)
            return
        if namespace in self._renewed and lease.holder == self._identity(run):
            self._write(namespace, run, lease, {})
            return
        expiry = lease.expiry()
        if expiry is not None and expiry > self._now():
            raise self._held(namespace, lease)
        if expiry is not None and lease.run != run and not takeover:
            raise NotOurs(
                f"{lease.holder} stopped working on {namespace} without giving it back",
                limit=f"its lease ended {_stamp(expiry)}",
                where=self._where(namespace),
                next=f"rollout resume {lease.run}",
            )
        transitions = (lease.spec.lease_transitions or 0) + 1
        self._write(namespace, run, lease, {"acquireTime": microtime(self._now()), "leaseTransitions": transitions})

    def renew(self, namespace: str, run: str) -> None:
        """Renew when a third of its time is over.

        Raises:
            NotOurs: somebody else holds it.
            ClusterError: it could not be renewed; the next call tries again.
        """
        renewed = self._renewed.get(namespace)
        if renewed is not None and self._now() - renewed < timedelta(seconds=DURATION / 3):
            return
        if self._unseen(namespace, run):
            return
        try:
            lease = self._get(namespace)
        except NotFound:
            self._create(namespace, run)
            return
        if lease.holder != self._identity(run):
            self._renewed.pop(namespace, None)
            raise self._held(namespace, lease)
        self._write(namespace, run, lease, {})

    def _unseen(self, namespace: str, run: str) -> bool:
        """Renew without reading it first: nobody has written since our own last write, or the server refuses (409)."""
        version = self._versions.pop(namespace, "")
        if not version:
            return False
        at = self._now()
        body = {"metadata": {"resourceVersion": version}, "spec": self._spec(run)}
        try:
            written = self._cluster.patch(LeaseObject, self._namespace(namespace), PREFIX + namespace, body)
        except (Conflict, NotFound):
            return False
        self._remember(namespace, written, at)
        return True

    def _remember(self, namespace: str, written: LeaseObject, at: datetime) -> None:
        self._versions[namespace] = written.metadata.resource_version
        self._renewed[namespace] = at

    def release(self, namespace: str, run: str) -> None:
        """Give it back if it is still ours; where that fails it ends by itself."""
        self._versions.pop(namespace, None)
        self._renewed.pop(namespace, None)
        try:
            lease = self._get(namespace)
            if lease.holder == self._identity(run):
                body = {
                    "metadata": {"resourceVersion": lease.metadata.resource_version},
                    "spec": {"holderIdentity": None, "renewTime": None},
                }
                self._cluster.patch(LeaseObject, self._namespace(namespace), PREFIX + namespace, body)
        except (NotFound, Conflict, Unreachable):
            return

    def holder(self, namespace: str, place: str = "") -> tuple[str, datetime] | None:
        """Run and expiry of a fresh lease; `place` is where it is kept, if not where this command keeps its own."""
        try:
            lease = self._cluster.get(LeaseObject, place or self._namespace(namespace), PREFIX + namespace)
        except NotFound:
            return None
        expiry = lease.expiry()
        return (lease.run, expiry) if expiry is not None and expiry > self._now() else None

    def _create(self, namespace: str, run: str) -> None:
        now = microtime(self._now())
        body = {
            "metadata": {
                "name": PREFIX + namespace,
                "labels": {"app.kubernetes.io/managed-by": "rollout"},
            },
            "spec": {**self._spec(run), "acquireTime": now, "leaseTransitions": 0},
        }
        at = self._now()
        try:
            self._remember(namespace, self._cluster.create(LeaseObject, self._namespace(namespace), body), at)
        except (Exists, Unreachable) as error:
            self._settled(namespace, run, error)
            self._renewed[namespace] = at

    def _write(self, namespace: str, run: str, lease: LeaseObject, more: Mapping[str, Any]) -> None:
        at = self._now()
        body = {
            "metadata": {"resourceVersion": lease.metadata.resource_version},
            "spec": {**self._spec(run), **more},
        }
        try:
            written = self._cluster.patch(LeaseObject, self._namespace(namespace), PREFIX + namespace, body)
        except (Conflict, Unreachable) as error:
            self._settled(namespace, run, error)
            self._renewed[namespace] = at
        else:
            self._remember(namespace, written, at)

    def _settled(self, namespace: str, run: str, error: ClusterError) -> None:
        """Pass if the lease is ours after all (the answer was lost), else say whose it is, or raise the error."""
        try:
            found = self._get(namespace)
        except ClusterError:
            raise error from None
        expiry = found.expiry()
        if found.holder == self._identity(run):
            if isinstance(error, Unreachable) and (expiry is None or expiry <= self._now()):
                raise error
            return
        if isinstance(error, Unreachable):
            raise error
        self._renewed.pop(namespace, None)
        raise self._held(namespace, found) from error

    def _spec(self, run: str) -> dict[str, Any]:
        return {
            "holderIdentity": self._identity(run),
            "leaseDurationSeconds": DURATION,
            "renewTime": microtime(self._now()),
        }

    def _identity(self, run: str) -> str:
        return f"{self._who}/{run}"

    def _namespace(self, namespace: str) -> str:
        return self._place or namespace

    def _get(self, namespace: str) -> LeaseObject:
        return self._cluster.get(LeaseObject, self._namespace(namespace), PREFIX + namespace)

    def _where(self, namespace: str) -> str:
        return f"Lease {self._namespace(namespace)}/{PREFIX}{namespace}"

    def _held(self, namespace: str, lease: LeaseObject) -> NotOurs:
        expiry = lease.expiry()
        return NotOurs(
            f"{lease.holder or 'somebody else'} works on {namespace}",
            limit=f"until {_stamp(expiry)} unless it is renewed" if expiry else "",
            where=self._where(namespace),
            next=f"rollout status {lease.run}" if lease.run else "try again",
        )


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%SZ}"
