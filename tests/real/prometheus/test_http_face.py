"""The lab's HTTP face answers requests, good and bad, as a real Prometheus does."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from rollout.lab.prometheus import Prometheus
from rollout.lab.promql import MemoryStorage
from tests.real.prometheus.server import ONE_BLOCK, RealPrometheus

pytestmark = pytest.mark.prometheus

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
REQUESTS = [
    ("GET", "/-/ready", "", ""),
    ("GET", "/-/healthy", "", ""),
    ("GET", "/nope", "", ""),
    ("GET", "/api/v1/nope", "", ""),
    ("GET", "/api/v1/query", "", ""),
    ("PUT", "/api/v1/query", "query=x", ""),
    ("HEAD", "/api/v1/query", "query=x", ""),
    ("POST", "/api/v1/query", "", "query=x&time=1790000060"),
    ("POST", "/api/v1/query", "time=1790000000", "query=x"),
    ("POST", "/api/v1/query", "query=y&time=1790000000", "query=x"),
    *(
        ("GET", "/api/v1/query", query, "")
        for query in (
            "query=x&time=abc",
            "query=x&time=1790000000.5",
            "query=x&time=2026-09-21T14:13:20Z",
            "query=x&time=2026-09-21T16:13:20%2B02:00",
            "query=x&time=2026-09-21T14:13:20",
            "query=x&time=1e300",
            "query=x&time=NaN",
            "query=x[5m]&time=1790000060",
            "query=%22s%22&time=1790000060.25",
            "query=1/0&time=1",
            "query=x&time=1&timeout=abc",
            "query=x&time=1790000060&timeout=10s",
        )
    ),
    *(
        ("GET", "/api/v1/query_range", query, "")
        for query in (
            "query=x",
            "query=x&start=1&end=2",
            "query=x&start=2&end=1&step=1",
            "query=x&start=1&end=2&step=0",
            "query=x&start=1&end=2&step=-1",
            "query=x&start=1&end=2&step=1x",
            "query=x&start=1&end=20002&step=1",
            "query=x&start=1&end=11001&step=1",
            "query=x[5m]&start=1&end=2&step=1",
            "query=%22a%22&start=1&end=2&step=1",
            "query=x&start=1790000000&end=1790000060&step=30s",
            "query=x&start=1790000000&end=1790000060&step=0.5m",
            "query=x&start=1790000000&end=1790000060&step=1m0s500ms",
            "query=1&start=1&end=2&step=1",
        )
    ),
    ("GET", "/api/v1/series", "", ""),
    ("GET", "/api/v1/series", "match[]=x", ""),
    ("GET", "/api/v1/series", "match[]=x&match[]=y&match[]=%7Ba=%221%22%7D", ""),
    ("GET", "/api/v1/series", "match[]=x&start=1&end=2", ""),
    ("GET", "/api/v1/series", "match[]=x[", ""),
    ("GET", "/api/v1/series", "match[]=%7Ba=~%22.*%22%7D", ""),
    ("POST", "/api/v1/series", "", "match[]=x&start=1790000000&end=1790000060"),
    ("GET", "/api/v1/labels", "", ""),
    ("GET", "/api/v1/labels", "match[]=y", ""),
    ("GET", "/api/v1/labels", "start=abc", ""),
    ("POST", "/api/v1/labels", "", ""),
    ("GET", "/api/v1/label/a/values", "", ""),
    ("GET", "/api/v1/label/a/values", "match[]=y", ""),
    ("GET", "/api/v1/label/a-b/values", "", ""),
    ("GET", "/api/v1/label/__name__/values", "", ""),
    ("POST", "/api/v1/label/a/values", "", ""),
    ("GET", "/api/v1/metadata", "", ""),
    ("GET", "/api/v1/targets", "", ""),
]


@pytest.fixture(scope="module")
def both(prometheus_binary: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A real server and the lab's, with the same three series."""
    storage = MemoryStorage()
    series: list[tuple[dict[str, str], list[int], list[float]]] = [
        ({"__name__": "x", "a": "1"}, [1790000000000, 1790000060000], [1.0, 2.0]),
        ({"__name__": "y", "b": "ü"}, [1790000000000], [float("nan")]),
        ({"__name__": "z", "a": "2"}, [1790000060000], [float("-inf")]),
    ]
    for labels, times, values in series:
        for time_ms, value in zip(times, values, strict=True):
            storage.append(labels, time_ms, value)
    with RealPrometheus(prometheus_binary, tmp_path_factory.mktemp("face"), flags=ONE_BLOCK) as server:
        server.write(series)
        yield server, Prometheus(storage, now=lambda: datetime(2026, 9, 21, tzinfo=UTC))


def _ask(server: RealPrometheus, method: str, path: str, query: str, body: str) -> tuple[int, str, bytes]:
    request = urllib.request.Request(
        f"{server.url}{path}?{query}", data=body.encode() or None, method=method, headers=_FORM
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.headers["Content-Type"], response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read()


@pytest.mark.parametrize(("method", "path", "query", "body"), REQUESTS, ids=str)
def test_an_answer_is_the_real_one(both: Any, method: str, path: str, query: str, body: str) -> None:
    """Status, content type and JSON are equal; a parse error may word itself."""
    server, lab = both
    status, kind, text = lab.handle(method, path, query, _FORM, body.encode())
    real_status, real_kind, real_text = _ask(server, method, path, query, body)
    assert (real_status, real_kind) == (status, kind)
    if kind != "application/json":
        assert method == "HEAD" or real_text == text
        return
    mine, other = json.loads(text), json.loads(real_text)
    if "parse error" in other.get("error", ""):
        assert mine["errorType"] == other["errorType"]
        assert "parse error" in mine["error"]
    else:
        assert other == mine


def test_a_service_level_stub_has_the_real_fields(both: tuple[RealPrometheus, Prometheus]) -> None:
    """Build information has every field of the real one."""
    server, lab = both
    mine = json.loads(lab.handle("GET", "/api/v1/status/buildinfo", "", {}, b"")[2])["data"]
    other = json.loads(_ask(server, "GET", "/api/v1/status/buildinfo", "", "")[2])["data"]
    assert other.keys() == mine.keys()


def test_binaries_are_named_when_they_cannot_be_had(tmp_path: Any) -> None:
    """The reason of a skip says how to get one."""
    from tests.real.prometheus.server import Unavailable, find_binary

    nothing: Callable[[str], dict[str, str]] = lambda path: {"PATH": path, "XDG_CACHE_HOME": str(tmp_path)}  # noqa: E731
    with pytest.raises(Unavailable, match="not an executable"):
        find_binary({**nothing("/"), "PROMETHEUS_BIN": str(tmp_path)[1:]})
    own = tmp_path / "prometheus"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o700)
    assert find_binary(nothing(str(tmp_path))) == own
