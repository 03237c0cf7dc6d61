"""A journal that is gone from the cluster, or damaged there, put back from the mirror (DESIGN.md, safety 1)."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from typing import Any

from rollout.adapters import configmap
from rollout.adapters.configmap import PREFIX, decode_fact, events_of, lines_of
from rollout.errors import Exists, RecordError
from rollout.model.kubernetes import ConfigMap
from rollout.ports import Cluster
from rollout.record.codec import encode
from rollout.record.events import Fact
from rollout.record.run import fold


def put_back(cluster: Cluster, run: str, namespace: str, facts: Sequence[Fact]) -> None:
    """Create the run's ConfigMap from these facts, or mend the one that is there; one that can be read stays.

    Raises:
        RecordError: the ConfigMap holds an event that is not among the facts: they are older than it.
        ClusterError: it could not be written.
    """
    data = _keyed(facts)
    try:
        cluster.create(ConfigMap, namespace, configmap.body(run, data))
    except Exists:
        found = cluster.get(ConfigMap, namespace, PREFIX + run)
    else:
        return
    if not _folds(found):
        _mend(cluster, found, data, facts)


def _mend(cluster: Cluster, found: ConfigMap, data: dict[str, str], facts: Sequence[Fact]) -> None:
    there = lines_of(found)
    for key, line in there.items():
        if (event := _decoded(line)) is not None and event not in facts:
            raise RecordError(
                f"the local journal is older than ConfigMap {found.namespace}/{found.name}: it lacks event {key}",
                next=f"kubectl get configmap {found.name} -n {found.namespace} -o yaml",
            )
    changed: dict[str, str | None] = {key: line for key, line in data.items() if there.get(key) != line}
    changed |= dict.fromkeys(there.keys() - data.keys())
    body: dict[str, Any] = {"metadata": {"resourceVersion": found.metadata.resource_version}, "data": changed}
    cluster.patch(ConfigMap, found.namespace, found.name, body)


def _keyed(facts: Iterable[Fact]) -> dict[str, str]:
    """In their order, as the journal numbers them: a letter where a number is taken."""
    data: dict[str, str] = {}
    for fact in facts:
        key = f"e{fact.seq:08d}"
        data[next(k for k in (key, *(key + c for c in string.ascii_lowercase)) if k not in data)] = encode(fact)
    return data


def _folds(found: ConfigMap) -> bool:
    try:
        fold(event for event, _ in events_of(found))
    except RecordError:
        return False
    return True


def _decoded(line: str) -> Fact | None:
    try:
        return decode_fact(line)
    except RecordError:
        return None
