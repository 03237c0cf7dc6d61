"""The evaluator's rules, one by one and without a server; the numbers are worked out by hand."""

from __future__ import annotations

import math

import pytest

from rollout.lab.promql import (
    STALE,
    BadData,
    ExecutionError,
    InstantVector,
    Matrix,
    MemoryStorage,
    Scalar,
    String,
    ranged,
)
from rollout.lab.promql import instant as evaluate

END = 600_000


@pytest.fixture
def storage() -> MemoryStorage:
    """Two counters (one resets), a gauge whose series ended, and buckets."""
    storage = MemoryStorage()
    for step in range(41):
        at = step * 15_000
        storage.append({"__name__": "c_total", "pod": "a", "ns": "x"}, at, step * 3.0)
        storage.append({"__name__": "c_total", "pod": "b", "ns": "x"}, at, float(step % 20))
        storage.append({"__name__": "info", "pod": "a", "node": "n1"}, at, 1.0)
        for bound, share in (("0.1", 1), ("1", 3), ("+Inf", 4)):
            storage.append({"__name__": "d_bucket", "le": bound}, at, float(step * share))
    storage.append({"__name__": "gone"}, END - 60_000, 1.0)
    storage.append({"__name__": "gone"}, END - 30_000, STALE)
    return storage


def vector(storage: MemoryStorage, query: str, at: int = END) -> dict[str, float]:
    """An instant vector by its labels, as text."""
    result = evaluate(storage, query, at)
    assert isinstance(result, InstantVector)
    return {str(labels): value for labels, value in result.samples}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('c_total{pod="a"}', {'{__name__="c_total", ns="x", pod="a"}': 120.0}),
        ("increase(c_total[5m])", {'{ns="x", pod="a"}': 60.0, '{ns="x", pod="b"}': 19.0}),
        ("resets(c_total[10m])", {'{ns="x", pod="a"}': 0.0, '{ns="x", pod="b"}': 2.0}),
        ("changes(c_total[1m])", {'{ns="x", pod="a"}': 4.0, '{ns="x", pod="b"}': 4.0}),
        ("sum by (ns) (c_total)", {'{ns="x"}': 120.0}),
        ("sum without (pod) (c_total)", {'{ns="x"}': 120.0}),
        ("topk(1, c_total)", {'{__name__="c_total", ns="x", pod="a"}': 120.0}),
        ("gone", {}),
        ("gone offset 1m", {'{__name__="gone"}': 1.0}),
        ("gone[5m:15s] > 0", None),
        ("c_total * on (pod) group_left (node) info", {'{node="n1", ns="x", pod="a"}': 120.0}),
        ("c_total unless on (pod) info", {'{__name__="c_total", ns="x", pod="b"}': 0.0}),
        ("histogram_quantile(0.5, d_bucket)", {"{}": 0.55}),
        ("absent(nothing{a='b'})", {'{a="b"}': 1.0}),
        ("max_over_time(rate(c_total{pod='a'}[1m])[5m:1m])", {'{ns="x", pod="a"}': 0.2}),
        ("timestamp(c_total{pod='a'} offset 7s)", {'{ns="x", pod="a"}': 585.0}),
        ("c_total{pod='a'} @ 150", {'{__name__="c_total", ns="x", pod="a"}': 30.0}),
        ("c_total{pod='a'} @ start() > bool 1", {'{ns="x", pod="a"}': 1.0}),
    ],
)
def test_an_instant_query(storage: MemoryStorage, query: str, expected: dict[str, float] | None) -> None:
    """One rule a row."""
    if expected is None:
        with pytest.raises(BadData):
            vector(storage, query)
    else:
        assert vector(storage, query) == pytest.approx(expected)


def test_a_series_is_seen_for_five_minutes(storage: MemoryStorage) -> None:
    """To the millisecond."""
    assert len(vector(storage, "c_total", END + 300_000)) == 2
    assert vector(storage, "c_total", END + 300_001) == {}


def test_results_have_the_type_of_their_expression(storage: MemoryStorage) -> None:
    """Scalars, strings and range vectors are not dressed up as vectors."""
    assert evaluate(storage, "1 + 1", END) == Scalar(2.0)
    assert evaluate(storage, "('a')", END) == String("a")
    result = evaluate(storage, "gone[5m]", END)
    assert isinstance(result, Matrix)
    assert [list(run.values) for run in result.runs] == [[1.0]]


def test_a_range_query_is_one_value_per_step(storage: MemoryStorage) -> None:
    """A series that ends has points only while it lived."""
    result = ranged(storage, "gone", END - 75_000, END, 15_000)
    assert [(list(run.times_ms), list(run.values)) for run in result.runs] == [
        ([END - 60_000, END - 45_000], [1.0, 1.0])
    ]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("c_total * on (ns) c_total", "many-to-many matching not allowed"),
        ("c_total * on (ns) group_left () (sum by (ns) (c_total)) * on () info", "multiple matches for labels"),
        ("label_replace(c_total, 'pod', '', '', '')", "vector cannot contain metrics with the same labelset"),
        ("label_replace(c_total, '0', '', '', '')", "invalid destination label name"),
        ("topk(Inf, c_total)", "overflows int64"),
        ("count_values('a-b', c_total)", "invalid label name"),
    ],
)
def test_what_cannot_be_evaluated_is_an_execution_error(storage: MemoryStorage, query: str, words: str) -> None:
    """Prometheus' own words."""
    with pytest.raises(ExecutionError, match=words):
        evaluate(storage, query, END)


@pytest.mark.parametrize(
    "query",
    [
        "rate(c_total)",
        "mad_over_time(c_total[5m])",
        "limitk(1, c_total)",
        "x{a='1' or b='2'}",
        "x[5]",
        "x offset 5",
        '{"x"}',
    ],
)
def test_what_prometheus_2_42_does_not_know_is_refused(storage: MemoryStorage, query: str) -> None:
    """The parser knows newer syntax; the lab must not."""
    with pytest.raises(BadData, match="parse error"):
        evaluate(storage, query, END)


def test_infinite_and_undefined_values_are_carried(storage: MemoryStorage) -> None:
    """Nothing in Python's arithmetic raises."""
    for query, expected in (("1/0", math.inf), ("-1/0", -math.inf), ("0^-1", math.inf), ("10^400", math.inf)):
        assert evaluate(storage, query, END) == Scalar(expected)
    for query in ("0/0", "0%0", "(-8)^(1/3)", "scalar(c_total)"):
        result = evaluate(storage, query, END)
        assert isinstance(result, Scalar)
        assert math.isnan(result.value)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("irate(c_total{pod='a'}[1m])", 0.2),
        ("idelta(c_total{pod='b'}[1m])", -19.0),
        ("delta(c_total{pod='a'}[5m])", 60.0),
        ("deriv(c_total{pod='a'}[5m])", 0.2),
        ("predict_linear(c_total{pod='a'}[5m], 10)", 122.0),
        ("sum_over_time(c_total{pod='a'}[30s])", 351.0),
        ("avg_over_time(c_total{pod='a'}[30s])", 117.0),
        ("min_over_time(c_total{pod='b'}[1m])", 0.0),
        ("max_over_time(c_total{pod='b'}[1m])", 19.0),
        ("stddev_over_time(c_total{pod='a'}[15s])", 1.5),
        ("stdvar_over_time(c_total{pod='a'}[15s])", 2.25),
        ("quantile_over_time(0.5, c_total{pod='a'}[30s])", 117.0),
        ("present_over_time(gone[5m])", 1.0),
        ("count_over_time(gone[5m])", 1.0),
        ("quantile(0.25, c_total)", 30.0),
        ("stddev(c_total)", 60.0),
        ("avg(c_total)", 60.0),
        ("min(c_total) + max(c_total) + count(c_total) + group(c_total)", 123.0),
        ("sum(count_values('v', c_total))", 2.0),
        ("round(vector(2.5)) + floor(vector(2.5)) + ceil(vector(2.5))", 8.0),
        ("clamp(vector(9), 1, 3) + clamp_min(vector(0), 1) + clamp_max(vector(9), 2)", 6.0),
        ("hour(vector(3600)) + year(vector(0)) + days_in_month(vector(0))", 2002.0),
        ("sgn(vector(-3)) + sqrt(vector(9)) + ln(vector(1)) + exp(vector(0))", 3.0),
        ("histogram_quantile(1, d_bucket)", 1.0),
        ("histogram_quantile(0.1, d_bucket)", 0.04),
        ("scalar(sort_desc(topk(1, c_total))) * vector(1)", 120.0),
    ],
)
def test_a_function_of_one_element(storage: MemoryStorage, query: str, expected: float) -> None:
    """One function a row."""
    assert list(vector(storage, query).values()) == [pytest.approx(expected)]


@pytest.mark.parametrize(
    ("query", "labels"),
    [
        (
            "label_replace(info, 'pod', '$1-${n}$$$9', 'node', '(?P<n>n)(.)')",
            {'{__name__="info", node="n1", pod="n-n$"}'},
        ),
        ("label_join(info, 'both', '/', 'pod', 'node')", {'{__name__="info", both="a/n1", node="n1", pod="a"}'}),
        ("absent_over_time(nothing{a='1'}[5m])", {'{a="1"}'}),
        ("c_total and on (pod) info", {'{__name__="c_total", ns="x", pod="a"}'}),
        ("info > on (pod) group_right () (c_total - 200)", {'{ns="x", pod="a"}'}),
        ("vector(1) or info", {"{}", '{__name__="info", node="n1", pod="a"}'}),
    ],
)
def test_labels_of_a_result(storage: MemoryStorage, query: str, labels: set[str]) -> None:
    """What is kept, dropped, made."""
    assert vector(storage, query).keys() == labels
