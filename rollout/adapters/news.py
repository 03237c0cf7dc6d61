"""Which journals did somebody else write to? Told by one list for all runs of a process.

200 runs hear their requests every ten seconds; read one by one, that would be most of what a watch asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rollout.adapters.configmap import PREFIX, SELECTOR
from rollout.adapters.known import Known
from rollout.errors import ClusterError, Forbidden
from rollout.model.kubernetes import ConfigMap, Object
from rollout.ports import Cluster

#: From so many runs on, one list is cheaper than a read of each.
FEW = 4


class _Head(Object, frozen=True):
    """A ConfigMap of which only the version counts."""

    RESOURCE = ConfigMap.RESOURCE


class News:
    """Asks the cluster."""

    def __init__(self, cluster: Cluster) -> None:
        """Ask nothing yet."""
        self._cluster = cluster
        self._unlistable = False

    def moved(self, runs: Sequence[tuple[str, str]], known: Mapping[str, Known]) -> frozenset[str]:
        """Those whose ConfigMap is not as this process left it; all, where they are few or cannot be listed.

        Args:
            runs: ids and namespaces.
            known: what this process wrote last, by run.
        """
        every = frozenset(run for run, _ in runs)
        if len(runs) < FEW or self._unlistable:
            return every
        places = {namespace for _, namespace in runs}
        try:
            found = self._cluster.list(_Head, namespace=places.pop() if len(places) == 1 else "", selector=SELECTOR)
        except ClusterError as error:
            self._unlistable = isinstance(error, Forbidden)
            return every
        mine = {(k.namespace, PREFIX + run, k.version) for run, k in known.items()}
        same = {c.name for c in found if (c.namespace, c.name, c.metadata.resource_version) in mine}
        return frozenset(run for run in every if PREFIX + run not in same)
