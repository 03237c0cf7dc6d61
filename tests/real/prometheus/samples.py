"""Samples in which everything happens that makes a query hard: births, deaths, resets, gaps, stale markers, NaN."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from rollout.lab.promql import STALE
from tests.real.prometheus.remote_write import Samples

T0 = 1_790_000_000_000
"""The first sample's time; not on a minute."""

HOUR = 3_600_000
_SCRAPE = 60_000
_SPAN = 30 * HOUR


def mesh() -> list[Samples]:
    """Thirty hours of a small mesh, scraped every minute, the same each time."""
    dice = random.Random(20)
    return [*_counters(dice), *_gauges(dice), *_histogram(dice), *_odd_ones()]


def _times(offset: int = 0, first: int = 0, last: int = _SPAN) -> list[int]:
    return [T0 + at + offset for at in range(0, _SPAN, _SCRAPE) if first <= at < last]


def _rising(dice: random.Random, count: int, start: float = 0.0, reset_every: int = 0) -> list[float]:
    values, value = [], start
    for index in range(count):
        value = 0.0 if reset_every and index % reset_every == reset_every - 1 else value + dice.choice((0, 1, 3, 10))
        values.append(value)
    return values


def _counters(dice: random.Random) -> list[Samples]:
    """istio_requests_total in several lives; `pod` tells which."""
    lives: dict[str, tuple[int, int, int, Callable[[int], bool]]] = {
        "steady": (0, _SPAN, 0, lambda _: True),
        "resets": (0, _SPAN, 97, lambda _: True),
        "born": (25 * HOUR, _SPAN, 0, lambda _: True),
        "died": (0, 26 * HOUR, 0, lambda _: True),
        "brief": (27 * HOUR, 27 * HOUR + 5 * _SCRAPE, 0, lambda _: True),
        "gaps": (0, _SPAN, 0, lambda at: at % (3 * HOUR) > HOUR),
        "rare": (0, _SPAN, 0, lambda at: at % (4 * _SCRAPE) == 0),
        "once": (28 * HOUR, 28 * HOUR + _SCRAPE, 0, lambda _: True),
    }
    series: list[Samples] = []
    for number, (life, (first, last, reset, seen)) in enumerate(lives.items()):
        for namespace in ("a", "b"):
            times = [at for at in _times(number * 137 % 1000, first, last) if seen(at - T0 - number * 137 % 1000)]
            labels = {
                "__name__": "istio_requests_total",
                "reporter": "destination" if number % 3 else "source",
                "pod": life,
                "source_workload": "unknown" if number % 2 else f"caller-{number}",
                "destination_workload": f"web-{number % 3}",
                "destination_workload_namespace": namespace,
                "connection_security_policy": "none" if number % 2 else "mutual_tls",
                "response_code": "503" if number % 4 == 3 else "200",
            }
            series.append((labels, times, _rising(dice, len(times), start=dice.choice((0, 1000)), reset_every=reset)))
    return series


def _gauges(dice: random.Random) -> list[Samples]:
    series: list[Samples] = []
    for number in range(5):
        times = _times(number * 11)
        values = [round(dice.gauss(number, 3), 3) for _ in times]
        if number == 1:  # a target that went and came back, twice
            values[300:320] = [STALE] * 20
            values[1700] = STALE
        if number == 2:
            values[1000::50] = [math.nan] * len(values[1000::50])
        if number == 3:
            values[1500::61] = [math.inf] * len(values[1500::61])
        series.append(({"__name__": "load", "namespace": "ab"[number % 2], "pod": f"p-{number}"}, times, values))
        series.append(
            ({"__name__": "pod_info", "pod": f"p-{number}", "node": f"n-{number % 2}"}, times, [1.0] * len(times))
        )
    for side in ("opened", "closed"):
        for policy in ("none", "mutual_tls"):
            times = _times(7)
            labels = {"__name__": f"istio_tcp_connections_{side}_total", "connection_security_policy": policy}
            series.append((labels, times, _rising(dice, len(times), start=50.0 if side == "opened" else 0.0)))
    return series


def _histogram(dice: random.Random) -> list[Samples]:
    series: list[Samples] = []
    times = _times(3)
    total = [0.0] * len(times)
    for bound in ("0.5", "1", "2.5", "10", "+Inf"):
        total = [one + two for one, two in zip(total, _rising(dice, len(times)), strict=True)]
        series += [({"__name__": "duration_bucket", "le": bound, "pod": pod}, times, total) for pod in ("p-0", "p-1")]
    series.append(({"__name__": "duration_bucket", "le": "1e1x", "pod": "p-1"}, times, total))
    return series


def _odd_ones() -> list[Samples]:
    last = T0 + _SPAN - _SCRAPE
    return [
        ({"__name__": "edge", "at": "lookback"}, [last - 300_000], [1.0]),
        ({"__name__": "edge", "at": "older"}, [last - 300_001], [2.0]),
        ({"__name__": "edge", "at": "now"}, [last], [3.0]),
        ({"__name__": "edge", "at": "future"}, [last + 1], [4.0]),
        ({"__name__": "edge", "at": "stale"}, [last - 60_000, last - 1], [5.0, STALE]),
        ({"__name__": "path", "path": "/api/v1\n", "job": "x-y.z"}, [last - 2000, last], [1e-7, 1.5e21]),
        ({"__name__": "path", "path": "/äöü", "job": "a$b"}, [last - 2000, last], [-0.0, 123456789012345680.0]),
        ({"__name__": "down", "x": "1"}, _times(0, 29 * HOUR), [float(-n) for n in range(60)]),
    ]
