"""One running lab: a scenario's cluster, its mesh with nine days of history, its Prometheus, and its clock.

`Lab.start("legacy-caller")` serves all of it on one loopback port. Everything that the tool sees goes through that
socket; what a person in the story would do (`fire`) or wait for (`advance`) goes through this object.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rollout.lab.api import ADMIN, User
from rollout.lab.api.faults import Faults
from rollout.lab.api.store import Store
from rollout.lab.clock import VirtualClock
from rollout.lab.forwarder import Forwarder
from rollout.lab.front import Outage
from rollout.lab.mesh.accesslog import Form
from rollout.lab.mesh.agent import Agents
from rollout.lab.mesh.identity import Identities
from rollout.lab.mesh.manifests import Workload, cluster_objects
from rollout.lab.mesh.outside import Outside, refuse
from rollout.lab.mesh.samples import ScrapeStorage
from rollout.lab.mesh.simulation import Settings, Simulation, to_ms
from rollout.lab.prometheus import Prometheus
from rollout.lab.scenario import Expected, Scenario, duration, list_scenarios, load_scenario, parse_traffic
from rollout.lab.server import LabServer

__all__ = ["Lab", "list_scenarios"]

_TRUST_DOMAIN = "cluster.local"  # as `manifests` writes it to MeshConfig
_ISTIOD = Workload(
    name="istiod",
    namespace="istio-system",
    replicas=1,
    sidecar="none",
    ports={"https-dns": 15012, "https-webhook": 443, "http-monitoring": 15014},
    targets={"https-webhook": 15017},
)


class Lab:
    """A scenario that runs.

    Attributes:
        scenario: what was read.
        store: the API's objects.
        simulation: the mesh.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int,
        start: datetime,
        monotonic: Callable[[], float] = time.monotonic,
        prometheus: str = "",
    ) -> None:
        """Build the cluster and let its history happen.

        Args:
            scenario: what to build.
            seed: which jitter and delays.
            start: the first instant that clients see.
            monotonic: the real clock, by which time runs while nobody is attached.
            prometheus: URL of a real server that is to evaluate (see `Forwarder`), '' for the lab's own evaluator.

        Raises:
            UsageError: no such URL.
        """
        self.scenario = scenario
        self._past = start - timedelta(milliseconds=scenario.look_back)
        self._clock: VirtualClock | None = None
        self.store = Store(self._now)
        self.faults = Faults()
        begin = to_ms(self._past)
        self._populate(begin)
        settings = Settings(
            scenario.scrape_interval, scenario.propagation, scenario.version, seed, Form(scenario.access_log)
        )
        self.simulation = Simulation(self.store, begin, settings)
        self.simulation.controllers.job_takes.update(
            {(w.namespace, w.name): w.takes for w in scenario.workloads if w.kind == "CronJob"}
        )
        self._agents = self._certify(Identities(_TRUST_DOMAIN, begin, to_ms(start), scenario.certificates))
        self.prometheus = self._evaluator(prometheus)
        self.outside = self._world_outside(to_ms(start))
        self._live_through(to_ms(start))
        self._clock = VirtualClock(start, monotonic=monotonic)  # now: time runs from here on
        self._clock.on_advance = self._advance
        self._server: LabServer | None = None

    @classmethod
    def start(
        cls,
        scenario: str | Path,
        *,
        seed: int = 1,
        start: datetime | None = None,
        port: int = 0,
        prometheus: str = "",
    ) -> Lab:
        """Start a shipped scenario, or one from a file, and serve it.

        Args:
            scenario: a name of `list_scenarios`, or a path that ends in `.yaml`.
            seed: which jitter and delays; the same seed gives the same metrics.
            start: the lab's present; None for the real time plus the history that exists (nine days: a look-back and a
                day more), so that the stamps of a real API server and of a real Prometheus agree with it.
            port: 0 for a free one.
            prometheus: URL of a real server, empty and of this lab alone, that gets the samples and answers the
                queries; '' for the lab's own evaluator.

        Raises:
            UsageError: no such scenario, or not a valid one; no such URL.
        """
        read = load_scenario(scenario)
        now = datetime.now(UTC).replace(microsecond=0)
        lab = cls(read, seed=seed, start=start or now + timedelta(milliseconds=read.look_back), prometheus=prometheus)
        lab.serve(port)
        return lab

    def serve(self, port: int = 0) -> None:
        """Open the socket."""
        user = self.scenario.user  # without one everybody is admin: kubectl sends no token over plain HTTP
        tokens = {"lab": User(user, ("system:authenticated",)), "admin": ADMIN} if user else None
        self._server = LabServer(
            self.store,
            self.clock,
            prometheus=self.prometheus,
            port=port,
            tokens=tokens,
            services={"prometheus.monitoring:9090": self.prometheus.handle},
            faults=self.faults,
            logs=self._logs,
            exec_=self._agents.run,
        )
        self._server.start()
        self.clock.start()

    @property
    def clock(self) -> VirtualClock:
        """Virtual time."""
        assert self._clock is not None, "history is over when __init__ returns"
        return self._clock

    @property
    def storage(self) -> ScrapeStorage:
        """The samples."""
        return self.simulation.storage

    @property
    def expected(self) -> Expected:
        """How a migration should end."""
        return self.scenario.expected

    @property
    def api_url(self) -> str:
        """Of the Kubernetes API."""
        return self._serving().url

    @property
    def prometheus_url(self) -> str:
        """Of Prometheus."""
        return f"{self._serving().url}/prometheus"

    @property
    def clock_url(self) -> str:
        """Where processes attach to virtual time."""
        return f"{self._serving().url}/lab/clock"

    @property
    def kubeconfig(self) -> str:
        """A kubeconfig for the scenario's user, as text; the token `admin` may do everything."""
        return self._serving().kubeconfig()

    def fire(self, name: str) -> None:
        """Let an outside event of the scenario happen now.

        Raises:
            UsageError: it has none of that name.
        """
        self.clock.catch_up()
        self.outside.fire(name)

    def advance(self, by: timedelta = timedelta(), *, days: float = 0) -> None:
        """Let time pass."""
        with self.clock.attach() as here:
            here.sleep_until(self.clock.now() + by + timedelta(days=days))

    def stop(self) -> None:
        """Close the socket and let every sleeper go."""
        self.clock.close()
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        """Return the lab itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _serving(self) -> LabServer:
        if self._server is None:
            raise RuntimeError("the lab does not serve")
        return self._server

    def _world_outside(self, start_ms: int) -> Outside:
        return Outside(
            self.simulation,
            self.scenario.events,
            start_ms,
            prometheus_away=self._prometheus_away,
            faults=self.faults,
            parse_traffic=parse_traffic,
            parse_duration=duration,
        )

    def _evaluator(self, url: str) -> Prometheus | Forwarder:
        storage, targets = self.simulation.storage, self.simulation.scraper.targets
        if url:
            return Forwarder(url, storage, self._now, targets=targets)
        return Prometheus(storage, self._now, targets=targets)

    def _now(self) -> datetime:
        return self._clock.now() if self._clock is not None else self._past

    def _catch_up(self) -> None:
        self.clock.catch_up()

    def _logs(self, namespace: str, pod: str, container: str, since: datetime | None) -> list[tuple[datetime, str]]:
        """Proxies alone write something."""
        if container != "istio-proxy":
            return []
        self.clock.catch_up()
        return self.simulation.written_by((namespace, pod), since)

    def _live_through(self, until: int) -> None:
        self.simulation.begin()
        self._label_late()
        for traffic in self.scenario.traffic:
            self.simulation.add(traffic)
        self.simulation.advance(until, self._remember)
        self.simulation.watch_for_flips()

    def _remember(self, ms: int) -> None:
        self._past = _moment(ms)

    def _advance(self, old: datetime, new: datetime) -> None:
        self.simulation.advance(to_ms(new), lambda ms: self.clock.step(max(old, min(new, _moment(ms)))))

    def _prometheus_away(self, away: bool) -> None:
        self.prometheus.switches.outage = Outage.UNAVAILABLE if away else Outage.NONE

    def _populate(self, begin: int) -> None:
        scenario, old = self.scenario, _moment(begin - 30 * 86_400_000)
        namespaces: dict[str, Any] = {"istio-system": {}, scenario.root: {}, **scenario.namespaces}
        for name, value in namespaces.items():
            self.store.create(_namespace(name, value), created=old)
        for obj in cluster_objects(scenario.version, scenario.root, scenario.drain, scenario.access_log):
            self.store.create(obj, created=old, manager="istio-installer")
        self._create(_ISTIOD, begin)
        for workload in scenario.workloads:
            self._create(workload, begin)
        for index, obj in enumerate(scenario.objects):
            created = _moment(begin - scenario.ages[index]) if index in scenario.ages else old
            self.store.create(obj, created=created, manager=scenario.managers.get(index, "kubectl"))
        for rule in scenario.refusals:
            refuse(self.store, rule)

    def _certify(self, identities: Identities) -> Agents:
        """Give the proxies certificates, and each namespace the root: all but two, as istiod does (istio.md 12)."""
        self.simulation.take_identities(identities)
        data, labels = {"root-cert.pem": identities.root.pem.decode()}, {"istio.io/config": "true"}
        for namespace in self.store.list("v1", "Namespace"):
            name = namespace["metadata"]["name"]
            meta = {"name": "istio-ca-root-cert", "namespace": name, "labels": labels}
            document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
            if name not in ("kube-public", "kube-node-lease"):
                self.store.create(document, created=_moment(identities.begin), manager="pilot-discovery")
        return Agents(self.simulation, identities, self._catch_up)

    def _label_late(self) -> None:
        for name, value in self.scenario.namespaces.items():
            if value.get("injection") == "late":
                change = {"metadata": {"labels": {"istio-injection": "enabled"}}}
                self.store.patch("v1", "Namespace", name, change)

    def _create(self, workload: Workload, begin: int) -> None:
        for obj in workload.objects():
            if workload is _ISTIOD and obj["kind"] == "Deployment":
                container = obj["spec"]["template"]["spec"]["containers"][0]
                container.update(name="discovery", image=f"docker.io/istio/pilot:{self.scenario.version}")
            self.store.create(obj, created=_moment(begin - workload.age))


def _namespace(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    labels = {"istio-injection": "enabled"} if value.get("injection") == "enabled" else {}
    meta = {"name": name, "labels": {**labels, **(value.get("labels") or {})}}
    if "annotations" in value:
        meta["annotations"] = dict(value["annotations"])
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
