"""How much a look-back asks of Prometheus, in words and as fields: a small one is not worth a line."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rollout.model.look import Look, Looked, ScrapeLabels
from rollout.report.looking import after, before, estimate, looks_json, many, told, unusual

DAY = 86_400.0
SMALL = Look(namespaces=1, series=120, look_back=8 * DAY, slices=8, queries=43)
BIG = msgspec.structs.replace(SMALL, namespaces=20, series=10_000)
CLASSIC = ScrapeLabels("kubernetes_namespace", "kubernetes_pod_name")


@pytest.mark.parametrize(("series", "days", "worth"), [(625, 8, True), (624, 8, False), (5000, 1, True)])
def test_series_times_days_decide_what_is_told_beforehand(series: int, days: float, *, worth: bool) -> None:
    """Many days of few series cost as much as one day of many."""
    assert worth is many(msgspec.structs.replace(SMALL, series=series, look_back=days * DAY))


def test_what_is_about_to_be_asked_is_bounded() -> None:
    """Every query may take so long; several namespaces are counted, one is the command's own."""
    assert (
        "Asking Prometheus for 8d of 20 namespaces (10,000 series): 8 slices, 43 queries or more, each at most 30s, "
        "so 21m30s at most for these; a heavier one is asked in halves"
    ) == before(BIG, 30.0)
    one = msgspec.structs.replace(SMALL, slices=1, queries=6)
    assert (
        "Asking Prometheus for 8d (120 series): 1 slice, 6 queries or more, each at most 1m, "
        "so 6m at most for these; a heavier one is asked in halves"
    ) == before(one, 60.0)


@pytest.mark.parametrize(("left", "said"), [(152.0, "2m32s"), (0.2, "1s"), (-3.0, "1s")])
def test_what_is_left_is_never_nothing(left: float, said: str) -> None:
    """While it is not over, it takes a second more at least: a pace is only an estimate."""
    assert f"About {said} to go, by the slices so far" == estimate(left)


@pytest.mark.parametrize(
    ("look", "queries", "seconds", "said"),
    [
        (BIG, 46, 0.4, "Prometheus was asked for 8d in 46 queries, 0.4 s: 10,000 series"),
        (SMALL, 43, 5.0, "Prometheus was asked for 8d in 43 queries, 5.0 s: 120 series"),
        (SMALL, 43, 4.9, ""),
        (BIG, None, 90.0, ""),
    ],
    ids=["big", "slow", "neither", "broken off"],
)
def test_what_it_took_is_told_of_a_big_one_and_of_a_slow_one(
    look: Look, queries: int | None, seconds: float, said: str
) -> None:
    """One that was broken off has no number of queries, so nothing is said that it took."""
    assert said == after(Looked(look=look, queries=queries, seconds=seconds))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (ScrapeLabels(), ""),
        (ScrapeLabels(reporter=False), ""),
        (CLASSIC, "Prometheus names the scraped pods by kubernetes_namespace and kubernetes_pod_name"),
        (ScrapeLabels("namespace", "pod_name"), "Prometheus names the scraped pods by namespace and pod_name"),
    ],
)
def test_unusual_names_of_the_scraped_pods_are_told(labels: ScrapeLabels, said: str) -> None:
    """Either label may be another; a dropped `reporter` is the evidence's own warning."""
    assert said == unusual(labels)


def test_a_report_ends_with_each_sentence_once() -> None:
    """Labels before costs, in the order of the look-backs; what is not worth a line is left out."""
    classic = msgspec.structs.replace(BIG, labels=CLASSIC)
    looks = [Looked(look=look, queries=46, seconds=20.0) for look in (classic, classic, BIG)]
    assert (
        "Prometheus names the scraped pods by kubernetes_namespace and kubernetes_pod_name",
        "Prometheus was asked for 8d in 46 queries, 20.0 s: 10,000 series",
    ) == told([Looked(look=SMALL, queries=43, seconds=1.0), *looks])
    assert () == told([])


def test_programs_get_what_was_announced_and_what_it_took() -> None:
    """Durations in seconds; `queries` is null where the look-back was broken off."""
    usual = {"namespace": "namespace", "pod": "pod", "reporter": True}
    common: dict[str, Any] = {"series": 120, "look_back": 8 * DAY, "slices": 8, "announced_queries": 43}
    dropped = msgspec.structs.replace(SMALL, labels=ScrapeLabels(reporter=False))
    assert [
        {"namespaces": 1, **common, "queries": 45, "seconds": 1.235, "labels": usual},
        {"namespaces": 1, **common, "queries": None, "seconds": 0.0, "labels": usual | {"reporter": False}},
    ] == looks_json([Looked(look=SMALL, queries=45, seconds=1.23456), Looked(look=dropped)])
