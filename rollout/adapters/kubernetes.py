"""The Kubernetes API as `ports.Cluster`: lists in pages, merge patches, dry runs, and errors that are sentences."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from rollout.adapters.kubeconfig import access as load
from rollout.adapters.retry import Sleep, retrying
from rollout.adapters.sharing import Shared
from rollout.adapters.stream import Stream
from rollout.adapters.transport import MERGE_PATCH, Transport
from rollout.adapters.websocket import LIMIT, Ran, execute
from rollout.adapters.wire import decode, decode_object, decode_page
from rollout.errors import Forbidden, Gone, NotFound, Rejected
from rollout.model.kubernetes import Object, Ref, Resource
from rollout.ports import Identity, LogPart, Right

T = TypeVar("T", bound=Object)

MANAGER = "rollout"
PAGE = 500
#: How often a list begins anew because its token expired.
RESTARTS = 3


class _Version(msgspec.Struct, frozen=True, rename="camel"):
    git_version: str = ""


class _GroupVersion(msgspec.Struct, frozen=True):
    version: str = ""


class _Group(msgspec.Struct, frozen=True):
    versions: tuple[_GroupVersion, ...] = ()


class _Named(msgspec.Struct, frozen=True):
    name: str = ""


class _Resources(msgspec.Struct, frozen=True):
    resources: tuple[_Named, ...] | None = None


class _Allowed(msgspec.Struct, frozen=True):
    allowed: bool = False


class _AccessReview(msgspec.Struct, frozen=True):
    status: _Allowed = _Allowed()


class _UserInfo(msgspec.Struct, frozen=True):
    username: str = ""


class _Who(msgspec.Struct, frozen=True, rename="camel"):
    user_info: _UserInfo = _UserInfo()


class _SelfReview(msgspec.Struct, frozen=True):
    status: _Who = _Who()


def connect(
    kubeconfig: str | None,
    context: str | None,
    *,
    sleep: Sleep,
    impersonate: str = "",
    read_timeout: float = 60.0,
) -> KubernetesCluster:
    """A cluster, as kubectl would choose it; inside a pod without a kubeconfig, the pod's own.

    Nothing is sent yet, but an exec plugin runs.

    Args:
        kubeconfig: path(s), None for $KUBECONFIG or ~/.kube/config.
        context: None for the current one.
        sleep: waits between tries.
        impersonate: act as this user (`--as`).
        read_timeout: seconds without a byte.

    Raises:
        UsageError: kubeconfig or context are wrong.
        Unauthorized: the exec plugin failed.
    """
    found = load(kubeconfig, context)
    transport = Transport(found, impersonate=impersonate, read_timeout=read_timeout)
    identity = Identity(
        context=found.context,
        server=transport.server,
        user=impersonate or found.user,
        expires=found.expires,
        renews=found.renews,
    )
    return KubernetesCluster(transport, identity, sleep)


class KubernetesCluster:
    """`ports.Cluster` over a `Transport`."""

    def __init__(self, transport: Transport, identity: Identity, sleep: Sleep) -> None:
        """Keep them; `identity` lacks what only the server knows."""
        self._transport = transport
        self._identity = identity
        self._sleep = sleep
        self._served: dict[str, str] = {}

    def identity(self) -> Identity:
        """Context, server, version, and the user as the server sees it (as the kubeconfig calls it before 1.28)."""
        version = decode(_Version, self._read("GET", "/version"), "/version").git_version
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        try:
            user = decode(_SelfReview, self._read("POST", path, body=body), path).status.user_info.username
        except (NotFound, Forbidden, Rejected):
            user = ""
        return msgspec.structs.replace(self._identity, kubernetes=version, user=user or self._identity.user)

    def served(self, resource: Resource) -> str:
        """The first of the resource's versions that the server has *this* resource in, '' when it is not installed.

        A group may serve a version that lacks the kind: security.istio.io/v1 existed before PeerAuthentication was
        in it.
        """
        if resource.name in self._served:
            return self._served[resource.name]
        for version in self._group_versions(resource):
            path = f"{_root(resource.group)}/{version}"
            try:
                listed = decode(_Resources, self._read("GET", path), path).resources or ()
            except NotFound:
                continue
            if any(entry.name == resource.plural for entry in listed):
                self._served[resource.name] = version
                return version
        return ""

    def list(self, kind: type[T], *, namespace: str = "", selector: str = "") -> tuple[T, ...]:
        """All objects of a kind, in pages of 500; begun anew when a token expires on the way."""
        path = self._path(kind.RESOURCE, namespace)
        for _ in range(RESTARTS - 1):
            try:
                return self._pages(kind, path, selector)
            except Gone:
                continue
        return self._pages(kind, path, selector)

    def get(self, kind: type[T], namespace: str, name: str) -> T:
        """One object, read from the server."""
        path = self._path(kind.RESOURCE, namespace, name)
        return decode_object(kind, self._read("GET", path), path)

    def create(self, kind: type[T], namespace: str, body: Mapping[str, Any], *, dry_run: bool = False) -> T:
        """POST; a dry run is tried again when nobody answers, the real one is sent once."""
        path = self._path(kind.RESOURCE, namespace)
        full = {"apiVersion": self._api_version(kind.RESOURCE), "kind": kind.RESOURCE.kind, **body}
        return decode_object(kind, self._write("POST", path, full, dry_run=dry_run), path)

    def patch(self, kind: type[T], namespace: str, name: str, body: Mapping[str, Any], *, dry_run: bool = False) -> T:
        """Merge patch."""
        path = self._path(kind.RESOURCE, namespace, name)
        return decode_object(kind, self._write("PATCH", path, body, dry_run=dry_run), path)

    def delete(self, kind: type[T], namespace: str, name: str, *, uid: str = "", dry_run: bool = False) -> None:
        """DELETE, of the object with this uid only."""
        path = self._path(kind.RESOURCE, namespace, name)
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid:
            options["preconditions"] = {"uid": uid}
        query = [("dryRun", "All")] if dry_run else []
        if dry_run:
            self._read("DELETE", path, query=query, body=options)
        else:
            self._transport.send("DELETE", path, query=query, body=options)

    def allowed(self, right: Right) -> bool:
        """SelfSubjectAccessReview; `pods/exec` as plural asks for the subresource."""
        plural, _, subresource = right.resource.plural.partition("/")
        attributes = {
            "namespace": right.namespace,
            "verb": right.verb,
            "group": right.resource.group,
            "resource": plural,
            "subresource": subresource,
            "name": right.name,
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
        }
        answer: _AccessReview = decode(_AccessReview, self._read("POST", path, body=body), path)
        return answer.status.allowed

    def logs(self, namespace: str, pod: str, container: str, *, since: float, lines: int | None, limit: int) -> LogPart:
        """`ports.Logs`: one bounded request; the server counts lines, seconds and bytes.

        What has no line end when the byte limit is reached is left out.
        """
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(pod, safe='')}/log"
        query = [
            ("container", container),
            ("sinceSeconds", str(max(1, round(since)))),
            ("limitBytes", str(limit)),
        ]
        query += [("tailLines", str(lines))] if lines is not None else []
        body: bytes = self._read("GET", path, query=query)[:limit]
        cut = len(body) >= limit
        whole = body[: body.rfind(b"\n") + 1] if cut else body
        found = tuple(whole.decode(errors="replace").splitlines())
        older = lines is not None and len(found) >= lines
        return LogPart(lines=found, size=len(body), older=older, cut=cut)

    def follow(
        self, namespace: str, pod: str, container: str, query: Sequence[tuple[str, str]], quiet: float
    ) -> Stream:
        """A log as it comes, each line behind its time; asked for once. `quiet`: seconds without a byte."""
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(pod, safe='')}/log"
        asked = [("container", container), ("timestamps", "true"), *query]
        return self._transport.stream(path, asked, quiet=quiet)

    def execute(self, pod: Ref, container: str, command: Sequence[str], *, limit: float = LIMIT) -> Ran:
        """Run a command in a container; `websocket.execute` says how it fails. Tried again when nobody answers."""
        return retrying(self._sleep)(
            lambda: execute(self._transport, pod.namespace, pod.name, container, command, limit=limit)
        )

    def raw_get(self, path: str, query: Sequence[tuple[str, str]] = ()) -> bytes:
        """Any path, once, as it is answered.

        Raises:
            ClusterError: the answer is not 2xx, or there is none.
        """
        return self._transport.send("GET", path, query=query)

    def raw_reply(self, path: str, query: Sequence[tuple[str, str]] = ()) -> tuple[int, bytes]:
        """Status and body of any path, once: through the service proxy others answer than the API server.

        Raises:
            Unreachable: there was no answer.
        """
        reply = self._transport.exchange("GET", path, query=query)
        return reply.status, reply.body

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _group_versions(self, resource: Resource) -> tuple[str, ...]:
        """The wanted versions that the group has, the most wanted first."""
        if not resource.group:
            return resource.versions
        try:
            group = decode(_Group, self._read("GET", f"/apis/{resource.group}"), f"/apis/{resource.group}")
        except NotFound:
            return ()
        has = {entry.version for entry in group.versions}
        return tuple(version for version in resource.versions if version in has)

    def _api_version(self, resource: Resource) -> str:
        version = self.served(resource)
        if not version:
            raise NotFound(
                f"the cluster has no {resource.name}",
                limit=f"one of the versions {', '.join(resource.versions)}",
                where=f"{self._transport.server}, context {self._transport.context}",
            )
        return f"{resource.group}/{version}" if resource.group else version

    def _path(self, resource: Resource, namespace: str, name: str = "") -> str:
        api = self._api_version(resource)
        parts = ["/apis" if resource.group else "/api", api]
        if resource.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts += [resource.plural, quote(name, safe="")] if name else [resource.plural]
        return "/".join(parts)

    def _pages(self, kind: type[T], path: str, selector: str) -> tuple[T, ...]:
        found: builtins.list[T] = []
        shared, token = Shared(), ""
        while True:
            query = [("limit", str(PAGE))]
            query += [("labelSelector", selector)] if selector else []
            query += [("continue", token)] if token else []
            items, token = decode_page(kind, self._read("GET", path, query=query), path)
            found += shared.page(items)
            if not token:
                return tuple(found)

    def _write(self, method: str, path: str, body: Mapping[str, Any], *, dry_run: bool) -> bytes:
        query = [("fieldManager", MANAGER), ("fieldValidation", "Strict")]
        content = MERGE_PATCH if method == "PATCH" else "application/json"
        if dry_run:
            return self._read(method, path, query=[*query, ("dryRun", "All")], body=body, content_type=content)
        return self._transport.send(method, path, query=query, body=body, content_type=content)

    def _read(self, method: str, path: str, **options: Any) -> bytes:
        try:
            return retrying(self._sleep)(lambda: self._transport.send(method, path, **options))
        except NotFound as error:
            if "could not find the requested resource" in error.problem or "404 page not found" in error.problem:
                self._served.clear()  # a kind was uninstalled or lost this version while we ran
            raise


def _root(group: str) -> str:
    return f"/apis/{group}" if group else "/api"
