"""A run's ConfigMap: names, labels, keys, and the events in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from rollout.errors import RecordError
from rollout.model.kubernetes import ConfigMap
from rollout.record.codec import decode
from rollout.record.events import NOTES, Fact, Note, Requested
from rollout.record.run import fold

PREFIX = "rollout-"
MANAGED_BY, RUN_ID = "app.kubernetes.io/managed-by", "rollout.dev/run-id"
SELECTOR = f"{MANAGED_BY}=rollout,{RUN_ID}"

_KEY = re.compile(r"e\d{8,}[a-z]?")


def body(run: str, data: dict[str, str]) -> dict[str, Any]:
    """The ConfigMap to create."""
    return {
        "metadata": {"name": PREFIX + run, "labels": {MANAGED_BY: "rollout", RUN_ID: label(run)}},
        "data": data,
    }


def label(run: str) -> str:
    """The run id as a label value: at most 63 characters, still unique when it is cut."""
    if len(run) <= 63:
        return run
    return f"{run[:54].rstrip('-._')}-{sha256(run.encode()).hexdigest()[:8]}"


def decode_fact(line: str) -> Fact:
    """One fact.

    Raises:
        RecordError: it is none.
    """
    event = decode(line)
    if isinstance(event, NOTES):
        raise RecordError("a note stands where only facts may")
    return event


def patch_body(version: str, data: dict[str, str]) -> dict[str, Any]:
    """A merge patch with the fence."""
    return {"metadata": {"resourceVersion": version}, "data": dict(data)}


def lines_of(found: ConfigMap) -> dict[str, str]:
    """The events' lines in order; other keys, which somebody may have added, do not count."""
    return {key: found.data[key] for key in sorted(found.data, key=_place) if _KEY.fullmatch(key)}


def _place(key: str) -> tuple[int, str]:
    digits = re.sub(r"\D", "", key)
    return int(digits or 0), key


def events_of(found: ConfigMap) -> list[tuple[Fact, str]]:
    """Facts with their lines, in order.

    Raises:
        RecordError: one of them is no event.
    """
    where = f"ConfigMap {found.namespace}/{found.name}"
    lines = lines_of(found)
    events: Iterable[tuple[Fact | Note, str]] = ((decode(line, f"{where} {key}"), line) for key, line in lines.items())
    return [(event, line) for event, line in events if not isinstance(event, NOTES)]


def as_request(line: str) -> Requested | None:
    """The request that the line is, None for anything else."""
    try:
        event = decode(line)
    except RecordError:
        return None
    return event if isinstance(event, Requested) else None


def is_finished(found: ConfigMap) -> bool:
    """Its run reached an end state; False also for what cannot be read."""
    try:
        return fold(event for event, _ in events_of(found)).finished
    except RecordError:
        return False
