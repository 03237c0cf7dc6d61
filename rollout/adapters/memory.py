"""A journal without any I/O, for plans: the same loop runs, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Sequence

from rollout.errors import Exists, NotFound, RecordError
from rollout.record.events import NOTES, Event, Fact, Note, Requested, Started


class MemoryJournal:
    """`ports.Journal` of one process."""

    def __init__(self) -> None:
        """Empty."""
        self._runs: dict[str, tuple[str, list[Fact | Note]]] = {}

    def create(self, first: Fact) -> None:
        """Begin a run."""
        if not isinstance(first, Started):
            raise RecordError("a journal begins with the run's spec", where=f"event {first.seq}")
        if first.spec.run in self._runs:
            raise Exists(f"run {first.spec.run} exists already")
        self._runs[first.spec.run] = (first.spec.record_namespace, [first])

    def append(self, run: str, namespace: str, event: Event) -> None:
        """Append a fact or a note; nobody else writes here."""
        self._events(run, namespace).append(event)  # type: ignore[arg-type]  # the port takes any Event

    def load(self, run: str, namespace: str) -> tuple[Fact | Note, ...]:
        """All facts."""
        return tuple(event for event in self._events(run, namespace) if not isinstance(event, NOTES))

    def everything(self, run: str) -> tuple[Fact | Note, ...]:
        """Facts and notes, as the mirror of a live run has them, for the report."""
        return tuple(self._runs[run][1]) if run in self._runs else ()

    def runs(self, namespace: str) -> tuple[tuple[str, str], ...]:
        """Run ids with their namespace, oldest first."""
        return tuple((run, place) for run, (place, _) in self._runs.items() if namespace in ("", place))

    def moved(self, runs: Sequence[tuple[str, str]]) -> frozenset[str]:
        """All: reading costs nothing."""
        return frozenset(run for run, _ in runs)

    def request(self, run: str, namespace: str, request: Requested) -> None:
        """Append it."""
        self.append(run, namespace, request)

    def flush(self) -> None:
        """Nothing waits."""

    def folder(self, run: str) -> str:  # noqa: ARG002 - the port's signature
        """There is none."""
        return ""

    def _events(self, run: str, namespace: str) -> list[Fact | Note]:
        place, events = self._runs.get(run, ("", []))
        if run not in self._runs or place != namespace:
            raise NotFound(f"there is no run {run} in {namespace}")
        return events
