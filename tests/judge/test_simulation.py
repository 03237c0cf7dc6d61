"""Hundreds of seeded watches: none of the healthy ones is rolled back, the harmed ones are, and soon.

`ROLLOUT_WATCHES=1000,200` sets how many healthy and harmed ones are run.
"""

from __future__ import annotations

import os
from statistics import median

import pytest

from tests.judge.simulation import Harm, Result, run, scenario

HEALTHY, HARMED = (int(number) for number in os.environ.get("ROLLOUT_WATCHES", "200,40").split(","))


def _run(number: int, *harms: Harm) -> list[Result]:
    return [run(scenario(seed, harms[seed % len(harms)])) for seed in range(number)]


@pytest.mark.timeout(1200)
def test_no_healthy_watch_is_rolled_back(capsys: pytest.CaptureFixture[str]) -> None:
    """Bursts, stopping callers, unready pods and missing scrapes are no regressions."""
    results = _run(HEALTHY, Harm.NONE)
    false = [
        f"seed {r.scenario.seed} at {r.rolled_back:.0f}s: {r.sentence}" for r in results if r.rolled_back is not None
    ]
    with capsys.disabled():
        print(f"\n  {HEALTHY} healthy watches: {len(false)} rolled back")
    assert false == []


@pytest.mark.timeout(1200)
def test_harm_is_caught_and_soon(capsys: pytest.CaptureFixture[str]) -> None:
    """At least 99 of 100, whatever the harm; the delay counts from its beginning, or from the watch's."""
    harms = [harm for harm in Harm if harm is not Harm.NONE]
    results = _run(HARMED, *harms)
    caught = [r for r in results if r.rolled_back is not None]
    delays = [r.rolled_back - max(0.0, r.scenario.begins) for r in caught if r.rolled_back is not None]
    missed = [f"{r.scenario.harm} seed {r.scenario.seed}" for r in results if r.rolled_back is None]
    early = [
        f"{r.scenario.harm} seed {r.scenario.seed}: {r.sentence}" for r, d in zip(caught, delays, strict=True) if d < 0
    ]
    with capsys.disabled():
        print(
            f"\n  {HARMED} harmed watches: {len(caught)} caught, delay median {median(delays):.0f}s, max {max(delays):.0f}s"
        )
        for harm in harms:
            own = [d for r, d in zip(caught, delays, strict=True) if r.scenario.harm is harm]
            print(
                f"    {harm:<8} {len(own)} caught, delay median {median(own):.0f}s"
                if own
                else f"    {harm} none caught"
            )
    assert early == []
    assert len(missed) <= HARMED / 100, missed
