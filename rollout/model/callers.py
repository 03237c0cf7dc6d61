"""Who the access logs of a namespace's proxies name, where its metrics name nobody."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from rollout.model.traffic import Family


class Wire(StrEnum):
    """What a caller sent: a line without a server name says nothing else of TLS."""

    PLAINTEXT = "plaintext"
    OWN_TLS = "TLS of its own"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of one caller to one port of a workload.

    Args:
        destination: `namespace/workload`.
        port: the container port.
        address: as the proxy saw it; of the client of a proxy where `forwarded`.
        who: `Pod billing/ledger-x (Deployment billing/ledger)`, `Node node-1 …`, or '' for nobody that is known.
        wire: what it sent.
        family: None for a refused connection, of which no log tells more.
        lines: how many.
        refused: how many of them say that no filter chain matched.
        first, last: of the lines.
        agents: products named in the User-Agent headers, three at most.
        forwarded: the address comes from X-Forwarded-For: the caller itself is a proxy, and its address is not there.
    """

    destination: str
    port: int
    address: str
    who: str
    wire: Wire
    family: Family | None
    lines: int
    refused: int
    first: datetime
    last: datetime
    agents: tuple[str, ...] = ()
    forwarded: bool = False


class AccessLog(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of a namespace's access logs.

    Args:
        namespace: whose.
        since, asked: the oldest line that was asked for, and when.
        pods: how many pods' logs were read.
        lines, size: how many lines and bytes.
        records: access log lines among them, of both directions.
        foreign: lines of a format that is none of Istio's two.
        callers: those without mesh TLS, the most lines first.
        unread: sentences on what was not read, and how to read it.
    """

    namespace: str
    since: datetime
    asked: datetime
    pods: int = 0
    lines: int = 0
    size: int = 0
    records: int = 0
    foreign: int = 0
    callers: tuple[Caller, ...] = ()
    unread: tuple[str, ...] = ()
