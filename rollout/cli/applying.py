"""Creates the manifests of `rollout job`: each is proven by a server dry run before the first one is written."""

from __future__ import annotations

from typing import Any

from rollout.adapters.configmap import MANAGED_BY
from rollout.cli.roles import GROUP, Json
from rollout.errors import ClusterError, Exists, Forbidden, NotFound, Outcome, RolloutError
from rollout.model.kubernetes import ConfigMap, CronJob, Job, Namespace, Object, Resource
from rollout.ports import Cluster


class ServiceAccount(Object, frozen=True):
    """A ServiceAccount."""

    RESOURCE = Resource("", ("v1",), "serviceaccounts", "ServiceAccount")


class Role(Object, frozen=True):
    """A Role."""

    RESOURCE = Resource(GROUP, ("v1",), "roles", "Role")


class RoleBinding(Object, frozen=True):
    """A RoleBinding."""

    RESOURCE = Resource(GROUP, ("v1",), "rolebindings", "RoleBinding")


class ClusterRole(Object, frozen=True):
    """A ClusterRole."""

    RESOURCE = Resource(GROUP, ("v1",), "clusterroles", "ClusterRole", namespaced=False)


class ClusterRoleBinding(Object, frozen=True):
    """A ClusterRoleBinding."""

    RESOURCE = Resource(GROUP, ("v1",), "clusterrolebindings", "ClusterRoleBinding", namespaced=False)


KINDS: dict[str, type[Object]] = {kind.RESOURCE.kind: kind for kind in (
    Namespace, ServiceAccount, Role, RoleBinding, ClusterRole, ClusterRoleBinding, ConfigMap, CronJob, Job,
)}  # fmt: skip


def apply(cluster: Cluster, documents: list[Json]) -> list[str]:
    """Create what is not there, patch what is ours, leave what is somebody else's; one line each.

    A Job that is there already is never touched: its run may be under way. It is looked for before anything is written.

    Raises:
        RolloutError: 3 for a Job of that name, for rights that the caller may not give, and for what the server's dry
            run refuses.
        ClusterError: the server did not answer, or refused in the middle.
    """
    _free(cluster, documents[-1])
    first = [d for d in documents if d["kind"] == "Namespace"]
    rest = [d for d in documents if d["kind"] != "Namespace"]
    lines = []
    for part in (first, rest):  # a dry run in a namespace that is not there is refused
        for document in part:
            _one(cluster, document, dry_run=True)
        lines += [_one(cluster, document, dry_run=False) for document in part]
    return lines


def _free(cluster: Cluster, job: Json) -> None:
    name, place = job["metadata"]["name"], job["metadata"]["namespace"]
    try:
        cluster.get(Job, place, name)
    except NotFound:
        return
    raise RolloutError(
        f"Job {place}/{name} is there already; nothing was changed",
        next=f"rollout status; kubectl -n {place} delete job {name} when it has ended, or --name ANOTHER",
        outcome=Outcome.BLOCKED,
    )


def _one(cluster: Cluster, document: Json, *, dry_run: bool) -> str:
    kind = KINDS[document["kind"]]
    place, name = document["metadata"].get("namespace", ""), document["metadata"]["name"]
    shown = f"{document['kind']} {place + '/' if place else ''}{name}"
    body = {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}
    try:
        cluster.create(kind, place, body, dry_run=dry_run)
    except Exists:
        return _again(cluster, kind, body, shown, dry_run=dry_run)
    except NotFound as error:
        if dry_run and "Binding" in document["kind"] and GROUP in error.problem:
            return f"{shown}: not proven, its role is not there yet"
        raise _refused(shown, error) from error
    except ClusterError as error:
        raise _refused(shown, error) from error
    return f"{shown}: created"


def _again(cluster: Cluster, kind: type[Object], body: dict[str, Any], shown: str, *, dry_run: bool) -> str:
    place, name = body["metadata"].get("namespace", ""), body["metadata"]["name"]
    try:
        found = cluster.get(kind, place, name)
        if kind is Namespace or found.metadata.labels.get(MANAGED_BY) != "rollout":
            return f"{shown}: there already, left as it is"
        cluster.patch(kind, place, name, body, dry_run=dry_run)
    except ClusterError as error:
        raise _refused(shown, error) from error
    return f"{shown}: there already, brought up to date"


def _refused(shown: str, error: ClusterError) -> RolloutError:
    """The server's own words, and what helps: nobody may give rights that he does not have."""
    if isinstance(error, Forbidden) and "not currently held" in error.problem:
        return RolloutError(
            f"{shown}: you may not give rights that you do not have yourself",
            limit=error.problem.replace("\n", " "),
            where=error.where,
            next="let an administrator apply what rollout job … --print prints",
            outcome=Outcome.BLOCKED,
        )
    return RolloutError(
        f"{shown}: {error.problem}", limit=error.limit, where=error.where, next=error.next, outcome=error.outcome
    )
