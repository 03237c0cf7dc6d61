"""What the simulated mesh asks of the cluster that it lives in: the lab's own store, or one behind a kube-apiserver."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from rollout.lab.api.kinds import Kinds
from rollout.lab.api.store import Admission, Mutation

Json = dict[str, Any]


class Cluster(Protocol):
    """Objects that can be read, written and heard of; see `rollout.lab.api.store.Store`."""

    kinds: Kinds
    now: Callable[[], datetime]
    admission: list[Admission]
    mutating: list[Mutation]

    def create(self, obj: Json, *, created: datetime | None = None, manager: str = "kubectl") -> Json:
        """Store a new object with its status; `ApiError` when that is refused."""
        ...

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Json | None:
        """A copy of an object, or None."""
        ...

    def list(self, api_version: str, kind: str, namespace: str = "") -> list[Json]:
        """All objects of a kind, to be read only."""
        ...

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
        """Merge-patch an object, its status too; `ApiError` when that is refused."""
        ...

    def delete(self, api_version: str, kind: str, name: str, namespace: str = "") -> None:
        """Take an object away at once; `ApiError` when there is none."""
        ...

    def subscribe(self, callback: Callable[[str, Json], None]) -> None:
        """Call back with ADDED, MODIFIED or DELETED and the object."""
        ...
