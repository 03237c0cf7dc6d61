"""Connections and streams that stay open: found by no rate of opened connections, cut when a drain ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rollout.lab.mesh.catalog import PodView
from rollout.lab.mesh.listener import Answer
from rollout.lab.mesh.meter import Counted
from rollout.lab.mesh.outcome import CUT_STREAM, Count, Side
from rollout.lab.mesh.pattern import Every
from rollout.lab.mesh.proxy import Draining, Proxy
from rollout.lab.mesh.traffic import Dial, Network, Traffic

_RETRY = 10_000  # a client that was refused tries again so often


@dataclass(slots=True)
class Connection:
    """One connection, or one client that would like to have one (`open` False: it tries again and again)."""

    dial: Dial
    opened: int
    open: bool


class LongLived:
    """The connections of one edge: each calling pod holds `traffic.connections` of them.

    Args:
        traffic: the edge.
        network: where to dial and count.
    """

    def __init__(self, traffic: Traffic, network: Network) -> None:
        """Hold nothing yet."""
        self.traffic, self.network = traffic, network
        self.held: dict[tuple[str, str], list[Connection]] = {}
        self._counted: list[Counted] = []
        self._known: list[tuple[object, ...]] = []

    def segment(self, start: int) -> None:
        """Open what is missing, drop what lost its pod, and let the open ones carry bytes."""
        sources = {_key(pod): pod for pod in self.network.sources(self.traffic)}
        endpoints = {pod.key for pod in self.network.destinations(self.traffic)}
        for key in [key for key in self.held if key not in sources]:
            self._drop(self.held.pop(key))
        for index, (key, source) in enumerate(sources.items()):
            kept = self.held.setdefault(key, [])
            lost = [c for c in kept if _key(c.dial.destination) not in endpoints]
            self._drop(lost)
            kept[:] = [c for c in kept if c not in lost]
            for connection in kept:
                self._retry(connection, start)
            for number in range(len(kept), self.traffic.connections):
                kept.append(self._open(source, index + number, start))
        every = [connection for connections in self.held.values() for connection in connections]
        known = [(*self.network.ends(c.dial), c.opened, c.open) for c in every]
        if known == self._known and not self.network.writes:
            return
        self.settle(start)
        self._known = known
        for connection in every:
            self._carry(connection, start)

    def settle(self, end: int) -> None:
        """The curves end."""
        for counted in self._counted:
            counted.settle(end)
        self._counted, self._known = [], []

    def cut(self, proxy: Proxy, draining: Draining) -> None:
        """The drain ends: connections from before it are closed, their clients connect anew."""
        if proxy.listener is None:
            return
        for connections in self.held.values():
            for number, connection in enumerate(connections):
                dial = connection.dial
                hit = dial.destination is not None and dial.destination.key == proxy.pod.key
                if not hit or not connection.open or connection.opened > draining.since:
                    continue
                if draining.concerns(dial.target.port, proxy.listener):
                    self._closed(connection)
                    self.network.logged_once(self.traffic, dial, draining.until)
                    connections[number] = self._open(dial.source, number, draining.until)

    def close(self) -> None:
        """The caller stops in good order."""
        self.settle(self.network.now())
        for connections in self.held.values():
            self._drop(connections)
        self.held = {}

    def _open(self, source: PodView | None, number: int, now: int) -> Connection:
        endpoints = self.network.destinations(self.traffic)
        destination = endpoints[number % len(endpoints)] if endpoints else None
        dial = self.network.dial(self.traffic, source, destination)
        connection = Connection(dial, now, dial.served)
        if self.traffic.protocol == "tcp":
            counts = self.network.counts(self.traffic, dial)
            if connection.open:
                counts = tuple(replace(c, closed=False) for c in counts)
            self.network.once(self.traffic, dial, counts)
        return connection

    def _retry(self, connection: Connection, now: int) -> None:
        if connection.open:
            return
        dial = self.network.dial(self.traffic, connection.dial.source, connection.dial.destination)
        connection.dial = dial
        if dial.served:
            connection.open, connection.opened = True, now
            if self.traffic.protocol == "tcp":
                counts = self.network.counts(self.traffic, dial)
                self.network.once(self.traffic, dial, tuple(replace(c, closed=False) for c in counts))

    def _closed(self, connection: Connection) -> None:
        if self.traffic.protocol == "tcp":
            counts = self.network.counts(self.traffic, connection.dial)
            self.network.once(self.traffic, connection.dial, tuple(replace(c, opened=False) for c in counts))
            return
        mutual = connection.dial.answer is Answer.MUTUAL_TLS
        grpc = "14" if self.traffic.protocol == "grpc" else ""
        cut = tuple(replace(c, mutual=mutual, grpc=grpc if c.side is Side.SOURCE else "") for c in CUT_STREAM)
        self.network.once(self.traffic, connection.dial, cut)

    def _drop(self, connections: list[Connection]) -> None:
        for connection in connections:
            if connection.open and self.traffic.protocol == "tcp":
                self._closed(connection)

    def _carry(self, connection: Connection, start: int) -> None:
        counts = self.network.counts(self.traffic, connection.dial)
        if not connection.open:
            if connection.dial.answer is Answer.HANGS:
                return
            pattern = Every(_RETRY, connection.opened)
        elif self.traffic.protocol == "tcp":
            pattern = Every(1000, connection.opened)
        else:
            pattern = Every(self.traffic.lasts, connection.opened)
        if not connection.open or self.traffic.protocol != "tcp":  # an open connection is logged when it ends
            self.network.logged(self.traffic, connection.dial, pattern, lambda n: n)
        counted = Counted(pattern, start)
        self._counted.append(counted)
        for count in counts:
            self._count(connection, count, counted)

    def _count(self, connection: Connection, count: Count, counted: Counted) -> None:
        place = self.network.places(self.traffic, connection.dial, count)
        if place is None:
            return
        meter, labels = place
        if self.traffic.protocol != "tcp":
            meter.requests(labels, counted, lambda n: n * count.times, float(self.traffic.lasts))
        elif connection.open:
            size = self.traffic.bytes
            for name in ("sent", "received"):
                counted.grow(meter.counter(f"istio_tcp_{name}_bytes_total", labels), lambda n: n * size)
        else:
            for name in ("opened", "closed"):
                if getattr(count, name):
                    counted.grow(meter.counter(f"istio_tcp_connections_{name}_total", labels), lambda n: n)


def _key(pod: PodView | None) -> tuple[str, str]:
    return pod.key if pod is not None else ("", "")
