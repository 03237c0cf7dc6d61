"""Hundreds of seeded watches: none of the healthy ones is rolled back, the harmed ones are, and soon.

`ROLLOUT_WATCHES=1000,200` sets how many healthy and harmed ones are run.
"""

from __future__ import annotations

import os
import sys
from statistics import median

import pytest

from tests.simulation.watches import Harm, Result, run, scenario

HEALTHY, HARMED = (int(number) for number in os.environ.get("ROLLOUT_WATCHES", "1000,200").split(","))


def _run(number: int, *harms: Harm) -> list[Result]:
    return [run(scenario(seed, harms[seed % len(harms)])) for seed in range(number)]


def _say(capsys: pytest.CaptureFixture[str], *lines: str) -> None:
    with capsys.disabled():
        sys.stdout.write("\n" + "".join(f"  {line}\n" for line in lines))


def _delay(result: Result) -> float:
    """Seconds from the beginning of the harm, or of the watch, to the rollback."""
    assert result.rolled_back is not None
    return result.rolled_back - max(0.0, result.scenario.begins)


def _summary(name: str, delays: list[float]) -> str:
    if not delays:
        return f"{name:<8} none caught"
    return f"{name:<8} {len(delays)} caught, delay median {median(delays):.0f}s, at most {max(delays):.0f}s"


@pytest.mark.timeout(1200)
def test_no_healthy_watch_is_rolled_back(capsys: pytest.CaptureFixture[str]) -> None:
    """Bursts, stopping callers, unready pods, missing scrapes and resets elsewhere are no regressions."""
    results = _run(HEALTHY, Harm.NONE)
    false = [f"seed {r.scenario.seed} at {r.rolled_back}s: {r.sentence}" for r in results if r.rolled_back is not None]
    _say(capsys, f"{HEALTHY} healthy watches: {len(false)} rolled back")
    assert false == []


@pytest.mark.timeout(1200)
def test_harm_is_caught_and_soon(capsys: pytest.CaptureFixture[str]) -> None:
    """At least 99 of 100, whatever the harm, and none before its harm."""
    harms = [harm for harm in Harm if harm is not Harm.NONE]
    results = _run(HARMED, *harms)
    caught = [result for result in results if result.rolled_back is not None]
    by_harm = {harm: [_delay(r) for r in caught if r.scenario.harm is harm] for harm in harms}
    everyone = [delay for delays in by_harm.values() for delay in delays]
    _say(capsys, _summary(f"{HARMED} harmed:", everyone), *(_summary(harm, by_harm[harm]) for harm in harms))
    assert [f"{r.scenario.harm} {r.scenario.seed}: {r.sentence}" for r in caught if _delay(r) < 0] == []
    missed = [f"{r.scenario.harm} seed {r.scenario.seed}" for r in results if r.rolled_back is None]
    assert len(missed) <= HARMED / 100, missed
    assert median(everyone) <= 180
