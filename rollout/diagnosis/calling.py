"""A test call as curl makes it, and what the way in which it ends says of mutual TLS (observed.md a, e, i).

One argument list, no shell: the same in a pod of our own and in a caller's container.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec

from rollout.diagnosis.authorization import http
from rollout.diagnosis.question import Pair
from rollout.errors import UsageError
from rollout.model.kubernetes import Pod, Service, ServicePort

#: Seconds that curl waits: longer than a sidecar's own limit to connect (10 s), so that its answer comes first.
WAITS = 15
#: Bytes of an answer: what proxies say themselves is short.
LARGEST = 256 * 1024
#: Methods that ask for something and change nothing.
SAFE = ("GET", "HEAD", "OPTIONS")
_MARK = "rollout-probe:"
_HTTP2 = ("grpc", "http2", "h2c")
_OWN_TLS = ("https", "tls")
_SAID = re.compile(r"^curl: \(\d+\) (?P<said>.+)$", re.MULTILINE)
_SHOWN = 200


class Ending(StrEnum):
    """How a test call ended."""

    ANSWERED = "answered"
    SILENT = "bytes taken, no answer"
    DENIED = "403 RBAC: access denied"
    TERMINATED = "503 UC"
    FAILED = "503 URX,UF"
    UNHEALTHY = "503 UH"
    RESET = "connection reset"
    TLS = "TLS error"
    NOT_LISTENING = "connection refused"
    TIMEOUT = "timeout"
    NO_SUCH_HOST = "no such host"
    NO_CURL = "curl failed"


class Meaning(msgspec.Struct, frozen=True):
    """What an ending says, whether the mesh let the call through (None: that cannot be told from it), what to do."""

    text: str
    through: bool | None
    fix: str = ""


_SERVERS_LOG = "rollout diagnose --from … --to … --logs 60s: the server's log names the reason"

MEANINGS: Mapping[Ending, Meaning] = MappingProxyType(
    {
        Ending.ANSWERED: Meaning("the application answered", through=True),
        Ending.SILENT: Meaning(
            f"connected and the bytes were taken; refused ones are reset at once, and nobody did in {WAITS} s",
            through=True,
        ),
        Ending.DENIED: Meaning(
            "an AuthorizationPolicy of the server denied it; TLS is not the cause",
            through=False,
            fix="see layer 5, with --method and --path",
        ),
        Ending.TERMINATED: Meaning(
            "the server closed the connection before it answered: the client's sidecar sent plaintext to STRICT, or "
            "the server refused the client's certificate",
            through=False,
            fix=_SERVERS_LOG,
        ),
        Ending.FAILED: Meaning(
            "the client's sidecar could not connect: a handshake failed, the server speaks no TLS, or nobody listens",
            through=False,
            fix="rollout diagnose --from … --to … --logs 60s: the client's log names the reason",
        ),
        Ending.UNHEALTHY: Meaning(
            "the Service has no Ready pod: nothing was tried",
            through=None,
            fix="see why its pods are not Ready: kubectl describe pod",
        ),
        Ending.RESET: Meaning(
            "the connection was taken and closed at the first bytes: so STRICT refuses plaintext",
            through=False,
            fix=_SERVERS_LOG,
        ),
        Ending.TLS: Meaning(
            "the handshake of the application's own TLS failed: STRICT refuses a client without a certificate of the "
            "mesh, or the application does not speak TLS",
            through=False,
            fix=_SERVERS_LOG,
        ),
        Ending.NOT_LISTENING: Meaning(
            "nobody listens at that address and port: nothing of mutual TLS was tried",
            through=None,
            fix="see the pod's ports and the Service's endpoints",
        ),
        Ending.TIMEOUT: Meaning(
            f"no answer in {WAITS} s: a NetworkPolicy drops it, the application is slow, or the client waits for the "
            "server's first bytes",
            through=None,
            fix="kubectl get networkpolicies -A; then --logs 60s",
        ),
        Ending.NO_SUCH_HOST: Meaning("the name was not found by the pod's DNS: nothing was tried", through=None),
        Ending.NO_CURL: Meaning("curl could not make the call", through=None),
    }
)


#: Endings of calls that the server's proxy took, and so counted.
TAKEN = (Ending.ANSWERED, Ending.DENIED)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What curl is to ask.

    Args:
        url: with scheme, host, port and path.
        method: one of `SAFE`.
        http: the mesh takes the port for HTTP; False: for bytes; None: it looks.
        http2: of a client that knows beforehand (gRPC servers speak nothing else).
    """

    url: str
    method: str = "GET"
    http: bool | None = True
    http2: bool = False

    def argv(self) -> tuple[str, ...]:
        """The command."""
        options = [
            "curl", "--silent", "--show-error", "--globoff", "--noproxy", "*", "--max-time", str(WAITS),
            "--max-filesize", str(LARGEST), "--user-agent", "rollout-probe",
        ]  # fmt: skip
        options += ["--insecure"] if self.url.startswith("https:") else []
        options += ["--http2-prior-knowledge"] if self.http2 else []
        options += ["--http0.9"] if self.http is not True else []
        options += ["--head"] if self.method == "HEAD" else ["--request", self.method]
        told = "%{http_code} %{time_connect} %{time_appconnect} %{size_download}"
        return (*options, "--write-out", f"\n{_MARK}{told}\n", "--url", self.url)


class Ended(msgspec.Struct, frozen=True):
    """How one call ended: the HTTP status (0: none), and what curl or the proxy said."""

    ending: Ending
    code: int = 0
    said: str = ""

    def __str__(self) -> str:
        """`HTTP 200`, `503 UC`, `connection reset (Recv failure: …)`."""
        if self.ending is Ending.ANSWERED:
            return f"HTTP {self.code}" if self.code else "bytes came back"
        return f"{self.ending} ({self.said})" if self.said else str(self.ending)


def call(pair: Pair, service: Service | None, server: Pod | None, port: ServicePort) -> Call:
    """The call that a pair is about.

    Args:
        pair: with the method and the path.
        service: None for a call to a pod's own address.
        server: the pod, where there is no Service.
        port: the Service's, or one of the pod's.

    Raises:
        UsageError: the method may change something; the pod has no address; the port is not TCP's.
    """
    method = (pair.method or "GET").upper()
    if method not in SAFE:
        raise UsageError(
            f"a test call with {method} might change something in the application",
            limit=", ".join(SAFE),
            where="--method",
            next="without --probe layer 5 tells what policies say to it",
        )
    if port.protocol not in ("", "TCP"):
        raise UsageError(f"port {port.port} is {port.protocol}; a sidecar takes part in TCP alone", where="--to")
    word = (port.app_protocol or port.name).rpartition("/")[2].lower()
    scheme = "https" if any(word == each or word.startswith(f"{each}-") for each in _OWN_TLS) else "http"
    path = pair.path or "/"
    return Call(
        url=f"{scheme}://{_host(service, server)}:{port.port}{path if path.startswith('/') else f'/{path}'}",
        method=method,
        http=http(port),
        http2=any(word == each or word.startswith(f"{each}-") for each in _HTTP2),
    )


def _host(service: Service | None, server: Pod | None) -> str:
    if service is not None:
        return f"{service.name}.{service.namespace}.svc"
    address = server.status.pod_ip if server is not None else ""
    if not address:
        raise UsageError("the pod has no address yet", where="--to", next="kubectl get pod -o wide")
    return f"[{address}]" if ipaddress.ip_address(address).version == 6 else address


def ended(asked: Call, code: int, out: bytes, err: bytes) -> Ended:
    """What came of a call.

    Args:
        asked: the call.
        code: curl's exit status.
        out: the answer's beginning, and behind the mark what curl measured.
        err: curl's words.
    """
    body, mark, told = out.decode(errors="replace").rpartition(_MARK)
    found = _SAID.search(err.decode(errors="replace"))
    said = found["said"].strip()[:_SHOWN] if found else ""
    words = told.split() if mark else []
    status = int(words[0]) if words and words[0].isdigit() else 0
    if status:
        return _of_answer(status, body)
    measured = [_number(word) for word in (*words[1:], "0", "0", "0")]
    return _of_curl(asked, code, said, measured[0], bool(measured[2]))


def _of_answer(status: int, body: str) -> Ended:
    """Some answers are the proxies' own: their texts tell."""
    text = body.strip()[:_SHOWN]
    if status == 403 and text == "RBAC: access denied":
        return Ended(Ending.DENIED, status)
    if status == 503 and text.startswith("no healthy upstream"):
        return Ended(Ending.UNHEALTHY, status)
    if status == 503 and text.startswith("upstream connect error or disconnect/reset before headers"):
        reason = text.rpartition("reset reason: ")[2]
        return Ended(
            Ending.TERMINATED if reason.startswith("connection termination") else Ending.FAILED, status, reason
        )
    return Ended(Ending.ANSWERED, status)


_BY_EXIT: Mapping[int, Ending] = MappingProxyType(
    {
        6: Ending.NO_SUCH_HOST,
        7: Ending.NOT_LISTENING,
        16: Ending.TLS,
        35: Ending.TLS,
        52: Ending.RESET,
        55: Ending.RESET,
        56: Ending.RESET,
    }
)


def _of_curl(asked: Call, code: int, said: str, connected: float, received: bool) -> Ended:
    if received and asked.http is not True and code in (0, 28, 52, 56, 63):
        return Ended(Ending.ANSWERED)
    if code == 28:
        return Ended(Ending.SILENT if connected and asked.http is False else Ending.TIMEOUT, said=said)
    return Ended(_BY_EXIT.get(code, Ending.NO_CURL), said=said or f"exit status {code}")


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return 0.0
