"""The Kubernetes adapter against a scripted server: failures as they come back, and what is asked again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout import errors
from rollout.adapters.kubernetes import KubernetesCluster, connect
from rollout.model.kubernetes import ConfigMap, Namespace, Pod
from tests.adapters.connecting import CORE, kubeconfig

PATCH = "PATCH /api/v1/namespaces/ns/configmaps/x"


@pytest.fixture
def cluster(connected: KubernetesCluster) -> KubernetesCluster:
    """The adapter itself."""
    return connected


def test_a_real_write_is_sent_once_a_dry_run_again(
    script: Any, reply: Any, status: Callable[..., Any], cluster: KubernetesCluster, slept: list[float]
) -> None:
    """A write that may have arrived is not repeated blindly."""
    script.on(PATCH, status(500, "InternalError", "boom"), reply({"metadata": {"name": "x"}}))
    with pytest.raises(errors.Unreachable, match="boom"):
        cluster.patch(ConfigMap, "ns", "x", {})
    assert slept == []
    script.on(PATCH, status(500, "InternalError", "boom"), reply({"metadata": {"name": "x"}}))
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
    script.on(PATCH, status(code, reason, message))
    with pytest.raises(errors.ClusterError) as error:
        cluster.patch(ConfigMap, "ns", "x", {})
    assert type(error.value) is kind
    assert error.value.status == code
    assert error.value.where == PATCH.replace("/", f"{script.url}/", 1)
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
    script.on(PATCH, reply(page, 502, {"Content-Type": "text/html"}))
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
    cluster = connect(kubeconfig(tmp_path, "http://127.0.0.1:9"), None, sleep=slept.append)
    with pytest.raises(errors.Unreachable, match="Connection refused") as error:
        cluster.list(Pod)
    cluster.close()
    assert error.value.status == 0
    assert "http://127.0.0.1:9" in error.value.where
    assert "'test'" in error.value.next


def test_a_server_that_is_silent(script: Any, reply: Any, tmp_path: Path, slept: list[float]) -> None:
    """The client has no time limit of its own."""
    release = threading.Event()
    script.on("GET /api/v1", reply(CORE, wait=release))
    cluster = connect(kubeconfig(tmp_path, script.url), None, sleep=slept.append, read_timeout=0.1)
    try:
        with pytest.raises(errors.Unreachable, match="in time"):
            cluster.list(Pod)
    finally:
        release.set()
        cluster.close()


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "Wed, 21 Oct 2026 07:28:00 GMT", "x"])
def test_a_strange_retry_after_counts_as_a_second(
    script: Any, reply: Any, cluster: KubernetesCluster, slept: list[float], value: str
) -> None:
    """Nobody sleeps for ever on a header."""
    script.on("GET /api/v1/pods", reply("busy", 429, {"Retry-After": value}), reply({"items": []}))
    assert cluster.list(Pod) == ()
    assert slept == [1.0]


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
