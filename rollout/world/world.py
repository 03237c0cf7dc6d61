"""The two worlds: answers with their age, and the same after a change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from rollout.errors import Outcome
from rollout.model.istio import Mode, Mtls, PeerAuthentication, PeerAuthenticationSpec, WorkloadSelector
from rollout.model.kubernetes import Metadata, Object
from rollout.record.change import Change
from rollout.world.reads import DryRun, Objects, Read

T = TypeVar("T", bound=Object)


class Unreadable(msgspec.Struct, frozen=True):
    """A read that was tried and got no answer; never the same as an empty one.

    `absent` means that the kind is not installed on this server.
    """

    reason: str
    outcome: Outcome = Outcome.CANNOT_SEE
    absent: bool = False
    permanent: bool = False
    next: str = ""


class Reading(msgspec.Struct, frozen=True):
    """An answer and when it was given."""

    at: datetime
    value: Any


class Needs(Exception):
    """The world lacks these answers, or has them too old."""

    def __init__(self, reads: Iterable[Read]) -> None:
        """Keep the reads."""
        self.reads = tuple(reads)
        super().__init__(f"{len(self.reads)} reads")


class KindUnreadable(Exception):
    """A check asked for a kind that could not be read."""

    def __init__(self, kind: type[Object], why: Unreadable) -> None:
        """Keep both for the check's result."""
        super().__init__(f"{kind.RESOURCE.name}: {why.reason}")
        self.kind = kind
        self.why = why


class World(msgspec.Struct, frozen=True):
    """Everything read so far; a value: reading more makes a new one."""

    readings: Mapping[Read, Reading] = MappingProxyType({})
    changes: tuple[Change, ...] = ()

    def plus(self, answers: Mapping[Read, Reading]) -> World:
        """The same with these answers added."""
        return World(MappingProxyType({**self.readings, **answers}), self.changes)

    def written(self) -> World:
        """The same without what a write of ours made old, however short ago it was read."""
        kept: dict[Read, Reading] = {
            read: reading
            for read, reading in self.readings.items()
            if not isinstance(read, DryRun) and read != Objects(PeerAuthentication)
        }
        return World(MappingProxyType(kept), self.changes)

    def need(self, *reads: Read, since: datetime | None = None) -> None:
        """Ask that these reads are there, and not older than `since`.

        Raises:
            Needs: with all that is missing, so that one step reads it.
        """
        missing = [
            read for read in reads if (got := self.readings.get(read)) is None or (since is not None and got.at < since)
        ]
        if missing:
            raise Needs(missing)

    def get(self, read: Read) -> Any:
        """The answer, or an Unreadable. Raises Needs when it was never read."""
        self.need(read)
        return self.readings[read].value

    def age(self, read: Read) -> datetime:
        """When it was read."""
        self.need(read)
        return self.readings[read].at

    def of(self, kind: type[T], namespace: str = "") -> tuple[T, ...]:
        """All objects of a kind, or those of one namespace; after a change, with the change made.

        A kind that is not installed has no objects here; ask `installed` where the difference matters.

        Raises:
            Needs: it was never read.
            KindUnreadable: it could not be read.
        """
        value = self.get(Objects(kind))
        if isinstance(value, Unreadable):
            if value.absent:
                return ()
            raise KindUnreadable(kind, value)
        objects: tuple[T, ...] = value
        if kind is PeerAuthentication and self.changes:
            objects = _changed(objects, self.changes)  # type: ignore[arg-type, assignment]
        return tuple(o for o in objects if o.metadata.namespace == namespace) if namespace else objects

    def installed(self, kind: type[Object]) -> bool:
        """The server knows the kind."""
        value = self.get(Objects(kind))
        return not (isinstance(value, Unreadable) and value.absent)

    def after(self, change: Change) -> World:
        """The same with one object changed."""
        return World(self.readings, (*self.changes, change))


def _changed(policies: Iterable[PeerAuthentication], changes: Iterable[Change]) -> tuple[PeerAuthentication, ...]:
    objects = {(p.namespace, p.name): p for p in policies}
    newest = max(
        (p.metadata.creation_timestamp for p in objects.values() if p.metadata.creation_timestamp), default=None
    )
    for change in changes:
        key = (change.ref.namespace, change.ref.name)
        if change.after is None:
            objects.pop(key, None)
            continue
        old = objects.get(key) or PeerAuthentication(
            metadata=Metadata(name=change.ref.name, namespace=change.ref.namespace, creation_timestamp=newest)
        )
        selector = WorkloadSelector(dict(change.selector)) if change.selector else old.spec.selector
        spec = PeerAuthenticationSpec(
            selector=selector,
            mtls=None if change.after.mode is None else Mtls(Mode(change.after.mode)),
            port_level_mtls={port: Mtls(mode) for port, mode in change.after.ports.items()},
        )
        objects[key] = msgspec.structs.replace(old, spec=spec)
    return tuple(objects.values())
