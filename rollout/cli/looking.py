"""Hears of look-backs: says beforehand how much is asked and how long it may take, and keeps what it took."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from rollout.adapters.prometheus_source import TIMEOUT
from rollout.model.look import Look, Looked, Pace, Taken
from rollout.report.looking import LONG, before, estimate, many

#: Seconds to go that are worth a line.
WORTH = 10.0


class Looking:
    """`Announce` of one command.

    Args:
        say: tells one sentence, besides what the command prints.
        monotonic: seconds of the wall clock.

    `limit` is how long one query may take, in seconds.
    """

    limit = TIMEOUT

    def __init__(self, say: Callable[[str], None], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Nothing was heard."""
        self.looks: list[Looked] = []
        self._say, self._monotonic = say, monotonic
        self._begun = self._expected = 0.0
        self._announced = False

    def __call__(self, heard: Look | Pace | Taken) -> None:
        """A look-back begins, goes on, or is over."""
        match heard:
            case Look():
                self._begun, self._expected = self._monotonic(), 0.0
                self.looks.append(Looked(look=heard))
                self._announced = False
                if many(heard):
                    self._announce()
            case Pace():
                self._paced(heard)
            case Taken(queries):
                took = self._monotonic() - self._begun
                self.looks[-1] = msgspec.structs.replace(self.looks[-1], queries=queries, seconds=took)

    def _paced(self, pace: Pace) -> None:
        """A Prometheus that is slower than its series make one think is announced late; the pace is told once.

        The first slice is the oldest, of which little may be left, so a pace that halves is told again.
        """
        took = self._monotonic() - self._begun
        rest = max(self.looks[-1].look.queries / pace.queries - 1, pace.slices / pace.done - 1)
        if took * (1 + rest) >= LONG and pace.done < pace.slices:
            self._announce()
        if took * rest >= WORTH and took * (1 + rest) >= 2 * self._expected:
            self._expected = took * (1 + rest)
            self._say(estimate(took * rest))

    def _announce(self) -> None:
        if not self._announced:
            self._announced = True
            self._say(before(self.looks[-1].look, self.limit))
