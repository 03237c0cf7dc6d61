"""One running lab: a scenario's cluster, its mesh with nine days of history, its Prometheus, and its clock.

`Lab.start("legacy-caller")` serves all of it on one loopback port. Everything that the tool sees goes through that
socket; what a person in the story would do (`fire`) or wait for (`advance`) goes through this object.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rollout.errors import ClusterError, UsageError
from rollout.lab.api import ADMIN, ApiError, User
from rollout.lab.api.faults import Faults
from rollout.lab.api.store import Store
from rollout.lab.clock import VirtualClock
from rollout.lab.contents import label_late, populate, publish_root
from rollout.lab.durations import duration
from rollout.lab.forwarder import Forwarder
from rollout.lab.front import Outage
from rollout.lab.mesh.accesslog import Form
from rollout.lab.mesh.agent import Agents
from rollout.lab.mesh.cluster import Cluster
from rollout.lab.mesh.identity import Identities
from rollout.lab.mesh.instants import to_moment, to_ms
from rollout.lab.mesh.outside import Outside, refuse
from rollout.lab.mesh.samples import ScrapeStorage
from rollout.lab.mesh.simulation import Settings, Simulation
from rollout.lab.prometheus import Prometheus
from rollout.lab.remote import NO_ANSWER, Remote, RemoteStore
from rollout.lab.scenario import Expected, Scenario, list_scenarios, load_scenario, parse_traffic
from rollout.lab.server import LabServer

__all__ = ["Lab", "list_scenarios"]

Json = dict[str, Any]

_TRUST_DOMAIN = "cluster.local"  # as `manifests` writes it to MeshConfig


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
        api: Remote | None = None,
    ) -> None:
        """Build the cluster and let its history happen.

        Args:
            scenario: what to build.
            seed: which jitter and delays.
            start: the first instant that clients see.
            monotonic: the real clock, by which time runs while nobody is attached.
            prometheus: URL of a real server that is to evaluate (see `Forwarder`), '' for the lab's own evaluator.
            api: an empty API server that is to hold the objects, for this lab alone; None for the lab's own.

        Raises:
            UsageError: no such URL; an API server that is in use, or lacks what the scenario needs.
            ClusterError: an API server that does not answer, or refuses an object.
        """
        self.scenario = scenario
        self._seed, self._evaluates = seed, prometheus
        self._past = start - timedelta(milliseconds=scenario.look_back)
        self._clock: VirtualClock | None = None
        self._remote: RemoteStore | None = None
        self._own: Store | None = None
        self.faults = Faults()
        with self._left_if_it_fails(api):
            self._begin(start, api)
        self._clock = VirtualClock(start, monotonic=monotonic)  # now: time runs from here on
        self._clock.on_advance = self._advance
        self._server: LabServer | None = None

    @contextmanager
    def _left_if_it_fails(self, api: Remote | None) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            with suppress(ClusterError):
                self._leave()
            if api is not None and isinstance(error, (*NO_ANSWER, ApiError)):
                raise _not_taken(error, api) from error
            if isinstance(error, ApiError) and hasattr(error, "__notes__"):
                said = f"no valid scenario: {error.__notes__[0]}: {error}"
                raise UsageError(said, where=self.scenario.path, next="see docs/scenarios.md") from error
            raise

    def _begin(self, start: datetime, api: Remote | None) -> None:
        """Build the cluster and let its history happen."""
        scenario = self.scenario
        if api is None:
            self._own = Store(self._now, scenario.kinds)
        else:
            api.kubeconfig(scenario.user)  # no credentials: said before anything is written
            kinds = {str((event.on_write or {}).get("kind", "")) for event in scenario.events}
            self._remote = RemoteStore(api, self._now, scenario.kinds, follow=kinds)
        begin = to_ms(self._past)
        populate(self.cluster, scenario, begin)
        for rule in scenario.refusals:
            self._refuse(rule)
        settings = Settings(
            scenario.scrape_interval, scenario.propagation, scenario.version, self._seed, Form(scenario.access_log),
            scenario.relabel,
        )  # fmt: skip
        self.simulation = Simulation(self.cluster, begin, settings)
        self.simulation.controllers.job_takes.update(
            {(w.namespace, w.name): w.takes for w in scenario.workloads if w.kind == "CronJob"}
        )
        identities = Identities(_TRUST_DOMAIN, begin, to_ms(start), scenario.certificates)
        self.simulation.take_identities(identities)
        publish_root(self.cluster, identities)
        self._agents = Agents(self.simulation, identities, self._catch_up)
        self.prometheus = self._evaluator(self._evaluates)
        self.outside = self._world_outside(to_ms(start))
        self._live_through(to_ms(start))

    @classmethod
    def start(
        cls,
        scenario: str | Path,
        *,
        seed: int = 1,
        start: datetime | None = None,
        port: int = 0,
        prometheus: str = "",
        api: str | Path = "",
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
            api: kubeconfig of a kube-apiserver, empty and of this lab alone, that holds the objects and is emptied at
                the end; '' for the lab's own. A user of the scenario is a user of that file with this name. `start`
                must be the real time plus the history, or the server's stamps do not lie in the past.

        Raises:
            UsageError: no such scenario, or not a valid one; no such URL; no such kubeconfig, or a server in use.
            ClusterError: an API server that does not answer, or refuses an object.
        """
        read = load_scenario(scenario)
        remote = Remote.of_kubeconfig(api) if api else None
        now = datetime.now(UTC).replace(microsecond=0)
        start = start or now + timedelta(milliseconds=read.look_back)
        lab = cls(read, seed=seed, start=start, prometheus=prometheus, api=remote)
        lab.serve(port)
        return lab

    def serve(self, port: int = 0) -> None:
        """Open the socket.

        Raises:
            UsageError: the port is taken, or not for this user.
        """
        user = self.scenario.user  # without one everybody is admin: kubectl sends no token over plain HTTP
        tokens = {"lab": User(user, ("system:authenticated",)), "admin": ADMIN} if user else None
        self._server = self._bound(port, tokens)
        self._server.start()
        self.clock.start()

    def _bound(self, port: int, tokens: dict[str, User] | None) -> LabServer:
        try:
            return self._made(port, tokens)
        except OSError as error:
            self._leave()
            raise UsageError(
                f"the lab cannot listen on port {port}: {error.strerror}", next="another --port, or none for a free one"
            ) from error

    def _made(self, port: int, tokens: dict[str, User] | None) -> LabServer:
        return LabServer(
            self._own,
            self.clock,
            prometheus=self.prometheus,
            port=port,
            tokens=tokens,
            services={"prometheus.monitoring:9090": self.prometheus.handle},
            faults=self.faults,
            logs=self._logs,
            elsewhere=self._remote.remote.kubeconfig(self.scenario.user) if self._remote is not None else "",
            exec_=self._agents.run,
        )

    @property
    def clock(self) -> VirtualClock:
        """Virtual time."""
        assert self._clock is not None, "history is over when __init__ returns"
        return self._clock

    @property
    def store(self) -> Store:
        """The objects of the lab's own API server; on another one see `cluster`."""
        assert self._own is not None, "the objects are on another API server"
        return self._own

    @property
    def cluster(self) -> Cluster:
        """The objects, wherever they are."""
        found = self._own if self._own is not None else self._remote
        assert found is not None, "a lab has a cluster"
        return found

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
        """Of the lab, as `--lab` takes it; of the Kubernetes API too, unless another server holds the objects."""
        return self._serving().url

    @property
    def cluster_url(self) -> str:
        """Of the Kubernetes API: the lab's own, or another server's."""
        return self._serving().url if self._remote is None else self._remote.remote.url

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

    @property
    def failures(self) -> list[BaseException]:
        """What went wrong that no API refused: in an event, or in a connection's thread."""
        served = self._server.failures if self._server is not None else []
        return [*self.outside.errors, *served]

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
        self._leave()

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
            refuse=self._refuse,
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
        label_late(self.cluster, self.scenario)
        for traffic in self.scenario.traffic:
            self.simulation.add(traffic)
        self.simulation.advance(until, self._remember)
        self.simulation.watch_for_flips()

    def _remember(self, ms: int) -> None:
        self._past = to_moment(ms)

    def _leave(self) -> None:
        remote, self._remote = self._remote, None
        if remote is not None:
            remote.leave()

    def _refuse(self, rule: Json) -> None:
        if self._remote is not None:
            self._remote.refuse(rule)
        else:
            refuse(self.store, rule)

    def _advance(self, old: datetime, new: datetime) -> None:
        if self._remote is not None:
            self._remote.look()
        self.simulation.advance(to_ms(new), lambda ms: self.clock.step(max(old, min(new, to_moment(ms)))))

    def _prometheus_away(self, away: bool) -> None:
        self.prometheus.switches.outage = Outage.UNAVAILABLE if away else Outage.NONE


def _not_taken(error: Exception, api: Remote) -> ClusterError:
    said = f"the API server does not take the scenario: {type(error).__name__}: {error}"
    return ClusterError(said, where=api.url, next="is it up, and its kubeconfig an administrator's?")
