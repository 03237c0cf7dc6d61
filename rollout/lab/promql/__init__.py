"""The lab's PromQL: Prometheus 2.42's answers without a server. A parity suite compares it with a real one.

`MemoryStorage` holds the samples, `instant` and `ranged` evaluate, `QueryError` says what Prometheus would refuse.
"""

from __future__ import annotations

from rollout.lab.promql.errors import BadData, ExecutionError, QueryError
from rollout.lab.promql.evaluator import InstantVector, Matrix, Result, Scalar, String, instant, ranged
from rollout.lab.promql.labels import Labels
from rollout.lab.promql.numbers import format_float
from rollout.lab.promql.storage import STALE, Matcher, MemoryStorage, Selected, Storage, is_stale
from rollout.lab.promql.values import Run, Sample

__all__ = [
    "STALE",
    "BadData",
    "ExecutionError",
    "InstantVector",
    "Labels",
    "Matcher",
    "Matrix",
    "MemoryStorage",
    "QueryError",
    "Result",
    "Run",
    "Sample",
    "Scalar",
    "Selected",
    "Storage",
    "String",
    "format_float",
    "instant",
    "is_stale",
    "ranged",
]
