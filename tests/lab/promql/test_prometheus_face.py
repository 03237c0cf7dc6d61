"""The lab's Prometheus fails on demand in the ways that real ones do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from rollout.lab.prometheus import ConnectionDropped, Outage, Prometheus, Switches
from rollout.lab.promql import MemoryStorage

NOW = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
NOW_MS = 1_790_000_000_000


@pytest.fixture
def lab() -> Prometheus:
    """One series with ten samples up to now."""
    storage = MemoryStorage()
    for step in range(10):
        storage.append({"__name__": "x_total", "a": "1"}, NOW_MS - (9 - step) * 15_000, step * 1.5)
    return Prometheus(storage, lambda: NOW, targets=lambda: [{"health": "up"}])


def get(lab: Prometheus, path: str, headers: dict[str, str] | None = None, **parameters: str) -> tuple[int, Any]:
    """Status and JSON of a GET."""
    status, kind, body = lab.handle("GET", path, urlencode(parameters), headers or {}, b"")
    return status, json.loads(body) if kind == "application/json" else body


def test_a_query_without_a_time_is_asked_now(lab: Prometheus) -> None:
    """The lab's clock is the default."""
    status, answer = get(lab, "/api/v1/query", query="x_total")
    expected = {"metric": {"__name__": "x_total", "a": "1"}, "value": [1790000000, "13.5"]}
    assert status == 200
    assert answer == {"status": "success", "data": {"resultType": "vector", "result": [expected]}}


@pytest.mark.parametrize("query", ["query=" + quote("x_total{a='1'}"), {"query": ["x_total"]}])
def test_a_query_may_come_as_text_or_parsed(lab: Prometheus, query: Any) -> None:
    """Both forms of the URL's query are understood."""
    assert b'"13.5"' in lab.handle("GET", "/api/v1/query", query, {}, b"")[2]


def test_a_form_is_read_only_when_it_says_that_it_is_one(lab: Prometheus) -> None:
    """Go's rule: without the content type the body is not a form."""
    form = {"content-TYPE": "application/x-www-form-urlencoded; charset=utf-8"}
    assert lab.handle("POST", "/api/v1/query", "", form, b"query=1")[0] == 200
    assert lab.handle("POST", "/api/v1/query", "", {}, b"query=1")[0] == 400


def test_an_outage_drops_the_connection_or_says_503(lab: Prometheus) -> None:
    """Readiness is gone too."""
    lab.switches.outage = Outage.DROPPED
    with pytest.raises(ConnectionDropped):
        get(lab, "/-/ready")
    lab.switches.outage = Outage.UNAVAILABLE
    assert get(lab, "/-/ready")[0] == 503
    lab.switches.outage = Outage.NONE
    assert get(lab, "/-/ready") == (200, b"Prometheus Server is Ready.\n")


def test_a_login_page_is_html_with_200(lab: Prometheus) -> None:
    """A proxy that wants a login does not say 401."""
    lab.switches.login_page = True
    status, kind, body = lab.handle("GET", "/api/v1/query", "query=1", {}, b"")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert b"Sign in" in body


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("increase(x_total[1h])", 200),
        ("sum(increase(x_total[2h])) > 0 or vector(0)", 422),
        ("-max_over_time(rate(x_total[30m])[45m:1m])", 422),
        ("clamp_min((x_total), 2)", 200),
    ],
)
def test_long_ranges_time_out(lab: Prometheus, query: str, status: int) -> None:
    """The limit holds for the sum of nested ranges."""
    lab.switches.longest_range_ms = 3_600_000
    found, answer = get(lab, "/api/v1/query", query=query)
    assert found == status
    if status == 422:
        assert answer == {"status": "error", "errorType": "execution", "error": "context deadline exceeded"}


def test_a_long_query_range_times_out(lab: Prometheus) -> None:
    """The span of query_range counts."""
    lab.switches.longest_range_ms = 60_000
    assert get(lab, "/api/v1/query_range", query="x_total", start="0", end="61", step="1")[0] == 422
    assert get(lab, "/api/v1/query_range", query="x_total", start="0", end="60", step="1")[0] == 200


def test_warnings_stand_beside_the_data(lab: Prometheus) -> None:
    """A partial response is a success with warnings."""
    lab.switches.warnings.append("store gone")
    status, answer = get(lab, "/api/v1/query", query="x_total")
    assert (status, answer["warnings"], len(answer["data"]["result"])) == (200, ["store gone"], 1)


def test_empty_answers_are_successes(lab: Prometheus) -> None:
    """Vectors, matrices and series are empty; a scalar has a value all the same."""
    lab.switches.empty = True
    assert get(lab, "/api/v1/query", query="x_total")[1]["data"] == {"resultType": "vector", "result": []}
    assert get(lab, "/api/v1/query", query="x_total[5m]")[1]["data"] == {"resultType": "matrix", "result": []}
    assert get(lab, "/api/v1/query", query="time()")[1]["data"]["result"] == [1790000000, "1790000000"]
    assert get(lab, "/api/v1/labels")[1]["data"] == []


def test_credentials_are_required_when_asked_for() -> None:
    """A wrong token is 401, a missing header (a tenant) is 403."""
    switches = Switches(bearer_token="t0k", required_headers={"X-Scope-OrgID": "eu"})
    lab = Prometheus(MemoryStorage(), lambda: NOW, switches=switches)
    assert get(lab, "/api/v1/query", query="1")[0] == 401
    assert get(lab, "/api/v1/query", {"authorization": "Bearer t0k"}, query="1")[0] == 403
    assert get(lab, "/api/v1/query", {"Authorization": "Bearer t0k", "x-scope-orgid": "eu"}, query="1")[0] == 200


def test_status_and_targets(lab: Prometheus) -> None:
    """What clients look at before they trust a URL."""
    assert get(lab, "/api/v1/status/buildinfo")[1]["data"]["version"].startswith("2.42")
    assert get(lab, "/api/v1/status/runtimeinfo")[1]["data"]["startTime"] == "2026-09-21T14:13:20Z"
    assert get(lab, "/api/v1/targets")[1]["data"]["activeTargets"] == [{"health": "up"}]


def test_an_expression_of_the_wrong_kind_is_no_series_selector(lab: Prometheus) -> None:
    """match[] takes selectors only."""
    assert lab.handle("GET", "/api/v1/series", {"match[]": ["sum(x_total)"]}, {}, b"")[0] == 400
    assert lab.handle("GET", "/api/v1/series", {"match[]": ["x_total[5m]"]}, {}, b"")[0] == 400
