"""What a real server holds, and what time it is there, when a lab writes to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from rollout.lab.lab import Lab
from rollout.lab.promql import is_stale
from tests.real.prometheus.server import RealPrometheus

pytestmark = pytest.mark.prometheus

DAY = 86_400_000


@pytest.fixture
def lab(fresh_prometheus: Callable[[], RealPrometheus]) -> Iterator[Lab]:
    """A mesh in which pods come and go."""
    with Lab.start("deploy-and-scale-during-watch", prometheus=fresh_prometheus().url) as started:
        yield started


def ask(lab: Lab, endpoint: str, **parameters: str) -> Any:
    """The data of an answer to a client that knows the lab's address."""
    with urlopen(f"{lab.prometheus_url}/api/v1/{endpoint}?{urlencode(parameters)}", timeout=60) as answer:
        return json.load(answer)["data"]


def test_the_server_holds_the_samples_of_the_lab(lab: Lab) -> None:
    """Every time and value of an hour, before and after time went on; markers of staleness are not shown by anybody."""
    for _ in range(2):
        lab.advance(timedelta(minutes=7, seconds=3))
        with lab.clock.attach():
            at = lab.clock.now().timestamp()
            found = ask(lab, "query", query='{__name__=~"istio_requests_total|envoy_.*"}[1h]', time=f"{at:.3f}")
            held = {
                json.dumps(series["metric"], sort_keys=True): [(t, float(value)) for t, value in series["values"]]
                for series in found["result"]
            }
            assert held == _of_the_lab(lab, at)
            assert sum(map(len, held.values())) > 1000


def _of_the_lab(lab: Lab, at: float) -> dict[str, list[tuple[float, float]]]:
    end = int(at * 1000)
    wanted = lab.storage.named(lambda name: name == "istio_requests_total" or name.startswith("envoy_"))
    cuts = [cut for series in wanted if (cut := series.cut(end - 3_600_000, end)) is not None]
    found = {
        json.dumps(dict(cut.labels), sort_keys=True): [
            (ms / 1000, value) for ms, value in zip(cut.timestamps_ms, cut.values, strict=True) if not is_stale(value)
        ]
        for cut in cuts
    }
    return {labels: samples for labels, samples in found.items() if samples}


def test_a_query_without_a_time_is_asked_at_the_time_of_the_lab(lab: Lab) -> None:
    """Nine days ahead of the server's clock."""
    with lab.clock.attach():
        now = lab.clock.now().timestamp()
        assert float(ask(lab, "query", query="time()")["result"][1]) == pytest.approx(now, abs=0.002)
        up = ask(lab, "query", query="count(envoy_server_uptime)")["result"]
        assert float(up[0]["value"][1]) == len(lab.simulation.proxies)


def test_a_server_that_is_gone_is_a_bad_gateway_and_gets_everything_later(
    fresh_prometheus: Callable[[], RealPrometheus],
) -> None:
    """What could not be written is written when the server is back."""
    server = fresh_prometheus()
    with Lab.start("no-traffic", prometheus=server.url) as lab, lab.clock.attach():
        server.close()
        status, _, said = lab.prometheus.handle("GET", "/api/v1/query", "query=up", {}, b"")
        assert (502, b"Bad Gateway") == (status, said[:11])
        server.start()
        end = int(lab.clock.now().timestamp() * 1000)
        held = ask(lab, "query", query="count_over_time(envoy_server_uptime[8d])", time=f"{end / 1000:.3f}")["result"]
        cuts = [s.cut(end - 8 * DAY, end) for s in lab.storage.named(lambda name: name == "envoy_server_uptime")]
        assert len(cuts) == len(lab.simulation.proxies)
        assert [len(cut.values) for cut in cuts if cut] == [int(series["value"][1]) for series in held]
