"""Logs of containers: one bounded request, and sentences for what goes wrong."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout import errors
from rollout.adapters.kubernetes import KubernetesCluster, connect
from rollout.lab.lab import Lab
from rollout.model.kubernetes import Pod
from rollout.ports import LogPart, Logs, Right
from rollout.world.log_reading import POD_LOGS
from tests.adapters.connecting import kubeconfig

LOG = "/api/v1/namespaces/production/pods/orders-1/log"


@pytest.fixture
def cluster(connected: KubernetesCluster) -> KubernetesCluster:
    """The adapter itself."""
    return connected


def read(cluster: Logs, *, lines: int | None = 2, limit: int = 100) -> LogPart:
    """Of a pod's sidecar, the last hour."""
    return cluster.logs("production", "orders-1", "istio-proxy", since=3600.4, lines=lines, limit=limit)


def test_the_server_is_asked_for_a_part(script: Any, reply: Any, cluster: KubernetesCluster) -> None:
    """Whole seconds, lines, bytes; without a number of lines the part begins at its oldest line."""
    script.on(f"GET {LOG}", reply("a\nb\n"))
    expected = {"container": "istio-proxy", "sinceSeconds": "3600", "limitBytes": "100", "tailLines": "2"}
    assert LogPart(("a", "b"), 4, older=True) == read(cluster)
    assert expected == script.seen[-1].query
    assert LogPart(("a", "b"), 4) == read(cluster, lines=None)
    assert {key: value for key, value in expected.items() if key != "tailLines"} == script.seen[-1].query
    assert LogPart(("a", "b"), 4) == read(cluster, lines=3)


def test_bytes_that_end_within_a_line(script: Any, reply: Any, cluster: KubernetesCluster) -> None:
    """The torn line is left out; a server that sends more than was asked for is not believed."""
    script.on(f"GET {LOG}", reply("first\nsecond\nthird\n"))
    assert LogPart(("first", "second"), 15, cut=True) == read(cluster, lines=9, limit=15)


def test_bytes_that_are_no_text(script: Any, reply: Any, cluster: KubernetesCluster) -> None:
    """A container may write anything."""
    script.on(f"GET {LOG}", reply(b"\xff\xfe\x00\nb\n"))
    assert "b" == read(cluster).lines[-1]
    script.on(f"GET {LOG}", reply(b""))
    assert LogPart((), 0) == read(cluster)


@pytest.mark.parametrize(
    ("code", "reason", "message", "kind"),
    [
        (403, "Forbidden", 'pods "orders-1" is forbidden: User "ana" cannot get resource "pods/log"', errors.Forbidden),
        (404, "NotFound", 'pods "orders-1" not found', errors.NotFound),
        (400, "BadRequest", "container istio-proxy is not valid for pod orders-1", errors.Rejected),
        (500, "InternalError", 'Get "https://10.0.0.1:10250/containerLogs": connection refused', errors.Unreachable),
    ],
)
def test_a_refusal_is_a_sentence(
    code: int,
    reason: str,
    message: str,
    kind: type[errors.ClusterError],
    script: Any,
    status: Callable[..., Any],
    cluster: KubernetesCluster,
) -> None:
    """With the server's words."""
    script.on(f"GET {LOG}", status(code, reason, message))
    with pytest.raises(kind) as caught:
        read(cluster)
    assert message in caught.value.problem


def test_a_connection_that_breaks_off(tmp_path: Path) -> None:
    """In the middle of the answer: tried again, then a sentence, and never half a log as a whole one."""
    listening = socket.create_server(("127.0.0.1", 0))
    stopping = threading.Event()

    def serve() -> None:
        while not stopping.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\nhalf a li"
                )

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    config = kubeconfig(tmp_path, f"http://127.0.0.1:{listening.getsockname()[1]}")
    cluster = connect(config, None, sleep=lambda _: None, read_timeout=5)
    with pytest.raises(errors.Unreachable, match="cannot be reached") as caught:
        read(cluster)
    assert f"GET {LOG}" in caught.value.where.replace(f"http://127.0.0.1:{listening.getsockname()[1]}", "")
    cluster.close()
    stopping.set()
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(5)


def test_the_labs_sidecars(tmp_path: Path) -> None:
    """Through the same sockets as any cluster's."""
    with Lab.start("nameless-caller") as lab:
        config = tmp_path / "config"
        config.write_text(lab.kubeconfig)
        cluster = connect(str(config), None, sleep=lambda _: None)
        pod = next(pod for pod in cluster.list(Pod, namespace="production") if pod.name.startswith("orders"))
        part = cluster.logs("production", pod.name, "istio-proxy", since=3600, lines=5, limit=10_000)
        assert (5, True, False) == (len(part.lines), part.older, part.cut)
        assert {True} == {f" {pod.status.pod_ip}:8080 " in line for line in part.lines}
        assert cluster.allowed(Right("get", POD_LOGS, "production"))
        with pytest.raises(errors.Rejected, match="container nope is not valid for pod"):
            cluster.logs("production", pod.name, "nope", since=60, lines=1, limit=100)
        cluster.close()
