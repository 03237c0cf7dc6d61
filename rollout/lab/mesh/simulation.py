"""The mesh in time: segments in which nothing changes but the counts, and what happens between them.

One thread works at a time (the clock's). Writes of other threads wait in an inbox with the time at which they were
made, so that no lock of the store is ever held while the mesh works.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from rollout.lab.mesh.accesslog import AccessLogs, Form
from rollout.lab.mesh.apiserver import WebhookCaller
from rollout.lab.mesh.bare import BarePods
from rollout.lab.mesh.catalog import Catalog, PodView
from rollout.lab.mesh.cluster import Cluster
from rollout.lab.mesh.controllers import STARTUP, Controllers
from rollout.lab.mesh.flow import Flow
from rollout.lab.mesh.identity import SINCE, Identities
from rollout.lab.mesh.instants import to_ms
from rollout.lab.mesh.istiod import Istiod
from rollout.lab.mesh.kubelet import Kubelet
from rollout.lab.mesh.longlived import LongLived
from rollout.lab.mesh.policy import Mode, service_mode
from rollout.lab.mesh.proxy import Draining, Proxy
from rollout.lab.mesh.relabel import USUAL, Relabel
from rollout.lab.mesh.samples import ScrapeStorage
from rollout.lab.mesh.scraper import Scraper
from rollout.lab.mesh.traffic import Network, Traffic

Json = Mapping[str, Any]
Listen = Callable[[str, Json, int], None]

_SETTLE = {"PeerAuthentication", "DestinationRule", "Service", "ConfigMap"}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a scenario may set about the mesh.

    Attributes:
        scrape_interval: milliseconds between two scrapes.
        delay: earliest and latest arrival of a push at a proxy, milliseconds after istiod's debounce.
        version: Istio's.
        seed: which jitter, delays and names.
        access_log: whether proxies write one, and how.
        relabel: how Prometheus labels what it scrapes.
    """

    scrape_interval: int = 30_000
    delay: tuple[int, int] = (1000, 3000)
    version: str = "1.27.3"
    seed: int = 1
    access_log: Form = Form.OFF
    relabel: Relabel = USUAL


class Simulation:
    """The mesh, driven by the store's objects and by `advance`.

    Args:
        store: the API's objects; it is subscribed to and written to.
        start: the first instant of history, milliseconds since the epoch.
        settings: what the scenario set.
    """

    def __init__(self, store: Cluster, start: int, settings: Settings | None = None) -> None:
        """Stand at `start` with whatever the store holds then."""
        self.settings = settings or Settings()
        self.store, self.now, self.origin = store, start, start
        self.catalog = Catalog()
        self.storage = ScrapeStorage()
        self.proxies: dict[tuple[str, str], Proxy] = {}
        self.istiod = Istiod(
            self.catalog, self.proxies, self.schedule, self._drained, delay=self.settings.delay, seed=self.settings.seed
        )
        self.network = Network(self.catalog, self.istiod, self.proxies)
        self.access = self.network.access = AccessLogs(self.settings.access_log, self.catalog)
        self.access.loggers = lambda pod, at: self.proxies[pod].levels.debug(at) if pod in self.proxies else frozenset()
        self.network.now = lambda: self.now
        self.controllers = Controllers(store, self.catalog, self.schedule, self._job_fails, self.settings.version)
        self.kubelet = Kubelet(store, self.catalog, self.network, self.schedule, self.controllers.ready)
        self.bare = BarePods(
            store, self.catalog, self.schedule, lambda: (self.controllers.injector, self.settings.version)
        )
        self.scraper = Scraper(self.storage, self.settings.scrape_interval, self.settings.relabel)
        self.flows: dict[str, Flow | LongLived] = {}
        self.flip_seen: list[Callable[[str, int], None]] = []
        self.written: list[Listen] = []
        self._timers: list[tuple[int, int, Callable[[int], None]]] = []
        self._serial = 0
        self._inbox: deque[tuple[int, str, Json]] = deque()
        self._working: int | None = None
        self._lock = threading.RLock()
        self._strict: set[str] = set()
        self._dirty = True  # something happened at `now` that the running segment does not know
        store.subscribe(self._heard)
        store.admission.append(WebhookCaller(self.catalog, self.network))
        store.mutating.append(self.bare.admit)
        for obj in [o for kind in store.kinds.resources for o in _stored(store, kind)]:
            self._inbox.append((start, "ADDED", obj))

    def schedule(self, at: int, act: Callable[[int], None]) -> None:
        """Call `act` with the time, when it is `at` (not before the present)."""
        self._serial += 1
        heapq.heappush(self._timers, (max(at, self.now), self._serial, act))

    def add(self, traffic: Traffic) -> None:
        """A caller begins to call, or goes on in another way."""
        self._happens()
        self.remove(traffic.name)
        if traffic.connections:
            self.flows[traffic.name] = LongLived(traffic, self.network)
        else:
            seed = self.settings.seed * 7919 + sum(map(ord, traffic.name))
            self.flows[traffic.name] = Flow(traffic, self.network, traffic.pattern(self.origin, seed))

    def remove(self, name: str) -> None:
        """A caller stops."""
        self._happens()
        flow = self.flows.pop(name, None)
        if flow is not None:
            flow.close()

    def begin(self) -> None:
        """Take in what the store holds: before the first call everybody knows it."""
        self.advance(self.now)
        self.istiod.refresh_clients()

    def advance(self, to: int, step: Callable[[int], None] = lambda _: None) -> None:
        """Let everything happen up to and at `to` (milliseconds); `step` hears of each instant before it happens."""
        with self._lock:
            self._working = threading.get_ident()
            try:
                self._listen(self.now)
                while self.now < to or self._due(to):
                    upto = min([to, *(t for t, *_ in self._timers[:1]), *(t for t, *_ in list(self._inbox)[:1])])
                    upto = max(upto, self.now)
                    self._segment(upto)
                    step(upto)
                    self._listen(upto)
                    while self._timers and self._timers[0][0] <= self.now:
                        self._happens()
                        heapq.heappop(self._timers)[2](self.now)
                        self._listen(self.now)
            finally:
                self._working = None

    def act(self, deed: Callable[[int], None]) -> None:
        """Do something at the present instant, from outside of `advance`."""
        with self._lock:
            self._working = threading.get_ident()
            try:
                self._listen(self.now)
                self._happens()
                deed(self.now)
                self._listen(self.now)
            finally:
                self._working = None

    def take_identities(self, identities: Identities) -> None:
        """Proxies have certificates from now on; each flaw is noticed when it begins."""
        self.network.identities = identities
        self.access.identity = lambda pod: identities.seen(pod, self.now)
        for flaw in identities.flaws.values():
            self.schedule(identities.present - SINCE[flaw], lambda _: None)

    def raised(self) -> None:
        """A logger is at debug: what happens is kept from now on, to be written when somebody reads."""
        self.access.debugged = True

    def written_by(self, pod: tuple[str, str], since: datetime | None) -> list[tuple[datetime, str]]:
        """What a pod's proxy has written to its access log, as far as it is kept; oldest first."""
        with self._lock:
            return self.access.lines(pod, self.now, None if since is None else to_ms(since))

    def _due(self, to: int) -> bool:
        return bool(self._timers and self._timers[0][0] <= to) or bool(self._inbox and self._inbox[0][0] <= to)

    def _segment(self, end: int) -> None:
        if end <= self.now:
            return
        if self._dirty:
            self._dirty = False
            self.access.begin(self.now)
            for flow in list(self.flows.values()):
                flow.segment(self.now)
            self.kubelet.segment(self.now)
            self.scraper.app_targets = self._app_targets()
        self.scraper.record(self.now, end)
        self.now = end

    def _happens(self) -> None:
        """Something is about to happen now: the counts up to now belong to the world before it."""
        if not self._dirty:
            self._dirty = True
            self.access.settle(self.now)

    def _heard(self, event: str, obj: Json) -> None:
        if self._working == threading.get_ident():
            self._inbox.append((self.now, event, obj))
        else:
            self._inbox.append((round(self.store.now().timestamp() * 1000), event, obj))

    def _listen(self, upto: int) -> None:
        while self._inbox and self._inbox[0][0] <= max(upto, self.now):
            at, event, obj = self._inbox.popleft()
            if at > self.now:
                self._segment(at)
            before = self.catalog.get(obj["kind"], obj["metadata"].get("namespace") or "", obj["metadata"]["name"])
            if before is not None and event != "DELETED" and _version(before) >= _version(obj):
                continue
            self._happens()
            self.catalog.apply(event, obj)
            self._react(event, obj, before)
            for listen in self.written:
                listen(event, obj, self.now)

    def _react(self, event: str, obj: Json, before: Json | None) -> None:
        kind, namespace = obj["kind"], obj["metadata"].get("namespace") or ""
        if kind == "Pod":
            self._pod_changed(event, obj, before)
            self.bare.changed(event, obj, self.now)
        elif kind in _SETTLE and (before is None or event == "DELETED" or before.get("spec") != obj.get("spec") or
                                  before.get("data") != obj.get("data")):  # fmt: skip
            if kind == "ConfigMap" and "mesh" not in (obj.get("data") or {}):
                return
            root = self.catalog.mesh_config().root
            everywhere = kind in ("ConfigMap", "DestinationRule") or namespace == root
            self.istiod.push(self.now, None if everywhere else [namespace])
            if kind == "PeerAuthentication":
                self._look_for_flips()
        elif kind == "AuthorizationPolicy":
            self.schedule(self.now + self.settings.delay[1], self._look_at_probes)
        elif event != "DELETED":
            self.controllers.changed(obj, before, self.now)

    def _look_at_probes(self, now: int) -> None:
        """Policies decide on probes, too."""
        for proxy in list(self.proxies.values()):
            self.kubelet.look(proxy.pod, now)

    def watch_for_flips(self) -> None:
        """From now on tell `flip_seen` of namespaces that begin to require mutual TLS."""
        self._strict = self._strict_namespaces()

    def _strict_namespaces(self) -> set[str]:
        policies, root = self.catalog.policies(), self.catalog.mesh_config().root
        names = {obj["metadata"]["name"] for obj in self.catalog.objects("Namespace")}
        return {name for name in names if service_mode(policies, root, name) is Mode.STRICT}

    def _look_for_flips(self) -> None:
        strict = self._strict_namespaces()
        fresh, self._strict = strict - self._strict, strict
        for namespace in sorted(fresh):
            for listen in self.flip_seen:
                listen(namespace, self.now)

    def _pod_changed(self, event: str, obj: Json, before: Json | None) -> None:
        key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        pod = None if event == "DELETED" else self.catalog.pod(*key)
        proxy = self.proxies.get(key)
        gone = pod is None or not pod.running
        if proxy is not None and (gone or (pod is not None and pod.uid != proxy.pod.uid)):
            self.kubelet.forget(proxy.pod)
            self.scraper.drop(key)
            del self.proxies[key]
            proxy = None
        begins = event == "ADDED" or (before is not None and not (before.get("status") or {}).get("podIP"))
        if pod is not None and begins and not pod.ready and pod.running:
            self.schedule(self.now + STARTUP, lambda at, pod=pod: self.kubelet.started(pod, at))  # type: ignore[misc]
        if pod is None or gone or not pod.proxied:
            return
        if proxy is None:
            self._start_proxy(pod)
        else:
            proxy.pod = pod

    def _start_proxy(self, pod: PodView) -> None:
        proxy = Proxy(pod, self.scraper.target(pod), self.settings.version)
        self.istiod.connect(proxy)
        self.proxies[pod.key] = proxy

    def _app_targets(self) -> dict[tuple[str, str, str], float]:
        """Whether Prometheus reaches the application ports that it scrapes directly, by pod and port."""
        found: dict[tuple[str, str, str], float] = {}
        for flow in self.flows.values():
            if flow.traffic.caller == "prometheus":
                for pod in self.network.destinations(replace(flow.traffic, pod_ip=True)):
                    dial = self.network.dial(flow.traffic, None, pod)
                    found[pod.namespace, pod.name, f"{pod.ip}:{dial.target.port}"] = float(dial.served)
        return found

    def _drained(self, proxy: Proxy, draining: Draining) -> None:
        self.kubelet.look(proxy.pod, self.now)

        def finish(_: int) -> None:
            if draining in proxy.draining:
                for flow in self.flows.values():
                    flow.cut(proxy, draining)
                proxy.finish(draining)

        self.schedule(draining.until, finish)

    def _job_fails(self, namespace: str, name: str) -> bool:
        pod = self.catalog.pod(namespace, name)
        for flow in self.flows.values():
            if pod is None or pod not in self.network.sources(flow.traffic):
                continue
            ends: list[PodView | None] = [*self.network.destinations(flow.traffic)] or [None]
            if not all(self.network.dial(flow.traffic, pod, end).served for end in ends):
                return True
        return False


def _version(obj: Json) -> int:
    return int(obj["metadata"].get("resourceVersion") or 0)


def _stored(store: Cluster, resource: Any) -> list[Json]:
    return [*store.list(resource.api_version(), resource.kind)] if "list" in resource.verbs else []
