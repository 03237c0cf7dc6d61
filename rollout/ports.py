"""What the tool asks of the outside, as Protocols: the adapters (and the tests' fakes) fulfil them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

import msgspec

from rollout.model.kubernetes import Object, Ref, Resource
from rollout.model.synchronization import Difference, ProxySync
from rollout.record.change import Change
from rollout.record.events import Event, Fact, Note, Requested

T = TypeVar("T", bound=Object)
#: `Pod production/orders-1`, `Deployment orders.production`, `Namespace production`; a file and line may follow.
_ORIGIN = re.compile(r"(?P<kind>[A-Za-z]+) (?:(?P<namespace>[^/\s]+)/)?(?P<name>\S+)")


class Identity(msgspec.Struct, frozen=True):
    """Which cluster, as whom; printed before anything else. `expires` is when the credentials end, if that is known."""

    context: str
    server: str
    kubernetes: str = ""
    user: str = ""
    expires: datetime | None = None
    renews: bool = False


class Right(msgspec.Struct, frozen=True):
    """A verb on a resource, in a namespace or ('') cluster-wide."""

    verb: str
    resource: Resource
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        """`patch peerauthentications.security.istio.io in production`."""
        return f"{self.verb} {self.resource.name}" + (
            f" in {self.namespace}" if self.namespace else " in all namespaces"
        )


class Cluster(Protocol):
    """The Kubernetes API. Every method raises a ClusterError of `rollout.errors`.

    Reads and dry runs are retried inside for a few seconds; a real write is sent once.
    """

    def identity(self) -> Identity:
        """Context, server, versions and user."""
        ...

    def served(self, resource: Resource) -> str:
        """The first of the resource's versions that the server serves, '' when the kind is not installed."""
        ...

    def list(self, kind: type[T], *, namespace: str = "", selector: str = "") -> tuple[T, ...]:
        """All objects of a kind, in pages of 500. NotFound: not installed. Forbidden: not permitted."""
        ...

    def get(self, kind: type[T], namespace: str, name: str) -> T:
        """One object, read from the server."""
        ...

    def create(self, kind: type[T], namespace: str, body: Mapping[str, Any], *, dry_run: bool = False) -> T:
        """POST with fieldManager=rollout and fieldValidation=Strict; apiVersion and kind are filled in."""
        ...

    def patch(self, kind: type[T], namespace: str, name: str, body: Mapping[str, Any], *, dry_run: bool = False) -> T:
        """Merge patch with fieldManager=rollout and fieldValidation=Strict.

        metadata.resourceVersion in the body is the optimistic lock (Conflict when stale).
        """
        ...

    def delete(self, kind: type[T], namespace: str, name: str, *, uid: str = "", dry_run: bool = False) -> None:
        """DELETE with the uid as precondition."""
        ...

    def allowed(self, right: Right) -> bool:
        """SelfSubjectAccessReview."""
        ...


class LogPart(msgspec.Struct, frozen=True):
    """What was read of a container's log: whole lines, oldest first, out of `size` bytes.

    `older`: as many lines as were asked for, so that older ones may be left; `cut`: the byte limit ended it, so that
    the newest are missing.
    """

    lines: tuple[str, ...]
    size: int
    older: bool = False
    cut: bool = False


class Logs(Protocol):
    """The logs of containers."""

    def logs(self, namespace: str, pod: str, container: str, *, since: float, lines: int | None, limit: int) -> LogPart:
        """The last `since` seconds, the newest `lines` of them, or (None) from their beginning; `limit` bytes at most.

        It needs the right to get pods/log.

        Raises:
            ClusterError: NotFound when the pod is gone, Rejected when it has no such container, Forbidden, Unreachable.
        """
        ...


class Sample(msgspec.Struct, frozen=True):
    """One element of an instant vector; `t` is the evaluation time."""

    labels: dict[str, str]
    t: datetime
    value: float


class Series(msgspec.Struct, frozen=True):
    """One element of a range result."""

    labels: dict[str, str]
    points: tuple[tuple[datetime, float], ...]


class Answer(msgspec.Struct, frozen=True):
    """An instant query's vector, with Prometheus' warnings (a partial response shows only there)."""

    samples: tuple[Sample, ...]
    warnings: tuple[str, ...] = ()


class RangeAnswer(msgspec.Struct, frozen=True):
    """A range query's matrix."""

    series: tuple[Series, ...]
    warnings: tuple[str, ...] = ()


class Metrics(Protocol):
    """Prometheus. Every method raises a MetricsError; NaN values are dropped, an empty answer is empty."""

    def query(self, promql: str, at: datetime) -> Answer:
        """Instant query."""
        ...

    def query_range(self, promql: str, start: datetime, end: datetime, step: float) -> RangeAnswer:
        """Range query; `step` in seconds."""
        ...

    def now(self) -> datetime:
        """Prometheus' own clock (`time()`)."""
        ...

    def address(self) -> str:
        """Where it is, without credentials."""
        ...

    def past(self) -> Metrics:
        """Who knows the look-back: itself, unless history is kept elsewhere."""
        ...


class AnalyzerMessage(msgspec.Struct, frozen=True):
    """One finding of `istioctl analyze`."""

    code: str
    level: str
    origin: str
    message: str
    url: str = ""

    @property
    def ref(self) -> Ref | None:
        """The object; None where the origin names none. A file and line may follow its name."""
        match = _ORIGIN.match(self.origin)
        if match is None:
            return None
        kind, namespace, name = match["kind"], match["namespace"] or "", match["name"]
        if not namespace and "." in name and kind != "CustomResourceDefinition":
            name, _, namespace = name.rpartition(".")
        return Ref(kind, namespace, name)


class Publisher(Protocol):
    """Proposes changes that somebody else's controller applies."""

    def propose(self, run: str, repo: str, change: Change) -> tuple[str, ...]:
        """Write down what is to be committed; sentences that say where, none when that was said already."""
        ...


class Analyzer(Protocol):
    """istioctl. Every method raises NoProgram where there is none, and another RolloutError when it failed."""

    def analyze(self, namespaces: Collection[str]) -> Mapping[str, tuple[AnalyzerMessage, ...]]:
        """The findings of `istioctl analyze` for each of these namespaces; it is run once for all of them."""
        ...

    def proxy_status(self) -> tuple[ProxySync, ...]:
        """`istioctl proxy-status`: every proxy that is connected to an istiod."""
        ...

    def differences(self, pod: Ref) -> tuple[Difference, ...]:
        """`istioctl proxy-status POD`: what the proxy has, against what istiod would send it."""
        ...


class InboundChain(msgspec.Struct, frozen=True, kw_only=True):
    """A filter chain of a sidecar's inbound listener.

    Args:
        port: what it matches; 0 for every port without chains of its own.
        transport: transport_protocol of its match: tls, raw_buffer, or '' for any.
        tls: it terminates TLS.
        client_certificate: and asks for the client's certificate.
    """

    port: int = 0
    transport: str = ""
    tls: bool = False
    client_certificate: bool = False


class Proxies(Protocol):
    """What the proxies themselves tell, by exec into istio-proxy. Every method raises a RolloutError: exec may be
    forbidden, the container may lack what is called, the connection may break.
    """

    def certs(self, pod: Ref) -> bytes:
        """Envoy's /certs, as JSON."""
        ...

    def config_dump(self, pod: Ref) -> bytes:
        """Envoy's config_dump with its secrets, as JSON; Envoy leaves private keys out."""
        ...

    def inbound(self, pod: Ref) -> tuple[InboundChain, ...]:
        """The chains of the inbound listener that is in force."""
        ...


class Loggers(Protocol):
    """The levels of the proxies' loggers. Every method raises a RolloutError, as those of `Proxies` do."""

    def levels(self, pod: Ref) -> Mapping[str, str]:
        """All of them, by name."""
        ...

    def set_levels(self, pod: Ref, levels: Mapping[str, str]) -> None:
        """Change these, all or none: one name that the proxy does not know refuses the whole set."""
        ...


class Output(Protocol):
    """What a command printed, and its exit status."""

    @property
    def code(self) -> int:
        """0: it went well."""
        ...

    @property
    def out(self) -> bytes:
        """Standard output."""
        ...

    @property
    def err(self) -> bytes:
        """Standard error."""
        ...


class Containers(Protocol):
    """Commands in containers."""

    def execute(self, pod: Ref, container: str, command: Sequence[str], *, limit: float) -> Output:
        """Run a command without a shell, for at most `limit` seconds. It needs the right to create pods/exec.

        Raises:
            RolloutError: the image lacks the program, exec is forbidden, or the connection broke.
        """
        ...


class Heard(Exception):
    """An append found requests of somebody else; nothing was appended."""

    def __init__(self, requests: Sequence[Requested]) -> None:
        """Keep them for the fold."""
        super().__init__(f"{len(requests)} requests")
        self.requests = tuple(requests)


class Journal(Protocol):
    """The runs' records: one ConfigMap each, and a mirror on this machine."""

    def create(self, first: Fact) -> None:
        """Begin a run (the event is its Started). Exists: another run of that name."""
        ...

    def append(self, run: str, namespace: str, event: Event) -> None:
        """Append a fact to ConfigMap and mirror, or a note to the mirror.

        `event.seq` must follow what this process knows.

        Raises:
            Heard: requests came in; fold them, decide again.
            NotOurs: another process appended: no further write.
            ClusterError: the ConfigMap could not be written; the mirror has the event.
        """
        ...

    def load(self, run: str, namespace: str) -> tuple[Fact | Note, ...]:
        """All facts of a run, from the cluster. NotFound: there is none. RecordError: not a journal."""
        ...

    def runs(self, namespace: str) -> tuple[tuple[str, str], ...]:
        """Run ids and namespaces of the ConfigMaps in this namespace ('' for all), oldest first."""
        ...

    def moved(self, runs: Sequence[tuple[str, str]]) -> frozenset[str]:
        """Those of these runs (id, namespace) whose journal may hold what this process has not seen."""
        ...

    def request(self, run: str, namespace: str, request: Requested) -> None:
        """Write a request into somebody's journal."""
        ...

    def folder(self, run: str) -> str:
        """Where the mirror of the run lies on this machine."""
        ...


class Lease(Protocol):
    """Who works on a namespace."""

    def acquire(self, namespace: str, run: str) -> None:
        """Take it, or take it over when it is stale. NotOurs: held, with holder and expiry."""
        ...

    def renew(self, namespace: str, run: str) -> None:
        """Renew when a third of its time is over. NotOurs: lost."""
        ...

    def release(self, namespace: str, run: str) -> None:
        """Give it back."""
        ...

    def holder(self, namespace: str) -> tuple[str, datetime] | None:
        """Run and expiry of a fresh lease."""
        ...


class Clock(Protocol):
    """Time."""

    def now(self) -> datetime:
        """Aware, UTC."""
        ...

    def sleep_until(self, until: datetime) -> None:
        """Return at `until`, or earlier when a signal asks for a stop."""
        ...
