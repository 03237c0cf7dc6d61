"""The one place that tries again: reads, queries and dry runs, for a few seconds, and never a real write.

The clients' own retries are switched off (facts: libraries.md 1.3, 1.6): they sleep where no signal reaches them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import tenacity

from rollout.errors import MetricsUnreachable, Overloaded, Unreachable

T = TypeVar("T")
Sleep = Callable[[float], None]

#: Tries in all, and the seconds within which the last one begins.
TRIES, WITHIN = 3, 5.0


def retrying(sleep: Sleep, *, tries: int = TRIES, within: float = WITHIN) -> Callable[[Callable[[], T]], T]:
    """A caller that tries again while nobody answers, at most `tries` times, begun within `within` seconds.

    A server's Retry-After is waited for; one that does not fit into `within` ends the tries at once.

    Args:
        sleep: waits for that many seconds; may raise to break off.
        tries: how often in all.
        within: seconds.
    """

    def call(ask: Callable[[], T]) -> T:
        waited = _Budget(within)
        limits = (tenacity.stop_after_attempt(tries), tenacity.stop_before_delay(within))
        return tenacity.Retrying(
            sleep=waited.through(sleep),
            wait=_wait,
            stop=lambda state: waited.spent(state) or any(limit(state) for limit in limits),
            retry=tenacity.retry_if_exception_type((Unreachable, MetricsUnreachable)),
            reraise=True,
        )(ask)

    return call


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Overloaded):
        return error.retry_after
    return float(0.25 * 2 ** (state.attempt_number - 1))


class _Budget:
    """Counts what was slept: under a virtual clock the real one does not move."""

    def __init__(self, within: float) -> None:
        self._left = within

    def through(self, sleep: Sleep) -> Sleep:
        def slept(seconds: float) -> None:
            self._left -= seconds
            sleep(seconds)

        return slept

    def spent(self, state: tenacity.RetryCallState) -> bool:
        return state.upcoming_sleep >= self._left
