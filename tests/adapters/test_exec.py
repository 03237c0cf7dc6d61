"""Commands in containers: what comes back, within which limits, and the sentence for each way in which it fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rollout import errors
from rollout.adapters import websocket
from rollout.adapters.kubeconfig import access
from rollout.adapters.kubernetes import connect
from rollout.adapters.transport import Transport
from rollout.adapters.websocket import Ran, execute
from rollout.errors import Outcome, RolloutError
from rollout.lab.api import Store, User
from rollout.lab.api import exec as lab_exec
from rollout.lab.api.exec import Executed, not_found
from rollout.lab.clock import VirtualClock
from rollout.lab.server import LabServer
from rollout.model.kubernetes import Ref
from tests.loopback import needs_openssl, self_signed

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
POD = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
    "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": "i"}]},
}  # fmt: skip


class Server:
    """An API server with one pod, and a way to it."""

    def __init__(self, lab: LabServer, folder: Path) -> None:
        self.lab = lab
        self.config = folder / "config"
        self.config.write_text(lab.kubeconfig("ana"))
        self.asked: list[Sequence[str]] = []
        self.answer: Executed | Callable[[], Executed] = Executed()
        lab.api.exec = self._run

    def _run(self, namespace: str, pod: str, container: str, command: Sequence[str], stdin: Any) -> Executed:
        self.asked.append([namespace, pod, container, *command])
        return self.answer() if callable(self.answer) else self.answer

    def transport(self, impersonate: str = "") -> Transport:
        return Transport(access(str(self.config), None), impersonate=impersonate)

    def run(self, *command: str, container: str = "app", pod: str = "web", **limits: Any) -> Ran:
        return execute(self.transport(), "default", pod, container, command or ("x",), **limits)


def started(folder: Path, tokens: dict[str, User] | None = None) -> tuple[LabServer, Server]:
    clock = VirtualClock(NOW)
    store = Store(clock.now)
    store.create(POD)
    lab = LabServer(store, clock, tokens=tokens).start()
    return lab, Server(lab, folder)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    lab, found = started(tmp_path)
    yield found
    lab.stop()
    assert [] == lab.failures


def test_what_a_command_prints_and_how_it_ends(server: Server) -> None:
    """Words with blanks and signs arrive as they are: there is no shell."""
    server.answer = Executed(code=3, out=b"out" * 50_000, err=b"err")
    found = server.run("a b", "logging?paths=x:debug&y", "'\"$(z)")
    assert Ran(3, b"out" * 50_000, b"err") == found
    assert [["default", "web", "app", "a b", "logging?paths=x:debug&y", "'\"$(z)"]] == server.asked


def test_nothing_printed_is_nothing(server: Server) -> None:
    """And success is 0."""
    assert Ran(0, b"", b"") == server.run()


def test_more_than_the_limit_is_refused_while_it_is_read(server: Server) -> None:
    """A dump without end does not fill the memory."""
    server.answer = Executed(out=b"x" * (3 << 20))
    with pytest.raises(RolloutError, match="it answers more than 1 MiB") as caught:
        server.run(largest=1 << 20)
    assert Outcome.CANNOT_SEE is caught.value.outcome
    server.answer = Executed(err=b"y" * 500_000)
    assert 64 * 1024 == len(server.run().err)


def test_a_command_that_hangs_is_left(server: Server) -> None:
    """Within the limit, and a bit."""
    free = threading.Event()

    def hang() -> Executed:
        free.wait(20)
        return Executed()

    server.answer = hang
    begun = time.monotonic()
    with pytest.raises(RolloutError, match=r"the command did not end within 0\.3 s"):
        server.run(limit=0.3)
    assert time.monotonic() - begun < 5
    free.set()


def test_a_connection_that_breaks(server: Server) -> None:
    """Without a word of how the command ended, its output counts for nothing."""

    def cut() -> Executed:
        raise ConnectionResetError

    server.answer = cut
    with pytest.raises(RolloutError, match="the connection broke before the command ended") as caught:
        server.run()
    assert "/pods/web/exec" in caught.value.where


def test_a_server_that_closes_the_websocket(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """In good order, and too early."""
    monkeypatch.setattr(lab_exec, "_report", lambda socket, streams, done: socket.close(1011))
    with pytest.raises(RolloutError, match="the API server closed the connection before the command ended"):
        server.run()


@pytest.mark.parametrize("end", [b"\3no json", b'\3{"status": "Failure", "message": "the node is away"}'])
def test_an_end_that_says_little(server: Server, monkeypatch: pytest.MonkeyPatch, end: bytes) -> None:
    """Is a failure, never an exit status of 0."""
    monkeypatch.setattr(lab_exec, "_report", lambda socket, streams, done: socket.send(end))
    with pytest.raises(RolloutError, match=r"does not say how the command ended|did not start: the node is away"):
        server.run()


def test_an_image_without_the_program(server: Server) -> None:
    """A distroless proxy has no shell, an app no pilot-agent."""
    server.answer = not_found(("pilot-agent",))
    with pytest.raises(RolloutError, match="the image has no pilot-agent"):
        server.run("pilot-agent", "request")


def test_a_pod_and_a_container_that_are_not_there(server: Server) -> None:
    """In the server's words."""
    with pytest.raises(errors.NotFound, match='pods "gone" not found'):
        server.run(pod="gone")
    with pytest.raises(errors.Rejected, match="container istio-proxy is not valid for pod web"):
        server.run(container="istio-proxy")


def test_a_missing_right(tmp_path: Path) -> None:
    """Forbidden, with user and right; somebody unknown is Unauthorized."""
    lab, server = started(tmp_path, {"ana": User("ana")})
    with pytest.raises(errors.Forbidden, match='User "ana" cannot get resource "pods/exec"'):
        server.run()
    server.config.write_text(lab.kubeconfig("nobody"))
    with pytest.raises(errors.Unauthorized):
        server.run()
    lab.stop()


def test_impersonation_is_passed_on(tmp_path: Path) -> None:
    """`--as` counts for exec, too; the official client's own WebSocket forgets it."""
    lab, server = started(tmp_path, {"ana": User("ana", ("system:masters",))})
    assert Ran(0, b"", b"") == server.run()
    with pytest.raises(errors.Forbidden, match='User "bob" cannot get resource "pods/exec"'):
        execute(server.transport("bob"), "default", "web", "app", ("x",))
    lab.stop()


def test_a_server_that_is_away(server: Server) -> None:
    """Unreachable, which is worth another try."""
    transport = server.transport()
    server.lab.stop()
    with pytest.raises(errors.Unreachable, match="cannot be reached"):
        execute(transport, "default", "web", "app", ("x",))


def test_the_cluster_tries_again_when_nobody_answers(server: Server) -> None:
    """As for every read; what the command said is final."""
    slept: list[float] = []
    cluster = connect(str(server.config), None, sleep=slept.append)
    server.answer = Executed(out=b"certs")
    assert Ran(0, b"certs", b"") == cluster.execute(Ref("Pod", "default", "web"), "app", ("x",))
    server.lab.stop()
    with pytest.raises(errors.Unreachable):
        cluster.execute(Ref("Pod", "default", "web"), "app", ("x",))
    assert 2 == len(slept)
    cluster.close()


class Configuration:
    """What of the client's configuration decides how a WebSocket is opened."""

    def __init__(self, **values: Any) -> None:
        base = {
            "verify_ssl": True, "ssl_ca_cert": "ca.pem", "cert_file": None, "key_file": None, "assert_hostname": None,
            "tls_server_name": None, "proxy": None, "no_proxy": None, "host": "https://k8s.example:6443",
        }  # fmt: skip
        self.__dict__.update({**base, **values})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {"cert_reqs": 2, "ca_certs": "ca.pem"}),
        ({"verify_ssl": False}, {"cert_reqs": 0, "check_hostname": False}),
        ({"assert_hostname": False}, {"cert_reqs": 2, "ca_certs": "ca.pem", "check_hostname": False}),
        (
            {"cert_file": "c", "key_file": "k", "tls_server_name": "api"},
            {"cert_reqs": 2, "ca_certs": "ca.pem", "certfile": "c", "keyfile": "k", "server_hostname": "api"},
        ),
    ],
)
def test_tls_is_the_kubeconfigs(values: dict[str, Any], expected: dict[str, Any]) -> None:
    """Its CA, its client certificate, its server name; nothing is trusted that requests do not trust."""
    assert expected == websocket._tls(Configuration(**values))


@pytest.mark.parametrize(
    ("values", "host"),
    [
        ({}, None),
        ({"proxy": "http://u:p@proxy.example:3128", "no_proxy": "a,b"}, "proxy.example"),
        ({"proxy": "http://proxy.example:3128", "host": "http://127.0.0.1:1"}, None),
    ],
)
def test_the_proxy_is_the_clients(values: dict[str, Any], host: str | None) -> None:
    """The environment is not asked a second time, and localhost is never sent to one."""
    found = websocket._proxy(Configuration(**values))
    assert host == found.get("http_proxy_host")
    assert (["*"] if host is None else ["a", "b"]) == found["http_no_proxy"]


@needs_openssl
def test_over_tls_with_the_kubeconfigs_ca(tmp_path: Path) -> None:
    """A server certificate that is not trusted is a sentence."""
    context = self_signed(tmp_path)
    lab, server = started(tmp_path)
    lab._http.socket = context.wrap_socket(lab._http.socket, server_side=True)
    plain = server.config.read_text().replace("http://", "https://")
    server.config.write_text(plain)
    with pytest.raises(errors.Unreachable, match="certificate is not trusted"):
        server.run()
    trusting = plain.replace('"server":', f'"certificate-authority": "{tmp_path / "cert.pem"}", "server":')
    server.config.write_text(trusting)
    server.answer = Executed(out=b"over TLS")
    assert b"over TLS" == server.run().out
    lab.stop()
