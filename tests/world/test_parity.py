"""Every query of the product means the same to a real Prometheus and to the lab's evaluator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.model.traffic import Family
from rollout.world import queries
from rollout.world.queries import RESULT, examples
from rollout.world.sightings import SCRAPES
from tests.real.prometheus.parity import Question, differences
from tests.real.prometheus.remote_write import Samples
from tests.real.prometheus.server import ONE_BLOCK, RealPrometheus, binary_or_skip
from tests.world.mesh_fakes import istio_labels

pytestmark = pytest.mark.prometheus

T0 = 1_790_000_000_000
MINUTE = 60_000
SPAN = 27 * 60
COUNTERS = (
    "istio_requests_total",
    "istio_tcp_connections_opened_total",
    "istio_tcp_connections_closed_total",
    "istio_tcp_received_bytes_total",
    "istio_tcp_sent_bytes_total",
)
PROXY = {
    "envoy_server_uptime": 1.0,
    "istio_build": 0.0,
    "envoy_listener_manager_listener_modified": 0.001,
    "envoy_listener_manager_listener_in_place_updated": 0.0,
    "envoy_listener_manager_lds_update_rejected": 0.002,
    "envoy_listener_manager_total_listeners_draining": 0.01,
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RealPrometheus]:
    """An empty one; without a binary the test is skipped, and fails where CI=true promises one."""
    # Without a block to write: while it moves its head, a busy server leaves series out of an answer, and says nothing.
    with RealPrometheus(binary_or_skip(), tmp_path / "prometheus", flags=ONE_BLOCK) as started:
        yield started


def _series(labels: dict[str, str], name: str, lives: range, slope: float) -> Samples:
    times = [T0 + minute * MINUTE for minute in lives]
    return (
        {"__name__": name, "cluster": "eu1", **labels},
        times,
        [float(int(n * slope) + 1) for n in range(len(times))],
    )


def _samples() -> list[Samples]:
    """Series that were always there, were born, died, were brief, and stood still, in two namespaces."""
    lives = {
        "steady": (range(SPAN), 3.0),
        "born": (range(SPAN - 40, SPAN), 0.0),
        "died": (range(SPAN - 300), 1.0),
        "brief": (range(SPAN - 50, SPAN - 45), 0.0),
        "still": (range(SPAN), 0.0),
    }
    found: list[Samples] = []
    for namespace in ("production", "payments"):
        for name, (span, slope) in lives.items():
            pod = {"namespace": namespace, "pod": name}
            found += [_series(pod, metric, span, factor * slope) for metric, factor in PROXY.items()]
            found.append(
                (
                    ({"__name__": "up", "cluster": "eu1", **pod}),
                    [T0 + m * MINUTE for m in span],
                    [float(m % 50 != 49) for m in range(len(span))],
                )
            )
            for reporter in ("destination", "source"):
                labels = istio_labels("unknown" if name == "brief" else f"web/{name}", f"{namespace}/orders")
                flags = "UF,URX" if name == "died" else "-"
                labels |= {"reporter": reporter, "pod": name, "response_flags": flags, "namespace": namespace}
                faster = {"istio_tcp_connections_opened_total": 2}
                found += [_series(labels, metric, span, slope * faster.get(metric, 1)) for metric in COUNTERS]
        bare = istio_labels("web/bare", f"{namespace}/orders", reporter="source", destination_service="10.0.0.7:8080")
        bare |= {"destination_service_name": "PassthroughCluster", "destination_service_namespace": "unknown"}
        found.append(_series(bare | {"destination_workload_namespace": "unknown"}, COUNTERS[0], range(SPAN), 2.0))
        passed = istio_labels("web/bare", f"{namespace}/orders", reporter="source", destination_service="unknown")
        passed |= {"destination_service_name": "PassthroughCluster", "destination_service_namespace": "unknown"}
        for flags in ("UR", "UF,UR", "-"):
            found.append(_series(passed | {"response_flags": flags}, queries.CLOSED, range(SPAN), 3.0))
        found += _otherwise(namespace, lives)
        dropped = istio_labels("web/shop", f"{namespace}/orders", destination_workload_namespace="")
        found.append(_series(dropped | {"namespace": namespace}, COUNTERS[0], range(SPAN), 2.0))
    for webhook, span in (("orders.example.com", range(SPAN)), ("b.example.com", range(SPAN - 2, SPAN))):
        labels = {"name": webhook, "instance": "10.0.0.1:6443", "error_type": "calling_webhook_error"}
        found.append(_series(labels, "apiserver_admission_webhook_rejection_count", span, 2.0))
        passed = {"name": webhook, "instance": "10.0.0.1:6443", "type": "validating"}
        found.append(_series(passed, "apiserver_admission_webhook_fail_open_count", span, 1.0))
    return found


def _otherwise(namespace: str, lives: dict[str, tuple[range, float]]) -> list[Samples]:
    """The same lives in the other conventions: older labels of the scrape, and no reporter."""
    found: list[Samples] = []
    for name, (span, slope) in lives.items():
        for own, pod in (("kubernetes_namespace", "kubernetes_pod_name"), ("namespace", "pod_name")):
            scraped = {own: namespace, pod: f"other-{name}"}
            found += [_series(scraped, metric, span, factor * slope) for metric, factor in PROXY.items()]
            found.append(_series(scraped, "up", span, 0.0))
        for policy in ("unknown", "mutual_tls" if slope else "none"):
            source, scrape = ("web", "web") if policy == "unknown" else ("web", namespace)
            labels = istio_labels(f"{source}/{name}", f"{namespace}/orders", reporter="", pod="", pod_name=name)
            labels |= {"connection_security_policy": policy, "namespace": scrape}
            found += [_series(labels, metric, span, slope) for metric in COUNTERS]
    bare = istio_labels("web/other", reporter="", connection_security_policy="unknown", pod="", pod_name=namespace)
    passed = {"destination_service_name": "PassthroughCluster", "destination_workload_namespace": "unknown"}
    found.append(_series(bare | passed | {"destination_service": "10.0.0.7:8080"}, COUNTERS[0], range(SPAN), 2.0))
    cut = bare | passed | {"destination_service": "unknown", "response_flags": "UR"}
    found.append(_series(cut, queries.CLOSED, range(SPAN), 2.0))
    gone = istio_labels("web/old", f"{namespace}/orders", connection_security_policy="", namespace="", pod="")
    return [*found, _series(gone | {"kubernetes_namespace": namespace}, COUNTERS[0], range(SPAN), 1.0)]


def test_every_query_of_the_registry_has_parity(server: RealPrometheus) -> None:
    """At a scrape, between two, and over a range."""
    end = T0 + (SPAN - 1) * MINUTE
    questions: list[Question] = []
    for name, text in examples():
        questions += [(name, text, end), (name, text, end - 90 * MINUTE + 12_345)]
        questions.append((name, text, (end - 120 * MINUTE, end, 17 * MINUTE)))
    close = queries.existence(queries.Scope(("production",)), Family.HTTP, SCRAPES * 60, True)
    hour = (end - 65 * MINUTE, end - 5 * MINUTE, MINUTE)  # a caller that was born and died in it
    questions.append(("the closer look", close, hour))
    assert differences(server, _samples(), questions) == []
    answers = {name: server.get("/api/v1/query", query=text, time=f"{end / 1000:.3f}") for name, text in examples()}
    empty = {name for name, (_, body) in answers.items() if not body["data"]["result"]}
    assert empty == set()
    assert "response_flags" in RESULT
