"""A Prometheus that is named by a flag, or later by the record of the run that is taken up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from rollout.adapters.prometheus import PrometheusMetrics
from rollout.adapters.prometheus_source import TIMEOUT
from rollout.adapters.transport import READ
from rollout.errors import MetricsUnreachable
from rollout.ports import Answer, RangeAnswer


class NamedMetrics:
    """`ports.Metrics` over an address that may come late; without one every question is a sentence."""

    def __init__(
        self,
        connect: Callable[[str, bool], PrometheusMetrics],
        address: str,
        history: str = "",
        hint: Callable[[], str] = str,
    ) -> None:
        """Connect at once where there is an address; the flag of `connect` says that it is for the look-back.

        `hint` looks for what could be named; it is asked once, and only where nothing is.
        """
        self._hint = hint
        self._hinted: str | None = None
        self._connect = connect
        self._inner = connect(address, False) if address else None
        self._past = connect(history, True) if history else None

    def default(self, address: str, history: str = "") -> None:
        """Use these unless others were named."""
        if self._inner is None and address:
            self._inner = self._connect(address, False)
        if self._past is None and history:
            self._past = self._connect(history, True)

    def past(self) -> PrometheusMetrics:
        """Where the look-back is asked."""
        return self._past or self._named()

    def history(self) -> str:
        """The address of the look-back's own Prometheus, '' without one."""
        return self._past.address() if self._past else ""

    def query(self, promql: str, at: datetime) -> Answer:
        """Instant query."""
        return self._named().query(promql, at)

    def query_range(self, promql: str, start: datetime, end: datetime, step: float) -> RangeAnswer:
        """Range query."""
        return self._named().query_range(promql, start, end, step)

    def now(self) -> datetime:
        """Prometheus' own clock."""
        return self._named().now()

    def address(self) -> str:
        """Where it is, '' without one."""
        return self._inner.address() if self._inner else ""

    def limit(self) -> float:
        """Seconds that one query of the look-back may take: through the API server it is the cluster's."""
        past = self._past or self._inner
        return READ if past is not None and not past.address().startswith("http") else TIMEOUT

    def close(self) -> None:
        """Close its connections."""
        for metrics in (self._inner, self._past):
            if metrics is not None:
                metrics.close()

    def _named(self) -> PrometheusMetrics:
        if self._inner is None:
            if self._hinted is None:
                self._hinted = self._hint()
            raise MetricsUnreachable(
                "no Prometheus is named, and the record names none",
                where="--prometheus",
                next=self._hinted or "--prometheus http://HOST:9090, or SERVICE.NAMESPACE:PORT through the API server",
            )
        return self._inner
