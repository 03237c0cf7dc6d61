"""Whether a proxy has what istiod sent it: what the check's cases do not show."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from rollout.mesh.synchronization import Connections
from rollout.model.kubernetes import Pod
from rollout.model.synchronization import ProxySync, Synced
from tests.checks.synced import proxy

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def pod(cluster: str = "") -> Pod:
    env = [{"name": "ISTIO_META_CLUSTER_ID", "value": cluster}] if cluster else []
    containers = [{"name": "istio-proxy", "args": ["proxy", "sidecar"], "env": env}]
    metadata = {"name": "orders-0", "namespace": "production", "annotations": {"sidecar.istio.io/status": "{}"}}
    return msgspec.convert({"metadata": metadata, "spec": {"containers": containers}}, Pod)


def state(asked: Pod, *proxies: ProxySync) -> tuple[str, bool]:
    judged = Connections(Synced(AT, proxies)).judged(asked)
    return judged.state.state, judged.wrong


@pytest.mark.parametrize(
    ("cluster", "expected"), [("here", ("synced", False)), ("there", ("rejected", True)), ("", ("unknown", False))]
)
def test_clusters_that_share_a_mesh_have_pods_of_one_name(cluster: str, expected: tuple[str, bool]) -> None:
    """The pod's own is known by what the injector told its proxy."""
    name = "orders-0.production"
    here, there = proxy(name, cluster="here"), proxy(name, cluster="there", LDS="ERROR")
    assert expected == state(pod(cluster), here, there)


def test_a_connection_that_was_left_behind() -> None:
    """Of two in one cluster, the one that is in sync counts: the other ends by itself."""
    name = "orders-0.production"
    left = proxy(name, cluster="here", LDS="STALE", sent="2026-03-02T10:00:00+00:00", istiod="old")
    assert ("synced", False) == state(pod(), left, proxy(name, cluster="here"))
    assert ("stale", True) == state(pod(), left)


def test_a_pod_without_a_stamp_is_not_young() -> None:
    """It is not connected."""
    assert ("not connected", True) == state(pod())


def test_a_kind_that_only_some_versions_list() -> None:
    """By its short name."""
    judged = Connections(Synced(AT, (proxy("orders-0.production", EDS="STALE", RDS="STALE"),))).judged(pod())
    assert "it did not acknowledge endpoints (EDS), routes (RDS) yet, since when is not told" == judged.state.sentence
