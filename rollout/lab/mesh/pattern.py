"""How often callers call: cumulative counts as functions of time, so that nine days cost no more than a minute.

Every pattern answers "how many calls began before t"; the calls of an interval are a difference. So the result
does not depend on how time is cut into steps, and the same seed always gives the same traffic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

DAY = 86_400_000  # milliseconds, as all times of the simulator
_MINUTE = 60_000
_NOISE = 4096


class Pattern(Protocol):
    """A caller's rhythm."""

    def counts(self, times: Sequence[int]) -> list[int]:
        """Calls that began up to each time (milliseconds since the epoch), never falling."""
        ...


@dataclass(frozen=True, slots=True)
class Rate:
    """Calls per second around a mean, with a day's swing, bursts, and seeded jitter from minute to minute.

    Args:
        per_second: the mean over a day.
        origin: time zero of the count, in milliseconds.
        swing: 0 = flat; 0.6 = 1.6 times the mean at 14:00 UTC, 0.4 times at 02:00.
        burst: share of the calls that comes in the first minute of each five.
        jitter: 0.3 = a minute's calls differ from the mean by up to 30 %.
        seed: which jitter.
    """

    per_second: float
    origin: int
    swing: float = 0.0
    burst: float = 0.0
    jitter: float = 0.2
    seed: int = 1
    noise: tuple[float, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Draw the jitter once."""
        random = Random(self.seed)  # noqa: S311 (repeatable traffic, no secret)
        object.__setattr__(self, "noise", tuple(random.random() for _ in range(_NOISE)))

    def counts(self, times: Sequence[int]) -> list[int]:
        """See Pattern."""
        per_ms, noise = self.per_second / 1000, self.noise
        reach = self.jitter * per_ms * _MINUTE / 2  # two neighbours together move a minute by `jitter` at most
        sway = self.swing * DAY / (2 * math.pi)
        offset = self._raw(self.origin, per_ms, sway)
        result = []
        for t in times:
            minute, rest = divmod(t, _MINUTE)
            first, second = noise[minute % _NOISE], noise[(minute + 1) % _NOISE]
            wobble = reach * (first + (second - first) * rest / _MINUTE)
            result.append(int(self._raw(t, per_ms, sway) - offset + wobble))
        return result

    def _raw(self, t: int, per_ms: float, sway: float) -> float:
        # the integral of 1 + swing * cos(2 pi (t - 14:00) / day), less the part that comes in bursts
        level = t - self.origin + sway * math.sin(2 * math.pi * (t % DAY / DAY - 14 / 24))
        if self.burst:
            start, rest = divmod(t, 5 * _MINUTE)
            peaks = start * 5 * _MINUTE + min(rest, _MINUTE) * 5
            level += self.burst * (peaks - t)
        return per_ms * level


@dataclass(frozen=True, slots=True)
class Daily:
    """A handful of calls once a day, spread over a few seconds after HH:MM UTC."""

    calls: int
    at: int
    lasts: int = 20_000

    def counts(self, times: Sequence[int]) -> list[int]:
        """See Pattern."""
        result = []
        for t in times:
            days, rest = divmod(t - self.at, DAY)
            result.append(days * self.calls + min(self.calls, rest * self.calls // self.lasts + 1))
        return result


@dataclass(frozen=True, slots=True)
class Burst:
    """All calls of one Job: `calls` of them, evenly from `start` for `lasts` milliseconds."""

    calls: int
    start: int
    lasts: int

    def counts(self, times: Sequence[int]) -> list[int]:
        """See Pattern."""
        return [min(self.calls, max(0, (t - self.start) * self.calls // self.lasts)) for t in times]


@dataclass(frozen=True, slots=True)
class Every:
    """One call each `period` milliseconds, on the grid of the epoch moved by `phase`."""

    period: int
    phase: int = 0

    def counts(self, times: Sequence[int]) -> list[int]:
        """See Pattern."""
        return [(t - self.phase) // self.period for t in times]
