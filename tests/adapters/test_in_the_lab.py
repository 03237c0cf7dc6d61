"""The adapters together against the lab's server: its API was compared with a real one."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout import errors
from rollout.adapters.clock import LabClock
from rollout.adapters.journal import ConfigMapJournal
from rollout.adapters.kubernetes import KubernetesCluster, connect
from rollout.adapters.lease import KubernetesLease
from rollout.adapters.prometheus_source import connect_metrics
from rollout.adapters.signals import Interrupted, Stopper
from rollout.lab.api import Effect, Fault, Store
from rollout.lab.clock import VirtualClock
from rollout.lab.lab import Lab
from rollout.lab.server import LabServer
from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.kubernetes import ConfigMap, Namespace, Pod, Service
from rollout.ports import Heard, Right
from rollout.record.events import Noted, ProofKind, Proven, Requested, RequestKind, Started
from rollout.record.run import fold
from rollout.record.spec import Spec

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
RUN = "production-20260302-1000-b4"


@pytest.fixture
def lab() -> Iterator[LabServer]:
    """An empty cluster."""
    clock = VirtualClock(NOW)
    with LabServer(Store(clock.now), clock) as server:
        yield server
    assert server.failures == []


@pytest.fixture
def cluster(lab: LabServer, tmp_path: Path) -> Iterator[KubernetesCluster]:
    """With a namespace."""
    config = tmp_path / "config"
    config.write_text(lab.kubeconfig())
    made = connect(str(config), None, sleep=lambda _: None)
    made.create(Namespace, "", {"metadata": {"name": "production"}})
    yield made
    made.close()


def test_a_policy_from_creation_to_deletion(cluster: KubernetesCluster) -> None:
    """Dry runs change nothing, a stale write is refused, an unknown field too."""
    body = {"metadata": {"name": "default"}, "spec": {"mtls": {"mode": "PERMISSIVE"}}}
    cluster.create(PeerAuthentication, "production", body, dry_run=True)
    with pytest.raises(errors.NotFound):
        cluster.get(PeerAuthentication, "production", "default")
    made = cluster.create(PeerAuthentication, "production", body)
    with pytest.raises(errors.Exists):
        cluster.create(PeerAuthentication, "production", body)
    strict = {
        "metadata": {"resourceVersion": made.metadata.resource_version},
        "spec": {"mtls": {"mode": "STRICT"}},
    }
    assert cluster.patch(PeerAuthentication, "production", "default", strict, dry_run=True).mode is Mode.STRICT
    assert cluster.get(PeerAuthentication, "production", "default").mode is Mode.PERMISSIVE
    assert cluster.patch(PeerAuthentication, "production", "default", strict).mode is Mode.STRICT
    with pytest.raises(errors.Conflict):
        cluster.patch(PeerAuthentication, "production", "default", strict)
    with pytest.raises(errors.Rejected, match="mtlz"):
        cluster.patch(PeerAuthentication, "production", "default", {"spec": {"mtlz": {}}})
    with pytest.raises(errors.Conflict):
        cluster.delete(PeerAuthentication, "production", "default", uid="another")
    cluster.delete(PeerAuthentication, "production", "default", uid=made.metadata.uid)
    assert cluster.list(PeerAuthentication) == ()


def test_many_objects_come_in_pages(cluster: KubernetesCluster, lab: LabServer) -> None:
    """Each of them once."""
    for number in range(1203):
        metadata = {"name": f"c{number}", "namespace": "production"}
        lab.store.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    found = [one.name for one in cluster.list(ConfigMap, namespace="production") if one.name.startswith("c")]
    assert sorted(found) == sorted(f"c{number}" for number in range(1203))


def test_rights_and_faults(cluster: KubernetesCluster, lab: LabServer) -> None:
    """Admin may; an expired token says what to do."""
    assert cluster.allowed(Right("patch", PeerAuthentication.RESOURCE, "production"))
    lab.faults.add(Fault(Effect.UNAUTHORIZED))
    with pytest.raises(errors.Unauthorized, match="'lab'"):
        cluster.list(Pod)
    lab.faults.clear()
    lab.faults.add(Fault(Effect.OVERLOADED, count=2))
    assert cluster.list(Pod) == ()


def proof(seq: int) -> Proven:
    return Proven(t=NOW + timedelta(seconds=seq), seq=seq, of=ProofKind.RIGHTS, ok=True)


def test_a_journal_over_real_requests(cluster: KubernetesCluster, lab: LabServer, tmp_path: Path) -> None:
    """Fence, request, lost answer, and the same fold on both sides."""
    journal = ConfigMapJournal(cluster, tmp_path / "runs")
    journal.create(Started(t=NOW, seq=1, spec=Spec(run=RUN, namespace="production", tasks=(), started=NOW)))
    journal.append(RUN, "production", proof(2))
    ConfigMapJournal(cluster, tmp_path / "other").request(
        RUN, "production", Requested(t=NOW, kind=RequestKind.APPROVE, task="flip")
    )
    with pytest.raises(Heard):
        journal.append(RUN, "production", proof(3))
    lab.faults.add(Fault(Effect.DROP_AFTER, method="PATCH", count=1))
    journal.append(RUN, "production", proof(4))
    journal.append(RUN, "production", Noted(t=NOW, seq=4, text="x"))
    there = journal.load(RUN, "production")
    assert [event.seq for event in there] == [1, 2, 3, 4]
    assert fold(there) == fold(journal.mirror.read(RUN))
    assert journal.runs("") == journal.runs("production") == ((RUN, "production"),)


def test_a_lease_over_real_requests(cluster: KubernetesCluster, lab: LabServer) -> None:
    """Taken, renewed, released, and free for another run."""
    at = [NOW]
    ana = KubernetesLease(cluster, lambda: at[0], "ana@host")
    ana.acquire("production", "run-1")
    with pytest.raises(errors.NotOurs):
        KubernetesLease(cluster, lambda: at[0], "ben@other").acquire("production", "run-2")
    at[0] += timedelta(seconds=10, microseconds=1)
    ana.renew("production", "run-1")
    assert ana.holder("production") == ("run-1", at[0] + timedelta(seconds=30))
    ana.release("production", "run-1")
    assert ana.holder("production") is None
    KubernetesLease(cluster, lambda: at[0], "ben@other").acquire("production", "run-2")


def test_a_stop_breaks_off_a_read_and_the_next_one_works(
    script: Any, reply: Any, tmp_path: Path, cluster: KubernetesCluster
) -> None:
    """The half-read connection is not used again."""
    release = threading.Event()
    script.on("GET /slow", reply(b"late", wait=release), reply(b"fresh"))
    config = tmp_path / "slow"
    config.write_text((tmp_path / "config").read_text().replace(cluster.identity().server, script.url))
    slow = connect(str(config), None, sleep=lambda _: None)
    main = threading.get_ident()
    timer = threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGTERM))
    with Stopper() as stopper:
        timer.start()
        with pytest.raises(Interrupted), stopper.interruptible():
            slow.raw_get("/slow")
        stopper.acknowledge()
        with stopper.interruptible():
            assert slow.raw_get("/slow") == b"fresh"
    release.set()
    timer.join()
    slow.close()


def test_prometheus_through_the_service_proxy(tmp_path: Path) -> None:
    """The way that needs no port-forward; refusals of the API server are told apart from Prometheus' own."""

    def prometheus(
        method: str, path: str, query: dict[str, list[str]], headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, bytes]:
        if query["query"] == ["("]:
            return 400, "application/json", b'{"status":"error","errorType":"bad_data","error":"parse error"}'
        vector = {"resultType": "vector", "result": [{"metric": {"path": path}, "value": [1, "2"]}]}
        return 200, "application/json", json.dumps({"status": "success", "data": vector}).encode()

    clock = VirtualClock(NOW)
    with LabServer(Store(clock.now), clock, services={"prometheus.istio-system:9090": prometheus}) as server:
        config = tmp_path / "config"
        config.write_text(server.kubeconfig())
        cluster = connect(str(config), None, sleep=lambda _: None)
        for name in ("istio-system", "other"):
            cluster.create(Namespace, "", {"metadata": {"name": name}})
        service = {"metadata": {"name": "prometheus"}, "spec": {"ports": [{"port": 9090}]}}
        cluster.create(Service, "istio-system", service)
        metrics = connect_metrics(
            "prometheus.istio-system:9090/prefix", sleep=lambda _: None, raw_reply=cluster.raw_reply
        )
        assert [(s.labels, s.value) for s in metrics.query("up", NOW).samples] == [
            ({"path": "/prefix/api/v1/query"}, 2.0)
        ]
        with pytest.raises(errors.BadQuery, match="parse error"):
            metrics.query("(", NOW)
        nowhere = connect_metrics("prometheus.other:9090", sleep=lambda _: None, raw_reply=cluster.raw_reply)
        with pytest.raises(errors.MetricsUnreachable, match="API server"):
            nowhere.query("up", NOW)
        cluster.close()


def test_a_scenario_is_seen_through_the_adapters(tmp_path: Path) -> None:
    """Objects, metrics and time of one lab agree."""
    lab = Lab.start("legacy-caller")
    config = tmp_path / "config"
    config.write_text(lab.kubeconfig)
    clock = LabClock(lab.clock_url)
    clock.attach()
    cluster = connect(str(config), None, sleep=clock.sleep)
    metrics = connect_metrics(lab.prometheus_url, sleep=clock.sleep)
    try:
        before = clock.now()
        clock.sleep(600)
        assert clock.now() == before + timedelta(seconds=600)
        assert abs(metrics.now() - clock.now()) < timedelta(seconds=1)
        rate = metrics.query("sum by (reporter) (rate(istio_requests_total[5m]))", clock.now())
        assert {sample.labels["reporter"] for sample in rate.samples} == {"source", "destination"}
        series = metrics.query_range("sum(rate(istio_requests_total[5m]))", before, clock.now(), 60).series
        assert len(series[0].points) == 11
        assert cluster.list(Pod, namespace="production")
    finally:
        metrics.close()
        cluster.close()
        clock.close()
        lab.stop()
