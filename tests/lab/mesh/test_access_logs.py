"""What the simulated sidecars write: who is served, who is refused, and never more than is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.lab.mesh.conftest import START, Bench

TWO: list[dict[str, Any]] = [
    {"name": "web", "namespace": "app", "replicas": 1, "ports": {"http": 8080}},
    {"name": "orders", "namespace": "app", "replicas": 1, "ports": {"http": 8080}},
    {"name": "legacy", "namespace": "out", "replicas": 1, "ports": {"http": 8080}},
]
TRAFFIC = {
    "web": {"from": "app/web", "to": "app/orders:8080", "rate": "6/m"},
    "legacy": {"from": "out/legacy", "to": "app/orders:8080", "every": "30s"},
}


def mesh(form: str) -> dict[str, str]:
    """Of a scenario."""
    return {"scrape_interval": "5s", "access_log": form}


def log(of: Bench, workload: str, last: timedelta = timedelta(minutes=10)) -> list[str]:
    """The newest lines of a workload's only pod."""
    (name,) = (name for name in of.pods() if name.startswith(workload))
    lines = of.lab.simulation.written_by(("app", name), of.lab.clock.now() - last)
    assert sorted(at for at, _ in lines) == [at for at, _ in lines]
    return [text for _, text in lines]


def address(of: Bench, namespace: str, workload: str) -> str:
    """Of a workload's only pod."""
    (pod,) = (p for name, p in of.pods(namespace).items() if name.startswith(workload))
    return str(pod["status"]["podIP"])


def test_the_server_names_callers_by_address(bench: Callable[..., Bench]) -> None:
    """Mesh TLS has the mesh's server name, plaintext has none; both have the caller's address."""
    of = bench(workloads=TWO, traffic=TRAFFIC, mesh=mesh("text"))
    lines = log(of, "orders")
    plain = [text for text in lines if text.endswith(" - default")]
    mutual = [text for text in lines if text.endswith(" outbound_.8080_._.orders.app.svc.cluster.local default")]
    assert sorted(plain + mutual) == sorted(lines)
    assert 20 == len(plain)
    assert 55 <= len(mutual) <= 65
    legacy, web = address(of, "out", "legacy"), address(of, "app", "web")
    assert {True} == {f" {legacy}:" in text and '" inbound|8080|| ' in text for text in plain}
    assert {True} == {f" {web}:" in text and '" inbound|8080|| ' in text for text in mutual}


def test_the_caller_writes_its_own_lines(bench: Callable[..., Bench]) -> None:
    """They go out, and have no server name although the call was mutual TLS."""
    of = bench(workloads=TWO, traffic=TRAFFIC, mesh=mesh("text"))
    lines = log(of, "web")
    assert 55 <= len(lines) <= 65
    assert {True} == {'" outbound|8080||orders.app.svc.cluster.local ' in text for text in lines}
    assert {True} == {text.endswith(" - default") for text in lines}


def test_after_the_flip_the_listener_names_whom_it_refuses(bench: Callable[..., Bench]) -> None:
    """istio.md 6.4: NR, filter_chain_not_found, and the address; the healthy caller goes on."""
    of = bench(workloads=TWO, traffic=TRAFFIC, mesh=mesh("text"))
    of.policy("STRICT")
    of.wait(minutes=5)
    lines = log(of, "orders", timedelta(minutes=4))
    refused = [text for text in lines if " 0 NR filter_chain_not_found " in text]
    assert 8 == len(refused)
    assert {True} == {f" {address(of, 'out', 'legacy')}:" in text for text in refused}
    assert {True} == {text.endswith(" - -") and '"- - -" 0' in text for text in refused}
    assert [] == [text for text in lines if text not in refused and "outbound_." not in text]


def test_json_has_the_same_fields(bench: Callable[..., Bench]) -> None:
    """None for what has no value."""
    of = bench(workloads=TWO, traffic=TRAFFIC, mesh=mesh("json"))
    lines = [json.loads(text) for text in log(of, "orders")]
    names = {line["requested_server_name"] for line in lines}
    assert {None, "outbound_.8080_._.orders.app.svc.cluster.local"} == names
    assert {200} == {line["response_code"] for line in lines}
    config = of.lab.store.get("v1", "ConfigMap", "istio", "istio-system")
    assert config is not None
    assert "accessLogFile: /dev/stdout\naccessLogEncoding: JSON" in config["data"]["mesh"]


def test_by_default_nobody_writes(bench: Callable[..., Bench]) -> None:
    """As in Istio's default profile."""
    of = bench(workloads=TWO, traffic=TRAFFIC)
    assert [] == log(of, "orders")


def test_app_tls_and_undeclared_ports(bench: Callable[..., Bench]) -> None:
    """TLS of its own passes through as a TCP connection under its own name."""
    traffic = {
        "own": {"to": "app/orders:9443", "protocol": "tcp", "own_tls": True, "every": "1m", "address": "198.51.100.7"},
        "bare": {"to": "app/orders:9444", "every": "1m"},
    }
    of = bench(workloads=TWO, traffic=traffic, mesh=mesh("text"))
    lines = log(of, "orders")
    own = [text for text in lines if ":9443 198.51.100.7:" in text]
    bare = [text for text in lines if ":9444 203.0.113.10:" in text]
    assert (10, 10, 20) == (len(own), len(bare), len(lines))
    assert {True} == {" InboundPassthroughCluster " in text for text in lines}
    assert {True} == {'"- - -" 0 - ' in text and text.endswith(" orders.app.svc -") for text in own}


def test_probes_come_from_the_node(bench: Callable[..., Bench]) -> None:
    """Where they were not rewritten: the kubelet, which STRICT refuses."""
    orders = {**TWO[1], "probes": {"readiness": "http 8080"}, "rewrite": False}
    of = bench(workloads=[orders], mesh=mesh("text"))
    lines = log(of, "orders", timedelta(seconds=59))
    assert 6 == len(lines)
    assert {True} == {'"kube-probe/1.34"' in text and " 192.168.10.11:" in text for text in lines}
    of.policy("STRICT")
    of.wait(minutes=2)
    late = log(of, "orders", timedelta(minutes=1))
    assert {True} == {"NR filter_chain_not_found" in text and " 192.168.10.11:" in text for text in late}


def test_a_held_connection_is_logged_when_it_ends(bench: Callable[..., Bench]) -> None:
    """Nothing while it is open; a line when the drain cuts it, and then the tries that are refused."""
    traffic = {"held": {"from": "out/legacy", "to": "app/orders:9000", "protocol": "tcp", "connections": 1}}
    of = bench(workloads=TWO, traffic=traffic, mesh=mesh("text"))
    assert [] == log(of, "orders", timedelta(minutes=30))
    of.policy("STRICT")
    of.wait(minutes=3)
    lines = log(of, "orders")
    served = [text for text in lines if "filter_chain_not_found" not in text]
    assert 1 == len(served)
    assert 8 <= len(lines) - len(served) <= 20


def test_a_busy_log_is_bounded(bench: Callable[..., Bench]) -> None:
    """One line a second of a caller, whatever it calls; and the same lines whenever they are read."""
    traffic = {"web": {"from": "app/web", "to": "app/orders:8080", "rate": "500/s"}}
    of = bench(workloads=TWO, traffic=traffic, mesh=mesh("text"))
    first = log(of, "orders", timedelta(minutes=2))
    assert 119 <= len(first) <= 121
    of.wait(seconds=10)
    again = log(of, "orders", timedelta(minutes=2, seconds=10))
    assert [] == [text for text in first[1:] if text not in again]
    assert START < of.lab.clock.now()
