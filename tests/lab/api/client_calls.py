"""What the tool asks of a cluster, each kind of call once, with whichever official client is on the path.

Run as a program against the lab of $KUBECONFIG; prints JSON: the client's version, its file, and the calls that did
what they should.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rollout import errors
from rollout.adapters.kubernetes import KubernetesCluster, connect
from rollout.adapters.lease import KubernetesLease
from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.kubernetes import ConfigMap, Namespace
from rollout.ports import Right

MANY = 501
"""ConfigMaps in the namespace `many`: more than a page."""
SPACE = "production"
MERGE = "application/merge-patch+json"
Say = Callable[[str], None]


@contextmanager
def refused(kind: type[Exception]) -> Iterator[None]:
    """Something must raise this."""
    try:
        yield
    except kind:
        return
    raise AssertionError(f"expected {kind.__name__}")


def policy(mode: str, **meta: str) -> dict[str, Any]:
    """The body of a PeerAuthentication."""
    return {"metadata": meta, "spec": {"mtls": {"mode": mode}}} if meta else {"spec": {"mtls": {"mode": mode}}}


def reading(cluster: KubernetesCluster, say: Say) -> None:
    """Discovery, who am I, pages, one object, none."""
    assert cluster.identity().kubernetes.startswith("v1.")
    say("version and self review")
    assert cluster.served(PeerAuthentication.RESOURCE) == "v1"
    say("discovery")
    assert len(cluster.list(ConfigMap, namespace="many")) == MANY
    say("list in pages")
    assert [found.metadata.name for found in cluster.list(ConfigMap, namespace="many", selector="odd=yes")] == ["c-000"]
    say("list by label")
    assert cluster.get(Namespace, "", "many").metadata.name == "many"
    say("get")
    with refused(errors.NotFound):
        cluster.get(Namespace, "", "nosuch")
    say("get: 404")
    assert json.loads(cluster.raw_get("/apis"))["kind"] == "APIGroupList"
    say("raw get")
    assert cluster.raw_reply("/api/v1/namespaces/many/services/none:80/proxy/x")[0] == 503
    say("service proxy: 503")


def writing(cluster: KubernetesCluster, say: Say) -> None:
    """Dry runs, creates, patches with an optimistic lock, conditional deletes."""
    cluster.create(Namespace, "", {"metadata": {"name": SPACE}})
    say("create")
    with refused(errors.Exists):
        cluster.create(Namespace, "", {"metadata": {"name": SPACE}})
    say("create: 409 AlreadyExists")
    cluster.create(PeerAuthentication, SPACE, policy("PERMISSIVE", name="default"), dry_run=True)
    assert cluster.list(PeerAuthentication, namespace=SPACE) == ()
    say("create, dry run")
    made = cluster.create(PeerAuthentication, SPACE, policy("PERMISSIVE", name="default"))
    first = made.metadata.resource_version
    cluster.patch(PeerAuthentication, SPACE, "default", policy("STRICT", resourceVersion=first), dry_run=True)
    assert cluster.get(PeerAuthentication, SPACE, "default").metadata.resource_version == first
    say("merge patch, dry run")
    strict = cluster.patch(PeerAuthentication, SPACE, "default", policy("STRICT", resourceVersion=first))
    assert strict.spec.mtls is not None
    assert strict.spec.mtls.mode is Mode.STRICT
    say("merge patch with resourceVersion")
    with refused(errors.Conflict):
        cluster.patch(PeerAuthentication, SPACE, "default", policy("DISABLE", resourceVersion=first))
    say("merge patch: 409 Conflict")
    with refused(errors.Rejected):
        cluster.patch(PeerAuthentication, SPACE, "default", policy("FOO"))
    say("merge patch: 422")
    with refused(errors.Conflict):
        cluster.delete(PeerAuthentication, SPACE, "default", uid="00000000-0000-0000-0000-000000000000")
    say("delete with a wrong uid: 409")
    cluster.delete(PeerAuthentication, SPACE, "default", uid=strict.metadata.uid, dry_run=True)
    cluster.get(PeerAuthentication, SPACE, "default")
    say("delete, dry run")
    cluster.delete(PeerAuthentication, SPACE, "default", uid=strict.metadata.uid)
    with refused(errors.NotFound):
        cluster.get(PeerAuthentication, SPACE, "default")
    say("delete with its uid")


def leasing(cluster: KubernetesCluster, say: Say) -> None:
    """A Lease with times in microseconds."""
    lease = KubernetesLease(cluster, lambda: datetime(2027, 1, 4, 10, tzinfo=UTC), "me@here")
    lease.acquire(SPACE, "run-1")
    lease.renew(SPACE, "run-1")
    with refused(errors.NotOurs):
        KubernetesLease(cluster, lambda: datetime(2027, 1, 4, 10, tzinfo=UTC), "you@there").acquire(SPACE, "run-2")
    lease.release(SPACE, "run-1")
    say("lease")


def main() -> None:
    """Make the calls and print what was done."""
    client, config, watch = (importlib.import_module(f"kubernetes.{name}") for name in ("client", "config", "watch"))
    package = importlib.import_module("kubernetes")
    done: list[str] = []
    cluster = connect(None, None, sleep=lambda _: None)
    reading(cluster, done.append)
    writing(cluster, done.append)
    leasing(cluster, done.append)
    assert cluster.allowed(Right("patch", PeerAuthentication.RESOURCE, SPACE))
    done.append("access review: yes")
    stranger = connect(None, None, sleep=lambda _: None, impersonate="limited")
    assert not stranger.allowed(Right("patch", PeerAuthentication.RESOURCE, SPACE))
    with refused(errors.Forbidden):
        stranger.list(ConfigMap, namespace="many")
    done.append("impersonation: no, 403")
    stranger.close()
    cluster.close()
    api = config.new_client_from_config()
    core = client.CoreV1Api(api)
    since = core.list_namespace(limit=1).metadata.resource_version
    core.delete_namespace(SPACE)
    stream = watch.Watch().stream(core.list_namespace, resource_version=since, timeout_seconds=1)
    assert [event["type"] for event in stream] == ["MODIFIED", "DELETED"]
    done.append("watch")
    api.rest_client.pool_manager.clear()
    print(json.dumps({"version": package.__version__, "file": package.__file__, "calls": done}))


if __name__ == "__main__":
    main()
