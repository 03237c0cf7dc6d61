"""Equal parts of pods become one: the replicas of a workload differ in their names, and in little else.

Five thousand injected pods are then 35 MB instead of 90. What comes out is equal to what went in, and never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from msgspec.structs import replace

from rollout.model.kubernetes import Object, Pod

T = TypeVar("T", bound=Object)
V = TypeVar("V")


class Shared:
    """What was seen so far; lives for one list."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._known: dict[object, object] = {}
        self._maps: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}

    def page(self, objects: Sequence[T]) -> Sequence[T]:
        """The same objects; pods with the parts that earlier ones brought."""
        return [self._pod(item) if isinstance(item, Pod) else item for item in objects]  # type: ignore[misc]

    def _pod(self, pod: Pod) -> Pod:
        meta, spec = pod.metadata, pod.spec
        return replace(
            pod,
            metadata=replace(
                meta,
                labels=self._map(meta.labels),
                annotations=self._map(meta.annotations),
                owner_references=self._one(meta.owner_references),
            ),
            spec=replace(
                spec,
                containers=self._one(tuple(map(self._one, spec.containers))),
                init_containers=self._one(tuple(map(self._one, spec.init_containers))),
            ),
        )

    def _one(self, part: V) -> V:
        return self._known.setdefault(part, part)  # type: ignore[return-value]

    def _map(self, part: dict[str, str]) -> dict[str, str]:
        return self._maps.setdefault(tuple(part.items()), part)
