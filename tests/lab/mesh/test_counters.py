"""What moves at both ends, per policy, kind of client and protocol (observed.md a, d, e, g; istio.md 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Start = Callable[..., Any]

HTTP_BY = "connection_security_policy,response_code,response_flags,source_workload"
TCP_BY = "connection_security_policy,response_flags,source_workload"


def rule(mode: str) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "server", "namespace": "app"},
        "spec": {"host": "server", "trafficPolicy": {"tls": {"mode": mode}}},
    }


CLIENTS: dict[str, dict[str, Any]] = {
    "mesh": {"from": "app/client"},
    "DISABLE": {"from": "app/client"},
    "SIMPLE": {"from": "app/client"},
    "pod-ip": {"from": "app/client", "by_address": True},
    "none": {"from": "out/client"},
    "own-tls": {"from": "outside", "own_tls": True},
}


def run(bench: Start, mode: str, client: str, protocol: str) -> Any:
    port, name = {"http": (8080, "http"), "grpc": (9090, "grpc"), "tcp": (9000, "tcp")}[protocol]
    made = bench(
        workloads=[
            {"name": "client", "namespace": "app", "replicas": 1},
            {"name": "client", "namespace": "out", "replicas": 1},
            {"name": "server", "namespace": "app", "ports": {name: port}},
        ],
        manifests=[rule(client)] if client in ("DISABLE", "SIMPLE") else [],
        traffic={"edge": {"to": f"app/server:{port}", "protocol": protocol, "rate": "1/s", **CLIENTS[client]}},
    )
    made.policy(mode)
    made.wait(minutes=4)
    return made


SOURCE_OK = {("unknown", "200", "-", "client")}


@pytest.mark.parametrize(
    ("mode", "client", "source", "destination"),
    [
        ("PERMISSIVE", "mesh", SOURCE_OK, {("mutual_tls", "200", "-", "client")}),
        ("STRICT", "mesh", SOURCE_OK, {("mutual_tls", "200", "-", "client")}),
        ("DISABLE", "mesh", SOURCE_OK, {("none", "200", "-", "client")}),
        ("PERMISSIVE", "DISABLE", SOURCE_OK, {("none", "200", "-", "client")}),
        ("STRICT", "DISABLE", {("unknown", "503", "UC", "client")}, set()),
        ("PERMISSIVE", "SIMPLE", {("unknown", "503", "URX,UF", "client")}, set()),
        ("STRICT", "SIMPLE", {("unknown", "503", "UC", "client")}, set()),
        ("PERMISSIVE", "pod-ip", SOURCE_OK, {("none", "200", "-", "client")}),
        ("STRICT", "pod-ip", {("unknown", "503", "UC", "client")}, set()),
        ("PERMISSIVE", "none", set(), {("none", "200", "-", "unknown")}),
        ("STRICT", "none", set(), set()),
        ("PERMISSIVE", "own-tls", set(), set()),
        ("STRICT", "own-tls", set(), set()),
    ],
)
def test_http_requests_move_these_series(
    bench: Start, mode: str, client: str, source: set[tuple[str, ...]], destination: set[tuple[str, ...]]
) -> None:
    """Refused plaintext leaves nothing at the destination; the source sees 503 UC."""
    made = run(bench, mode, client, "http")
    assert source == set(made.moved("istio_requests_total", HTTP_BY, reporter="source"))
    assert destination == set(made.moved("istio_requests_total", HTTP_BY, reporter="destination"))


@pytest.mark.parametrize(
    ("mode", "client", "source", "opened", "closed"),
    [
        ("STRICT", "mesh", {("-",)}, {("mutual_tls", "-", "client")}, {("mutual_tls", "-", "client")}),
        ("PERMISSIVE", "DISABLE", {("-",)}, {("none", "-", "unknown")}, {("none", "-", "unknown")}),
        ("STRICT", "DISABLE", {("-",)}, set(), set()),
        ("PERMISSIVE", "none", set(), {("none", "-", "unknown")}, {("none", "-", "unknown")}),
        ("STRICT", "none", set(), set(), set()),
        ("PERMISSIVE", "own-tls", set(), {("none", "-", "unknown")}, {("none", "-", "unknown")}),
        ("STRICT", "own-tls", set(), set(), {("none", "-", "unknown")}),
    ],
)
def test_tcp_connections_move_these_series(
    bench: Start, mode: str, client: str, source: set[Any], opened: set[Any], closed: set[Any]
) -> None:
    """App-TLS at a STRICT TCP port moves `closed` alone (g)."""
    made = run(bench, mode, client, "tcp")
    name = "istio_tcp_connections_{}_total".format
    assert source == set(made.moved(name("opened"), "response_flags", reporter="source"))
    assert opened == set(made.moved(name("opened"), TCP_BY, reporter="destination"))
    assert closed == set(made.moved(name("closed"), TCP_BY, reporter="destination"))


def test_a_refused_tcp_connection_closes_with_ur_at_the_source(bench: Start) -> None:
    """Opened with `-`, closed with UR (e)."""
    made = run(bench, "STRICT", "DISABLE", "tcp")
    assert {("UR",)} == set(made.moved("istio_tcp_connections_closed_total", "response_flags", reporter="source"))


def test_a_refused_grpc_call_has_code_200_and_status_14(bench: Start) -> None:
    """The source's response code says nothing about gRPC (e)."""
    made = run(bench, "STRICT", "DISABLE", "grpc")
    by = "grpc_response_status,request_protocol,response_code,response_flags"
    assert {("14", "grpc", "200", "UC")} == set(made.moved("istio_requests_total", by, reporter="source"))


def test_tls_that_reaches_a_plaintext_port_is_tried_three_times(bench: Start) -> None:
    """ISTIO_MUTUAL against DISABLE: 503 URX,UF at the source, three 400 DPE at the destination (e)."""
    made = bench(
        workloads=[
            {"name": "client", "namespace": "app", "replicas": 1},
            {"name": "server", "namespace": "app", "replicas": 1, "ports": {"http": 8080}},
        ],
        manifests=[rule("ISTIO_MUTUAL")],
        traffic={"edge": {"from": "app/client", "to": "app/server:8080", "rate": "1/s"}},
    )
    made.policy("DISABLE")
    made.wait(minutes=4)
    source = made.moved("istio_requests_total", "response_code,response_flags", reporter="source")
    there = made.moved("istio_requests_total", "response_code,response_flags,connection_security_policy",
                       reporter="destination")  # fmt: skip
    assert list(source) == [("503", "URX,UF")]
    assert list(there) == [("none", "400", "DPE")]
    assert 3 * source["503", "URX,UF"] == there["none", "400", "DPE"]


def test_a_call_by_address_goes_through_the_passthrough_cluster(bench: Start) -> None:
    """The source does not know the Service; the destination does, for the port is declared."""
    made = run(bench, "PERMISSIVE", "pod-ip", "http")
    by = "destination_service_name,destination_workload_namespace"
    assert {("PassthroughCluster", "app")} == set(made.moved("istio_requests_total", by, reporter="source"))
    assert {("server", "app")} == set(made.moved("istio_requests_total", by, reporter="destination"))


def test_a_connection_by_address_names_no_address(bench: Start) -> None:
    """TCP has no host to say; STRICT resets it."""
    made = run(bench, "STRICT", "pod-ip", "tcp")
    by = "destination_service,destination_service_name,destination_workload,response_flags"
    moved = made.moved("istio_tcp_connections_closed_total", by, reporter="source")
    assert {("unknown", "PassthroughCluster", "unknown", "UR")} == set(moved)
    assert {} == made.moved("istio_tcp_connections_closed_total", by, reporter="destination")


def test_principals_are_known_only_over_mutual_tls(bench: Start) -> None:
    """Scheme included, as the raw URI SAN; plaintext of a sidecar has a workload and no principal."""
    mesh = run(bench, "PERMISSIVE", "mesh", "http")
    plain = run(bench, "PERMISSIVE", "DISABLE", "http")
    by = "source_principal,source_workload_namespace"
    where = {"reporter": "destination"}
    assert {("spiffe://cluster.local/ns/app/sa/client", "app")} == set(mesh.moved("istio_requests_total", by, **where))
    assert {("unknown", "app")} == set(plain.moved("istio_requests_total", by, **where))


def test_every_call_is_counted_once_at_each_end(bench: Start) -> None:
    """Both reporters agree, over all pods, and so do the histogram's counts."""
    made = run(bench, "STRICT", "mesh", "http")
    source = made.moved("istio_requests_total", "reporter", reporter="source")
    there = made.moved("istio_requests_total", "reporter", reporter="destination")
    assert pytest.approx(120, abs=10) == source["source",]
    assert source["source",] == there["destination",]
    count = "istio_request_duration_milliseconds_count"
    assert source["source",] == made.moved(count, "reporter", reporter="source")["source",]


def test_series_of_all_ends_carry_the_scraped_pod(bench: Start) -> None:
    """namespace and pod are those of the proxy that was scraped."""
    made = run(bench, "STRICT", "mesh", "http")
    pods = made.query('count by (pod, namespace) (istio_requests_total{reporter="destination"})')
    assert {("app", name) for name in made.pods() if name.startswith("server")} == set(pods)
