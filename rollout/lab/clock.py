"""The lab's time: it jumps while everybody who wants to wait is waiting, so that thirty minutes take no time.

A participant attaches and asks to sleep until T. Once every participant sleeps, time jumps to the earliest T.
While one of them is awake time stands still. Nobody attached: time runs 1:1 with the real clock from where it
stands (DESIGN.md, "The lab").

Whatever happens in the simulated mesh between two instants is produced by `on_advance(old, new)`, before anybody
wakes. It runs in one thread at a time, and may call `step(t)` so that what it writes carries the right timestamps.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

Advance = Callable[[datetime, datetime], None]


class ClockClosed(Exception):
    """The clock was closed, or the participant detached, while it slept."""


class Attachment:
    """One participant of the clock; made by `VirtualClock.attach`. Use as a context manager, or `detach` it."""

    def __init__(self, clock: VirtualClock) -> None:
        """Belong to `clock`; awake."""
        self._clock = clock
        self.wanted: datetime | None = None
        self.gone = False
        self.on_wake: Callable[[], None] | None = None
        self.wakeups = 0

    def sleep_until(self, wanted: datetime) -> datetime:
        """Block until virtual time `wanted` and return the time it is then (at once when that is past).

        Raises:
            ClockClosed: the clock was closed or this participant was detached meanwhile.
        """
        clock = self._clock
        self.start_sleep(wanted)
        with clock.changed:
            clock.changed.wait_for(lambda: self.wanted is None or self.gone)
            if self.gone:
                raise ClockClosed
        return clock.now()

    def start_sleep(self, wanted: datetime, on_wake: Callable[[], None] | None = None) -> None:
        """Begin to sleep and return; `on_wake` is called (from another thread, or from here) when it is over.

        For callers that must watch a socket meanwhile. It may itself carry time forward.
        """
        clock = self._clock
        with clock.changed:
            if self.gone:
                raise ClockClosed
            self.on_wake = on_wake
            self.wanted = wanted
        clock.settle()

    def detach(self) -> None:
        """Drop out; the others no longer wait for this one. Twice is as good as once."""
        self._clock.drop(self)

    def __enter__(self) -> Attachment:
        """Return the attachment itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Detach."""
        self.detach()


class VirtualClock:
    """Virtual time, shared by all participants.

    Args:
        start: the first instant (timezone-aware).
        monotonic: the real clock in seconds, for the 1:1 mode.
        tick: real seconds between two calls of `on_advance` in the 1:1 mode.
    """

    def __init__(self, start: datetime, *, monotonic: Callable[[], float] = time.monotonic, tick: float = 0.2) -> None:
        """Stand at `start` and run 1:1 until somebody attaches."""
        if start.tzinfo is None:
            msg = "the clock needs a start with a time zone"
            raise ValueError(msg)
        self.on_advance: Advance | None = None
        self.changed = threading.Condition(threading.RLock())
        self._monotonic = monotonic
        self._tick = tick
        self._base = start
        self._anchor = monotonic()
        self._seen = start  # on_advance has produced everything up to here
        self._members: set[Attachment] = set()
        self._advancing: int | None = None  # ident of the thread that carries time forward
        self._stepped: datetime | None = None
        self._ticker: threading.Thread | None = None
        self._stop = threading.Event()

    def now(self) -> datetime:
        """The virtual time. Inside `on_advance`: how far it has stepped."""
        with self.changed:
            stepped = self._stepped
            if stepped is not None and self._members:
                return max(stepped, self._base)
            if stepped is not None and self._advancing == threading.get_ident():
                return stepped
            return self._running()

    def attach(self) -> Attachment:
        """Become a participant; from now on time waits for it."""
        self.catch_up()
        with self.changed:
            self._idle()
            if not self._members:
                self._base = self._running()
            member = Attachment(self)
            self._members.add(member)
            return member

    def step(self, to: datetime) -> None:
        """Move `now()` forward, within the instants that `on_advance` was asked to produce.

        Raises:
            ValueError: `to` lies before the time reached, or this thread is not inside `on_advance`.
        """
        with self.changed:
            if self._advancing != threading.get_ident() or self._stepped is None:
                msg = "step() outside on_advance"
                raise ValueError(msg)
            if to < self._stepped:
                msg = f"time does not run backwards: {to} is before {self._stepped}"
                raise ValueError(msg)
            self._stepped = to

    def catch_up(self) -> None:
        """In the 1:1 mode: have `on_advance` produce what has happened up to now. Otherwise nothing to do."""
        with self.changed:
            if self._advancing == threading.get_ident():
                return
            self._idle()
            if self._members:
                return
            until = self._running()
            self._begin()
        self._produce(until, running=True)

    def settle(self) -> None:
        """Carry time to the earliest wish, if every participant sleeps, and wake whose time has come."""
        while True:
            with self.changed:
                if self._advancing == threading.get_ident():
                    return
                self._idle()
                if not self._members or any(member.wanted is None for member in self._members):
                    self._wake()
                    return
                until = min(member.wanted for member in self._members if member.wanted is not None)
                if until <= self._base:
                    self._wake()
                    return
                self._begin()
            self._produce(until, running=False)

    def drop(self, member: Attachment) -> None:
        """Remove a participant (`Attachment.detach`)."""
        with self.changed:
            if self._advancing != threading.get_ident():
                self._idle()
            if member.gone:
                return
            member.gone = True
            member.wanted = None
            self._members.discard(member)
            if not self._members:
                self._anchor = self._monotonic()
            self.changed.notify_all()
        self.settle()

    def start(self) -> None:
        """Start the ticker that calls `on_advance` while nobody is attached."""
        if self._ticker is None:
            self._stop.clear()
            self._ticker = threading.Thread(target=self._run, name="lab-clock", daemon=True)
            self._ticker.start()

    def close(self) -> None:
        """Stop the ticker and let every sleeper go with `ClockClosed`."""
        self._stop.set()
        if self._ticker is not None:
            self._ticker.join()
            self._ticker = None
        with self.changed:
            members = list(self._members)
        for member in members:
            with self.changed:
                member.gone = True
                self._members.discard(member)
                on_wake, member.on_wake = member.on_wake, None
                self._anchor = self._monotonic()
                self.changed.notify_all()
            if on_wake is not None:
                on_wake()

    def _run(self) -> None:
        while not self._stop.wait(self._tick):
            self.catch_up()

    def _running(self) -> datetime:
        if self._members:
            return self._base
        return self._base + timedelta(seconds=self._monotonic() - self._anchor)

    def _idle(self) -> None:
        """Wait until no other thread carries time forward; the lock is held."""
        self.changed.wait_for(lambda: self._advancing is None)

    def _begin(self) -> None:
        self._advancing = threading.get_ident()
        self._stepped = self._seen

    def _produce(self, until: datetime, *, running: bool) -> None:
        """Call `on_advance` without the lock; time arrives at `until` even when it raises."""
        try:
            if self.on_advance is not None and until > self._seen:
                self.on_advance(self._seen, until)
        finally:
            with self.changed:
                self._seen = max(self._seen, until)
                if not running:
                    self._base = until
                self._advancing = None
                self._stepped = None
                if not running:
                    self._wake()
                self.changed.notify_all()

    def _wake(self) -> None:
        """Wake every participant whose time has come; the lock is held."""
        for member in self._members:
            if member.wanted is not None and member.wanted <= self._base:
                member.wanted = None
                member.wakeups += 1
                on_wake, member.on_wake = member.on_wake, None
                if on_wake is not None:
                    on_wake()
        self.changed.notify_all()
