"""The runs that a cluster's journals tell of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

import msgspec

from rollout.errors import ClusterError, RecordError, RolloutError, UsageError
from rollout.lifecycle.writes import authorise
from rollout.ports import Journal
from rollout.record.run import Run, fold
from rollout.record.state import State
from rollout.report.commands import namespace_of


class Damaged(msgspec.Struct, frozen=True):
    """A journal that cannot be read (`run` '': a whole namespace), where it is kept, and why."""

    run: str
    place: str
    error: RolloutError

    @property
    def namespace(self) -> str:
        """Of the run, as its id tells, which cuts a long one."""
        return self.place if is_of(self.run, self.place) else namespace_of(self.run)


#: Of a namespace's name, so many letters stand in a run's id.
_IN_ID = 40


def is_of(run_id: str, namespace: str) -> bool:
    """The id is one of this namespace, or of another that begins like it."""
    return namespace_of(run_id) == namespace[:_IN_ID]


def is_named(damaged: Damaged, name: str) -> bool:
    """It is the run of this name, or one of the namespace's."""
    return name == damaged.run or is_of(damaged.run, name)


def searched(name: str, record_namespace: str) -> list[str]:
    """The namespaces that may hold the journal of a run or a namespace of this name; [] for any."""
    namespace = namespace_of(name)
    cut = namespace != name and len(namespace) >= _IN_ID
    return [] if record_namespace or cut else [namespace]


def runs_of(
    journal: Journal, namespace: str, record_namespace: str, places: Collection[str] | None = None
) -> list[Run]:
    """Every run of a namespace ('' for all), oldest first; with `places`, those of journals kept there.

    Raises:
        RecordError: a journal of the namespace is forged or torn; its name stands in the sentence.
    """
    found = []
    for run_id, place in journal.runs(record_namespace):
        if places is not None and place not in places:
            continue
        try:
            run = _read(journal, run_id, place)
        except RecordError:
            if namespace and not is_of(run_id, namespace):
                continue
            raise
        if not namespace or run.spec.namespace == namespace:
            found.append(run)
    return found


def readable_runs(
    journal: Journal, namespaces: Sequence[str], record_namespace: str
) -> tuple[list[Run], list[Damaged]]:
    """Every run of these namespaces (none named: of all), and what cannot be read.

    One forged or torn journal, or one namespace that may not be read, does not keep the others from being taken up.
    """
    runs: list[Run] = []
    problems: list[Damaged] = []
    for place in [record_namespace] if record_namespace else list(namespaces) or [""]:
        try:
            found = journal.runs(place)
        except ClusterError as error:
            problems.append(Damaged("", place, error))
            continue
        for run_id, at in found:
            try:
                run = _read(journal, run_id, at)
            except (RecordError, ClusterError) as error:
                if not namespaces or any(is_of(run_id, name) for name in namespaces):
                    problems.append(Damaged(run_id, at, error))
                continue
            if not namespaces or run.spec.namespace in namespaces:
                runs.append(run)
    return runs, problems


def _read(journal: Journal, run_id: str, place: str) -> Run:
    try:
        run = fold(journal.load(run_id, place))
    except RecordError as error:
        raise RecordError(
            error.problem,
            limit=error.limit,
            where=error.where or f"ConfigMap {place}/rollout-{run_id}",
            next=error.next or f"rollout rollback {Damaged(run_id, place, error).namespace}",
        ) from error
    if run.spec.run != run_id or run.spec.record_namespace != place:
        raise RecordError(
            f"ConfigMap {place}/rollout-{run_id} holds the journal of {run.spec.run}",
            next="look who wrote it; nothing was changed",
        )
    authorise(run)
    return run


def earlier(journal: Journal, namespace: str, record_namespace: str) -> list[Run]:
    """The runs of a namespace, oldest first; none where the journals cannot be listed (verifying says so)."""
    try:
        return runs_of(journal, namespace, record_namespace)
    except ClusterError:
        return []


def earlier_of(journal: Journal, namespaces: Sequence[str], state_namespace: str) -> dict[str, list[Run]]:
    """The same for several namespaces with one list, where the journals of the whole cluster may be listed."""
    if len(namespaces) > 1:
        with suppress(ClusterError, RecordError):  # what is damaged concerns its own namespace only
            found: dict[str, list[Run]] = {name: [] for name in namespaces}
            for run in runs_of(journal, "", state_namespace, [state_namespace] if state_namespace else namespaces):
                found.get(run.spec.namespace, []).append(run)
            return found
    return {name: earlier(journal, name, state_namespace or name) for name in namespaces}


def unfinished(journal: Journal, namespace: str, record_namespace: str) -> Run | None:
    """The run of a namespace that has to be taken up before another begins."""
    found = runs_of(journal, namespace, record_namespace)
    return next((run for run in reversed(found) if not run.finished or run.state is State.ROLLBACK_FAILED), None)


def find(journal: Journal, name: str, record_namespace: str) -> Run:
    """A run by its id, or the newest readable one of a namespace.

    Raises:
        UsageError: there is none.
        RecordError: what was asked for cannot be read.
    """
    namespace = namespace_of(name)
    runs, problems = readable_runs(journal, searched(name, record_namespace), record_namespace)
    run = newest(runs, name)
    asked = [one.error for one in problems if one.run in ("", name) or (run is None and is_of(one.run, namespace))]
    if asked and (run is None or run.id != name):
        raise asked[0]
    if run is None:
        place = record_namespace or namespace
        raise UsageError(f"there is no run {name!r} in namespace {place}", next="rollout status")
    return run


def newest(runs: Sequence[Run], name: str) -> Run | None:
    """Of runs, oldest first: the one of this id, or the newest of this namespace."""
    return next((run for run in reversed(runs) if name in (run.id, run.spec.namespace)), None)
