"""The next command of a run that was not flipped leads on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rollout.model.istio import MeshConfig
from rollout.record.state import State
from rollout.stages.following import following
from rollout.stages.length import FLAG
from tests.stages.hand_made import run

SHORT = {"max_duration": timedelta(minutes=5)}


@pytest.mark.parametrize(
    ("spec", "why", "expected"),
    [
        ({}, "injection", "rollout plan production"),
        ({"mesh": MeshConfig(root_namespace="production")}, "", "rollout plan --all-namespaces"),
        ({"namespace": "kube-system"}, "", "rollout plan kube-system --allow-system"),
        (SHORT, "injection", "rollout plan production"),
        (SHORT, f"need 0:45:45, and {FLAG} leaves 0:05:00", f"rollout plan production {FLAG}="),
    ],
)
def test_what_leads_on(spec: dict[str, Any], why: str, expected: str) -> None:
    """Not the command that was refused: with the flag that allows it, or of what is never taken, without."""
    found = following(run(State.BLOCKED, spec, why=why))
    assert expected == (found if expected[-1] != "=" else found[: len(expected)])


def test_a_time_that_is_enough() -> None:
    """What the run needs and what it does before its flip, in whole five minutes; never less than was given."""
    needs = following(run(State.BLOCKED, SHORT, why=f"{FLAG} leaves 0:05:00"))
    more = following(run(State.BLOCKED, {"max_duration": timedelta(hours=2)}, why=f"{FLAG} leaves 1:59:00"))
    assert [f"rollout plan production {FLAG}=125m", True] == [more, int(needs.rpartition("=")[2][:-1]) % 5 == 0]
