"""The lab's Prometheus as its clients see it: the HTTP API over a storage.

Statuses and texts were compared with Prometheus 2.42 (`tests/real/prometheus`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from rollout.lab.front import (
    JSON,
    TEXT,
    Answer,
    ConnectionDropped,
    Outage,
    Parameters,
    Switches,
    parameters_of,
    query_text,
)
from rollout.lab.promql.answers import data, failure, parse_duration, parse_time, success
from rollout.lab.promql.compile import compile_query
from rollout.lab.promql.errors import BadData, QueryError
from rollout.lab.promql.evaluator import InstantVector, Matrix, Result, Scalar, String, instant, ranged
from rollout.lab.promql.nodes import Selector
from rollout.lab.promql.storage import Matcher, Selected, Storage

__all__ = ["Answer", "ConnectionDropped", "Outage", "Prometheus", "Switches"]

POINTS_LIMIT = 11_000
_ALWAYS_MS = 9_000_000_000_000_000
_LABEL_VALUES = re.compile(r"/api/v1/label/([^/]*)/values")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class Prometheus:
    """One Prometheus server without the sockets; safe to call from several threads."""

    def __init__(
        self,
        storage: Storage,
        now: Callable[[], datetime],
        *,
        targets: Callable[[], Sequence[Mapping[str, object]]] = tuple,
        switches: Switches | None = None,
    ) -> None:
        """Serve a storage.

        Args:
            storage: where the samples are.
            now: the lab's clock, with a time zone; the time of queries that name none.
            targets: what `/api/v1/targets` lists as `activeTargets`.
            switches: what is wrong with it; nothing by default.
        """
        self._storage = storage
        self._now = now
        self._targets = targets
        self._started = now()
        self.switches = switches or Switches()
        self._routes: dict[str, Callable[[Parameters], object]] = {
            "/api/v1/query": self._query,
            "/api/v1/query_range": self._query_range,
            "/api/v1/series": self._series,
            "/api/v1/labels": self._labels,
            "/api/v1/metadata": lambda _: {},
            "/api/v1/targets": lambda _: {"activeTargets": list(self._targets()), "droppedTargets": []},
            "/api/v1/status/buildinfo": lambda _: _BUILD,
            "/api/v1/status/runtimeinfo": self._runtime,
        }

    def handle(
        self, method: str, path: str, query: str | Parameters, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """Answer one request.

        Args:
            method: GET or POST.
            path: from the root of this Prometheus, such as `/api/v1/query`.
            query: the URL's query, as text or parsed.
            headers: names in any case.
            body: a form, where the method is POST and the content type says so.

        Raises:
            ConnectionDropped: the outage switch asks for it.
        """
        refused = self.switches.refusal(headers)
        if refused is not None:
            return refused
        if path in ("/-/ready", "/-/healthy"):
            return 200, TEXT, f"Prometheus Server is {path[3:].capitalize()}.\n".encode()
        values_of = _LABEL_VALUES.fullmatch(path)
        route = self._routes.get(path)
        if values_of is None and route is None:
            return 404, TEXT, b"404 page not found\n"
        posts = path in ("/api/v1/query", "/api/v1/query_range", "/api/v1/series", "/api/v1/labels")
        if method != "GET" and not (method == "POST" and posts):
            return 405, TEXT, b"Method Not Allowed\n"
        try:
            parameters = parameters_of(method, query, headers, body)
            payload = (
                self._label_values(values_of[1], parameters) if values_of else route(parameters) if route else None
            )
        except QueryError as error:
            return error.status, JSON, failure(error.error_type, str(error))
        return 200, JSON, success(payload, self.switches.warnings)

    def _query(self, parameters: Parameters) -> object:
        time_ms = parse_time(parameters, "time", self._now_ms())
        if "timeout" in parameters:
            parse_duration(parameters, "timeout")
        text = query_text(parameters)
        self.switches.refuse_long(text, 0)
        result = instant(self._storage, text, time_ms)
        return data(self._emptied(result), time_ms)

    def _query_range(self, parameters: Parameters) -> object:
        start_ms, end_ms = parse_time(parameters, "start"), parse_time(parameters, "end")
        if end_ms < start_ms:
            raise BadData('invalid parameter "end": end timestamp must not be before start time')
        step_ms = parse_duration(parameters, "step")
        if step_ms <= 0:
            raise BadData(
                'invalid parameter "step": zero or negative query resolution step widths are not accepted. '
                "Try a positive integer"
            )
        if (end_ms - start_ms) // step_ms > POINTS_LIMIT:
            raise BadData(
                f"exceeded maximum resolution of {POINTS_LIMIT:,} points per timeseries. "
                "Try decreasing the query resolution (?step=XX)"
            )
        text = query_text(parameters)
        self.switches.refuse_long(text, end_ms - start_ms)
        return data(self._emptied(ranged(self._storage, text, start_ms, end_ms, step_ms)), end_ms)

    def _emptied(self, result: Result) -> Result:
        if not self.switches.empty:
            return result
        match result:
            case InstantVector():
                return InstantVector(())
            case Matrix():
                return Matrix(())
            case Scalar() | String():
                return result

    def _series(self, parameters: Parameters) -> object:
        if not parameters.get("match[]"):
            raise BadData("no match[] parameter provided")
        found = {tuple(sorted(series.labels.items())) for series in self._matched(parameters)}
        return [dict(pairs) for pairs in sorted(found)]

    def _labels(self, parameters: Parameters) -> object:
        return sorted({name for series in self._matched(parameters) for name in series.labels})

    def _label_values(self, name: str, parameters: Parameters) -> object:
        if not _LABEL_NAME.fullmatch(name):
            raise BadData(f'invalid label name: "{name}"')
        return sorted({series.labels[name] for series in self._matched(parameters) if name in series.labels})

    def _matched(self, parameters: Parameters) -> Iterator[Selected]:
        """The series that any `match[]` finds, or all of them, in the time that the request names."""
        start_ms = parse_time(parameters, "start", -_ALWAYS_MS)
        end_ms = parse_time(parameters, "end", _ALWAYS_MS)
        selections = [_matchers(text) for text in parameters.get("match[]", ())] or [()]
        if self.switches.empty:
            return
        for matchers in selections:
            yield from self._storage.select(matchers, start_ms, end_ms)

    def _runtime(self, _: Parameters) -> object:
        started = self._started.strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"startTime": started, "reloadConfigSuccess": True, "corruptionCount": 0, "storageRetention": "15d"}

    def _now_ms(self) -> int:
        return round(self._now().timestamp() * 1000)


_BUILD = {"version": "2.42.0", "revision": "lab", "branch": "lab", "buildUser": "", "buildDate": "", "goVersion": ""}


def _matchers(text: str) -> tuple[Matcher, ...]:
    try:
        tree = compile_query(text)
    except BadData as error:
        if str(error).endswith("at least one non-empty matcher"):
            raise BadData('invalid parameter "match[]": match[] must contain at least one non-empty matcher') from None
        raise BadData(str(error).replace('"query"', '"match[]"', 1)) from None
    if not isinstance(tree, Selector) or tree.range_ms is not None:
        raise BadData(f'invalid parameter "match[]": parse error: {text} is no instant selector')
    return tree.matchers
