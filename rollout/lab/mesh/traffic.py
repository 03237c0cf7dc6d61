"""Who calls whom, how often and how: a scenario's edges as values, and how one connection of an edge ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rollout.lab.mesh import rbac
from rollout.lab.mesh.catalog import Catalog, PodView
from rollout.lab.mesh.identity import Identities, Refusal, Refuser
from rollout.lab.mesh.istiod import Istiod
from rollout.lab.mesh.labels import Labels, Target, call_labels
from rollout.lab.mesh.listener import APP_TLS, PLAINTEXT, Answer, Hello
from rollout.lab.mesh.meter import Meter
from rollout.lab.mesh.outcome import UNHEALTHY, Count, Side, denied_counts, grpc_counts, http_counts, tcp_counts
from rollout.lab.mesh.pattern import Daily, Every, Pattern, Rate
from rollout.lab.mesh.proxy import Proxy

if TYPE_CHECKING:
    from rollout.lab.mesh.accesslog import AccessLogs, Part


@dataclass(frozen=True, slots=True)
class Traffic:
    """One caller's edge to one Service port.

    Attributes:
        name: how outside events call it.
        source: namespace and name of the calling workload; None for a caller that is no pod (a load balancer, the
            kubelet, kube-apiserver, Prometheus).
        service: namespace and name of the Service.
        port: the Service's port, or the container port when no Service declares it.
        caller: what a caller without pods is: `prometheus` leaves an `up` series per endpoint.
        protocol: http, grpc or tcp.
        per_second, swing, burst, jitter: see `Rate`.
        at, calls: once a day, milliseconds after midnight UTC; or `calls` per Job when the source is a CronJob.
        connections: long-lived TCP connections, or streams, that each caller's pod holds.
        lasts: how long a request or stream takes, milliseconds.
        bytes: per TCP connection, or per second of a long-lived one.
        errors: share of the answers with code 500.
        pod_ip: the caller uses pod addresses.
        own_tls: a caller without sidecar speaks TLS of its own.
        waits: the server speaks first, or the caller stays silent.
        address: of a caller without pods, as the server sees it.
        path: of its requests.
    """

    name: str
    source: tuple[str, str] | None
    service: tuple[str, str]
    port: int
    caller: str = ""
    protocol: str = "http"
    per_second: float = 0.0
    swing: float = 0.0
    burst: float = 0.0
    jitter: float = 0.2
    at: int | None = None
    calls: int = 0
    every: int = 0
    connections: int = 0
    lasts: int = 20
    bytes: int = 2000
    errors: float = 0.0
    pod_ip: bool = False
    own_tls: bool = False
    waits: bool = False
    address: str = ""
    path: str = ""

    def pattern(self, origin: int, seed: int) -> Pattern:
        """Its rhythm, for callers other than Jobs."""
        if self.every:
            return Every(self.every, phase=seed * 977 % self.every)
        if self.at is not None:
            return Daily(self.calls, self.at)
        return Rate(self.per_second, origin, self.swing, self.burst, self.jitter, seed)


@dataclass(frozen=True, slots=True)
class Dial:
    """One way a connection of an edge ends: between these pods, with this hello, answered so.

    `refusal`: why a handshake of the mesh failed; `verdict`: of AuthorizationPolicies, None where none selects the pod.
    """

    source: PodView | None
    destination: PodView | None
    target: Target
    hello: Hello
    answer: Answer | str | None
    refusal: Refusal | None = None
    verdict: rbac.Verdict | None = None

    @property
    def served(self) -> bool:
        """Whether the application answers."""
        if self.verdict is not None and not self.verdict.allowed:
            return False
        if self.answer is None:
            return not self.hello.tls
        return self.answer in (Answer.MUTUAL_TLS, Answer.PLAIN)


class Network:
    """Dials and counts: where callers, listeners and counters meet."""

    def __init__(self, catalog: Catalog, istiod: Istiod, proxies: Mapping[tuple[str, str], Proxy]) -> None:
        """Read the world from these."""
        self.catalog, self.istiod, self.proxies = catalog, istiod, proxies
        self.access: AccessLogs | None = None
        self.identities: Identities | None = None
        self.now: Callable[[], int] = lambda: 0

    def sources(self, traffic: Traffic) -> list[PodView | None]:
        """The pods that call; one None for a caller that is no pod."""
        if traffic.source is None:
            return [None]
        found = [p for p in self.catalog.pods() if p.running and (p.namespace, p.workload) == traffic.source]
        if not found:
            found = [p for p in self.catalog.pods() if p.running and self._of_cron_job(p, traffic.source)]
        return [*sorted(found, key=lambda pod: pod.name)]

    def destinations(self, traffic: Traffic) -> list[PodView]:
        """The endpoints: Ready pods of the Service; by address: all running ones."""
        service = self.catalog.service(*traffic.service)
        if service is None:
            return []
        fit = [p for p in self.catalog.pods() if service.selects(p) and (p.ready or (traffic.pod_ip and p.running))]
        return sorted(fit, key=lambda pod: pod.name)

    def dial(self, traffic: Traffic, source: PodView | None, destination: PodView | None) -> Dial:
        """Open a connection and see how it is answered."""
        service = self.catalog.service(*traffic.service)
        if destination is None or service is None:  # a Service that is gone has no endpoint either
            target = Target(*traffic.service, traffic.port, pod_ip=traffic.pod_ip)
            return Dial(source, None, target, PLAINTEXT, UNHEALTHY)
        port = service.port(traffic.port)
        inside = port.on(destination)
        target = Target(
            service.namespace, service.name, inside, inside in self.catalog.declared(destination), traffic.pod_ip
        )
        if source is not None and source.proxied:
            hello = PLAINTEXT if traffic.pod_ip else self.istiod.hello(source, service, port, destination)
        else:
            hello = APP_TLS if traffic.own_tls else PLAINTEXT
        if traffic.waits:
            hello = replace(hello, waits=True)
        answer = self.reach(destination, inside, hello, traffic.protocol)
        made = Dial(source, destination, target, hello, answer)
        if answer is Answer.MUTUAL_TLS and source is not None:
            made = self._shaken(traffic, made, source, destination)
        if made.answer in (Answer.MUTUAL_TLS, Answer.PLAIN):
            made = replace(made, verdict=self.decided(traffic, made))
        return made

    def decided(self, traffic: Traffic, dial: Dial) -> rbac.Verdict | None:
        """What the AuthorizationPolicies at the destination say of a call."""
        pod, source = dial.destination, dial.source
        assert pod is not None, "who answers decides"
        policies = self.catalog.objects("AuthorizationPolicy")
        found = rbac.selecting(policies, self.istiod.clients.config.root, pod.namespace, pod.labels) if policies else []
        if not found or dial.target.port in pod.uncaptured:
            return None
        principal = ""
        if source is not None and self.identities is not None and dial.answer is Answer.MUTUAL_TLS:
            principal = self.identities.seen(source, self.now()).removeprefix("spiffe://")
        call = rbac.Call(
            port=dial.target.port,
            address=source.ip if source is not None else traffic.address,
            principal=principal,
            http=traffic.protocol != "tcp" and not (dial.hello.tls and dial.answer is Answer.PLAIN),
            method="POST" if traffic.protocol == "grpc" else "GET",
            path=traffic.path or f"/{traffic.name}",
            host=f"{dial.target.name}.{dial.target.namespace}:{traffic.port}",
        )
        return rbac.decide(found, call)

    def _shaken(self, traffic: Traffic, dial: Dial, client: PodView, server: PodView) -> Dial:
        """Let both ends look at the other's certificate, when the connection was made: pooled ones are older."""
        if self.identities is None:
            return dial
        made = self.now()
        if traffic.protocol != "tcp" and not traffic.connections:
            made = max(client.started, self.proxies[server.key].renewed(dial.target.port))
        refusal = self.identities.refusal(client, server, made)
        if refusal is None:
            return dial
        by_client = refusal.by is Refuser.CLIENT
        return replace(dial, answer=Answer.CLIENT_REFUSES if by_client else Answer.SERVER_REFUSES, refusal=refusal)

    def reach(self, pod: PodView, port: int, hello: Hello, protocol: str) -> Answer | None:
        """The answer at a pod's port; None where no proxy stands before it."""
        proxy = self.proxies.get(pod.key)
        if proxy is None or port in pod.uncaptured or proxy.listener is None:
            return None
        return proxy.answer(port, hello, http=protocol != "tcp")

    def counts(self, traffic: Traffic, dial: Dial) -> tuple[Count, ...]:
        """The lines of the outcome table for one call."""
        if dial.verdict is not None and not dial.verdict.allowed:
            return denied_counts(traffic.protocol, mutual=dial.answer is Answer.MUTUAL_TLS)
        table = {"tcp": tcp_counts, "grpc": grpc_counts}.get(traffic.protocol, http_counts)
        return table(dial.answer, dial.hello)

    def places(self, traffic: Traffic, dial: Dial, count: Count) -> tuple[Meter, Labels] | None:
        """Whose counters, under which labels; None where nobody counts."""
        pod = dial.source if count.side is Side.SOURCE else dial.destination
        proxy = self.proxies.get(pod.key) if pod is not None else None
        if proxy is None:
            return None
        trust_domain = self.istiod.clients.config.trust_domain
        labels = call_labels(
            count, dial.source, dial.destination, dial.target, protocol=traffic.protocol, trust_domain=trust_domain
        )
        return proxy.meter, labels

    def once(self, traffic: Traffic, dial: Dial, counts: tuple[Count, ...], number: int = 1) -> None:
        """Count something that happens at one instant."""
        for count in counts:
            place = self.places(traffic, dial, count)
            if place is None or not number:
                continue
            meter, labels = place
            if traffic.protocol == "tcp":
                meter.counter("istio_tcp_connections_opened_total", labels).base += number * count.opened
                meter.counter("istio_tcp_connections_closed_total", labels).base += number * count.closed
            else:
                meter.once(labels, number * count.times, float(traffic.lasts))

    def ends(self, dial: Dial) -> tuple[object, ...]:
        """All that decides where and as what a call of this kind is counted: equal means the same counters."""
        pods = (dial.source, dial.destination)
        counting = tuple(self.proxies.get(pod.key) if pod is not None else None for pod in pods)
        return (dial, counting, self.istiod.clients.config.trust_domain)

    @property
    def writes(self) -> bool:
        """Whether proxies write down the calls of each segment."""
        return self.access is not None and self.access.writes

    def logged(self, traffic: Traffic, dial: Dial, pattern: Pattern, part: Part) -> None:
        """Proxies write down what happens in this segment."""
        if self.access is not None:
            self.access.calls(traffic, dial, pattern, part)

    def logged_once(self, traffic: Traffic, dial: Dial, at: int) -> None:
        """Proxies write down a connection that ends."""
        if self.access is not None:
            self.access.once(traffic, dial, at)

    def _of_cron_job(self, pod: PodView, source: tuple[str, str]) -> bool:
        # a Job's name is its CronJob's and the minute; Istio's workload name is the CronJob's for injected pods
        job = pod.labels.get("batch.kubernetes.io/job-name", "")
        return pod.namespace == source[0] and job.rpartition("-")[0] == source[1]
