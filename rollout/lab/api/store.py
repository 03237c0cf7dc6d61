"""The store behind the API: objects, who may refuse a write, who hears of one, and what HTTP clients wrote.

Scenarios and the simulated mesh use the door (`create`, `get`, `list`, `patch`, `delete`), which asks no webhook and
checks no right; HTTP requests go through `writing`, which does both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rollout.lab.api import door, patches, writing
from rollout.lab.api.kinds import Kinds, Resource
from rollout.lab.api.objects import present, stamp
from rollout.lab.api.status import ApiError, Json
from rollout.lab.api.storage import Change, Storage


@dataclass(frozen=True)
class AdmissionRequest:
    """What a webhook is asked: may this write be done?

    Attributes:
        operation: CREATE, UPDATE or DELETE.
        obj: the object as it would be stored, None for DELETE.
        old: the object as it is, None for CREATE.
        user: who asks.
    """

    operation: str
    resource: Resource
    namespace: str
    name: str
    obj: Json | None
    old: Json | None
    user: str
    dry_run: bool
    subresource: str = ""


@dataclass(frozen=True)
class Write:
    """A write that an HTTP client made and the server accepted (`dry_run`: accepted, and nothing stored)."""

    at: datetime
    verb: str
    resource: str
    namespace: str
    name: str
    manager: str
    user: str
    dry_run: bool
    subresource: str
    body: Any


Admission = Callable[[AdmissionRequest], str | ApiError | None]
Mutation = Callable[[str, Json], Json]
"""A mutating webhook: kind and new object, and what becomes of it."""
Subscriber = Callable[[str, Json], None]


def denied(webhook: str, message: str) -> str:
    """The text of a refusal by a webhook's policy."""
    return f'admission webhook "{webhook}" denied the request: {message}'


def failing(webhook: str, why: str) -> ApiError:
    """A webhook that cannot be called and fails closed."""
    text = f'Internal error occurred: failed calling webhook "{webhook}": {why}'
    return ApiError(500, "InternalError", text, {"causes": [{"message": text.partition(": ")[2]}]})


class Store:
    """All objects of the lab's cluster.

    Args:
        now: the virtual time.
        kinds: what is served (`Kinds().without("security.istio.io", …)` for a cluster without Istio).
        namespace_controller: empty and remove a deleted namespace at once, as a cluster's controllers do; without,
            it stays Terminating until somebody finalizes it.
    """

    def __init__(
        self, now: Callable[[], datetime], kinds: Kinds | None = None, *, namespace_controller: bool = True
    ) -> None:
        """Start with the four namespaces that every cluster has."""
        self.now = now
        self.kinds = kinds or Kinds()
        self.storage = Storage()
        self.admission: list[Admission] = []
        self.mutating: list[Mutation] = []
        self.writes: list[Write] = []
        self.namespace_controller = namespace_controller
        self._subscribers: list[Subscriber] = []
        for name in ("default", "kube-node-lease", "kube-public", "kube-system"):
            self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, manager="kube-apiserver")

    def create(self, obj: Json, *, created: datetime | None = None, manager: str = "kubectl") -> Json:
        """Store a new object, with its status, without asking anybody.

        Args:
            obj: a manifest with apiVersion, kind and metadata.name.
            created: its creationTimestamp; None for now.
            manager: who stands in managedFields.

        Raises:
            ApiError: 409 when it is there already, 404 when its kind is not served.
        """
        resource = self.kinds.of_object(obj)
        stored = door.seeded(self, resource, obj, created=created, manager=manager)
        return present(resource, stored)

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Json | None:
        """A copy of an object, or None."""
        resource = self.kinds.of(api_version, kind)
        obj = self.storage.get(resource.key, resource.within(namespace), name)
        return None if obj is None else deepcopy(present(resource, obj))

    def list(self, api_version: str, kind: str, namespace: str = "") -> list[Json]:
        """All objects of a kind, shared with the store: read them, do not change them."""
        resource = self.kinds.of(api_version, kind)
        return [present(resource, obj) for obj in self.storage.select(resource.key, namespace)]

    def patch(
        self,
        api_version: str,
        kind: str,
        name: str,
        change: Json,
        *,
        namespace: str = "",
        manager: str = "kubectl",
        subresource: str = "",
    ) -> Json:
        """Merge-patch an object (its status too, unless `subresource` says which half is meant).

        Raises:
            ApiError: 404.
        """
        resource = self.kinds.of(api_version, kind)
        where = resource.within(namespace)
        stored = door.door_update(
            self, resource, where, name, lambda old: patches.merge(old, change), manager, subresource
        )
        return present(resource, stored)

    def delete(self, api_version: str, kind: str, name: str, namespace: str = "") -> None:
        """Take an object away at once, whatever its finalizers say.

        Raises:
            ApiError: 404.
        """
        resource = self.kinds.of(api_version, kind)
        with self.transaction() as emit:
            old = self.storage.get(resource.key, resource.within(namespace), name)
            if old is None:
                raise writing.missing(resource, name)
            emit(self.storage.remove(resource.key, old))
            if resource.plural == "namespaces":
                door.empty_namespace(self, name, emit)

    def subscribe(self, callback: Subscriber) -> None:
        """Call back after each committed write with ADDED, MODIFIED or DELETED and the object.

        It is called in the writing thread without any lock; two writes of two threads may be told in either order
        (compare resourceVersions).
        """
        self._subscribers.append(callback)

    def compact(self, *, watches: bool = True) -> None:
        """Forget the history: old paging tokens get 410, and watches from an old revision too."""
        self.storage.compact(watches=watches)

    def stamp(self) -> str:
        """The virtual time in the form of a creationTimestamp."""
        return stamp(self.now())

    @contextmanager
    def transaction(self) -> Iterator[Callable[[Change], None]]:
        """Hold the store for a read and the write that rests on it; subscribers hear of it afterwards."""
        changes: list[Change] = []
        with self.storage.changed:
            yield changes.append
        for change in changes:
            resource = next(item for item in self.kinds.resources if item.key == change.key)
            for callback in self._subscribers:
                callback(change.type, present(resource, change.obj))

    def record(self, write: Write) -> None:
        """Note what an HTTP client wrote."""
        self.writes.append(write)
