"""`…/pods/NAME/exec` over a WebSocket, as kubelet's remote command protocol v4 and v5 has it.

Each message begins with its channel: 0 stdin, 1 stdout, 2 stderr, 3 how it ended (a Status), 4 the terminal's size; in
v5 a client ends a stream by 255 and its channel. Whoever runs the containers runs the command (`ExecSource`). SPDY,
which clients before 2024 speak, is refused: kubectl since 1.31 and the official client use WebSockets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rollout.lab.api.http import HttpAnswer, HttpRequest
from rollout.lab.api.logs import container_of
from rollout.lab.api.status import Json, bad_request
from rollout.lab.api.websocket import WebSocket, handshake, upgrades

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDIN, _STDOUT, _STDERR, _ERROR, _END = 0, 1, 2, 3, 255
_CHUNK = 32 * 1024  # as kubelet copies


@dataclass(frozen=True)
class Executed:
    """How a command ended; `failure`: it did not even start, and why."""

    code: int = 0
    out: bytes = b""
    err: bytes = b""
    failure: str = ""


class ExecSource(Protocol):
    """What runs commands in containers."""

    def __call__(
        self, namespace: str, pod: str, container: str, command: Sequence[str], stdin: Callable[[], bytes]
    ) -> Executed:
        """Run it to its end; `stdin` reads what the client sends until it ends the stream."""
        ...


def not_found(command: Sequence[str]) -> Executed:
    """What containerd and runc say of a program that the image lacks."""
    why = f'exec: "{command[0]}": executable file not found in $PATH: unknown'
    started = "failed to exec in container: failed to start exec"
    return Executed(
        failure=f"{started}: OCI runtime exec failed: exec failed: unable to start container process: {why}"
    )


def no_programs(
    namespace: str,  # noqa: ARG001
    pod: str,  # noqa: ARG001
    container: str,  # noqa: ARG001
    command: Sequence[str],
    stdin: Callable[[], bytes],  # noqa: ARG001
) -> Executed:
    """Every image is empty."""
    return not_found(command)


@dataclass(frozen=True)
class _Streams:
    stdin: bool
    stdout: bool
    stderr: bool


def answer(request: HttpRequest, pod: Json, source: ExecSource) -> HttpAnswer:
    """The upgrade, behind which the command runs.

    Raises:
        ApiError: 400, for what the real server refuses before it asks the node.
    """
    name = pod["metadata"]["name"]
    command = request.query.get("command") or []
    streams = _Streams(*(request.parameter(key).lower() in ("1", "true") for key in ("stdin", "stdout", "stderr")))
    container = container_of(pod, request.parameter("container"))
    if not pod["spec"].get("nodeName"):
        raise bad_request(f"pod {name} does not have a host assigned")
    if not upgrades(request):
        raise bad_request("Upgrade request required")
    if not command:
        raise bad_request("you must specify at least one command for the container")
    if not (streams.stdin or streams.stdout or streams.stderr):
        raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
    headers = handshake(request, PROTOCOLS)

    def session(socket: WebSocket) -> None:
        first = _STDOUT if streams.stdout else _STDERR if streams.stderr else _ERROR
        socket.send(bytes((first,)))  # tells the client that the stream is up
        stdin = (lambda: _input(socket)) if streams.stdin else bytes
        done = source(pod["metadata"]["namespace"], name, container, command, stdin)
        _report(socket, streams, done)

    return HttpAnswer(101, content_type="", headers=headers, upgrade=session)


def _input(socket: WebSocket) -> bytes:
    found = b""
    while (message := socket.receive()) is not None:
        if message[:1] == bytes((_STDIN,)):
            found += message[1:]
        elif message == bytes((_END, _STDIN)) and socket.protocol == PROTOCOLS[0]:
            break
    return found


def _report(socket: WebSocket, streams: _Streams, done: Executed) -> None:
    for channel, wanted, data in ((_STDOUT, streams.stdout, done.out), (_STDERR, streams.stderr, done.err)):
        for start in range(0, len(data) if wanted else 0, _CHUNK):
            socket.send(bytes((channel,)) + data[start : start + _CHUNK])
    socket.send(bytes((_ERROR,)) + json.dumps(_status(done)).encode())
    socket.close()


def _status(done: Executed) -> Json:
    if done.failure:
        text = f"Internal error occurred: error executing command in container: {done.failure}"
        cause = {"message": f"error executing command in container: {done.failure}"}
        return {
            "metadata": {}, "status": "Failure", "message": text, "reason": "InternalError",
            "details": {"causes": [cause]}, "code": 500,
        }  # fmt: skip
    if done.code:
        return {
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": f"command terminated with non-zero exit code: exit status {done.code}",
            "details": {"causes": [{"reason": "ExitCode", "message": str(done.code)}]},
        }  # fmt: skip
    return {"metadata": {}, "status": "Success"}
