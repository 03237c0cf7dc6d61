"""Stops: a flag always, an exception only where it is allowed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from rollout.adapters.signals import Interrupted, Stopper


def press(number: signal.Signals = signal.SIGINT) -> None:
    signal.raise_signal(number)


def test_outside_it_is_a_flag_inside_an_exception() -> None:
    """A write is never cut in half; the next sleep does not begin."""
    with Stopper() as stopper:
        press()
        assert stopper.stopping
        with pytest.raises(Interrupted) as error, stopper.interruptible():
            pytest.fail("slept")
        assert (error.value.signal, error.value.presses) == (signal.SIGINT, 1)
        stopper.acknowledge()
        with stopper.interruptible():
            pass


def test_a_sleep_is_broken_off() -> None:
    """At once, by SIGTERM too."""
    with Stopper() as stopper:
        with pytest.raises(Interrupted, match="SIGTERM"), stopper.interruptible(), stopper.interruptible():
            press(signal.SIGTERM)
        assert stopper.asked is signal.SIGTERM


def test_a_second_press_counts_at_a_terminal_only() -> None:
    """A pipeline that sends its signal twice means one stop."""
    with Stopper(terminal=True) as human:
        press()
        human.acknowledge()
        press()
        assert (human.presses, human.stopping) == (2, True)
    with Stopper() as pipeline:
        press(signal.SIGTERM)
        pipeline.acknowledge()
        press(signal.SIGTERM)
        assert (pipeline.presses, pipeline.stopping) == (1, False)


def test_no_except_exception_swallows_it() -> None:
    """A library's handler for its own errors must not."""
    assert not issubclass(Interrupted, Exception)


def test_a_lost_terminal_mutes_and_the_run_goes_on() -> None:
    """Once."""
    muted: list[bool] = []
    with Stopper(mute=lambda: muted.append(True)) as stopper:
        press(signal.SIGHUP)
        press(signal.SIGHUP)
        assert (muted, stopper.muted, stopper.stopping) == ([True], True, False)


def test_handlers_are_put_back() -> None:
    """Also after an error."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="x"), Stopper():
        raise ValueError("x")
    assert signal.getsignal(signal.SIGTERM) is before


def test_output_goes_nowhere_after_the_hang_up() -> None:
    """Printing does not fail and does not show."""
    code = (
        "import signal\n"
        "from rollout.adapters.signals import Stopper\n"
        "with Stopper():\n"
        "    print('before', flush=True)\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
        "    print('after', flush=True)\n"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environ, timeout=30, check=True)
    assert done.stdout == b"before\n"
