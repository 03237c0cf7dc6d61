"""How a server's proxy counted a caller's calls."""

from __future__ import annotations

import pytest

from rollout.diagnosis.counted import mutual_calls


def sample(metric: str = "istio_requests_total", value: str = "3", **labels: str) -> str:
    """A line of Envoy's page."""
    found = {
        "reporter": "destination",
        "source_workload": "rollout-probe-ab12",
        "connection_security_policy": "mutual_tls",
        "destination_principal": "spiffe://cluster.local/ns/production/sa/orders",
        **labels,
    }
    return f"{metric}{{{','.join(f'{name}={value!r}' for name, value in found.items())}}} {value}".replace("'", '"')


@pytest.mark.parametrize(
    ("lines", "calls"),
    [
        ([], 0),
        ([sample()], 3),
        ([sample(), sample(response_code="403", value="1")], 4),
        ([sample(metric="istio_tcp_connections_opened_total", value="2e0")], 2),
        ([sample(metric="istio_request_duration_milliseconds_count")], 0),
        ([sample(reporter="source")], 0),
        ([sample(source_workload="rollout-probe-ab123")], 0),
        ([sample(source_workload="unknown", connection_security_policy="none")], 0),
        ([sample(connection_security_policy="none")], 0),
        (["# TYPE istio_requests_total counter", "rollout-probe-ab12", "\xff{}"], 0),
    ],
)
def test_calls_of_one_workload(lines: list[str], calls: int) -> None:
    """Over mutual TLS, at the server's side."""
    assert calls == mutual_calls("\n".join(lines).encode("latin-1"), "rollout-probe-ab12")
