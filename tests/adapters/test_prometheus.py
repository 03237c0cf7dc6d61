"""The Prometheus adapter: answers, warnings, and failures by what helps against them."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest

from rollout import errors
from rollout.adapters.prometheus import PrometheusMetrics
from rollout.adapters.prometheus_direct import DirectSource
from rollout.adapters.prometheus_source import ServiceSource, connect_metrics
from rollout.ports import Metrics, Sample

AT = datetime(2026, 3, 2, 10, 0, 0, 250000, tzinfo=UTC)
QUERY = "GET /prom/api/v1/query"
RANGE = "GET /prom/api/v1/query_range"


@pytest.fixture
def slept() -> list[float]:
    """What was slept, without sleeping."""
    return []


@pytest.fixture
def metrics(script: Any, slept: list[float]) -> Iterator[PrometheusMetrics]:
    """Behind a path prefix, with a user in the URL."""
    url = script.url.replace("http://", "http://ana:p%40ss@") + "/prom/"
    made = connect_metrics(url, sleep=slept.append, headers={"X-Scope-OrgID": "team"}, timeout=5)
    yield made
    made.close()


def vector(*elements: Any, **more: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "vector", "result": list(elements)}, **more}


def test_it_fulfils_the_port(metrics: PrometheusMetrics) -> None:
    """mypy holds the signatures; the password is not in the address."""
    port: Metrics = metrics
    assert port.address().startswith("http://127.0.0.1:")
    assert port.address().endswith("/prom")


def test_an_instant_vector_without_nan(script: Any, reply: Any, metrics: PrometheusMetrics) -> None:
    """Infinity stays; the query, the exact time, user and headers go out."""
    script.on(
        QUERY,
        reply(
            vector(
                {"metric": {"a": "b"}, "value": [1772445600.25, "1.5"]},
                {"metric": {"a": "c"}, "value": [1772445600.25, "NaN"]},
                {"metric": {"a": "d"}, "value": [1772445600.25, "+Inf"]},
            )
        ),
    )
    answer = metrics.query('up{a=~"b+"}', AT)
    assert answer.samples == (Sample({"a": "b"}, AT, 1.5), Sample({"a": "d"}, AT, float("inf")))
    seen = script.seen[0]
    assert seen.query == {"query": 'up{a=~"b+"}', "time": "1772445600.250"}
    assert seen.headers["authorization"] == "Basic " + base64.b64encode(b"ana:p@ss").decode()
    assert seen.headers["x-scope-orgid"] == "team"


def test_warnings_come_through(script: Any, reply: Any, metrics: PrometheusMetrics) -> None:
    """A partial response shows only there."""
    script.on(QUERY, reply(vector(warnings=["partial response"])))
    assert metrics.query("up", AT).warnings == ("partial response",)
    script.on(QUERY, reply(vector(warnings=None, infos=["x"])))
    assert metrics.query("up", AT).warnings == ()


def test_native_histograms_are_left_out_aloud(script: Any, reply: Any, metrics: PrometheusMetrics) -> None:
    """No number, and not silently no data."""
    histogram = {"metric": {"a": "b"}, "histogram": [1772445600.25, {"count": "3", "sum": "1", "buckets": []}]}
    script.on(QUERY, reply(vector(histogram, warnings=["w"])))
    answer = metrics.query("up", AT)
    assert (answer.samples, answer.warnings) == ((), ("w", "1 native histograms are left out"))


def test_threads_do_not_share_a_session(script: Any, reply: Any, metrics: PrometheusMetrics) -> None:
    """Each gets the answers to its own questions."""

    def echo(seen: Any) -> Any:
        return reply(vector({"metric": {"q": seen.query["query"]}, "value": [1, "1"]}))

    script.on(QUERY, echo)
    wrong: list[str] = []

    def ask(name: str) -> None:
        for number in range(20):
            query = f"{name}{number}"
            wrong.extend(s.labels["q"] for s in metrics.query(query, AT).samples if s.labels["q"] != query)

    threads = [threading.Thread(target=ask, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (wrong, len(script.seen)) == ([], 80)


def test_a_matrix_keeps_the_exact_bounds(script: Any, reply: Any, metrics: PrometheusMetrics) -> None:
    """The library rounds them to whole seconds; a series of NaN alone is left out."""
    result = [
        {"metric": {"a": "b"}, "values": [[1772445600.25, "1"], [1772445615.25, "NaN"], [1772445630.25, "3"]]},
        {"metric": {"a": "c"}, "values": [[1772445600.25, "NaN"]]},
    ]
    script.on(RANGE, reply({"status": "success", "data": {"resultType": "matrix", "result": result}}))
    answer = metrics.query_range("up", AT, AT.replace(second=30), 7.5)
    assert [(s.labels, [v for _, v in s.points]) for s in answer.series] == [({"a": "b"}, [1.0, 3.0])]
    assert script.seen[0].query == {
        "query": "up",
        "start": "1772445600.250",
        "end": "1772445630.250",
        "step": "7.5",
    }


def test_scalars_are_samples_without_labels(script: Any, reply: Any, metrics: PrometheusMetrics) -> None:
    """And Prometheus' clock is one."""
    scalar = {"status": "success", "data": {"resultType": "scalar", "result": [1772445600.25, "1772445600.25"]}}
    script.on(QUERY, reply(scalar))
    assert metrics.query("time()", AT).samples == (Sample({}, AT, 1772445600.25),)
    assert metrics.now() == AT
    assert "time" not in script.seen[-1].query


def test_a_long_query_goes_in_the_body(script: Any, reply: Any, metrics: PrometheusMetrics) -> None:
    """Proxies cut long URLs."""
    script.on("POST /prom/api/v1/query", reply(vector()))
    query = " or ".join(f'up{{a="{number}"}}' for number in range(400))
    assert metrics.query(query, AT).samples == ()
    seen = script.seen[0]
    assert seen.query == {}
    assert parse_qs(seen.body.decode()) == {"query": [query], "time": ["1772445600.250"]}


PAGE = "<!doctype html><title>Sign in</title>"


@pytest.mark.parametrize(
    ("code", "body", "kind", "word"),
    [
        (200, PAGE, errors.MetricsRefused, "web page"),
        (200, '{"hello": 1}', errors.BadQuery, "does not understand"),
        (200, "[1]", errors.MetricsRefused, "not Prometheus"),
        (200, '{"status":"error","errorType":"timeout","error":"too slow"}', errors.QueryTooHeavy, "too slow"),
        (200, '{"status":"success","data":{"resultType":"vector","result":7}}', errors.MetricsRefused, "not Prom"),
        (302, "", errors.MetricsRefused, "302"),
        (400, '{"status":"error","errorType":"bad_data","error":"parse error"}', errors.BadQuery, "parse error"),
        (400, "plain HTTP request was sent to HTTPS port", errors.BadQuery, "HTTPS port"),
        (401, "no", errors.MetricsRefused, "401"),
        (403, "no", errors.MetricsRefused, "403"),
        (404, "404 page not found", errors.MetricsRefused, "404"),
        (414, "URI too long", errors.QueryTooHeavy, "too long"),
        (422, '{"status":"error","errorType":"execution","error":"too many"}', errors.QueryTooHeavy, "too many"),
        (429, "slow down", errors.MetricsUnreachable, "slow down"),
        (500, "oops", errors.MetricsUnreachable, "oops"),
        (503, '{"status":"error","errorType":"timeout","error":"late"}', errors.QueryTooHeavy, "late"),
        (503, "starting up", errors.MetricsUnreachable, "starting up"),
        (504, "gateway", errors.QueryTooHeavy, "gateway"),
    ],
)
def test_failures_are_told_apart(
    script: Any,
    reply: Any,
    metrics: PrometheusMetrics,
    code: int,
    body: str,
    kind: type[errors.MetricsError],
    word: str,
) -> None:
    """Each with Prometheus' words and the address, none with the password."""
    script.on(QUERY, reply(body, code))
    with pytest.raises(errors.MetricsError, match=word) as error:
        metrics.query("up", AT)
    assert type(error.value) is kind
    assert "/prom" in error.value.where
    assert "p@ss" not in "".join(error.value.lines())
    assert "p%40ss" not in "".join(error.value.lines())


def test_a_short_outage_is_waited_for(script: Any, reply: Any, metrics: PrometheusMetrics, slept: list[float]) -> None:
    """Twice; what is permanent is not tried again."""
    script.on(QUERY, reply("x", 503), reply(hang_up=True), reply(vector()))
    assert metrics.query("up", AT).samples == ()
    assert slept == [0.25, 0.5]
    script.on(QUERY, reply("x", 401))
    with pytest.raises(errors.MetricsRefused):
        metrics.query("up", AT)
    assert slept == [0.25, 0.5]


def test_a_refused_connection(slept: list[float]) -> None:
    """With reason and address, and without a wait in the library."""
    metrics = connect_metrics("http://127.0.0.1:9", sleep=slept.append)
    with pytest.raises(errors.MetricsUnreachable, match="Connection refused") as error:
        metrics.query("up", AT)
    metrics.close()
    assert error.value.where == "http://127.0.0.1:9"
    assert len(slept) == 2


def test_a_query_that_takes_too_long(script: Any, reply: Any, slept: list[float]) -> None:
    """Ask for less: not tried again, and no reason to ask nothing else, for `time()` is answered."""
    release = threading.Event()
    script.on(
        "GET /api/v1/query",
        lambda seen: reply(vector(), wait=release if seen.query["query"] == "heavy" else None),
    )
    metrics = connect_metrics(script.url, sleep=slept.append, timeout=0.7)
    try:
        with pytest.raises(errors.QueryTooHeavy, match="in time"):
            metrics.query("heavy", AT)
        assert () == metrics.query("up", AT).samples
    finally:
        release.set()
        metrics.close()
    assert slept == []


def test_a_prometheus_that_hangs(script: Any, reply: Any, slept: list[float]) -> None:
    """One query waits its limit out; the others of the same look do not. Later `time()` is asked first."""
    release, seconds = threading.Event(), [0.0]
    script.on("GET /api/v1/query", reply(vector(), wait=release))
    source = DirectSource(script.url, bearer_token="", verify=True, headers={}, timeout=0.5)
    metrics = PrometheusMetrics(source, slept.append, elapsed=lambda: seconds[0])

    def asked() -> list[str]:
        return [seen.query["query"] for seen in script.seen]

    try:
        with pytest.raises(errors.MetricsUnreachable, match="takes connections and does not answer"):
            metrics.query("first", AT)
        assert ["first", "time()"] == asked()
        for _ in range(20):
            with pytest.raises(errors.MetricsUnreachable, match="not asked again for 30 s"):
                metrics.query("another", AT)
        assert ["first", "time()"] == asked()
        seconds[0] = 31.0
        with pytest.raises(errors.MetricsUnreachable, match="does not answer, not even"):
            metrics.query("later", AT)
        assert ["first", "time()", "time()"] == asked()
        release.set()
        seconds[0] = 62.0
        assert () == metrics.query("healed", AT).samples
        assert ["first", "time()", "time()", "time()", "healed"] == asked()
    finally:
        release.set()
        metrics.close()


def test_tries_that_took_long_are_not_repeated_by_the_next_query(slept: list[float]) -> None:
    """A network that swallows packets costs the limit of a connection each time."""
    seconds = [0.0]
    calls = []

    class Swallowed(Proxy):
        def __call__(self, path: str, params: Any) -> tuple[int, bytes]:
            calls.append(path)
            seconds[0] += 3.05
            raise errors.Unreachable("no answer")

    metrics = PrometheusMetrics(
        ServiceSource(Swallowed(200, b""), scheme="", name="p", namespace="m", port="1", prefix=""),
        slept.append,
        elapsed=lambda: seconds[0],
    )
    for _ in range(5):
        with pytest.raises(errors.MetricsUnreachable):
            metrics.query("up", AT)
    assert len(calls) == 3


def test_a_bearer_token_wins_over_netrc(
    script: Any, reply: Any, slept: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """The library's session would send the password of ~/.netrc instead."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    script.on("GET /api/v1/query", reply(vector()))
    tokens = iter(["one\n", "two"])
    metrics = connect_metrics(script.url, sleep=slept.append, bearer_token=lambda: next(tokens))
    metrics.query("up", AT)
    metrics.query("up", AT)
    metrics.close()
    assert [seen.headers["authorization"] for seen in script.seen] == ["Bearer one", "Bearer two"]


class Proxy:
    """A cluster's `raw_reply`."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.body = status, body
        self.asked: list[tuple[str, dict[str, str]]] = []

    def __call__(self, path: str, query: Any) -> tuple[int, bytes]:
        self.asked.append((path, dict(query)))
        return self.status, self.body


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("prometheus.istio-system:9090", "istio-system/services/prometheus:9090/proxy"),
        ("https:prom.m:web/prefix/", "m/services/https:prom:web/proxy/prefix"),
    ],
)
def test_a_service_is_reached_through_the_api_server(slept: list[float], address: str, path: str) -> None:
    """No port-forward needed."""
    proxy = Proxy(200, b'{"status":"success","data":{"resultType":"vector","result":[]}}')
    metrics = connect_metrics(address, sleep=slept.append, raw_reply=proxy)
    assert metrics.query("up", AT).samples == ()
    assert proxy.asked == [(f"/api/v1/namespaces/{path}/api/v1/query", {"query": "up", "time": "1772445600.250"})]
    assert metrics.address() == address.rstrip("/")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"status":"error","errorType":"bad_data","error":"parse"}', errors.BadQuery),
        (422, b'{"status":"error","errorType":"execution","error":"x"}', errors.QueryTooHeavy),
        (403, b'{"kind":"Status","message":"services is forbidden"}', errors.MetricsRefused),
        (404, b'{"kind":"Status","message":"services not found"}', errors.MetricsUnreachable),
        (503, b'{"kind":"Status","message":"no endpoints available"}', errors.MetricsUnreachable),
    ],
)
def test_the_api_servers_refusals_are_not_prometheus(
    slept: list[float], status: int, body: bytes, kind: type[errors.MetricsError]
) -> None:
    """Told apart by the Status object."""
    metrics = connect_metrics("prometheus.m:9090", sleep=slept.append, raw_reply=Proxy(status, body))
    with pytest.raises(kind):
        metrics.query("up", AT)


@pytest.mark.parametrize("address", ["prometheus", "prometheus.m", "ftp://x", "http://", "a.b.c:1", "u:secret@h"])
def test_an_address_that_is_none(slept: list[float], address: str) -> None:
    """A usage error that does not repeat a password."""
    with pytest.raises(errors.UsageError) as error:
        connect_metrics(address, sleep=slept.append, raw_reply=Proxy(200, b""))
    assert "secret" not in "".join(error.value.lines())


def test_the_environments_proxy_is_for_other_machines(
    script: Any, reply: Any, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for a port-forward on this one."""
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, script.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    script.on("GET /api/v1/query", reply(vector()))
    here = connect_metrics(script.url, sleep=slept.append)
    there = connect_metrics("http://prometheus.invalid:9090", sleep=slept.append)
    here.query("up", AT)
    there.query("up", AT)
    here.close()
    there.close()
    assert [seen.headers["host"] for seen in script.seen][1:] == ["prometheus.invalid:9090"]
