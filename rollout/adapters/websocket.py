"""Commands in containers, over the WebSocket of `pods/exec` (channels as in Kubernetes' remote command protocol).

The official client's own WebSocket code passes no impersonation, reads without limits and waits for ever, so only its
configuration and its WebSocket library are used.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import msgspec

from rollout.adapters.failures import Ask, failure, innermost, silence
from rollout.adapters.transport import CONNECT, Transport, loopback
from rollout.errors import Outcome, RolloutError, Unreachable

#: Seconds that a command may take (a proxy answers within milliseconds), and bytes that it may answer.
LIMIT, LARGEST = 10.0, 64 << 20
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDOUT, _STDERR, _ERROR = 1, 2, 3
_ERRORS_KEPT = 64 * 1024


class Ran(msgspec.Struct, frozen=True):
    """A command that ran: its exit status and what it printed."""

    code: int
    out: bytes
    err: bytes


class _Cause(msgspec.Struct, frozen=True):
    reason: str = ""
    message: str = ""


class _Details(msgspec.Struct, frozen=True):
    causes: tuple[_Cause, ...] = ()


class _Ended(msgspec.Struct, frozen=True):
    status: str = ""
    reason: str = ""
    message: str = ""
    details: _Details | None = None


def execute(
    transport: Transport,
    namespace: str,
    pod: str,
    container: str,
    command: Sequence[str],
    *,
    limit: float = LIMIT,
    largest: int = LARGEST,
) -> Ran:
    """Run a command without a shell, without stdin, for at most so long and so many bytes.

    Args:
        transport: to which API server, as whom.
        namespace: of the pod.
        pod: its name.
        container: in it.
        command: the program and its arguments.
        limit: seconds in all.
        largest: bytes of output.

    Raises:
        ClusterError: as for any request; Forbidden without the verbs get and create on pods/exec.
        Unreachable: the connection broke, or the command took too long.
        RolloutError: the image lacks the program, or it answers too much.
    """
    path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(pod, safe='')}/exec"
    query = [("container", container), ("stdout", "true"), ("stderr", "true"), *(("command", word) for word in command)]
    ask = Ask("GET", path, transport.server, transport.context)
    deadline = time.monotonic() + limit
    socket = _connect(transport, ask, query, min(CONNECT, limit))
    try:
        return _read(socket, ask, command, deadline, limit, largest)
    finally:
        socket.shutdown()


def _connect(transport: Transport, ask: Ask, query: Sequence[tuple[str, str]], timeout: float) -> Any:
    import websocket

    configuration = transport.configuration
    base = urlsplit(configuration.host)
    scheme = "wss" if base.scheme == "https" else "ws"
    url = urlunsplit((scheme, base.netloc.rpartition("@")[2], base.path.rstrip("/") + ask.path, urlencode(query), ""))
    headers = [f"{name}: {value}" for name, value in transport.headers().items()]
    socket: Any = websocket.WebSocket(sslopt=_tls(configuration), skip_utf8_validation=True)
    try:
        socket.connect(
            url,
            header=headers,
            subprotocols=list(PROTOCOLS),
            suppress_origin=True,
            timeout=timeout,
            redirect_limit=0,
            **_proxy(configuration),
        )
    except websocket.WebSocketBadStatusException as error:
        socket.shutdown()
        raise failure(ask, error.status_code, error.resp_headers or {}, error.resp_body) from error
    except (websocket.WebSocketException, OSError, ssl.SSLError, ValueError) as error:
        socket.shutdown()
        raise silence(ask, error, timeout=_late(error)) from error
    return socket


def _tls(configuration: Any) -> dict[str, Any]:
    """What the client's pool would use."""
    found: dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED if configuration.verify_ssl else ssl.CERT_NONE}
    if configuration.verify_ssl:
        import certifi

        found["ca_certs"] = configuration.ssl_ca_cert or certifi.where()
    else:
        found["check_hostname"] = False
    if configuration.assert_hostname is False:
        found["check_hostname"] = False
    options = {
        "certfile": configuration.cert_file,
        "keyfile": configuration.key_file,
        "server_hostname": getattr(configuration, "tls_server_name", None),
    }
    return found | {name: value for name, value in options.items() if value}


def _proxy(configuration: Any) -> dict[str, Any]:
    """The client's proxy, not the environment's, which its configuration took in already."""
    if not configuration.proxy or loopback(configuration.host):
        return {"http_no_proxy": ["*"]}
    proxy = urlsplit(configuration.proxy)
    return {
        "http_proxy_host": proxy.hostname,
        "http_proxy_port": proxy.port,
        "http_proxy_auth": (proxy.username, proxy.password) if proxy.username else None,
        "http_no_proxy": [word for word in (configuration.no_proxy or "").split(",") if word],
        "proxy_type": "http",
    }


def _late(error: Exception) -> bool:
    import websocket

    return isinstance(error, (TimeoutError, websocket.WebSocketTimeoutException))


def _read(socket: Any, ask: Ask, command: Sequence[str], deadline: float, limit: float, largest: int) -> Ran:
    out, err, left = [], bytearray(), largest
    while True:
        message = _message(socket, ask, deadline, limit)
        channel, data = message[0], message[1:]
        if channel == _STDOUT:
            left -= len(data)
            if left < 0:
                raise _broken(f"it answers more than {largest >> 20} MiB", ask)
            out.append(data)
        elif channel == _STDERR:
            err += data[: _ERRORS_KEPT - len(err)]
        elif channel == _ERROR and data:
            return Ran(_code(data, ask, command), b"".join(out), bytes(err))


def _message(socket: Any, ask: Ask, deadline: float, limit: float) -> bytes:
    import websocket

    left = deadline - time.monotonic()
    if left <= 0:
        raise _away(f"the command did not end within {limit:g} s", ask)
    socket.settimeout(left)
    try:
        opcode, data = socket.recv_data(control_frame=False)
    except websocket.WebSocketTimeoutException as error:
        raise _away(f"the command did not end within {limit:g} s", ask) from error
    except (websocket.WebSocketException, OSError) as error:
        raise _away(f"the connection broke before the command ended: {innermost(error)}", ask) from error
    if opcode == websocket.ABNF.OPCODE_CLOSE or not data:
        raise _away("the API server closed the connection before the command ended", ask)
    return bytes(data) if isinstance(data, bytes) else data.encode()


def _code(data: bytes, ask: Ask, command: Sequence[str]) -> int:
    """The exit status of a command that ran."""
    try:
        ended = msgspec.json.decode(data, type=_Ended)
    except msgspec.MsgspecError as error:
        raise _broken("the node does not say how the command ended", ask) from error
    if ended.status == "Success":
        return 0
    causes = ended.details.causes if ended.details else ()
    code = next((cause.message for cause in causes if cause.reason == "ExitCode"), "")
    if code.isdigit():
        return int(code)
    if "executable file not found" in ended.message or "no such file or directory" in ended.message:
        raise _broken(f"the image has no {command[0]}", ask)
    raise _broken(f"the command did not start: {' '.join(ended.message.split())[:300]}", ask)


def _away(problem: str, ask: Ask) -> Unreachable:
    return Unreachable(
        problem, where=ask.where, next=f"try again; kubectl exec in context {ask.context!r} does the same"
    )


def _broken(problem: str, ask: Ask) -> RolloutError:
    return RolloutError(problem, where=ask.where, outcome=Outcome.CANNOT_SEE)
