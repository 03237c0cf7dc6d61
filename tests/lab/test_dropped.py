"""A Prometheus that hangs up does so on the wire, too, and is no failure of the lab."""

import http.client
from urllib.parse import urlsplit

import pytest

from rollout.lab.front import Outage
from rollout.lab.lab import Lab


def test_a_dropped_connection_is_dropped() -> None:
    """No status, no body, and nothing in the lab's list of failures."""
    with Lab.start("healthy") as lab:
        lab.prometheus.switches.outage = Outage.DROPPED
        connection = http.client.HTTPConnection(urlsplit(lab.prometheus_url).netloc, timeout=10)
        connection.request("GET", "/prometheus/api/v1/query?query=1")
        with pytest.raises(ConnectionError):
            connection.getresponse()
        connection.close()
        assert lab._serving().failures == []
