"""Values on their way in and out of Prometheus' HTTP API: JSON results, times and durations."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from rollout.lab.promql.errors import BadData
from rollout.lab.promql.evaluator import InstantVector, Matrix, Result, Scalar, String
from rollout.lab.promql.numbers import format_float, parse_float

_FAR_MS = 9_000_000_000_000_000
_DURATION = re.compile(
    r"(?=\d)(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII
)
_UNITS_MS = (365 * 86_400_000, 7 * 86_400_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)


def data(result: Result, time_ms: int) -> dict[str, object]:
    """The `data` of an answer: numbers are strings, times are seconds."""
    match result:
        case Scalar(value):
            return {"resultType": "scalar", "result": _point(time_ms, value)}
        case String(value):
            return {"resultType": "string", "result": [_seconds(time_ms), value]}
        case InstantVector(samples):
            elements = [{"metric": s.labels, "value": _point(time_ms, s.value)} for s in samples]
            return {"resultType": "vector", "result": elements}
        case Matrix(runs):
            series = [
                {
                    "metric": run.labels,
                    "values": [_point(*point) for point in zip(run.times_ms, run.values, strict=True)],
                }
                for run in runs
            ]
            return {"resultType": "matrix", "result": series}


def _point(time_ms: int, value: float) -> list[object]:
    return [_seconds(time_ms), format_float(value, exponents=True)]


def _seconds(time_ms: int) -> int | float:
    return time_ms // 1000 if time_ms % 1000 == 0 else time_ms / 1000


def success(payload: object, warnings: Sequence[str] = ()) -> bytes:
    """A whole answer."""
    answer: dict[str, object] = {"status": "success", "data": payload}
    if warnings:
        answer["warnings"] = list(warnings)
    return json.dumps(answer, separators=(",", ":")).encode()


def failure(error_type: str, error: str) -> bytes:
    """A refusal."""
    return json.dumps({"status": "error", "errorType": error_type, "error": error}, separators=(",", ":")).encode()


def parse_time(parameters: Mapping[str, Sequence[str]], name: str, default_ms: int | None = None) -> int:
    """A parameter that is a time: seconds since 1970, or RFC 3339; in milliseconds.

    Raises:
        BadData: neither, or missing and without a default.
    """
    text = _first(parameters, name)
    if not text and default_ms is not None:
        return default_ms
    seconds = parse_float(text)
    if seconds is not None:
        if math.isnan(seconds):
            return -_FAR_MS
        return round(max(-_FAR_MS / 1000, min(_FAR_MS / 1000, seconds)) * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        prefix = "" if default_ms is None else f"Invalid time value for '{name}': "
        raise BadData(f'invalid parameter "{name}": {prefix}cannot parse "{text}" to a valid timestamp')
    return round(moment.timestamp() * 1000)


def parse_duration(parameters: Mapping[str, Sequence[str]], name: str) -> int:
    """A parameter that is a duration: seconds, or `1h30m`; in milliseconds.

    Raises:
        BadData: neither, or missing.
    """
    text = _first(parameters, name)
    seconds = parse_float(text)
    if seconds is not None and math.isfinite(seconds):
        return round(seconds * 1000)
    found = _DURATION.fullmatch(text)
    if found is None:
        raise BadData(f'invalid parameter "{name}": cannot parse "{text}" to a valid duration')
    return sum(int(part or 0) * unit for part, unit in zip(found.groups(), _UNITS_MS, strict=True))


def _first(parameters: Mapping[str, Sequence[str]], name: str) -> str:
    values = parameters.get(name, ())
    return values[0] if values else ""
