"""The flip in time: propagation, drains, cuts, and the error rate that improves while callers die."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Start = Callable[..., Any]

CLIENT = {"name": "client", "namespace": "app", "replicas": 1}
SERVER = {"name": "server", "namespace": "app", "replicas": 1, "ports": {"http": 8080, "tcp": 9000, "grpc": 9090}}
OPENED, CLOSED = "istio_tcp_connections_opened_total", "istio_tcp_connections_closed_total"
THERE = "{reporter='destination'}"
OPEN_NOW = (
    f"sum by (connection_security_policy) ({OPENED}{THERE})"
    f" - sum by (connection_security_policy) ({CLOSED}{THERE} or {OPENED}{THERE} * 0)"
)


def test_the_error_rate_at_the_destination_improves_while_callers_die(bench: Start) -> None:
    """observed.md d: a ratio of the destination's own counters is no judge."""
    made = bench(
        workloads=[CLIENT, {**CLIENT, "name": "legacy"}, {**SERVER, "replicas": 2}],
        manifests=[
            {
                "apiVersion": "networking.istio.io/v1",
                "kind": "DestinationRule",
                "metadata": {"name": "plain", "namespace": "app"},
                "spec": {
                    "host": "server",
                    "workloadSelector": {"matchLabels": {"app": "legacy"}},
                    "trafficPolicy": {"tls": {"mode": "DISABLE"}},
                },
            }
        ],
        traffic={
            "mesh": {"from": "app/client", "to": "app/server:8080", "rate": "20/s", "errors": 0.01},
            "nameless": {"from": "outside", "to": "app/server:8080", "rate": "20/s", "errors": 0.1},
            "legacy": {"from": "app/legacy", "to": "app/server:8080", "rate": "10/s", "errors": 0.1},
        },
    )
    made.wait(minutes=2)
    all_of, bad = 'reporter="destination"', 'reporter="destination",response_code=~"5.."'
    ratio = f"sum(rate(istio_requests_total{{{bad}}}[1m])) / sum(rate(istio_requests_total{{{all_of}}}[1m]))"
    before = made.total(ratio)
    made.policy("STRICT")
    made.wait(minutes=3)
    assert made.total(ratio) < before / 3
    assert pytest.approx(20, rel=0.2) == made.total(f"sum(rate(istio_requests_total{{{all_of}}}[1m]))")
    refused = 'sum(rate(istio_requests_total{source_workload="legacy",response_code="503",response_flags="UC"}[1m]))'
    assert pytest.approx(10, rel=0.2) == made.total(refused)


def test_a_proxy_proves_the_update_and_drains_for_45_seconds(bench: Start) -> None:
    """listener_modified and update_success +1, draining 1 until T (observed.md b, c)."""
    made = bench(workloads=[SERVER])
    name = "envoy_listener_manager_{}".format
    made.policy("STRICT")
    made.wait(seconds=1)
    assert made.total(name("listener_modified")) == 0
    made.wait(seconds=14)
    assert (made.total(name("listener_modified")), made.total(name("lds_update_success"))) == (1, 2)
    assert made.total(name("total_listeners_draining")) == 1
    made.wait(seconds=30)
    assert made.total(name("total_listeners_draining")) == 1
    made.wait(seconds=10)
    assert made.total(name("total_listeners_draining")) == 0


def test_identical_content_drains_nothing(bench: Start) -> None:
    """Writing PERMISSIVE where PERMISSIVE was inherited is accepted, and nothing is modified."""
    made = bench(workloads=[SERVER])
    made.policy("PERMISSIVE")
    made.wait(seconds=20)
    assert made.total("envoy_listener_manager_lds_update_success") == 2
    assert (
        made.total("envoy_listener_manager_listener_modified + envoy_listener_manager_listener_in_place_updated") == 0
    )
    assert made.total("envoy_listener_manager_total_listeners_draining") == 0


def test_long_lived_tcp_is_cut_at_the_end_of_the_drain_and_not_before(bench: Start) -> None:
    """Healthy mutual TLS comes back at once; plaintext does not, and leaves no trace at the destination (b, j)."""
    made = bench(
        workloads=[CLIENT, SERVER],
        traffic={
            "mesh": {"from": "app/client", "to": "app/server:9000", "protocol": "tcp", "connections": 2},
            "nameless": {"from": "outside", "to": "app/server:9000", "protocol": "tcp", "connections": 3},
        },
    )
    made.wait(minutes=1)
    assert made.query(OPEN_NOW) == {("mutual_tls",): 2, ("none",): 3}
    made.policy("STRICT")
    made.wait(seconds=45)
    assert made.query(OPEN_NOW) == {("mutual_tls",): 2, ("none",): 3}
    made.wait(seconds=15)
    assert made.query(OPEN_NOW) == {("mutual_tls",): 2, ("none",): 0}
    assert made.moved(CLOSED, "response_flags,source_workload", reporter="source") == {("-", "client"): 2}
    made.wait(minutes=10)
    assert made.moved(OPENED, "connection_security_policy", reporter="destination") == {}


def test_long_lived_connections_move_bytes_and_no_opened(bench: Start) -> None:
    """They are found in the bytes, not in a rate of opened connections."""
    made = bench(
        workloads=[CLIENT, SERVER],
        traffic={"mesh": {"from": "app/client", "to": "app/server:9000", "protocol": "tcp", "connections": 2,
                          "bytes": 100}},
    )  # fmt: skip
    made.wait(minutes=5)
    assert made.moved(OPENED, "reporter") == {}
    moved = made.moved("istio_tcp_received_bytes_total", "reporter", reporter="destination")
    assert pytest.approx(2 * 100 * 120) == moved["destination",]


def test_requests_in_flight_are_cut_as_code_0_dc_and_503_uc(bench: Start) -> None:
    """Requests of 65 seconds, one a second: those begun in the 20 seconds before the push are cut (b)."""
    made = bench(
        workloads=[CLIENT, SERVER],
        traffic={"slow": {"from": "app/client", "to": "app/server:8080", "rate": "1/s", "jitter": 0, "lasts": "65s"}},
    )
    made.policy("STRICT")
    made.wait(minutes=1)
    by = "response_code,response_flags"
    there = made.moved("istio_requests_total", by, seconds=30, reporter="destination", response_code="0")
    assert pytest.approx(20, abs=1) == there["0", "DC"]
    source = made.moved("istio_requests_total", by, seconds=30, reporter="source", response_code="503")
    assert pytest.approx(20, abs=1) == source["503", "UC"]


def test_streams_are_cut_as_code_200_with_upe_at_the_source(bench: Start) -> None:
    """A cut stream looks like success to whoever counts codes (b)."""
    made = bench(
        workloads=[CLIENT, SERVER],
        traffic={"watch": {"from": "app/client", "to": "app/server:8080", "connections": 4, "lasts": "1h"}},
    )
    made.policy("STRICT")
    made.wait(minutes=1)
    by = "response_code,response_flags"
    assert made.moved("istio_requests_total", by, seconds=30, reporter="source") == {("200", "UPE"): 4}
    assert made.moved("istio_requests_total", by, seconds=30, reporter="destination") == {("200", "DC"): 4}


def test_a_port_level_change_leaves_other_ports_alone(bench: Start) -> None:
    """In place, and only that port's connections are cut (b)."""
    made = bench(
        workloads=[CLIENT, SERVER],
        traffic={"tcp": {"from": "app/client", "to": "app/server:9000", "protocol": "tcp", "connections": 2}},
    )
    made.wait(minutes=1)
    made.policy("PERMISSIVE", name="ports", selector={"matchLabels": {"app": "server"}},
                portLevelMtls={"8080": {"mode": "STRICT"}})  # fmt: skip
    made.wait(seconds=20)
    where = '{pod=~"server.*"}'
    assert made.total(f"envoy_listener_manager_listener_in_place_updated{where}") == 1
    assert made.total(f"envoy_listener_manager_total_filter_chains_draining{where}") == 2
    made.wait(minutes=1)
    assert made.total(f"envoy_listener_manager_total_filter_chains_draining{where}") == 0
    assert made.moved(CLOSED, "reporter") == {}


@pytest.mark.parametrize(("state", "rejected"), [("stuck", 0), ("rejecting", 1)])
def test_a_proxy_that_does_not_take_the_update_goes_on_as_before(bench: Start, state: str, rejected: int) -> None:
    """Stuck: no counter moves. Rejecting: update_rejected +1. Plaintext is served by it all the same."""
    made = bench(
        workloads=[SERVER],
        traffic={"nameless": {"from": "outside", "to": "app/server:8080", "rate": "1/s"}},
        events=[{"named": "break", "proxy": {"workload": "app/server", "state": state}}],
    )
    made.lab.fire("break")
    made.wait(seconds=30)
    earlier = made.total("envoy_listener_manager_lds_update_rejected")
    made.policy("STRICT")
    made.wait(minutes=3)
    assert made.total("envoy_listener_manager_listener_modified") == 0
    assert rejected == made.total("envoy_listener_manager_lds_update_rejected") - earlier
    assert {("none",)} == set(made.moved("istio_requests_total", "connection_security_policy"))


def test_without_istiod_nothing_changes_in_the_proxies(bench: Start) -> None:
    """The API accepts the policy; istiod's return brings it to the proxies (q)."""
    made = bench(
        workloads=[SERVER],
        events=[{"named": "stop", "istiod": "stop"}, {"named": "start", "istiod": "start"}],
    )
    made.lab.fire("stop")
    made.policy("STRICT")
    made.wait(minutes=2)
    assert made.total("envoy_listener_manager_listener_modified") == 0
    made.lab.fire("start")
    made.wait(minutes=1)
    assert made.total("envoy_listener_manager_listener_modified") == 1


def test_a_selector_policy_drains_only_its_pods(bench: Start) -> None:
    """Another workload of the namespace hears of the push and has nothing to change (q)."""
    made = bench(workloads=[CLIENT, SERVER])
    made.policy("STRICT", name="one", selector={"matchLabels": {"app": "server"}})
    made.wait(seconds=30)
    assert made.total('envoy_listener_manager_listener_modified{pod=~"server.*"}') == 1
    assert made.total('envoy_listener_manager_listener_modified{pod=~"client.*"}') == 0
