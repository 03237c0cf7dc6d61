"""The lines that Envoy writes at debug when a handshake fails or a policy decides (istio.md 13, observed.md i).

Loggers: `connection` for TLS errors of either side, `conn_handler` for connections that no chain takes, `rbac` for the
decision of AuthorizationPolicies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from rollout.lab.mesh.identity import Refuser
from rollout.lab.mesh.listener import Answer
from rollout.lab.mesh.outcome import Side
from rollout.lab.mesh.traffic import Dial

_TRIES = 3  # a source tries again twice
_NO_CERTIFICATE = (
    "268435648:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE:"
    "peer did not provide required client certificate"
)
_WRONG_VERSION = "268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER"
_SOURCES = {
    "connection": "external/envoy/source/common/tls/ssl_socket.cc:246",
    "conn_handler": "external/envoy/source/common/listener_manager/active_stream_listener_base.cc:61",
    "rbac": "external/envoy/source/extensions/filters/http/rbac/rbac_filter.cc:192",
}


@dataclass(frozen=True, slots=True)
class Ends:
    """The addresses of a connection as the writing proxy names them, and the caller's identity."""

    local: str
    remote: str
    server_name: str = ""
    identity: str = ""
    method: str = "GET"
    path: str = "/"
    authority: str = ""


def tls_error(reason: str) -> str:
    """A TLS failure as recent Envoys write it."""
    return f"TLS_error:|{reason}:TLS_error_end"


def failure(dial: Dial, side: Side) -> str:
    """The TLS failure that this side knows of, '' for none."""
    refusal = dial.refusal
    if refusal is not None:
        by_client = refusal.by is Refuser.CLIENT
        if side is Side.SOURCE:
            return tls_error(refusal.why) if by_client else ""
        return tls_error(refusal.alert if by_client else refusal.why)
    if dial.answer is Answer.NO_CERTIFICATE and side is Side.DESTINATION:
        return tls_error(_NO_CERTIFICATE)
    if dial.answer is None and dial.hello.tls and side is Side.SOURCE:
        return tls_error(_WRONG_VERSION)
    return ""


def debug_lines(dial: Dial, side: Side, ends: Ends, loggers: Collection[str], stamp: str, at: int) -> Iterator[str]:
    """What one proxy writes of one connection.

    Args:
        dial: the connection.
        side: of the proxy that writes.
        ends: its addresses.
        loggers: those at debug.
        stamp: the time, RFC 3339 with microseconds.
        at: the time in milliseconds, from which connections have their numbers.
    """

    def line(logger: str, text: str) -> str:
        return f"{stamp}\tdebug\tenvoy {logger} {_SOURCES[logger]}\t{text}\tthread={20 + at % 4}"

    reason = failure(dial, side)
    if reason and "connection" in loggers:
        both = dial.refusal is None or dial.refusal.by is Refuser.CLIENT
        for number in range(_TRIES if both and dial.hello.istio_alpn else 1):
            yield line("connection", f'[Tags: "ConnectionId":"{at % 100_000 + number}"] '
                                     f"remote address:{ends.remote},{reason}")  # fmt: skip
    if dial.answer is Answer.NO_CHAIN and side is Side.DESTINATION and "conn_handler" in loggers:
        yield line("conn_handler", f"closing connection from {ends.remote}: no matching filter chain found")
    if side is Side.DESTINATION and dial.verdict is not None and "rbac" in loggers:
        yield line("rbac", _request(ends))
        yield line("rbac", f"enforced {'allowed' if dial.verdict.allowed else 'denied'}, "
                           f"matched policy {dial.verdict.policy}")  # fmt: skip


def _request(ends: Ends) -> str:
    tls = f"uriSanPeerCertificate: {ends.identity}, dnsSanPeerCertificate: , subjectPeerCertificate: "
    return (
        f"checking request: requestedServerName: {ends.server_name}, sourceIP: {ends.remote}, "
        f"directRemoteIP: {ends.remote}, remoteIP: {ends.remote},localAddress: {ends.local}, "
        f"ssl: {tls if ends.identity else 'none'}, headers: ':authority', '{ends.authority}' ':path', '{ends.path}' "
        f"':method', '{ends.method}', dynamicMetadata: "
    )
