"""The two worlds: answers with their age, and the same after a change."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from rollout.errors import Outcome
from rollout.model.istio import Mode, Mtls, PeerAuthentication, PeerAuthenticationSpec, WorkloadSelector
from rollout.model.kubernetes import Metadata, Object
from rollout.record.change import Change
from rollout.world.reads import DryRun, Objects, Read, patience

T = TypeVar("T", bound=Object)
V = TypeVar("V")


class Unreadable(msgspec.Struct, frozen=True):
    """A read that was tried and got no answer; never the same as an empty one.

    `absent` means that the kind is not installed on this server, or the program not on this machine.
    """

    reason: str
    outcome: Outcome = Outcome.CANNOT_SEE
    absent: bool = False
    permanent: bool = False
    next: str = ""


class Reading(msgspec.Struct, frozen=True, eq=False):
    """An answer and when it was given.

    `made` keeps what pure functions make of the answer: it never changes, and 200 namespaces ask the same of it.
    """

    at: datetime
    value: Any
    made: dict[Hashable, Any] = msgspec.field(default_factory=dict)

    def derived(self, make: Callable[..., V], *args: Hashable) -> V:
        """`make(value, *args)`, computed once; `make` is a pure function that has a name."""
        key = (make, *args)
        if key not in self.made:
            self.made[key] = make(self.value, *args)
        found: V = self.made[key]
        return found


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
        """Ask that these reads are there, and not older than `since` and the read's own patience.

        Raises:
            Needs: with all that is missing, so that one step reads it.
        """
        missing = [
            read
            for read in reads
            if (got := self.readings.get(read)) is None or (since is not None and got.at < since - patience(read))
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
        reading = self.readings[Objects(kind)]
        objects: tuple[Any, ...] = reading.derived(_by_namespace).get(namespace, ()) if namespace else value
        if kind is PeerAuthentication and self.changes:
            ours = [change for change in self.changes if not namespace or change.ref.namespace == namespace]
            return _changed(objects, ours, reading.derived(_newest))  # type: ignore[return-value]
        return objects

    def policies(self, namespace: str, root_namespace: str) -> tuple[PeerAuthentication, ...]:
        """The PeerAuthentications that can decide a mode in the namespace: its own and the root namespace's.

        Raises:
            Needs, KindUnreadable: as `of`.
        """
        return tuple(
            policy
            for name in dict.fromkeys((namespace, root_namespace or namespace))
            for policy in self.of(PeerAuthentication, name)
        )

    def derived(self, kind: type[T], make: Callable[..., V], *args: Hashable) -> V:
        """What a pure function makes of all objects of a kind; computed once for each time that they were read.

        Raises:
            Needs, KindUnreadable: as `of`.
        """
        objects = self.of(kind)
        reading = self.readings[Objects(kind)]
        return reading.derived(make, *args) if objects is reading.value else make(objects, *args)

    def joined(self, kinds: tuple[type[Object], ...], make: Callable[..., V]) -> V:
        """What a pure function makes of all objects of several kinds, an argument each.

        It is computed once for each set of answers, and kept by the first: name the biggest first.

        Raises:
            Needs, KindUnreadable: as `of`.
        """
        objects = [self.of(kind) for kind in kinds]
        if PeerAuthentication in kinds and self.changes:
            return make(*objects)
        first, *others = (self.readings[Objects(kind)] for kind in kinds)
        key = (make, *others)
        if key not in first.made:
            first.made[key] = make(*objects)
        found: V = first.made[key]
        return found

    def after(self, change: Change) -> World:
        """The same with one object changed."""
        return World(self.readings, (*self.changes, change))


def _by_namespace(objects: tuple[Object, ...]) -> dict[str, tuple[Object, ...]]:
    split: dict[str, list[Object]] = {}
    for item in objects:
        split.setdefault(item.metadata.namespace, []).append(item)
    return {namespace: tuple(found) for namespace, found in split.items()}


def _newest(objects: tuple[Object, ...]) -> datetime | None:
    return max((o.metadata.creation_timestamp for o in objects if o.metadata.creation_timestamp), default=None)


def _changed(
    policies: Iterable[PeerAuthentication], changes: Iterable[Change], newest: datetime | None
) -> tuple[PeerAuthentication, ...]:
    objects = {(p.namespace, p.name): p for p in policies}
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
