"""A server that the lab uses alone: found empty, and left empty.

What the lab leaves it deletes without asking anybody, so it never begins on a server on which anything else lives.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from rollout.errors import UsageError
from rollout.lab.api.kinds import Kinds, Resource
from rollout.lab.api.status import ApiError
from rollout.lab.remote.connection import Remote
from rollout.lab.remote.paths import path_of

SYSTEM = ("default", "kube-node-lease", "kube-public", "kube-system")
_OWN = frozenset({("Service", "kubernetes"), ("Endpoints", "kubernetes"), ("EndpointSlice", "kubernetes")})
"""What the server itself keeps in `default`."""


def refuse_unless_empty(remote: Remote) -> None:
    """Go on only where no namespace but the system's four, and no node, exists.

    Raises:
        UsageError: somebody lives there.
    """
    namespaces = [item["metadata"]["name"] for item in remote.ask("GET", "/api/v1/namespaces")["items"]]
    nodes = [item["metadata"]["name"] for item in remote.ask("GET", "/api/v1/nodes")["items"]]
    found = [f"namespace {name}" for name in namespaces if name not in SYSTEM] + [f"node {name}" for name in nodes]
    if found:
        raise UsageError(
            f"the API server is in use: {', '.join(found[:5])}{', …' if len(found) > 5 else ''}",
            limit="a server for the lab alone, which deletes everything on it at its end",
            where=remote.url,
            next="start kube-apiserver on an empty etcd",
        )


def wipe(remote: Remote, kinds: Kinds, cluster_wide: list[tuple[Resource, str]], pool: Executor) -> None:
    """Delete all namespaces but the system's, what is in `default`, and these objects without a namespace.

    No controller is asked for: namespaces are emptied here, and finalized.
    """
    empty(remote, kinds, "", pool)
    for item in remote.ask("GET", "/api/v1/namespaces")["items"]:
        if item["metadata"]["name"] not in SYSTEM:
            _finalize(remote, item["metadata"]["name"])
    for resource, name in cluster_wide:
        with missing_is_fine():
            remote.ask("DELETE", path_of(resource, name=name), gracePeriodSeconds="0")


def drop_namespace(remote: Remote, kinds: Kinds, name: str, pool: Executor) -> None:
    """Delete a namespace with everything in it; nobody need finalize it."""
    empty(remote, kinds, name, pool)
    _finalize(remote, name)


def _finalize(remote: Remote, name: str) -> None:
    with missing_is_fine():
        remote.ask("DELETE", f"/api/v1/namespaces/{name}")
    with missing_is_fine():
        found = remote.ask("GET", f"/api/v1/namespaces/{name}")
        found["spec"]["finalizers"] = []
        remote.ask("PUT", f"/api/v1/namespaces/{name}/finalize", found)


def empty(remote: Remote, kinds: Kinds, namespace: str, pool: Executor) -> None:
    """Delete what a namespace holds of these kinds ('': all but those for the system), whatever finalizers say."""

    def each(resource: Resource) -> None:
        with missing_is_fine():
            for item in remote.ask("GET", path_of(resource, namespace)).get("items") or ():
                if not _kept(resource, item["metadata"]):
                    with missing_is_fine():
                        discard(remote, resource, item["metadata"])

    wanted = [r for r in kinds.resources if r.namespaced and "delete" in r.verbs]
    list(pool.map(each, wanted))


def _kept(resource: Resource, meta: dict[str, Any]) -> bool:
    place = meta.get("namespace")
    return place in SYSTEM[1:] or (place == "default" and (resource.kind, meta["name"]) in _OWN)


def discard(remote: Remote, resource: Resource, meta: dict[str, Any]) -> None:
    """Delete one object at once.

    Raises:
        ApiError: there is none, or it may not be deleted.
    """
    path = path_of(resource, str(meta.get("namespace") or ""), str(meta["name"]))
    if meta.get("finalizers"):
        remote.ask("PATCH", path, {"metadata": {"finalizers": None}}, media="application/merge-patch+json")
    remote.ask("DELETE", path, gracePeriodSeconds="0", propagationPolicy="Background")


@contextmanager
def missing_is_fine() -> Iterator[None]:
    """Pass over 404 (gone already, or a kind that is not served) and 409 (somebody else finalizes it)."""
    try:
        yield
    except ApiError as error:
        if error.code not in (404, 409):
            raise
