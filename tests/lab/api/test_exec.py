"""Commands in containers: the WebSocket as the official client and kubectl open it, and what is refused before it."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rollout.lab.api.exec import Executed, not_found
from rollout.lab.api.rbac import ADMIN, User

KUBECTL = shutil.which("kubectl", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
EXEC = "/api/v1/namespaces/default/pods/web/exec"
V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec_WebSocket_Protocol": V4,
}


def run(namespace: str, pod: str, container: str, command: Sequence[str], stdin: Callable[[], bytes]) -> Executed:
    """A container with a few programs."""
    match command[0]:
        case "cat":
            return Executed(out=stdin())
        case "where":
            return Executed(out=f"{namespace}/{pod}/{container}".encode())
        case "fail":
            return Executed(code=3, out=b"half", err=b"it broke")
        case "large":
            return Executed(out=b"x" * 200_000)
        case _:
            return not_found(command)


def pod(name: str = "web", node: str = "node-1", *containers: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": node, "containers": [{"name": each, "image": "i"} for each in containers or ("app",)]},
    }


def made(make_lab: Any, **options: Any) -> Any:
    """A server with a pod whose container has programs."""
    lab = make_lab(**options)
    lab.server.api.exec = run
    for body in (pod(), pod("two", "node-1", "app", "istio-proxy"), pod("waiting", "")):
        spec = {k: v for k, v in body["spec"].items() if v}
        lab.store.create({"apiVersion": "v1", "kind": "Pod", **body, "spec": spec})
    return lab


@pytest.fixture
def lab(make_lab: Any) -> Any:
    return made(make_lab)


class Wire:
    """A WebSocket as bytes, to see what the server really sends."""

    def __init__(self, port: int, query: str, protocols: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        key = base64.b64encode(bytes(16)).decode()
        self.socket.sendall(
            f"GET {EXEC}?{query} HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Protocol: {protocols}\r\n\r\n".encode()
        )
        self.file = self.socket.makefile("rb")
        self.status = self.file.readline().decode().split()[1]
        self.headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode().partition(": ")
            self.headers[name] = value

    def send(self, payload: bytes, opcode: int = 2, *, final: bool = True) -> None:
        mask = b"\1\2\3\4"
        head = bytes((0x80 * final | opcode, 0x80 | len(payload)))
        self.socket.sendall(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def receive(self) -> tuple[int, bytes]:
        first, size = self.file.read(2)
        if size == 126:
            size = int.from_bytes(self.file.read(2))
        return first & 0x0F, self.file.read(size)

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def test_the_python_client_runs_a_command(lab: Any) -> None:
    """As `kubernetes.stream` does it, with its own choice of protocol."""
    from kubernetes import client, config
    from kubernetes.stream import stream

    library: Any = config
    configuration = client.Configuration()
    library.load_kube_config(str(lab.kubeconfig), client_configuration=configuration)
    core: Any = client.CoreV1Api(client.ApiClient(configuration))
    wanted = {"stdout": True, "stderr": True, "stdin": False, "tty": False, "_preload_content": False}
    call = core.connect_get_namespaced_pod_exec
    for command, told in (("where", ("default/web/app", "", 0)), ("fail", ("half", "it broke", 3))):
        talk = stream(call, "web", "default", command=[command], **wanted)
        talk.run_forever(timeout=10)
        assert told == (talk.read_stdout(), talk.read_stderr(), talk.returncode)
        talk.close()
        talk.sock.shutdown()
    core.api_client.rest_client.pool_manager.clear()


def kubectl(lab: Any, *argv: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    assert KUBECTL is not None
    return subprocess.run(
        [KUBECTL, "--kubeconfig", str(lab.kubeconfig), *argv], input=stdin, capture_output=True, text=True, timeout=60
    )


@pytest.mark.skipif(KUBECTL is None, reason="needs kubectl")
def test_kubectl_runs_commands(lab: Any) -> None:
    """Its output, its exit code, stdin that ends, a program that is not there, a container that is not there."""
    assert "default/web/app" == kubectl(lab, "exec", "web", "--", "where").stdout
    failed = kubectl(lab, "exec", "web", "--", "fail")
    assert (3, "half") == (failed.returncode, failed.stdout)
    assert failed.stderr.startswith("it broke")
    assert "typed" == kubectl(lab, "exec", "-i", "web", "--", "cat", stdin="typed").stdout
    assert 200_000 == len(kubectl(lab, "exec", "web", "--", "large").stdout)
    absent = kubectl(lab, "exec", "web", "--", "sh")
    assert 1 == absent.returncode
    assert 'exec: "sh": executable file not found in $PATH' in absent.stderr
    assert "container nope is not valid for pod web" in kubectl(lab, "exec", "web", "-c", "nope", "--", "where").stderr
    assert "default/two/istio-proxy" == kubectl(lab, "exec", "two", "-c", "istio-proxy", "--", "where").stdout


@pytest.mark.parametrize(
    ("offered", "chosen"), [(V4, V4), (V5, V5), (f"{V5}, {V4}", V5), (f"base64.channel.k8s.io, {V4}", V4)]
)
def test_the_subprotocol_is_the_first_that_both_speak(lab: Any, offered: str, chosen: str) -> None:
    """And the accept key is RFC 6455's."""
    wire = Wire(lab.server.port, "command=where&stdout=true", offered)
    assert ("101", chosen) == (wire.status, wire.headers["Sec-WebSocket-Protocol"])
    assert "ICX+Yqv66kxgM0FcWaLWlFLwTAI=" == wire.headers["Sec-WebSocket-Accept"]
    messages = [wire.receive() for _ in range(3)]
    assert [(2, b"\1"), (2, b"\1default/web/app"), (2, b'\3{"metadata": {}, "status": "Success"}')] == messages
    assert (8, b"\x03\xe8") == wire.receive()
    wire.send(b"\x03\xe8", opcode=8)
    assert b"" == wire.file.read(1)
    wire.close()


def test_stdin_ends_in_version_5_and_pings_are_answered_meanwhile(lab: Any) -> None:
    """A message may come in fragments; channels that are no input say nothing."""
    wire = Wire(lab.server.port, "command=cat&stdin=true&stdout=true", V5)
    assert (2, b"\1") == wire.receive()
    wire.send(b"are you there", opcode=9)
    assert (10, b"are you there") == wire.receive()
    wire.send(b"\0ab", final=False)
    wire.send(b"cd", opcode=0)
    wire.send(b"\4{}")
    wire.send(b"\xff\0")
    assert (2, b"\1abcd") == wire.receive()
    wire.close()


def test_stdin_of_version_4_ends_with_the_connection(lab: Any) -> None:
    """255 says nothing there."""
    wire = Wire(lab.server.port, "command=cat&stdin=true&stdout=true", V4)
    wire.receive()
    wire.send(b"\0ab")
    wire.send(b"\xff\0")
    wire.send(b"\x03\xe8", opcode=8)
    assert (2, b"\1ab") == wire.receive()
    wire.close()


def test_only_streams_that_were_asked_for_are_sent(lab: Any) -> None:
    """stdout was not."""
    wire = Wire(lab.server.port, "command=fail&stderr=true", V4)
    assert [(2, b"\2"), (2, b"\2it broke")] == [wire.receive(), wire.receive()]
    assert b'"reason": "ExitCode", "message": "3"' in wire.receive()[1]
    wire.close()


@pytest.mark.parametrize(
    ("path", "headers", "status", "text"),
    [
        (f"{EXEC}?command=x&stdout=true", {}, 400, "Upgrade request required"),
        (
            f"{EXEC}?command=x&stdout=true",
            {**UPGRADE, "Sec_WebSocket_Protocol": "soap"},
            400,
            "unsupported subprotocols",
        ),
        (f"{EXEC}?command=x&stdout=true", {**UPGRADE, "Sec_WebSocket_Version": "8"}, 400, "bad handshake"),
        (f"{EXEC}?stdout=true", UPGRADE, 400, "at least one command"),
        (f"{EXEC}?command=x", UPGRADE, 400, "at least 1 of stdin, stdout, stderr"),
        (f"{EXEC}?command=x&container=y&stdout=true", UPGRADE, 400, "container y is not valid for pod web"),
        (EXEC.replace("web", "two") + "?command=x&stdout=true", UPGRADE, 400, "a container name must be specified"),
        (EXEC.replace("web", "waiting") + "?command=x&stdout=true", UPGRADE, 400, "does not have a host assigned"),
        (EXEC.replace("web", "gone") + "?command=x&stdout=true", UPGRADE, 404, 'pods "gone" not found'),
    ],
)
def test_what_is_refused_before_the_upgrade(
    lab: Any, path: str, headers: dict[str, str], status: int, text: str
) -> None:
    """Each with the server's words."""
    code, answer = lab("GET", path, **headers)
    assert status == code
    assert text in str(answer)


@pytest.mark.parametrize("verbs", [["get"], ["create"], ["get", "create"]])
def test_a_websocket_needs_both_verbs(make_lab: Any, verbs: list[str]) -> None:
    """Since Kubernetes 1.35: `get` alone, a right to read, runs nothing."""
    lab = made(make_lab, tokens={"ana": User("ana"), "admin": ADMIN})
    rule = {"apiGroups": [""], "resources": ["pods/exec"], "verbs": verbs}
    rbac = "rbac.authorization.k8s.io"
    lab.store.create(
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": "runner"}, "rules": [rule]}
    )
    lab.store.create(
        {
            "apiVersion": f"{rbac}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "runner"},
            "subjects": [{"kind": "User", "apiGroup": rbac, "name": "ana"}],
            "roleRef": {"kind": "ClusterRole", "apiGroup": rbac, "name": "runner"},
        }
    )  # fmt: skip
    code, answer = lab("GET", f"{EXEC}?command=where&stdout=true", Authorization="Bearer ana")
    if len(verbs) == 2:
        assert (400, "Upgrade request required") == (code, answer["message"])
    else:
        missing = {"get": "create", "create": "get"}[verbs[0]]
        assert 403 == code
        assert f'User "ana" cannot {missing} resource "pods/exec"' in answer["message"]
