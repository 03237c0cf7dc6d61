"""A cluster of Python objects, and a Prometheus whose samples the test writes, for whoever collects a world."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from rollout.errors import ClusterError, MetricsError, NotFound, QueryTooHeavy, RolloutError
from rollout.lab.prometheus import Prometheus
from rollout.lab.promql import MemoryStorage
from rollout.model.kubernetes import Deployment, Object, Pod, Ref, Resource
from rollout.model.synchronization import Difference, ProxySync
from rollout.ports import AnalyzerMessage, Answer, Identity, Metrics, RangeAnswer, Right, Sample, Series

T = TypeVar("T", bound=Object)

#: Prometheus' clock in these tests.
NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
INTERVAL = 30


class LabMetrics:
    """The Metrics port over the lab's evaluator; counts what it is asked, and can refuse."""

    def __init__(self, now: datetime = NOW, name: str = "lab") -> None:
        """Without samples."""
        self.name = name
        self.history: Metrics | None = None
        self.storage = MemoryStorage()
        self.time = now
        self.asked: list[str] = []
        self.warnings: tuple[str, ...] = ()
        self.fails: MetricsError | None = None
        self.heaviest: Callable[[str], bool] = lambda _: False
        self._server = Prometheus(self.storage, now=lambda: self.time)

    def write(self, name: str, labels: Mapping[str, str], points: Iterable[tuple[datetime, float]]) -> None:
        """Samples of one series."""
        for time, value in points:
            self.storage.append({"__name__": name, **labels}, round(time.timestamp() * 1000), value)

    def _get(self, path: str, **parameters: str) -> list[dict[str, Any]]:
        self.asked.append(parameters["query"])
        if self.fails is not None:
            raise self.fails
        if self.heaviest(parameters["query"]):
            raise QueryTooHeavy("query timed out")
        status, _, body = self._server.handle("GET", path, urlencode(parameters), {}, b"")
        assert status == 200, (body, parameters)
        result: list[dict[str, Any]] = json.loads(body)["data"]["result"]
        return result

    def query(self, promql: str, at: datetime) -> Answer:
        """Instant query."""
        rows = self._get("/api/v1/query", query=promql, time=f"{at.timestamp():.3f}")
        samples = [Sample(row["metric"], _time(row["value"][0]), float(row["value"][1])) for row in rows]
        return Answer(tuple(s for s in samples if not math.isnan(s.value)), self.warnings)

    def query_range(self, promql: str, start: datetime, end: datetime, step: float) -> RangeAnswer:
        """Range query."""
        times = {"start": f"{start.timestamp():.3f}", "end": f"{end.timestamp():.3f}", "step": f"{step:.3f}"}
        rows = self._get("/api/v1/query_range", query=promql, **times)
        series = (Series(r["metric"], tuple((_time(t), float(v)) for t, v in r["values"])) for r in rows)
        return RangeAnswer(tuple(series), self.warnings)

    def now(self) -> datetime:
        """The test's time."""
        if self.fails is not None:
            raise self.fails
        return self.time

    def past(self) -> Metrics:
        """Itself, unless the test names another."""
        return self.history or self

    def address(self) -> str:
        """Its name."""
        return self.name


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)


def scrapes(start: datetime, end: datetime, interval: float = INTERVAL) -> list[datetime]:
    """The scrape times from `start` to `end`."""
    number = int((end - start).total_seconds() // interval)
    return [start + timedelta(seconds=interval * n) for n in range(number + 1)]


class FakeCluster:
    """The Cluster port over Python objects; `refuse` maps a plural, or a verb and plural, to an error."""

    def __init__(self, *objects: Object) -> None:
        """Hold these objects."""
        self.objects = objects
        self.refuse: dict[str, ClusterError] = {}
        self.denied: frozenset[str] = frozenset()
        self.lists: list[str] = []
        self.writes: list[tuple[str, Mapping[str, Any]]] = []

    def _check(self, verb: str, resource: Resource) -> None:
        for key in (resource.plural, f"{verb} {resource.plural}"):
            if key in self.refuse:
                raise self.refuse[key]

    def identity(self) -> Identity:
        """A test."""
        return Identity("test", "https://test")

    def served(self, resource: Resource) -> str:
        """The first version."""
        return resource.versions[0]

    def list(self, kind: type[T], *, namespace: str = "", selector: str = "") -> tuple[T, ...]:
        """The objects of a kind."""
        self.lists.append(f"{kind.RESOURCE.plural} {namespace}".strip())
        self._check("list", kind.RESOURCE)
        return tuple(o for o in self.objects if isinstance(o, kind) and namespace in ("", o.namespace))

    def get(self, kind: type[T], namespace: str, name: str) -> T:
        """One object."""
        self._check("get", kind.RESOURCE)
        for item in self.objects:
            if isinstance(item, kind) and (item.namespace, item.name) == (namespace, name):
                return item
        raise NotFound(f"{kind.RESOURCE.plural} {name!r} not found")

    def create(self, kind: type[T], namespace: str, body: Mapping[str, Any], *, dry_run: bool = False) -> T:
        """Record the body."""
        self._check("create", kind.RESOURCE)
        self.writes.append((f"create dry_run={dry_run}", body))
        return kind()

    def patch(self, kind: type[T], namespace: str, name: str, body: Mapping[str, Any], *, dry_run: bool = False) -> T:
        """Record the body."""
        self._check("patch", kind.RESOURCE)
        self.writes.append((f"patch dry_run={dry_run}", body))
        return kind()

    def delete(self, kind: type[T], namespace: str, name: str, *, uid: str = "", dry_run: bool = False) -> None:
        """Record it."""
        self._check("delete", kind.RESOURCE)
        self.writes.append((f"delete dry_run={dry_run}", {"uid": uid}))

    def allowed(self, right: Right) -> bool:
        """Not what is denied."""
        return str(right) not in self.denied


class NoAnalyzer:
    """istioctl without findings, that cannot reach an istiod."""

    def analyze(self, namespaces: Collection[str]) -> dict[str, tuple[AnalyzerMessage, ...]]:
        """None."""
        return dict.fromkeys(namespaces, ())

    def proxy_status(self) -> tuple[ProxySync, ...]:
        """It fails."""
        raise RolloutError("istioctl reaches no istiod")

    def differences(self, pod: Ref) -> tuple[Difference, ...]:
        """It fails."""
        raise RolloutError("istioctl reaches no istiod")


def pod(name: str = "orders-7d9-abc", namespace: str = "production", **changes: Any) -> Pod:
    """A ready pod of Deployment `orders` with a sidecar; keywords change parts.

    Keywords: workload, sidecar, ip, created, ready, since (of Ready), node, restarts, env, annotations, labels, probe.
    """
    workload = changes.get("workload", "orders")
    sidecar = changes.get("sidecar", True)
    app: dict[str, Any] = {"name": "app", "env": changes.get("env", [])}
    if "probe" in changes:
        app["readinessProbe"] = changes["probe"]
    proxy = {"name": "istio-proxy", "args": ["proxy", "sidecar"]}
    status = {"sidecar.istio.io/status": "{}"} if sidecar else {}
    meshed = {"security.istio.io/tlsMode": "istio"} if sidecar else {}
    raw = {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "creationTimestamp": changes.get("created", NOW - timedelta(days=30)),
            "labels": {"app": workload, "pod-template-hash": "7d9", **meshed, **changes.get("labels", {})},
            "annotations": {**status, **changes.get("annotations", {})},
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"{workload}-7d9", "controller": True}],
        },
        "spec": {"containers": [app, *([proxy] if sidecar else [])], "nodeName": changes.get("node", "n1")},
        "status": {
            "phase": "Running",
            "podIP": changes.get("ip", "10.0.0.1"),
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if changes.get("ready", True) else "False",
                    "lastTransitionTime": changes.get("since", NOW - timedelta(days=29)),
                }
            ],
            "containerStatuses": [{"name": "app", "restartCount": changes.get("restarts", 0)}],
        },
    }
    return msgspec.convert(raw, Pod)


def deployment(name: str = "orders", namespace: str = "production", **changes: Any) -> Deployment:
    """A Deployment; keywords: created, replicas, available, updated, generation, observed."""
    replicas = changes.get("replicas", 1)
    raw = {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "generation": changes.get("generation", 1),
            "creationTimestamp": changes.get("created", NOW - timedelta(days=30)),
        },
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}},
        "status": {
            "replicas": replicas,
            "availableReplicas": changes.get("available", replicas),
            "updatedReplicas": changes.get("updated", replicas),
            "observedGeneration": changes.get("observed", changes.get("generation", 1)),
        },
    }
    return msgspec.convert(raw, Deployment)


def istio_labels(source: str, destination: str = "production/orders", **changes: str) -> dict[str, str]:
    """The labels of an istio_* series; `source` is `namespace/workload` or `unknown`; keywords override."""
    namespace, _, workload = source.rpartition("/")
    target, _, service = destination.partition("/")
    named = source != "unknown"
    labels = {
        "reporter": "destination",
        "source_workload": workload,
        "source_workload_namespace": namespace or "unknown",
        "source_principal": f"spiffe://cluster.local/ns/{namespace}/sa/{workload}" if named else "unknown",
        "destination_workload": service,
        "destination_workload_namespace": target,
        "destination_service": f"{service}.{target}.svc.cluster.local",
        "destination_service_name": service,
        "destination_service_namespace": target,
        "connection_security_policy": "mutual_tls" if named else "none",
        "response_code": "200",
        "response_flags": "-",
        "namespace": target,
        "pod": f"{service}-7d9-abc",
    }
    return {key: value for key, value in (labels | changes).items() if value}
