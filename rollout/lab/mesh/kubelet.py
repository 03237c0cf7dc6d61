"""The kubelet: pods become Ready, and its probes go through the proxy's listener where they were not rewritten.

Under STRICT an httpGet or grpc probe is refused; a tcpSocket probe succeeds blindly, always (observed.md h).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

from rollout.lab.mesh.catalog import Catalog, PodView, Probe
from rollout.lab.mesh.cluster import Cluster
from rollout.lab.mesh.inject import STATUS_PORT
from rollout.lab.mesh.labels import Target
from rollout.lab.mesh.listener import PLAINTEXT, Answer
from rollout.lab.mesh.meter import Counted
from rollout.lab.mesh.pattern import Every
from rollout.lab.mesh.pods import conditions, stamp
from rollout.lab.mesh.traffic import Dial, Network, Traffic

_BACKOFF = 60_000

Schedule = Callable[[int, Callable[[int], None]], None]


class Kubelet:
    """All nodes' kubelets in one.

    Args:
        store: where pod status and events are written.
        catalog: the objects.
        network: how probes reach pods.
        schedule: calls back at a time.
        ready_changed: hears of each pod whose readiness changed.
    """

    def __init__(
        self,
        store: Cluster,
        catalog: Catalog,
        network: Network,
        schedule: Schedule,
        ready_changed: Callable[[str, str, int], None],
    ) -> None:
        """Watch no pod yet."""
        self._store, self._catalog, self._network = store, catalog, network
        self._schedule, self._ready_changed = schedule, ready_changed
        self._failing: dict[tuple[str, str], int] = {}  # pod -> since when
        self._counted: list[Counted] = []
        self._known: list[tuple[object, ...]] = []

    def started(self, pod: PodView, now: int) -> None:
        """A pod's containers have had their time to start."""
        current = self._catalog.pod(*pod.key)
        if current is None or current.uid != pod.uid:
            return
        if self.refused(current):
            self.look(current, now)
        elif not current.ready and current.running:
            self._set_ready(current, now, ready=True)

    def refused(self, pod: PodView) -> list[Probe]:
        """The pod's probes that its proxy refuses."""
        return [p for p in _through_proxy(pod) if not self._dial(pod, p).served]

    def look(self, pod: PodView, now: int) -> None:
        """A pod's listener changed: probes may fail, or work again."""
        refused = self.refused(pod)
        if refused and pod.key not in self._failing:
            self._failing[pod.key] = now
            for probe in refused:
                first = now + probe.period
                self._schedule(first, lambda at, p=probe: self._event(pod, p, at))  # type: ignore[misc]
                limit = now + probe.period * probe.threshold
                self._schedule(limit, lambda at, p=probe: self._failed(pod, p, now, at))  # type: ignore[misc]
        elif not refused and self._failing.pop(pod.key, None) is not None:
            self._schedule(now + 10_000, lambda at: self.started(pod, at))

    def forget(self, pod: PodView) -> None:
        """A pod is gone."""
        self._failing.pop(pod.key, None)

    def segment(self, start: int) -> None:
        """Count the probes that go through proxies: plaintext requests of a nameless caller."""
        running = [pod for pod in self._catalog.pods() if pod.running and pod.proxied]
        probes = [(pod, probe, self._dial(pod, probe)) for pod in running for probe in _through_proxy(pod)]
        counted = [each for each in probes if each[2].answer in (Answer.PLAIN, Answer.NO_CHAIN)]
        known = [(*self._network.ends(dial), probe) for _, probe, dial in counted]
        if known == self._known and not self._network.writes:
            return
        for calls in self._counted:
            calls.settle(start)
        self._counted, self._known = [], known
        for pod, probe, dial in counted:
            self._count(self._traffic(pod, probe), dial, Every(probe.period, pod.started), start)

    def _count(self, traffic: Traffic, dial: Dial, pattern: Every, start: int) -> None:
        self._network.logged(traffic, dial, pattern, lambda n: n)
        counted = Counted(pattern, start)
        self._counted.append(counted)
        for count in self._network.counts(traffic, dial):
            place = self._network.places(traffic, dial, count)
            if place is not None:
                meter, labels = place
                meter.requests(labels, counted, lambda n: n, 1.0)

    def _traffic(self, pod: PodView, probe: Probe) -> Traffic:
        service = next((s.name for s in self._catalog.services() if s.selects(pod)), "unknown")
        place, protocol = (pod.namespace, service), _protocol(probe)
        return Traffic("probe", None, place, probe.port, "kubelet", protocol=protocol, lasts=1, path=probe.path)

    def _dial(self, pod: PodView, probe: Probe) -> Dial:
        """How the listener answers, and what AuthorizationPolicies say of it."""
        traffic = self._traffic(pod, probe)
        declared = probe.port in self._catalog.declared(pod)
        target = Target(pod.namespace, traffic.service[1], probe.port, declared)
        answer = self._network.reach(pod, probe.port, PLAINTEXT, "http")
        dial = Dial(None, pod, target, PLAINTEXT, answer)
        return replace(dial, verdict=self._network.decided(traffic, dial)) if answer is Answer.PLAIN else dial

    def _event(self, pod: PodView, probe: Probe, now: int) -> None:
        if pod.key not in self._failing or self._catalog.pod(*pod.key) is None:
            return
        role = probe.role.removesuffix("Probe").capitalize()
        name = f"{pod.name}.{now:x}.{probe.role[0]}"
        text = f'Get "http://{pod.ip}:{probe.port}/": read tcp {pod.ip}:{probe.port}: read: connection reset by peer'
        if self._dial(pod, probe).verdict is not None:
            text = f"{'HTTP' if probe.how == 'httpGet' else 'gRPC'} probe failed with statuscode: 403"
        self._store.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": name, "namespace": pod.namespace},
                "involvedObject": {
                    "kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid,
                    "fieldPath": f"spec.containers{{{probe.container}}}",
                },
                "reason": "Unhealthy",
                "message": f"{role} probe failed: {text}",
                "type": "Warning",
                "count": probe.threshold,
                "firstTimestamp": stamp(now),
                "lastTimestamp": stamp(now),
                "source": {"component": "kubelet"},
            },
            manager="kubelet",
        )  # fmt: skip

    def _failed(self, pod: PodView, probe: Probe, since: int, now: int) -> None:
        if self._failing.get(pod.key) != since:
            return
        current = self._catalog.pod(*pod.key)
        if current is None or current.uid != pod.uid:
            return
        if current.ready:
            self._set_ready(current, now, ready=False)
        if probe.role == "livenessProbe":
            self._restart(current, probe.container, now)
            again = now + _BACKOFF + probe.period * probe.threshold
            self._schedule(again, lambda at: self._failed(pod, probe, since, at))

    def _restart(self, pod: PodView, container: str, now: int) -> None:
        statuses = self._statuses(pod)
        for status in statuses:
            if status["name"] == container:
                status["restartCount"] += 1
                status["state"] = {"running": {"startedAt": stamp(now)}}
        self._patch(pod, {"containerStatuses": statuses})

    def _set_ready(self, pod: PodView, now: int, *, ready: bool) -> None:
        statuses = self._statuses(pod)
        for status in statuses:
            status["ready"] = ready or status["name"] == "istio-proxy"
        self._patch(pod, {"conditions": conditions(now, ready=ready), "containerStatuses": statuses})
        self._ready_changed(pod.namespace, pod.name, now)

    def _statuses(self, pod: PodView) -> list[dict[str, Any]]:
        stored = self._catalog.get("Pod", *pod.key) or {}
        return deepcopy((stored.get("status") or {}).get("containerStatuses") or [])

    def _patch(self, pod: PodView, status: dict[str, Any]) -> None:
        self._store.patch("v1", "Pod", pod.name, {"status": status}, namespace=pod.namespace, manager="kubelet")


def _through_proxy(pod: PodView) -> list[Probe]:
    return [
        p for p in pod.probes if pod.proxied and p.how in ("httpGet", "grpc") and p.port not in (STATUS_PORT, 15021, 0)
    ]


def _protocol(probe: Probe) -> str:
    return "grpc" if probe.how == "grpc" else "http"
