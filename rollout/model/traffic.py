"""Who speaks to whom, and how: what the evidence is made of."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

UNKNOWN = "unknown"


class Family(StrEnum):
    """Which metrics an edge comes from: istio_requests_total, or istio_tcp_connections_*."""

    HTTP = "http"
    TCP = "tcp"


class Party(msgspec.Struct, frozen=True, order=True):
    """One end of an edge, as the metrics name it; a caller without a sidecar has no name."""

    namespace: str
    workload: str
    principal: str = ""
    cluster: str = ""

    @property
    def named(self) -> bool:
        """The proxy knew who it was."""
        return self.workload not in ("", UNKNOWN)

    def __str__(self) -> str:
        """`billing/invoicer`, or `unknown`."""
        return f"{self.namespace}/{self.workload}" if self.named else UNKNOWN


class Edge(msgspec.Struct, frozen=True):
    """Traffic of one kind between two workloads within a window.

    `policy` is connection_security_policy as the destination reports it. `volume` counts requests (HTTP) or connections
    (TCP) within the window; `open` the connections open now (TCP). `first` and `last` bound when it was seen, as
    closely as the queries tell.
    """

    source: Party
    destination: Party
    service: str
    family: Family
    policy: str
    volume: float = 0.0
    open: float = 0.0
    first: datetime | None = None
    last: datetime | None = None

    @property
    def mutual(self) -> bool:
        """Both ends proved who they are; everything else is plaintext (ztunnel says `unknown`, never `none`)."""
        return self.policy == "mutual_tls"

    @property
    def key(self) -> str:
        """`billing/invoicer -> production/orders`: what people name in a waiver or with --fixed."""
        return f"{self.source} -> {self.destination}"


class EvidenceVerdict(StrEnum):
    """What the look-back says of a namespace."""

    CLEAN = "clean"
    PLAINTEXT = "plaintext"
    IDLE = "idle"
    NO_DATA = "no_data"


class Sight(msgspec.Struct, frozen=True):
    """How many of a namespace's proxies had a sample younger than two scrapes.

    `metric` is what was looked at (`envoy_server_uptime`, `istio_build` or `up`); `interval` the measured scrape
    interval in seconds; `newest` the newest sample's time; `skew` Prometheus' clock minus that, in seconds.
    """

    expected: tuple[str, ...]
    seen: tuple[str, ...]
    metric: str = "envoy_server_uptime"
    interval: float = 30.0
    newest: datetime | None = None
    skew: float = 0.0

    @property
    def full(self) -> bool:
        """Every proxy is scraped."""
        return not self.missing

    @property
    def missing(self) -> tuple[str, ...]:
        """The proxies without a fresh sample."""
        return tuple(sorted(set(self.expected) - set(self.seen)))


class Suspect(msgspec.Struct, frozen=True):
    """Who a nameless caller might be; `because` holds the matching text, credentials cut out."""

    who: str
    because: str
    fix: str


class Offender(msgspec.Struct, frozen=True):
    """A plaintext edge with what is known of its caller; `grain` says how closely its times are known, in seconds."""

    edge: Edge
    suspects: tuple[Suspect, ...] = ()
    rhythm: str = ""
    clean_from: datetime | None = None
    grain: float = 3600.0


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What Prometheus knows of a namespace's inbound traffic over the look-back.

    `holes` are spans that prove nothing (STRICT, DISABLE, or not scraped), `covered` the share of the look-back that
    counts. `enough_at` is when `no_data` will be over if nothing changes. `query` reproduces the plaintext edges.
    `unproven` is why the look-back would prove nothing even without its plaintext edges.
    """

    namespace: str
    verdict: EvidenceVerdict
    start: datetime
    end: datetime
    sight: Sight
    edges: tuple[Edge, ...] = ()
    offenders: tuple[Offender, ...] = ()
    idle: tuple[str, ...] = ()
    reason: str = ""
    enough_at: datetime | None = None
    holes: tuple[tuple[datetime, datetime], ...] = ()
    covered: float = 1.0
    query: str = ""
    warnings: tuple[str, ...] = ()
    unproven: str = ""

    @property
    def plaintext(self) -> tuple[Edge, ...]:
        """The edges that STRICT would cut."""
        return tuple(edge for edge in self.edges if not edge.mutual)

    def share(self, family: Family) -> float | None:
        """Mutual TLS as a share of requests or connections; None without any."""
        edges = [edge for edge in self.edges if edge.family is family]
        total = sum(edge.volume for edge in edges)
        return sum(edge.volume for edge in edges if edge.mutual) / total if total else None

    @property
    def open_mutual(self) -> float:
        """Connections of healthy callers that the flip cuts when the drain ends."""
        return sum(edge.open for edge in self.edges if edge.mutual)
