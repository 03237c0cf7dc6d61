"""The Kubernetes adapter against a scripted server: requests as they go out, answers as they are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout import errors
from rollout.adapters.kubernetes import KubernetesCluster, connect
from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.kubernetes import ConfigMap, Pod, Resource
from rollout.ports import Cluster, Right
from tests.adapters.connecting import CORE, kubeconfig

CM = "/api/v1/namespaces/ns/configmaps"


@pytest.fixture
def cluster(connected: KubernetesCluster) -> KubernetesCluster:
    """The adapter itself."""
    return connected


def test_it_fulfils_the_port(cluster: KubernetesCluster) -> None:
    """mypy holds the signatures; connecting sends nothing."""
    port: Cluster = cluster
    assert port is cluster


def test_nothing_is_sent_before_it_is_asked(script: Any, cluster: KubernetesCluster) -> None:
    """No discovery, no version."""
    assert script.seen == []


def test_a_list_is_read_in_pages(script: Any, reply: Any, cluster: KubernetesCluster) -> None:
    """With the server's token, selector and size."""
    script.on(
        "GET /api/v1/pods",
        reply({"metadata": {"continue": "t+/="}, "items": [{"metadata": {"name": "a"}}]}),
        reply({"metadata": {"continue": ""}, "items": [{"metadata": {"name": "b"}}]}),
    )
    assert [pod.name for pod in cluster.list(Pod, selector="app=x,!y")] == ["a", "b"]
    queries = [seen.query for seen in script.seen if seen.path == "/api/v1/pods"]
    assert queries == [
        {"limit": "500", "labelSelector": "app=x,!y"},
        {"limit": "500", "labelSelector": "app=x,!y", "continue": "t+/="},
    ]
    assert script.seen[0].headers["authorization"] == "Bearer secret-token"
    assert script.seen[0].headers["user-agent"].startswith("rollout/")


def test_an_expired_token_begins_the_list_anew(
    script: Any, reply: Any, status: Callable[..., Any], cluster: KubernetesCluster
) -> None:
    """Nothing is counted twice."""
    first = reply({"metadata": {"continue": "t"}, "items": [{"metadata": {"name": "a"}}]})
    last = reply({"metadata": {}, "items": [{"metadata": {"name": "b"}}]})
    script.on("GET /api/v1/pods", first, status(410, "Expired"), first, last)
    assert [pod.name for pod in cluster.list(Pod)] == ["a", "b"]
    script.on("GET /api/v1/pods", first, status(410, "Expired"), first, status(410), first, status(410, "Expired"))
    with pytest.raises(errors.Gone):
        cluster.list(Pod)


def test_nulls_and_empty_lists_are_read(script: Any, reply: Any, cluster: KubernetesCluster) -> None:
    """As other servers and custom resources write them."""
    script.on("GET /api/v1/pods", reply({"metadata": {"continue": None}, "items": None}))
    assert cluster.list(Pod) == ()
    item = {"metadata": {"name": "a", "labels": None, "annotations": {"x": None}}, "spec": {"containers": None}}
    script.on("GET /api/v1/pods", reply({"metadata": {}, "items": [item, {"metadata": {"name": "b"}}]}))
    assert [(pod.name, pod.labels, pod.annotations) for pod in cluster.list(Pod)] == [("a", {}, {}), ("b", {}, {})]


def test_the_served_version_has_the_kind_itself(script: Any, reply: Any, cluster: KubernetesCluster) -> None:
    """security.istio.io/v1 was there before PeerAuthentication was in it."""
    script.on("GET /apis/security.istio.io", reply({"versions": [{"version": "v1"}, {"version": "v1beta1"}]}))
    script.on("GET /apis/security.istio.io/v1", reply({"resources": [{"name": "authorizationpolicies"}]}))
    script.on("GET /apis/security.istio.io/v1beta1", reply({"resources": [{"name": "peerauthentications"}]}))
    assert cluster.served(PeerAuthentication.RESOURCE) == "v1beta1"
    asked = len(script.seen)
    assert cluster.served(PeerAuthentication.RESOURCE) == "v1beta1"
    assert len(script.seen) == asked


def test_a_kind_that_is_not_installed(script: Any, cluster: KubernetesCluster) -> None:
    """'' when asked, NotFound with its name when listed; asked anew each time, for it may be installed."""
    assert cluster.served(PeerAuthentication.RESOURCE) == ""
    with pytest.raises(errors.NotFound, match=r"peerauthentications\.security\.istio\.io"):
        cluster.list(PeerAuthentication)
    assert [seen.path for seen in script.seen] == ["/apis/security.istio.io"] * 2


def test_a_version_that_is_dropped_is_asked_anew(script: Any, reply: Any, cluster: KubernetesCluster) -> None:
    """An Istio upgrade while we run."""
    script.on("GET /apis/security.istio.io", reply({"versions": [{"version": "v1beta1"}]}))
    script.on("GET /apis/security.istio.io/v1beta1", reply({"resources": [{"name": "peerauthentications"}]}))
    with pytest.raises(errors.NotFound):
        cluster.list(PeerAuthentication)
    script.on("GET /apis/security.istio.io", reply({"versions": [{"version": "v1"}]}))
    script.on("GET /apis/security.istio.io/v1", reply({"resources": [{"name": "peerauthentications"}]}))
    script.on("GET /apis/security.istio.io/v1/peerauthentications", reply({"items": []}))
    assert cluster.list(PeerAuthentication) == ()


def test_writes_say_who_and_are_strict(script: Any, reply: Any, cluster: KubernetesCluster) -> None:
    """fieldManager, fieldValidation, content type, and the body as given."""
    made = reply({"metadata": {"name": "x", "resourceVersion": "7"}, "data": {"a": "b"}}, 201)
    script.on(f"POST {CM}", made)
    script.on(f"PATCH {CM}/x", made)
    assert cluster.create(ConfigMap, "ns", {"metadata": {"name": "x"}}).metadata.resource_version == "7"
    cluster.patch(ConfigMap, "ns", "x", {"data": {"a": None}})
    post, patch = script.seen[-2:]
    assert post.query == patch.query == {"fieldManager": "rollout", "fieldValidation": "Strict"}
    assert json.loads(post.body) == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    assert patch.headers["content-type"] == "application/merge-patch+json"
    assert json.loads(patch.body) == {"data": {"a": None}}


def test_a_delete_is_of_one_object_only(script: Any, reply: Any, cluster: KubernetesCluster) -> None:
    """The uid is the precondition."""
    script.on(f"DELETE {CM}/x", reply({"kind": "Status", "status": "Success"}))
    cluster.delete(ConfigMap, "ns", "x", uid="u-1")
    assert json.loads(script.seen[-1].body)["preconditions"] == {"uid": "u-1"}
    cluster.delete(ConfigMap, "ns", "x", dry_run=True)
    assert script.seen[-1].query == {"dryRun": "All"}


def test_identity_is_what_the_server_says(script: Any, reply: Any, cluster: KubernetesCluster) -> None:
    """SelfSubjectReview since 1.28; before, the kubeconfig's name of the user."""
    script.on("GET /version", reply({"gitVersion": "v1.33.1"}))
    identity = cluster.identity()
    assert (identity.context, identity.server, identity.kubernetes, identity.user) == (
        "test",
        script.url,
        "v1.33.1",
        "ana",
    )
    script.on(
        "POST /apis/authentication.k8s.io/v1/selfsubjectreviews",
        reply({"status": {"userInfo": {"username": "ana@example.org"}}}, 201),
    )
    assert cluster.identity().user == "ana@example.org"


def test_rights_are_asked_for_one_by_one(script: Any, reply: Any, cluster: KubernetesCluster) -> None:
    """A subresource is named as such."""
    path = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    script.on(path, reply({"status": {"allowed": True}}, 201), reply({"status": {"allowed": False}}, 201))
    exec_ = Resource("", ("v1",), "pods/exec", "Pod")
    assert cluster.allowed(Right("create", exec_, "ns"))
    assert not cluster.allowed(Right("patch", PeerAuthentication.RESOURCE, "ns", "default"))
    asked = [json.loads(seen.body)["spec"]["resourceAttributes"] for seen in script.seen]
    assert asked == [
        {"namespace": "ns", "verb": "create", "resource": "pods", "subresource": "exec"},
        {
            "namespace": "ns",
            "verb": "patch",
            "group": "security.istio.io",
            "resource": "peerauthentications",
            "name": "default",
        },
    ]


def test_impersonation_goes_with_every_request(script: Any, reply: Any, tmp_path: Path, slept: list[float]) -> None:
    """As kubectl --as."""
    script.on("GET /api/v1", reply(CORE))
    script.on("GET /api/v1/pods", reply({"items": []}))
    cluster = connect(kubeconfig(tmp_path, script.url), None, sleep=slept.append, impersonate="ben")
    cluster.list(Pod)
    cluster.close()
    assert {seen.headers.get("impersonate-user") for seen in script.seen} == {"ben"}


def test_a_raw_answer_is_passed_on(script: Any, reply: Any, cluster: KubernetesCluster) -> None:
    """Whatever stands behind the service proxy."""
    path = "/api/v1/namespaces/m/services/https:prometheus:web/proxy/api/v1/query"
    script.on(f"GET {path}", reply(b"\x00raw"), reply('{"status":"error"}', 400))
    assert cluster.raw_get(path, [("query", 'up{a="b c"}')]) == b"\x00raw"
    assert script.seen[-1].query == {"query": 'up{a="b c"}'}
    assert cluster.raw_reply(path) == (400, b'{"status":"error"}')


def test_modes_are_read(script: Any, reply: Any, cluster: KubernetesCluster) -> None:
    """A custom resource by its served version."""
    script.on("GET /apis/security.istio.io", reply({"versions": [{"version": "v1"}]}))
    script.on("GET /apis/security.istio.io/v1", reply({"resources": [{"name": "peerauthentications"}]}))
    script.on(
        "GET /apis/security.istio.io/v1/namespaces/ns/peerauthentications/default",
        reply({"metadata": {"name": "default"}, "spec": {"mtls": {"mode": "STRICT"}}, "status": {}}),
    )
    assert cluster.get(PeerAuthentication, "ns", "default").mode is Mode.STRICT


def test_a_name_is_no_path(script: Any, cluster: KubernetesCluster) -> None:
    """What a user types as a run or a namespace does not lead elsewhere."""
    with pytest.raises(errors.NotFound):
        cluster.get(ConfigMap, "ns", "../../secrets/x?y")
    assert script.seen[-1].path == f"{CM}/..%2F..%2Fsecrets%2Fx%3Fy"


def test_this_machine_is_not_reached_through_a_proxy(
    script: Any, reply: Any, tmp_path: Path, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port-forward or a lab works where $HTTP_PROXY is set."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    script.on("GET /api/v1", reply(CORE))
    script.on("GET /api/v1/pods", reply({"items": []}))
    cluster = connect(kubeconfig(tmp_path, script.url), None, sleep=slept.append)
    assert cluster.list(Pod) == ()
    cluster.close()
