"""A lab in front of somebody else's Prometheus: what that one is asked and sent, and what the clients get."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from rollout.errors import UsageError
from rollout.lab.forwarder import Forwarder
from rollout.lab.front import Outage
from rollout.lab.lab import Lab
from rollout.lab.mesh.samples import Feed, ScrapeStorage
from rollout.lab.promql import is_stale
from rollout.lab.wanted import wanted_by
from tests.lab.prometheus_decoder import Decoded, decoded
from tests.loopback import Handler, serving

NOW = datetime(2026, 3, 4, 5, 6, 7, 890_000, tzinfo=UTC)
AT = f"{NOW.timestamp():.3f}"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
VECTOR = {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "2"]}]}}


class Upstream:
    """A server that takes notes: what it was asked, and every series it was sent.

    Attributes:
        asked: method, path and parameters of each query.
        written: series, in the order of their arrival.
        refuses: what writes are answered with, '' for 204.
        answer: what queries are answered with.
    """

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self.url = ""
        self.asked: list[tuple[str, str, dict[str, list[str]]]] = []
        self.written: list[Decoded] = []
        self.refuses = ""
        self.answer: Any = VECTOR

    def write(self, handler: Handler, body: bytes) -> None:
        """Take the series in, or refuse them."""
        if not self.refuses:
            self.written += decoded(body)
        handler.send(400 if self.refuses else 204, self.refuses.encode(), {"Content-Type": "text/plain"})

    def query(self, handler: Handler, form: str) -> None:
        """Note it and answer."""
        self.asked.append((handler.command, urlsplit(handler.path).path, parse_qs(form, keep_blank_values=True)))
        handler.send(200, json.dumps(self.answer).encode(), {"Content-Type": "application/json"})


class Asking(Handler):
    """A connection to it."""

    upstream: Upstream

    def serve(self) -> None:
        if self.path == "/api/v1/write":
            self.upstream.write(self, self.body())
        else:
            self.upstream.query(self, urlsplit(self.path).query if self.command == "GET" else self.body().decode())


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Runs during the test."""
    server = Upstream()
    with serving(Asking, upstream=server) as port:
        server.url = f"http://127.0.0.1:{port}"
        yield server


@pytest.fixture
def storage() -> ScrapeStorage:
    """Two metrics, one scrape of a and two hundred of b."""
    filled = ScrapeStorage()
    filled.series({"__name__": "a", "pod": "p"}).extend(range(1000, 1001), lambda times: [1.0 for _ in times])
    filled.series({"__name__": "b", "pod": "p"}).extend(
        range(1000, 201_000, 1000), lambda times: [t / 1000 for t in times]
    )
    return filled


@pytest.fixture
def forwarder(upstream: Upstream, storage: ScrapeStorage) -> Forwarder:
    """In front of it."""
    return Forwarder(upstream.url, storage, lambda: NOW, targets=lambda: [{"health": "up"}])


def get(forwarder: Forwarder, query: str, path: str = "/api/v1/query") -> tuple[int, Any]:
    """Status and JSON of a GET."""
    status, _, body = forwarder.handle("GET", path, query, {}, b"")
    return status, json.loads(body)


@pytest.mark.parametrize("query", ["query=time()", "query=time()&time="])
def test_a_query_without_a_time_gets_the_time_of_the_lab(forwarder: Forwarder, upstream: Upstream, query: str) -> None:
    """To the millisecond."""
    assert (200, VECTOR) == get(forwarder, query)
    assert [("GET", "/api/v1/query", {"query": ["time()"], "time": [AT]})] == upstream.asked


def test_a_query_with_a_time_keeps_it(forwarder: Forwarder, upstream: Upstream) -> None:
    """The client knows better; a range query names its own."""
    get(forwarder, "query=a&time=17.5")
    get(forwarder, "query=a&start=1&end=2&step=1", "/api/v1/query_range")
    assert [{"query": ["a"], "time": ["17.5"]}, {"query": ["a"], "start": ["1"], "end": ["2"], "step": ["1"]}] == [
        parameters for _, _, parameters in upstream.asked
    ]


def test_a_form_stays_a_form(forwarder: Forwarder, upstream: Upstream) -> None:
    """A long query does not fit into a URL."""
    assert forwarder.handle("POST", "/api/v1/query", "", FORM, b"query=a%2Bb")[0] == 200
    assert [("POST", "/api/v1/query", {"query": ["a+b"], "time": [AT]})] == upstream.asked


def test_a_metric_is_written_before_the_first_query_that_reads_it(
    forwarder: Forwarder, upstream: Upstream, storage: ScrapeStorage
) -> None:
    """Whole, then only what is new."""
    get(forwarder, "query=rate(a[5m])")
    assert [({"__name__": "a", "pod": "p"}, [1000], [1.0])] == upstream.written
    get(forwarder, "query=a")
    assert len(upstream.written) == 1
    storage.series({"__name__": "a", "pod": "p"}).extend(range(2000, 2001), lambda times: [2.0 for _ in times])
    get(forwarder, 'query={__name__=~"a|b"}')
    assert [({"__name__": "a", "pod": "p"}, [2000], [2.0])] == [one for one in upstream.written[1:] if one[1] == [2000]]
    assert [200] == [len(times) for labels, times, _ in upstream.written[1:] if labels["__name__"] == "b"]
    assert len(upstream.written) == 3


@pytest.mark.parametrize(
    ("path", "query"),
    [("/api/v1/query", "query=what+is+this"), ("/api/v1/labels", ""), ("/api/v1/series", "match[]=b&match[]=a")],
)
def test_what_says_no_name_may_read_everything(forwarder: Forwarder, upstream: Upstream, path: str, query: str) -> None:
    """Also a query that only the real one may understand."""
    get(forwarder, query, path)
    assert {"a", "b"} == {labels["__name__"] for labels, _, _ in upstream.written}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("sum by (x) (rate(a[5m])) / on (x) b", {"a", "b"}),
        ('-(topk(scalar(a), {__name__=~"c.*"}))', {"a", "cc"}),
        ("max_over_time(b[1h:5m] offset 1d)", {"b"}),
        ('{pod="p"}', {"a", "b", "cc"}),
        ('{__name__!="a", pod="p"}', {"b", "cc"}),
        ('vector(1) + time() or label_replace(a, "x", "b", "y", "c")', {"a"}),
    ],
)
def test_the_metrics_that_a_text_can_read(text: str, names: set[str]) -> None:
    """Found in every place where a selector may stand."""
    assert names == set(filter(wanted_by([text]), ("a", "b", "cc")))


def test_samples_that_are_refused_are_an_error_with_words(forwarder: Forwarder, upstream: Upstream) -> None:
    """And are sent again."""
    upstream.refuses = "out of bounds"
    with pytest.raises(ValueError, match=r"refuses the lab's samples \(400\): out of bounds"):
        get(forwarder, "query=a")
    assert [] == upstream.asked
    upstream.refuses = ""
    get(forwarder, "query=a")
    assert [[1000]] == [times for _, times, _ in upstream.written]


def test_a_server_that_is_away_is_a_bad_gateway(storage: ScrapeStorage) -> None:
    """As behind any proxy."""
    status, media, body = Forwarder("http://127.0.0.1:9", storage, lambda: NOW).handle("GET", "/-/ready", "", {}, b"")
    assert (502, "text/plain; charset=utf-8") == (status, media)
    assert body.startswith(b"Bad Gateway: ")


def test_the_switches_stand_in_front(forwarder: Forwarder, upstream: Upstream) -> None:
    """Outage, empty answers, warnings and a query that takes too long, as with the evaluator."""
    forwarder.switches.outage = Outage.UNAVAILABLE
    assert forwarder.handle("GET", "/api/v1/query", "query=a", {}, b"")[0] == 503
    forwarder.switches.outage = Outage.NONE
    forwarder.switches.longest_range_ms = 600_000
    status, said = get(forwarder, "query=rate(a[11m])")
    assert (422, "execution") == (status, said["errorType"])
    assert get(forwarder, "query=a[1m]&start=0&end=541&step=1", "/api/v1/query_range")[0] == 422
    assert [] == upstream.asked
    assert get(forwarder, "query=rate(a[10m])")[0] == 200
    forwarder.switches.empty = True
    forwarder.switches.warnings = ["partial response"]
    empty = {"status": "success", "data": {"resultType": "vector", "result": []}, "warnings": ["partial response"]}
    assert (200, empty) == get(forwarder, "query=a")
    upstream.answer = {"status": "success", "data": ["a"]}
    assert [] == get(forwarder, "", "/api/v1/labels")[1]["data"]
    upstream.answer = {"status": "success", "data": {"resultType": "scalar", "result": [1, "2"]}}
    assert [1, "2"] == get(forwarder, "query=1")[1]["data"]["result"]


def test_targets_are_those_of_the_lab(forwarder: Forwarder, upstream: Upstream) -> None:
    """The real one scrapes nobody."""
    assert [{"health": "up"}] == get(forwarder, "", "/api/v1/targets")[1]["data"]["activeTargets"]
    assert [] == upstream.asked


@pytest.mark.parametrize("url", ["prometheus:9090", "https://prometheus", "http://"])
def test_an_address_that_cannot_be_used_is_said(url: str) -> None:
    """Before anything is served."""
    with pytest.raises(UsageError, match="no address of a Prometheus"):
        Lab.start("no-traffic", prometheus=url)


def test_a_lab_in_front_of_a_server(upstream: Upstream) -> None:
    """Through the lab's own socket: an outage of the scenario, then the history of what is asked for."""
    with Lab.start("prometheus-outage-for-good", start=NOW, prometheus=upstream.url) as lab, lab.clock.attach():
        assert lab.prometheus.handle("GET", "/api/v1/query", "query=up", {}, b"")[0] == 200
        assert {"up"} == {labels["__name__"] for labels, _, _ in upstream.written}
        assert {9 * 2880} == {len(times) for _, times, _ in upstream.written}
        ends = {times[-1] for _, times, _ in upstream.written}
        assert timedelta(0) <= NOW - datetime.fromtimestamp(max(ends) / 1000, UTC) < timedelta(seconds=30)


def test_a_feed_gives_each_sample_once() -> None:
    """Long stretches, short ones, and the end of a series; again until it is confirmed."""
    storage = ScrapeStorage()
    series, feed = storage.series({"__name__": "a"}), Feed(storage)

    def taken() -> list[tuple[list[int], list[float]]]:
        return [(list(times), list(values)) for _, times, values in feed.take(lambda _: True)]

    series.extend(range(100), lambda times: [float(t) for t in times])
    series.extend(range(100, 102), lambda times: [float(t) for t in times])
    first = [(list(range(100)), [float(t) for t in range(100)]), ([100, 101], [100.0, 101.0])]
    assert first == taken()
    assert first == taken()
    feed.confirm()
    assert [] == taken()
    series.extend(range(102, 103), lambda times: [float(t) for t in times])
    assert [([102], [102.0])] == taken()
    feed.confirm()
    series.mark_stale(103)
    series.extend(range(110, 210), lambda times: [float(t) for t in times])
    (end, marker), (times, _) = taken()
    assert [103] == end
    assert is_stale(marker[0])
    assert list(range(110, 210)) == times
    feed.confirm()
    assert [] == taken()
