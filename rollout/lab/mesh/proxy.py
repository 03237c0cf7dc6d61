"""A sidecar: the listener that it has in force, what it drains, and the counters that Istio exports by default."""

from __future__ import annotations

from dataclasses import dataclass

from rollout.lab.mesh.catalog import PodView
from rollout.lab.mesh.labels import Labels
from rollout.lab.mesh.listener import Answer, Drain, Hello, Listener, Update, answer, compare
from rollout.lab.mesh.loggers import Levels
from rollout.lab.mesh.meter import Meter

_LISTENERS = "envoy_listener_manager"


@dataclass(frozen=True, slots=True)
class Draining:
    """Connections that live on old chains: those opened before `since` on these ports are cut at `until`."""

    update: Update
    since: int
    until: int

    def concerns(self, port: int, listener: Listener) -> bool:
        """Whether a connection on this port is cut."""
        own = port if port in listener.ports else 0
        return self.update.drain is Drain.WHOLE or own in self.update.ports or port in self.update.ports


class Proxy:
    """One running sidecar or gateway.

    Attributes:
        stuck: it gets no updates (its connection to istiod hangs).
        rejecting: it refuses every update and goes on with what it has.
        levels: of its loggers.
    """

    def __init__(self, pod: PodView, meter: Meter, version: str) -> None:
        """Start without a listener; istiod gives it one before the pod is Ready."""
        self.pod, self.meter, self.version = pod, meter, version
        self.listener: Listener | None = None
        self.draining: list[Draining] = []
        self.stuck = False
        self.rejecting = False
        self.levels = Levels()
        self.started = pod.started
        self._drained: list[Draining] = []
        self.boot()

    def boot(self) -> None:
        """Set the counters that a fresh Envoy has."""
        version: Labels = (("component", "proxy"), ("tag", self.version))
        self.meter.gauge("istio_build", 1, version)
        for name in (
            "listener_modified",
            "listener_in_place_updated",
            "lds_update_rejected",
            "lds_update_failure",
            "total_listeners_draining",
            "total_filter_chains_draining",
        ):
            self.meter.gauge(f"{_LISTENERS}_{name}", 0)
        for name in ("lds_update_success", "listener_added", "total_listeners_active"):
            self.meter.gauge(f"{_LISTENERS}_{name}", 1)

    def take(self, listener: Listener, now: int, drain: int) -> Draining | None:
        """Take an update from istiod; returns what it drains until now + `drain` milliseconds."""
        if self.rejecting:
            self.meter.bump(f"{_LISTENERS}_lds_update_rejected")
            return None
        self.meter.bump(f"{_LISTENERS}_lds_update_success")
        old, self.listener = self.listener, listener
        update = compare(old, listener) if old is not None else Update(Drain.NOTHING)
        if update.drain is Drain.NOTHING:
            return None
        whole = update.drain is Drain.WHOLE
        self.meter.bump(f"{_LISTENERS}_{'listener_modified' if whole else 'listener_in_place_updated'}")
        draining = Draining(update, now, now + drain)
        self.draining.append(draining)
        self._gauges()
        return draining

    def finish(self, draining: Draining) -> None:
        """The drain is over."""
        self.draining.remove(draining)
        self._drained.append(draining)
        self._gauges()

    def renewed(self, port: int) -> int:
        """When all connections on a port were last made anew: at the start, or when a drain ended."""
        listener = self.listener
        ends = [d.until for d in self._drained if listener is not None and d.concerns(port, listener)]
        return max([self.started, *ends])

    def answer(self, port: int, hello: Hello, *, http: bool) -> Answer:
        """Let a connection match the listener in force."""
        assert self.listener is not None, "a proxy has a listener before it has traffic"
        return answer(self.listener, port, hello, http=http)

    def _gauges(self) -> None:
        whole = [d for d in self.draining if d.update.drain is Drain.WHOLE]
        chains = sum(d.update.chains for d in self.draining if d.update.drain is Drain.PORTS)
        self.meter.gauge(f"{_LISTENERS}_total_listeners_draining", len(whole))
        self.meter.gauge(f"{_LISTENERS}_total_filter_chains_draining", chains)
