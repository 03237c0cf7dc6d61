"""Prometheus as `ports.Metrics`: answers with their warnings, and failures told apart by what helps against them.

The bytes come from a `Source` (`prometheus_source`): straight from Prometheus, or through the API server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from rollout.adapters.failures import parse
from rollout.adapters.retry import Sleep, retrying
from rollout.errors import BadQuery, MetricsError, MetricsRefused, MetricsUnreachable, QueryTooHeavy
from rollout.ports import Answer, RangeAnswer, Sample, Series

#: Seconds for `time()`, which costs nothing: does anybody answer at all?
PROBE = 5.0
#: Tries that took this long before nobody answered are not repeated by the next query.
SLOW = 3.0
#: Seconds without a question, after nobody answered for long.
QUIET = 30.0


class NoAnswerInTime(QueryTooHeavy):
    """The connection stood, and no byte came: the query is too heavy, or Prometheus hangs."""


class Reply(msgspec.Struct, frozen=True):
    """An HTTP answer."""

    status: int
    body: bytes


class Source(Protocol):
    """Where Prometheus' bytes come from."""

    def fetch(self, endpoint: str, params: dict[str, str], limit: float | None = None) -> Reply:
        """Ask `query` or `query_range` once; `limit` in seconds is shorter than the source's own, where it can be.

        Raises:
            MetricsUnreachable: no answer.
            NoAnswerInTime: the connection stood, and no byte came.
        """
        ...

    def address(self) -> str:
        """Without credentials."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class _Element(msgspec.Struct, frozen=True):
    metric: dict[str, str] = {}
    value: tuple[float, str] | None = None
    values: tuple[tuple[float, str], ...] = ()

    @property
    def histogram(self) -> bool:
        """It came as a native histogram, which is no number."""
        return self.value is None and not self.values


class _Data(msgspec.Struct, frozen=True, rename="camel"):
    result_type: str = ""
    result: msgspec.Raw = msgspec.Raw(b"[]")


class _Payload(msgspec.Struct, frozen=True, rename="camel"):
    status: str = ""
    data: _Data | None = None
    error_type: str = ""
    error: str = ""
    warnings: tuple[str, ...] | None = None


class PrometheusMetrics:
    """`ports.Metrics` over a source.

    Where nobody answers, each of the many queries of one look would wait out its own limit. So a query that got no
    byte is followed by `time()`; when that is silent too, and wherever the tries themselves took long, further queries
    fail at once for `QUIET` seconds, and the first one after them is `time()` again.
    """

    def __init__(
        self,
        source: Source,
        sleep: Sleep,
        more: Mapping[str, str] | None = None,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep them; `sleep` waits between tries, `more` goes with every question, `elapsed` counts real seconds."""
        self._source = source
        self._more = dict(more or {})
        self._sleep = sleep
        self._elapsed = elapsed
        self._silent: tuple[float, MetricsUnreachable] | None = None

    def query(self, promql: str, at: datetime) -> Answer:
        """Instant query."""
        data, warnings = self._ask("query", {"query": promql, "time": _stamp(at)}, promql)
        if data.result_type in ("scalar", "string"):
            t, value = _convert(data, tuple[float, str], self.address())
            sample = _number(value)
            return Answer(() if sample is None else (Sample({}, _time(t), sample),), warnings)
        elements = _convert(data, tuple[_Element, ...], self.address())
        samples = [
            Sample(element.metric, _time(element.value[0]), number)
            for element in elements
            if element.value is not None and (number := _number(element.value[1])) is not None
        ]
        return Answer(tuple(samples), warnings + _left_out(elements))

    def query_range(self, promql: str, start: datetime, end: datetime, step: float) -> RangeAnswer:
        """Range query; a series of which only NaN came is left out."""
        params = {"query": promql, "start": _stamp(start), "end": _stamp(end), "step": f"{step:g}"}
        data, warnings = self._ask("query_range", params, promql)
        series = []
        elements = _convert(data, tuple[_Element, ...], self.address())
        for element in elements:
            points = tuple((_time(t), n) for t, text in element.values if (n := _number(text)) is not None)
            if points:
                series.append(Series(element.metric, points))
        return RangeAnswer(tuple(series), warnings + _left_out(elements))

    def now(self) -> datetime:
        """Prometheus' own clock."""
        data, _ = self._ask("query", {"query": "time()"}, "time()")
        t, _value = _convert(data, tuple[float, str], self.address())
        return _time(t)

    def address(self) -> str:
        """Where it is, without credentials."""
        return self._source.address()

    def past(self) -> PrometheusMetrics:
        """Itself."""
        return self

    def close(self) -> None:
        """Close the connections."""
        self._source.close()

    def _ask(self, endpoint: str, params: dict[str, str], promql: str) -> tuple[_Data, tuple[str, ...]]:
        self._heard()
        begun = self._elapsed()
        try:
            reply: Reply = retrying(self._sleep)(lambda: self._answered(endpoint, {**params, **self._more}, promql))
        except NoAnswerInTime:
            self._probed()
            raise
        except MetricsUnreachable as error:
            if self._elapsed() - begun >= SLOW:
                self._silent = (self._elapsed(), error)
            raise
        payload = _payload(reply, self.address())
        if payload.status != "success" or payload.data is None:
            raise _said(payload, 200, promql, self.address())
        return payload.data, payload.warnings or ()

    def _heard(self) -> None:
        """Nobody answered a moment ago: say so at once. Longer ago: ask what costs nothing first."""
        if self._silent is None:
            return
        since, error = self._silent
        if self._elapsed() - since < QUIET:
            raise MetricsUnreachable(
                f"{error.problem}; not asked again for {QUIET:g} s", where=error.where, next=error.next
            )
        self._probed()
        self._silent = None

    def _probed(self) -> None:
        """Raises MetricsUnreachable when even `time()` gets no byte."""
        try:
            self._source.fetch("query", {"query": "time()", **self._more}, PROBE)
        except (NoAnswerInTime, MetricsUnreachable) as error:
            said = MetricsUnreachable(
                "Prometheus takes connections and does not answer, not even `time()`"
                if isinstance(error, NoAnswerInTime)
                else error.problem,
                where=self.address(),
                next=error.next if isinstance(error, MetricsUnreachable) else "is it starting, overloaded or stuck?",
            )
            self._silent = (self._elapsed(), said)
            raise said from error

    def _answered(self, endpoint: str, params: dict[str, str], promql: str) -> Reply:
        reply = self._source.fetch(endpoint, params)
        if not 200 <= reply.status < 300:
            raise refusal(reply, promql, self.address())
        return reply


def refusal(reply: Reply, promql: str, where: str) -> MetricsError:
    """The error of an answer that is not 2xx."""
    status = reply.status
    try:
        payload = msgspec.json.decode(reply.body, type=_Payload)
    except msgspec.MsgspecError:
        payload = _Payload(error=parse(reply.body.decode(errors="replace")).message)
    if status in (401, 403):
        return MetricsRefused(
            f"Prometheus refuses the credentials ({status})",
            where=where,
            next="pass a valid token; a refused one does not heal by itself",
        )
    if status == 404 or 300 <= status < 400:
        return MetricsRefused(
            f"there is no Prometheus API at this address ({status})",
            where=where,
            next="check host and path prefix; the address ends before /api/v1",
        )
    if status in (408, 413, 414, 422, 504) or payload.error_type in ("timeout", "canceled"):
        return QueryTooHeavy(
            f"Prometheus could not carry out the query: {payload.error or 'no reason given'} ({status})",
            limit="a query that ends within Prometheus' --query.timeout and sample limit",
            where=f"{where}: {promql[:200]}",
            next="ask for a shorter range",
        )
    if status == 429 or status >= 500:
        return MetricsUnreachable(
            f"Prometheus is not available: {payload.error or 'no reason given'} ({status})",
            where=where,
            next="try again when it has recovered",
        )
    return _said(payload, status, promql, where)


def _said(payload: _Payload, status: int, promql: str, where: str) -> MetricsError:
    if payload.error_type in ("timeout", "canceled", "execution"):
        return QueryTooHeavy(
            f"Prometheus could not carry out the query: {payload.error} ({status})",
            where=f"{where}: {promql[:200]}",
            next="ask for a shorter range",
        )
    return BadQuery(
        f"Prometheus does not understand the request: {payload.error or 'no reason given'} ({status})",
        where=f"{where}: {promql[:200]}",
        next="is it a Prometheus, reached over the right scheme? Otherwise this is a bug of rollout",
    )


def _payload(reply: Reply, where: str) -> _Payload:
    try:
        return msgspec.json.decode(reply.body, type=_Payload)
    except msgspec.MsgspecError as error:
        page = reply.body.lstrip()[:1] == b"<"
        raise MetricsRefused(
            "a web page answers instead of Prometheus" if page else f"the answer is not Prometheus': {error}",
            limit="JSON of /api/v1/query",
            where=where,
            next="a login page in front of it needs a token; a wrong path prefix does this too",
        ) from error


def _convert(data: _Data, shape: Any, where: str) -> Any:
    try:
        return msgspec.json.decode(data.result, type=shape)
    except msgspec.MsgspecError as error:
        raise MetricsRefused(
            f"the answer is not Prometheus': {error}", limit=f"a result of type {data.result_type}", where=where
        ) from error


def _left_out(elements: tuple[_Element, ...]) -> tuple[str, ...]:
    count = sum(element.histogram for element in elements)
    return (f"{count} native histograms are left out",) if count else ()


def _number(text: str) -> float | None:
    """None for NaN, and for a string result that is no number."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if value != value else value  # noqa: PLR0124 - NaN alone differs from itself


def _stamp(at: datetime) -> str:
    return f"{at.timestamp():.3f}"


def _time(t: float) -> datetime:
    return datetime.fromtimestamp(t, UTC)
