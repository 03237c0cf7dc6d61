"""What both proxies count when a connection was answered, as a table (observed.md a, d, e, g, i)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rollout.lab.mesh.listener import Answer, Hello


class Side(StrEnum):
    """Who counts: `reporter`."""

    SOURCE = "source"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True)
class Count:
    """One line of the table.

    Attributes:
        side: the proxy that counts.
        code: `response_code`; empty for TCP.
        flags: `response_flags`, in the order in which Envoy writes them for the protocol.
        grpc: `grpc_response_status`.
        mutual: peer and local identity are known: principals are labelled and the policy is `mutual_tls`.
        reached: the peer is known to the one who counts.
        times: counts per call.
        opened, closed: TCP only: which of the two counters move.
    """

    side: Side
    code: str = ""
    flags: str = "-"
    grpc: str = ""
    mutual: bool = False
    reached: bool = True
    times: int = 1
    opened: bool = True
    closed: bool = True


UNHEALTHY = "no healthy upstream"
"""There is no ready endpoint: no connection at all."""

_S, _D = Side.SOURCE, Side.DESTINATION


def http_counts(answer: Answer | str | None, hello: Hello) -> tuple[Count, ...]:
    """What one HTTP request moves; `None`: the endpoint has no proxy."""
    match answer:
        case Answer.MUTUAL_TLS:
            return Count(_S, "200", mutual=True), Count(_D, "200", mutual=True)
        case Answer.PLAIN:
            return Count(_S, "200"), Count(_D, "200")
        case Answer.CLIENT_REFUSES:
            return (Count(_S, "503", "URX,UF", reached=False),)
        case Answer.NO_CHAIN if hello.tls:
            return (Count(_S, "503", "URX,UF", reached=False),)
        case Answer.NO_CHAIN | Answer.NO_CERTIFICATE | Answer.SERVER_REFUSES:
            return (Count(_S, "503", "UC", reached=False),)
        case Answer.TLS_TO_PLAINTEXT:
            return Count(_S, "503", "URX,UF", reached=False), Count(_D, "400", "DPE", reached=False, times=3)
        case Answer.HANGS:
            return ()
        case None:
            return (Count(_S, "503", "URX,UF", reached=False),) if hello.tls else (Count(_S, "200"),)
        case _:
            return (Count(_S, "503", "UH", reached=False),)


def grpc_counts(answer: Answer | str | None, hello: Hello) -> tuple[Count, ...]:
    """What one gRPC call moves: failures are code 200 with status 14 at the source (observed.md e)."""
    result = []
    for count in http_counts(answer, hello):
        bad = count.code != "200"
        result.append(
            Count(
                count.side,
                code="200" if count.side is _S else count.code,
                flags=count.flags,
                grpc="14" if bad else "0",
                mutual=count.mutual,
                reached=count.reached,
                times=count.times,
            )
        )
    return tuple(result)


def tcp_counts(answer: Answer | str | None, hello: Hello) -> tuple[Count, ...]:
    """What one TCP connection moves."""
    match answer:
        case Answer.MUTUAL_TLS:
            return Count(_S, mutual=True), Count(_D, mutual=True)
        case Answer.PLAIN:
            return Count(_S), Count(_D, reached=False)
        case Answer.CLIENT_REFUSES:
            return (Count(_S, flags="UF,URX", reached=False, opened=False),)
        case Answer.NO_CHAIN if hello.tls:
            return (Count(_S, flags="UF,URX", reached=False, opened=False),)
        case Answer.NO_CHAIN:
            return Count(_S, closed=False, reached=False), Count(_S, flags="UR", opened=False, reached=False)
        case Answer.NO_CERTIFICATE | Answer.SERVER_REFUSES:
            return Count(_S, reached=False), Count(_D, reached=False, opened=False)
        case Answer.TLS_TO_PLAINTEXT:
            return Count(_S, flags="UF,URX", reached=False, opened=False), Count(_D, reached=False)
        case Answer.HANGS:
            return (Count(_S, closed=False),)
        case None:
            return (Count(_S, flags="UF,URX", reached=False, opened=False),) if hello.tls else (Count(_S),)
        case _:
            return (Count(_S, flags="UH", reached=False, opened=False),)


def denied_counts(protocol: str, *, mutual: bool) -> tuple[Count, ...]:
    """What a call moves that an AuthorizationPolicy denies: 403, gRPC PERMISSION_DENIED, or a TCP connection closed."""
    if protocol == "tcp":
        return Count(_S, mutual=mutual), Count(_D, mutual=mutual, reached=mutual)
    code, grpc = ("200", "7") if protocol == "grpc" else ("403", "")
    return Count(_S, code, grpc=grpc, mutual=mutual), Count(_D, code, grpc=grpc, mutual=mutual)


CUT_REQUEST = (Count(_S, "503", "UC", mutual=True), Count(_D, "0", "DC", mutual=True))
"""A request in flight at T (observed.md b)."""

CUT_STREAM = (Count(_S, "200", "UPE", mutual=True), Count(_D, "200", "DC", mutual=True))
"""A streaming response at T."""
