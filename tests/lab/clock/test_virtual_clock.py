"""Time jumps while everybody sleeps, stands while somebody is awake, and runs when nobody is there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from rollout.lab.clock import ClockClosed, VirtualClock

START = datetime(2027, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Real:
    """A real clock that tests move by hand."""

    seconds = 100.0

    def __call__(self) -> float:
        """Seconds, as time.monotonic."""
        return self.seconds


@pytest.fixture
def real() -> Real:
    """A real clock that stands still."""
    return Real()


@pytest.fixture
def clock(real: Real) -> Iterator[VirtualClock]:
    """A clock without a ticker."""
    made = VirtualClock(START, monotonic=real)
    yield made
    made.close()


def in_thread(call: threading.Thread) -> threading.Thread:
    """Start a thread and return it."""
    call.start()
    return call


def test_a_single_sleeper_jumps_at_once(clock: VirtualClock) -> None:
    """Thirty minutes take no time, and the time is exact."""
    with clock.attach() as me:
        assert me.sleep_until(START + 30 * MINUTE) == START + 30 * MINUTE
        assert clock.now() == START + 30 * MINUTE


def test_a_sleep_until_the_past_returns_at_once(clock: VirtualClock) -> None:
    """Time does not run backwards for a late sleeper."""
    with clock.attach() as me:
        me.sleep_until(START + MINUTE)
        assert me.sleep_until(START) == START + MINUTE


def test_time_stands_still_while_somebody_is_awake(clock: VirtualClock, real: Real) -> None:
    """Neither the real clock nor another's sleep moves it."""
    first, second = clock.attach(), clock.attach()
    woken = threading.Event()
    first.start_sleep(START + MINUTE, woken.set)
    real.seconds += 3600
    assert (clock.now(), woken.is_set()) == (START, False)
    second.start_sleep(START + 2 * MINUTE)
    assert (clock.now(), woken.is_set()) == (START + MINUTE, True)


def test_time_goes_to_the_earliest_wish(clock: VirtualClock) -> None:
    """The one that wants less wakes first; the other goes on sleeping."""
    first, second = clock.attach(), clock.attach()
    first.start_sleep(START + 5 * MINUTE)
    assert second.sleep_until(START + MINUTE) == START + MINUTE
    assert second.sleep_until(START + 9 * MINUTE - 5 * MINUTE) == START + 4 * MINUTE
    second.start_sleep(START + 9 * MINUTE)
    assert clock.now() == START + 5 * MINUTE
    assert (first.wanted, second.wanted) == (None, START + 9 * MINUTE)


def test_a_participant_that_leaves_lets_the_others_go_on(clock: VirtualClock) -> None:
    """Whoever was awake and is gone no longer holds time."""
    first, second = clock.attach(), clock.attach()
    woken = threading.Event()
    first.start_sleep(START + MINUTE, woken.set)
    second.detach()
    second.detach()
    assert (clock.now(), woken.is_set()) == (START + MINUTE, True)


def test_nobody_attached_runs_with_the_real_clock(clock: VirtualClock, real: Real) -> None:
    """From where it stands, second by second."""
    real.seconds += 2.5
    assert clock.now() == START + timedelta(seconds=2.5)
    with clock.attach() as me:
        real.seconds += 100
        me.sleep_until(START + MINUTE)
    real.seconds += 1
    assert clock.now() == START + MINUTE + timedelta(seconds=1)


def test_the_mesh_produces_what_happened_before_anybody_wakes(clock: VirtualClock) -> None:
    """on_advance sees each stretch once, in order, and may step through it."""
    seen: list[tuple[datetime, datetime, datetime]] = []

    def advance(old: datetime, new: datetime) -> None:
        middle = old + (new - old) / 2
        clock.step(middle)
        seen.append((old, clock.now(), new))

    clock.on_advance = advance
    with clock.attach() as me:
        me.sleep_until(START + 2 * MINUTE)
        me.sleep_until(START + 4 * MINUTE)
    assert seen == [
        (START, START + MINUTE, START + 2 * MINUTE),
        (START + 2 * MINUTE, START + 3 * MINUTE, START + 4 * MINUTE),
    ]


def test_a_step_backwards_is_refused(clock: VirtualClock) -> None:
    """A simulator that gets its events in the wrong order is told, and time arrives all the same."""

    def advance(old: datetime, new: datetime) -> None:
        clock.step(new)
        clock.step(old)

    clock.on_advance = advance
    with clock.attach() as me, pytest.raises(ValueError, match="does not run backwards"):
        me.sleep_until(START + MINUTE)
    assert clock.now() == START + MINUTE


def test_a_step_outside_an_advance_is_refused(clock: VirtualClock) -> None:
    """Only the simulator moves time, and only when asked."""
    with pytest.raises(ValueError, match="outside on_advance"):
        clock.step(START + MINUTE)


def test_running_time_is_produced_when_caught_up(clock: VirtualClock, real: Real) -> None:
    """In the 1:1 mode each stretch is produced once, while others read the running time."""
    stretches: list[tuple[datetime, datetime, datetime]] = []
    clock.on_advance = lambda old, new: stretches.append((old, new, clock.now()))
    real.seconds += 1
    clock.catch_up()
    clock.catch_up()
    real.seconds += 1
    clock.catch_up()
    second = timedelta(seconds=1)
    assert stretches == [(START, START + second, START), (START + second, START + 2 * second, START + second)]


def test_the_ticker_produces_running_time() -> None:
    """Nobody needs to ask: a started clock ticks."""
    ticked = threading.Event()
    clock = VirtualClock(START, tick=0.01)
    clock.on_advance = lambda old, new: ticked.set()
    clock.start()
    clock.start()
    assert ticked.wait(5)
    clock.close()


def test_attaching_waits_for_an_advance_to_end(clock: VirtualClock) -> None:
    """A newcomer joins at the new time, not in the middle of it."""
    entered, release = threading.Event(), threading.Event()
    joined: list[datetime] = []

    def advance(old: datetime, new: datetime) -> None:
        entered.set()
        release.wait(5)

    clock.on_advance = advance
    me = clock.attach()
    sleeper = in_thread(threading.Thread(target=lambda: me.sleep_until(START + MINUTE)))
    assert entered.wait(5)

    def join() -> None:
        with clock.attach():
            joined.append(clock.now())

    newcomer = in_thread(threading.Thread(target=join))
    release.set()
    sleeper.join(5)
    newcomer.join(5)
    assert joined == [START + MINUTE]


def test_closing_lets_sleepers_go(clock: VirtualClock) -> None:
    """A lab that stops does not leave threads behind."""
    first, _awake = clock.attach(), clock.attach()
    ends: list[type[BaseException]] = []
    asleep = threading.Event()

    def sleep() -> None:
        asleep.set()
        try:
            first.sleep_until(START + MINUTE)
        except ClockClosed as error:
            ends.append(type(error))

    sleeper = in_thread(threading.Thread(target=sleep))
    assert asleep.wait(5)
    clock.close()
    sleeper.join(5)
    assert ends == [ClockClosed]


def test_a_start_without_a_zone_is_refused() -> None:
    """Naive times are how a lab and a server come to disagree."""
    with pytest.raises(ValueError, match="time zone"):
        VirtualClock(datetime(2027, 1, 1))  # noqa: DTZ001


def test_many_sleepers_meet_every_instant_in_order(clock: VirtualClock) -> None:
    """Eight threads with different rhythms see a time that never runs backwards and end exactly."""
    members = [clock.attach() for _ in range(8)]
    seen: list[datetime] = []

    def run(index: int) -> None:
        with members[index] as me:
            seen.extend(me.sleep_until(START + timedelta(seconds=beat * (index + 1))) for beat in range(1, 20))

    threads = [in_thread(threading.Thread(target=run, args=(index,))) for index in range(8)]
    for thread in threads:
        thread.join(20)
    assert len(seen) == 8 * 19
    assert max(seen) == START + timedelta(seconds=19 * 8)
