"""Asks the lab's evaluator and a real Prometheus the same questions about the same samples.

Anything that writes PromQL can prove its queries here: the fixture `assert_parity` takes samples and questions, starts
an empty server, and compares whole HTTP answers (so the JSON's shape is compared too).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from rollout.lab.prometheus import Prometheus
from rollout.lab.promql import MemoryStorage
from tests.real.prometheus.remote_write import Samples
from tests.real.prometheus.server import RealPrometheus

Question = tuple[str, str, int | tuple[int, int, int]]
"""Name, PromQL, and the time in milliseconds, or (start, end, step) for a range query."""

REL = 1e-7
_ORDERED = ("sort", "topk", "bottomk")


def differences(server: RealPrometheus, samples: Iterable[Samples], questions: Sequence[Question]) -> list[str]:
    """One line per question that the two answer differently; the server must be empty.

    Args:
        server: gets the samples by remote write.
        samples: series of their own labels, times rising.
        questions: those asked of both.
    """
    kept = list(samples)
    storage = MemoryStorage()
    for labels, times_ms, values in kept:
        for time_ms, value in zip(times_ms, values, strict=True):
            storage.append(labels, time_ms, value)
    server.write(kept)
    lab = Prometheus(storage, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    found = []
    for name, query, when in questions:
        path, parameters = _request(query, when)
        status, _, body = lab.handle("GET", path, urlencode(parameters), {}, b"")
        ours, theirs = (status, json.loads(body)), server.get(path, **parameters)
        if not _same(ours, theirs, ordered=query.startswith(_ORDERED)):
            found.append(f"{name}: {query} at {when}\n  lab:  {str(ours)[:600]}\n  real: {str(theirs)[:600]}")
    return found


def _request(query: str, when: int | tuple[int, int, int]) -> tuple[str, dict[str, str | float]]:
    if isinstance(when, int):
        return "/api/v1/query", {"query": query, "time": f"{when / 1000:.3f}"}
    start, end, step = (f"{part / 1000:.3f}" for part in when)
    return "/api/v1/query_range", {"query": query, "start": start, "end": end, "step": step}


def _same(ours: tuple[int, Any], theirs: tuple[int, Any], *, ordered: bool) -> bool:
    """The same status, and the same data, or the same type of error and, for one at execution, its text."""
    if ours[0] != theirs[0] or ours[1]["status"] != theirs[1]["status"]:
        return False
    if ours[0] != 200:
        mine, other = ours[1], theirs[1]
        return mine["errorType"] == other["errorType"] and _same_error(mine["error"], other["error"])
    mine, other = ours[1]["data"], theirs[1]["data"]
    if mine["resultType"] != other["resultType"]:
        return False
    if mine["resultType"] in ("scalar", "string"):
        return _same_points([mine["result"]], [other["result"]])
    key = None if ordered and mine["resultType"] == "vector" else _metric
    left, right = (data["result"] if key is None else sorted(data["result"], key=key) for data in (mine, other))
    return len(left) == len(right) and all(map(_same_series, left, right))


def _same_error(ours: str, theirs: str) -> bool:
    """Equal, but for the position and wording of parse errors, and for which duplicate was met first."""
    if "parse error" in theirs:
        return "parse error" in ours
    return ours.partition(": [")[0] == theirs.partition(": [")[0]


def _metric(series: dict[str, Any]) -> list[tuple[str, str]]:
    return sorted(series["metric"].items())


def _same_series(left: dict[str, Any], right: dict[str, Any]) -> bool:
    if left.keys() != right.keys() or left["metric"] != right["metric"]:
        return False
    if "value" in left:
        return _same_points([left["value"]], [right["value"]])
    return _same_points(left["values"], right["values"])


def _same_points(left: list[Any], right: list[Any]) -> bool:
    return len(left) == len(right) and all(
        one[0] == other[0] and (one[1] == other[1] or _close(one[1], other[1]))
        for one, other in zip(left, right, strict=True)
    )


def _close(left: str, right: str) -> bool:
    try:
        mine, other = float(left), float(right)
    except ValueError:
        return False
    return (math.isnan(mine) and math.isnan(other)) or math.isclose(mine, other, rel_tol=REL, abs_tol=1e-9)
