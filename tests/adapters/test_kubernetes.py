"""The Kubernetes adapter against a scripted server: requests as they go out, failures as they come back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout import errors
from rollout.adapters.kubernetes import KubernetesCluster, connect
from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.kubernetes import ConfigMap, Namespace, Pod, Resource
from rollout.ports import Cluster, Right

CORE = {"resources": [{"name": name} for name in ("pods", "configmaps", "namespaces")]}
CM = "/api/v1/namespaces/ns/configmaps"


@pytest.fixture
def slept() -> list[float]:
    """What was slept, without sleeping."""
    return []


def config(folder: Path, server: str, user: dict[str, Any] | None = None) -> str:
    """A kubeconfig file."""
    document = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "ana", "user": user or {"token": "secret-token"}}],
        "contexts": [{"name": "test", "context": {"cluster": "c", "user": "ana"}}],
        "current-context": "test",
    }
    path = folder / "config"
    path.write_text(json.dumps(document))
    return str(path)


@pytest.fixture
def cluster(script: Any, reply: Any, tmp_path: Path, slept: list[float]) -> Iterator[KubernetesCluster]:
    """Connected to the script."""
    script.on("GET /api/v1", reply(CORE))
    made = connect(config(tmp_path, script.url), None, sleep=slept.append, read_timeout=5)
    yield made
    made.close()


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


def test_an_object_that_does_not_fit_is_named(script: Any, reply: Any, cluster: KubernetesCluster) -> None:
    """Instead of a list that silently lacks it."""
    bad = {"metadata": {"name": "odd", "namespace": "ns"}, "status": {"phase": 7}}
    script.on("GET /api/v1/pods", reply({"items": [bad]}))
    with pytest.raises(errors.ClusterError, match=r"Pod ns/odd cannot be read.*phase"):
        cluster.list(Pod)


def test_a_page_is_no_kubernetes(script: Any, reply: Any, cluster: KubernetesCluster) -> None:
    """A login page answers 200 to everything."""
    script.on("GET /api/v1/pods", reply("<html>Sign in</html>", 200, {"Content-Type": "text/html"}))
    with pytest.raises(errors.ClusterError, match="no Kubernetes object") as error:
        cluster.list(Pod)
    assert "login page" in error.value.next


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


def test_a_real_write_is_sent_once_a_dry_run_again(
    script: Any, reply: Any, status: Callable[..., Any], cluster: KubernetesCluster, slept: list[float]
) -> None:
    """A write that may have arrived is not repeated blindly."""
    script.on(f"PATCH {CM}/x", status(500, "InternalError", "boom"), reply({"metadata": {"name": "x"}}))
    with pytest.raises(errors.Unreachable, match="boom"):
        cluster.patch(ConfigMap, "ns", "x", {})
    assert slept == []
    script.on(f"PATCH {CM}/x", status(500, "InternalError", "boom"), reply({"metadata": {"name": "x"}}))
    cluster.patch(ConfigMap, "ns", "x", {}, dry_run=True)
    assert slept == [0.25]
    assert script.seen[-1].query["dryRun"] == "All"


def test_retry_after_is_waited_for_outside_the_client(
    script: Any, reply: Any, cluster: KubernetesCluster, slept: list[float]
) -> None:
    """429 is text/plain; the third try passes."""
    busy = reply(
        "Too many requests, please try again later.\n", 429, {"Content-Type": "text/plain", "Retry-After": "2"}
    )
    script.on("GET /api/v1/pods", busy, busy, reply({"items": []}))
    before = time.monotonic()
    assert cluster.list(Pod) == ()
    assert slept == [2.0, 2.0]
    assert time.monotonic() - before < 2


def test_a_retry_after_that_is_too_long_ends_the_tries(
    script: Any, reply: Any, cluster: KubernetesCluster, slept: list[float]
) -> None:
    """The caller decides about half a minute, not the adapter."""
    script.on("GET /api/v1/pods", reply("busy", 503, {"Retry-After": "30"}))
    with pytest.raises(errors.Overloaded, match="busy") as error:
        cluster.list(Pod)
    assert (slept, error.value.retry_after, error.value.status) == ([], 30.0, 503)


DENIED = 'admission webhook "validate.kyverno.svc" denied the request: PERMISSIVE is forbidden'
QUOTA = 'configmaps "x" is forbidden: exceeded quota: q, requested: configmaps=1'
LEAVING = 'configmaps "x" is forbidden: unable to create new content in namespace ns because it is being terminated'
VAP = "x is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"


@pytest.mark.parametrize(
    ("code", "reason", "message", "kind"),
    [
        (400, "BadRequest", "bad", errors.Rejected),
        (400, "", DENIED, errors.Rejected),
        (401, "Unauthorized", "Unauthorized", errors.Unauthorized),
        (403, "Forbidden", 'pods is forbidden: User "ana" cannot list resource "pods"', errors.Forbidden),
        (403, "Forbidden", 'pods is forbidden: User "system:anonymous" cannot list', errors.Unauthorized),
        (403, "Forbidden", DENIED, errors.Rejected),
        (403, "Forbidden", QUOTA, errors.Rejected),
        (403, "Forbidden", LEAVING, errors.Rejected),
        (404, "NotFound", 'configmaps "x" not found', errors.NotFound),
        (405, "MethodNotAllowed", "no", errors.Rejected),
        (409, "Conflict", "the object has been modified", errors.Conflict),
        (409, "AlreadyExists", "already exists", errors.Exists),
        (410, "Expired", "too old", errors.Gone),
        (415, "UnsupportedMediaType", "no", errors.Rejected),
        (422, "Invalid", VAP, errors.Rejected),
        (429, "TooManyRequests", "slow down", errors.Overloaded),
        (500, "InternalError", "failed calling webhook", errors.Unreachable),
        (503, "ServiceUnavailable", "no endpoints", errors.Unreachable),
        (504, "Timeout", "request did not complete", errors.Unreachable),
    ],
)
def test_failures_are_told_apart(
    script: Any,
    status: Callable[..., Any],
    cluster: KubernetesCluster,
    code: int,
    reason: str,
    message: str,
    kind: type[errors.ClusterError],
) -> None:
    """By status, and by the Status' reason; the server's words and the request are in the sentence."""
    script.on(f"PATCH {CM}/x", status(code, reason, message))
    with pytest.raises(errors.ClusterError) as error:
        cluster.patch(ConfigMap, "ns", "x", {})
    assert type(error.value) is kind
    assert error.value.status == code
    assert error.value.where == f"PATCH {script.url}{CM}/x"
    if code != 401:
        assert message in error.value.problem


def test_401_names_the_context_and_the_way_out(script: Any, status: Any, cluster: KubernetesCluster) -> None:
    """And not the token."""
    script.on("GET /api/v1", status(401, "Unauthorized", "Unauthorized"))
    with pytest.raises(errors.Unauthorized) as error:
        cluster.list(Namespace)
    assert "'test'" in error.value.problem
    assert "--context" in error.value.next
    assert "secret-token" not in "".join(error.value.lines())


def test_a_page_of_a_proxy_is_shortened_to_its_title(script: Any, reply: Any, cluster: KubernetesCluster) -> None:
    """502 of a load balancer."""
    page = "<html><head><title>502 Bad Gateway</title></head>" + "x" * 5000
    script.on(f"PATCH {CM}/x", reply(page, 502, {"Content-Type": "text/html"}))
    with pytest.raises(errors.Unreachable) as error:
        cluster.patch(ConfigMap, "ns", "x", {})
    assert error.value.problem == "the API server failed: 502 Bad Gateway (502)"


def test_a_connection_that_is_dropped_is_unreachable(
    script: Any, reply: Any, cluster: KubernetesCluster, slept: list[float]
) -> None:
    """Reads are tried again, at most three times."""
    script.on("GET /api/v1/pods", reply(hang_up=True), reply({"items": []}))
    assert cluster.list(Pod) == ()
    script.on("GET /api/v1/pods", reply(hang_up=True))
    with pytest.raises(errors.Unreachable):
        cluster.list(Pod)
    assert len([seen for seen in script.seen if seen.path == "/api/v1/pods"]) == 5


def test_a_server_that_is_not_there(tmp_path: Path, slept: list[float]) -> None:
    """Refused: the sentence has the reason, the address and the context."""
    cluster = connect(config(tmp_path, "http://127.0.0.1:9"), None, sleep=slept.append)
    with pytest.raises(errors.Unreachable, match="Connection refused") as error:
        cluster.list(Pod)
    cluster.close()
    assert error.value.status == 0
    assert "http://127.0.0.1:9" in error.value.where
    assert "'test'" in error.value.next


def test_a_server_that_is_silent(script: Any, reply: Any, tmp_path: Path, slept: list[float]) -> None:
    """The client has no time limit of its own."""
    import threading

    release = threading.Event()
    script.on("GET /api/v1", reply(CORE, wait=release))
    cluster = connect(config(tmp_path, script.url), None, sleep=slept.append, read_timeout=0.1)
    try:
        with pytest.raises(errors.Unreachable, match="in time"):
            cluster.list(Pod)
    finally:
        release.set()
        cluster.close()


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
    cluster = connect(config(tmp_path, script.url), None, sleep=slept.append, impersonate="ben")
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


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "Wed, 21 Oct 2026 07:28:00 GMT", "x"])
def test_a_strange_retry_after_counts_as_a_second(
    script: Any, reply: Any, cluster: KubernetesCluster, slept: list[float], value: str
) -> None:
    """Nobody sleeps for ever on a header."""
    script.on("GET /api/v1/pods", reply("busy", 429, {"Retry-After": value}), reply({"items": []}))
    assert cluster.list(Pod) == ()
    assert slept == [1.0]


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
    cluster = connect(config(tmp_path, script.url), None, sleep=slept.append)
    assert cluster.list(Pod) == ()
    cluster.close()
