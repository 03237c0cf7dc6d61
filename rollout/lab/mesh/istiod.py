"""The simulated control plane: what it makes of the objects, and how late each proxy and client hears of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from rollout.lab.mesh.catalog import Catalog, MeshConfig, PodView, ServicePort, ServiceView
from rollout.lab.mesh.client import Rule, hello_towards, rule_for
from rollout.lab.mesh.listener import PLAINTEXT, Hello, Listener, build_listener
from rollout.lab.mesh.policy import PodModes, Policy, pod_modes, service_mode
from rollout.lab.mesh.proxy import Draining, Proxy

_DEBOUNCE = 100
_CLIENTS = 1200  # clusters and endpoints of callers, after debounce


@dataclass(slots=True)
class Snapshot:
    """What callers' sidecars have heard: DestinationRules, PeerAuthentications, MeshConfig."""

    rules: list[Rule] = field(default_factory=list)
    policies: list[Policy] = field(default_factory=list)
    config: MeshConfig = field(default_factory=MeshConfig)


class Istiod:
    """Computes listeners, pushes them late, and may be stopped.

    Args:
        catalog: the objects.
        proxies: the running proxies by pod.
        schedule: calls back at a time.
        drained: hears of every drain that begins, so that connections are cut when it ends.
        delay: earliest and latest arrival of a push at a proxy, milliseconds after the debounce.
        seed: which delays.
    """

    def __init__(
        self,
        catalog: Catalog,
        proxies: dict[tuple[str, str], Proxy],
        schedule: Callable[[int, Callable[[int], None]], None],
        drained: Callable[[Proxy, Draining], None],
        *,
        delay: tuple[int, int] = (1000, 3000),
        seed: int = 1,
    ) -> None:
        """Run, having pushed nothing."""
        self._catalog, self._proxies, self._schedule, self._drained = catalog, proxies, schedule, drained
        self._delay, self._seed = delay, seed
        self._pushes = 0
        self.running = True
        self.clients = Snapshot()

    def modes(self, pod: PodView) -> PodModes:
        """Effective modes of a pod by the objects as they are now."""
        return pod_modes(self._catalog.policies(), self._catalog.mesh_config().root, pod.namespace, pod.labels)

    def listener(self, pod: PodView) -> Listener:
        """The inbound listener of a pod by the objects as they are now."""
        return build_listener(self.modes(pod), self._catalog.declared(pod))

    def connect(self, proxy: Proxy) -> None:
        """A proxy starts: it is not Ready before it has its listener."""
        proxy.listener = self.listener(proxy.pod)

    def push(self, now: int, namespaces: Iterable[str] | None = None) -> None:
        """Something changed: push to the proxies of these namespaces (None: all), and to callers."""
        if not self.running:
            return
        self._pushes += 1
        self._schedule(now + _DEBOUNCE + _CLIENTS, lambda _: self.refresh_clients())
        wanted = None if namespaces is None else set(namespaces)
        for proxy in list(self._proxies.values()):
            if wanted is None or proxy.pod.namespace in wanted:
                random = Random(f"{self._seed}/{proxy.pod.key}/{self._pushes}")  # noqa: S311 (repeatable delays)
                late = now + _DEBOUNCE + random.randint(*self._delay)
                self._schedule(late, lambda at, proxy=proxy: self.deliver(proxy, at))  # type: ignore[misc]

    def deliver(self, proxy: Proxy, now: int) -> None:
        """A push arrives, with what the objects say by then."""
        if not self.running or proxy.stuck or proxy.pod.key not in self._proxies or proxy.pod.gateway:
            return
        draining = proxy.take(self.listener(proxy.pod), now, self._catalog.mesh_config().drain)
        if draining is not None:
            self._drained(proxy, draining)

    def refresh_clients(self) -> None:
        """Callers' sidecars have the newest clusters and endpoints."""
        if self.running:
            self.clients = Snapshot(self._catalog.rules(), self._catalog.policies(), self._catalog.mesh_config())

    def hello(self, source: PodView, service: ServiceView, port: ServicePort, pod: PodView) -> Hello:
        """What the caller's sidecar sends to an endpoint of a Service."""
        known = self.clients
        rule = rule_for(
            known.rules,
            root=known.config.root,
            client=source.namespace,
            labels=source.labels,
            service=service.namespace,
            fqdn=service.fqdn,
        )
        if service.headless and (rule is None or not (rule.tls or rule.ports)):
            endpoints = [p for p in self._catalog.pods() if service.selects(p) and p.ready]
            if not all(p.tls_labelled for p in endpoints):
                return PLAINTEXT
        modes = pod_modes(known.policies, known.config.root, pod.namespace, pod.labels)
        return hello_towards(
            rule,
            port.port,
            service_mode=service_mode(known.policies, known.config.root, service.namespace),
            pod_mode=modes.at(port.on(pod)),
            labelled=pod.tls_labelled,
            auto_mtls=known.config.auto_mtls,
        )
