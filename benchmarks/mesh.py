"""A cluster of N pods in K namespaces as objects and as metrics, made without a simulator.

Five pods make a Deployment with a Service; the Deployments are dealt out to the namespaces. Of every twenty namespaces
one is called in plaintext, one has a DestinationRule that turns TLS off, one a probe that nobody rewrote, one a pod
without a sidecar, and two have no policy of their own.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pods as podlib

from rollout.lab.api.objects import bare as stored
from rollout.lab.api.store import Store
from rollout.lab.mesh.manifests import cluster_objects
from rollout.lab.promql.labels import NAME, Labels
from rollout.lab.promql.storage import Matcher, Selected

Json = dict[str, Any]

REPLICAS = 5
HISTORY = timedelta(hours=6)
SCRAPE_MS = 60_000
CREATED = datetime(2026, 1, 5, 8, tzinfo=UTC)


class Size(NamedTuple):
    """How big the cluster is; `strict`: all namespaces are STRICT by a policy of their own, and nothing is wrong."""

    pods: int
    namespaces: int
    strict: bool = False


class Deployed(NamedTuple):
    """One Deployment, and whom its first pod calls."""

    namespace: str
    name: str
    pods: tuple[str, ...]
    calls: tuple[str, str]
    plaintext: bool


def fill(store: Store, size: Size) -> list[Deployed]:
    """Put all objects into the store."""
    for obj in cluster_objects("1.28.0", "istio-system", "45s"):
        store.create(obj, created=CREATED)
    store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}}, created=CREATED)
    names = [f"team-{number:03d}" for number in range(size.namespaces)]
    for place, name in enumerate(names):
        _namespace(store, place, name, strict=size.strict)
    found = []
    total = size.pods // REPLICAS
    for number in range(total):
        place = number % size.namespaces
        after = (number + 1) % total
        deployed = Deployed(
            names[place],
            f"svc-{number:05d}",
            tuple(f"svc-{number:05d}-7d9f8b6c5d-{n:05x}" for n in range(REPLICAS)),
            (names[after % size.namespaces], f"svc-{after:05d}"),
            place % 20 == 3 and number < size.namespaces and not size.strict,
        )
        _deployment(store, place, number, deployed, first=number < size.namespaces and not size.strict)
        found.append(deployed)
    return found


def _put(store: Store, obj: Json) -> None:
    """Into the storage itself: through the door each pod would be compared field by field to find its manager."""
    resource = store.kinds.of(obj["apiVersion"], obj["kind"])
    meta = {"uid": podlib.uid(str(obj["metadata"])), "creationTimestamp": podlib.CREATED, **obj["metadata"]}
    store.storage.put(resource.key, {**stored(obj), "metadata": meta})


def _namespace(store: Store, place: int, name: str, *, strict: bool) -> None:
    labels = {"istio-injection": "enabled", "kubernetes.io/metadata.name": name, "team": f"team-{place}"}
    _put(store, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
                 "status": {"phase": "Active"}})  # fmt: skip
    if strict or place % 20 not in (8, 9):
        _put(store, {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
                     "metadata": {"name": "default", "namespace": name},
                     "spec": {"mtls": {"mode": "STRICT" if strict else "PERMISSIVE"}}})  # fmt: skip
    if place % 20 == 5 and not strict:
        _put(store, {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
                     "metadata": {"name": "no-tls", "namespace": name},
                     "spec": {"host": f"*.{name}.svc.cluster.local",
                              "trafficPolicy": {"tls": {"mode": "DISABLE"}}}})  # fmt: skip


def _deployment(store: Store, place: int, number: int, deployed: Deployed, *, first: bool) -> None:
    namespace, name = deployed.namespace, deployed.name
    meta = {"name": name, "namespace": namespace, "labels": {"app": name}}
    counts = {"replicas": REPLICAS, "readyReplicas": REPLICAS, "availableReplicas": REPLICAS,
              "updatedReplicas": REPLICAS, "observedGeneration": 1}  # fmt: skip
    template = podlib.pod(namespace, name, 0, ip="", bare=True)
    spec = {"replicas": REPLICAS, "selector": {"matchLabels": {"app": name}}, "template": {
        "metadata": {"labels": {"app": name, "version": "v1"}},
        "spec": {"containers": template["spec"]["containers"]}}}  # fmt: skip
    _put(store, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {**meta, "generation": 1}, "spec": spec,
                 "status": counts})  # fmt: skip
    _put(store, {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {
        "type": "ClusterIP", "clusterIP": f"10.96.{number // 250 % 250}.{number % 250 + 1}", "selector": {"app": name},
        "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"},
                  {"name": "admin", "port": 9000, "targetPort": 9000, "protocol": "TCP"}]}})  # fmt: skip
    for n in range(REPLICAS):
        address = number * REPLICAS + n
        made = podlib.pod(
            namespace, name, n, ip=f"10.{32 + address // 62500}.{address // 250 % 250}.{address % 250 + 1}",
            bare=first and n == 0 and place % 20 == 6, rewritten=not (first and place % 20 == 7),
        )  # fmt: skip
        _put(store, {"apiVersion": "v1", "kind": "Pod", **made})


class _Series:
    __slots__ = ("labels", "step")

    def __init__(self, labels: Json, step: int) -> None:
        self.labels = Labels(sorted((k, v) for k, v in labels.items() if v))
        self.step = step


class SharedStorage:
    """The lab's `Storage` with all series on one grid of scrapes: every counter rises by the same at each of them.

    So 100,000 series cost their labels, and the evaluator still folds true samples.
    """

    def __init__(self, end: datetime, history: timedelta = HISTORY, ahead: timedelta = timedelta(hours=2)) -> None:
        """Samples from `history` before `end`, and some in advance: time goes on while the benchmark runs."""
        first = int((end - history).timestamp() * 1000) // SCRAPE_MS * SCRAPE_MS
        count = int((history + ahead).total_seconds() * 1000) // SCRAPE_MS
        self.times = array("q", range(first, first + count * SCRAPE_MS, SCRAPE_MS))
        self._values = {step: array("d", [1000.0 + step * n for n in range(count)]) for step in (0, 1, 30)}
        self._by_name: dict[str, list[_Series]] = {}

    def add(self, step: int = 30, **labels: str) -> None:
        """One series; `step` is what it rises by at each scrape: 0, 1 or 30."""
        self._by_name.setdefault(labels[NAME], []).append(_Series(labels, step))

    def __len__(self) -> int:
        """How many series."""
        return sum(map(len, self._by_name.values()))

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Iterator[Selected]:
        """The samples of all matching series between the two times."""
        low, high = bisect_left(self.times, start_ms), bisect_right(self.times, end_ms)
        if low == high:
            return
        times = self.times[low:high]
        cut = {step: values[low:high] for step, values in self._values.items()}
        for series in self._matching(matchers):
            yield Selected(series.labels, times, cut[series.step], smooth=True)

    def _matching(self, matchers: Sequence[Matcher]) -> Iterable[_Series]:
        names = [matcher.test() for matcher in matchers if matcher.name == NAME]
        tests = [(matcher.name, _remembered(matcher)) for matcher in matchers if matcher.name != NAME]
        for name, found in self._by_name.items():
            if all(test(name) for test in names):
                for series in found:
                    if all(test(series.labels.get(label, "")) for label, test in tests):
                        yield series


def _remembered(matcher: Matcher) -> Any:
    test, known = matcher.test(), dict[str, bool]()

    def ask(value: str) -> bool:
        if value not in known:
            known[value] = test(value)
        return known[value]

    return ask


def metrics(deployed: Sequence[Deployed], end: datetime) -> SharedStorage:
    """What Prometheus would have scraped of them: a sign of life per pod, and each edge at both ends."""
    storage = SharedStorage(end)
    for place, one in enumerate(deployed):
        for pod in one.pods:
            here = {"namespace": one.namespace, "pod": pod}
            storage.add(__name__="envoy_server_uptime", step=1, **here)
            storage.add(__name__="envoy_listener_manager_listener_modified", step=0, **here)
            storage.add(__name__="istio_requests_total", reporter="source", **here, **_edge(one))
        for pod in deployed[(place + 1) % len(deployed)].pods:
            storage.add(__name__="istio_requests_total", reporter="destination", namespace=one.calls[0], pod=pod,
                        **_edge(one))  # fmt: skip
        if one.plaintext:
            nameless = {"source_workload": "unknown", "source_workload_namespace": "unknown",
                        "source_principal": "unknown", "connection_security_policy": "none"}  # fmt: skip
            target = Deployed(one.namespace, "", (), (one.namespace, one.name), plaintext=False)
            storage.add(__name__="istio_requests_total", reporter="destination", namespace=one.namespace,
                        pod=one.pods[0], **(_edge(target) | nameless))  # fmt: skip
    return storage


def _edge(one: Deployed) -> dict[str, str]:
    namespace, name = one.calls
    return {
        "source_workload": one.name,
        "source_workload_namespace": one.namespace,
        "source_principal": f"spiffe://cluster.local/ns/{one.namespace}/sa/{one.name}",
        "source_app": one.name,
        "destination_workload": name,
        "destination_workload_namespace": namespace,
        "destination_principal": f"spiffe://cluster.local/ns/{namespace}/sa/{name}",
        "destination_service": f"{name}.{namespace}.svc.cluster.local",
        "destination_service_name": name,
        "destination_service_namespace": namespace,
        "request_protocol": "http",
        "response_code": "200",
        "response_flags": "-",
        "grpc_response_status": "",
        "connection_security_policy": "mutual_tls",
    }
