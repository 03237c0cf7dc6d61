"""Time: in slices on this machine, over one connection in the lab."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollout.adapters.clock import LabClock, SystemClock
from rollout.errors import Unreachable
from rollout.lab.api import Store
from rollout.lab.clock import VirtualClock
from rollout.lab.server import LabServer
from rollout.ports import Clock

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


class Machine:
    """A wall clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.at = NOW
        self.slept: list[float] = []
        self.stop = False

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += timedelta(seconds=seconds)


def test_the_machine_sleeps_in_slices() -> None:
    """Until the wall clock says so."""
    machine = Machine()
    clock: Clock = SystemClock(sleep=machine.sleep, now=machine.now)
    clock.sleep_until(NOW + timedelta(seconds=1.2))
    assert machine.slept == [0.5, 0.5, pytest.approx(0.2)]
    clock.sleep_until(NOW)
    assert len(machine.slept) == 3


def test_a_suspended_machine_wakes_late_not_never() -> None:
    """The slice ends, the clock has jumped."""
    machine = Machine()

    def jump(seconds: float) -> None:
        machine.sleep(seconds)
        machine.at += timedelta(hours=8)

    SystemClock(sleep=jump, now=machine.now).sleep_until(NOW + timedelta(hours=1))
    assert machine.slept == [0.5]


def test_a_stop_ends_the_sleep() -> None:
    """Within a slice."""
    machine = Machine()
    clock = SystemClock(lambda: len(machine.slept) == 2, sleep=machine.sleep, now=machine.now)
    clock.sleep(60)
    assert machine.slept == [0.5, 0.5]
    assert SystemClock().now().tzinfo is UTC


def test_the_lab_jumps_while_we_sleep() -> None:
    """Half an hour takes no time; before attaching time runs by itself."""
    virtual = VirtualClock(NOW)
    with LabServer(Store(virtual.now), virtual) as lab:
        clock = LabClock(lab.url)
        port: Clock = clock
        assert NOW <= port.now() < NOW + timedelta(seconds=30)
        begun = clock.attach()
        assert clock.now() == begun
        clock.sleep_until(begun + timedelta(minutes=30))
        assert clock.now() == begun + timedelta(minutes=30)
        clock.sleep_until(begun)
        clock.sleep(1.5)
        assert clock.now() == begun + timedelta(minutes=30, seconds=1.5)
        clock.close()
        assert clock.now() >= begun + timedelta(minutes=30)
        assert lab.failures == []


def test_two_processes_wait_for_each_other() -> None:
    """The one who sleeps shorter wakes first."""
    virtual = VirtualClock(NOW)
    woken: list[str] = []

    with LabServer(Store(virtual.now), virtual) as lab:
        one, two = LabClock(lab.url), LabClock(f"{lab.url}/lab/clock")
        start = one.attach()
        assert two.attach() == start

        def long() -> None:
            one.sleep_until(start + timedelta(seconds=60))
            woken.append("one")

        thread = threading.Thread(target=long)
        thread.start()
        two.sleep_until(start + timedelta(seconds=20))
        woken.append("two")
        two.close()
        thread.join(10)
        assert woken == ["two", "one"]
        one.close()


def test_a_sleep_that_is_broken_off_ends_the_attachment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lost answer is not taken for the next one's."""
    virtual = VirtualClock(NOW)
    with LabServer(Store(virtual.now), virtual) as lab:
        clock = LabClock(lab.url)
        start = clock.attach()

        def broken() -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(clock._connection, "getresponse", broken)
        with pytest.raises(KeyboardInterrupt):
            clock.sleep_until(start + timedelta(seconds=10))
        clock.sleep_until(start + timedelta(minutes=5))
        assert clock.now() == start + timedelta(minutes=5)
        clock.close()


def test_a_lab_that_is_gone() -> None:
    """A sentence with its address."""
    with pytest.raises(Unreachable, match="lab's clock") as error:
        LabClock("http://127.0.0.1:9").now()
    assert error.value.where.startswith("http://127.0.0.1:9")


def test_a_server_that_is_no_lab(script: Any, reply: Any) -> None:
    """Neither another status nor another answer is taken for a time."""
    script.on("GET /lab/clock", reply({"then": 1}), reply("[]"), reply({}, 404))
    for _ in range(3):
        with pytest.raises(Unreachable):
            LabClock(script.url).now()
