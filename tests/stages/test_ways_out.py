"""The ways out of a state that a quiet run never takes: each answer of the world, and the step that follows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from rollout.errors import Outcome
from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.kubernetes import Object
from rollout.record.events import FailureKind, Requested, RequestKind
from rollout.record.run import Write
from rollout.record.spec import OnStop
from rollout.record.state import State
from rollout.stages.step import End, Learn, Move, Wait
from rollout.world import reads as r
from rollout.world.world import Unreadable
from tests.stages.hand_made import (
    ARGO_OWNED,
    AWAY,
    DONE,
    HELM_OWNED,
    OPEN,
    OWN,
    PATCH,
    PERMISSIVE,
    REFUSED,
    VERIFYING,
    policy,
    run,
    settled,
)
from tests.world.mesh_fakes import NOW


@pytest.mark.parametrize(
    ("spec", "objects", "answers", "outcome", "why"),
    [
        ({"namespace": "istio-system"}, [], {}, Outcome.BLOCKED, "would flip the whole mesh"),
        ({"namespace": "kube-system"}, [], {}, Outcome.BLOCKED, "a system namespace; --allow-system"),
        ({}, [], {PeerAuthentication: Unreadable("x", absent=True)}, Outcome.BLOCKED, "Istio is not installed"),
        ({}, [], {PeerAuthentication: Unreadable("forbidden")}, Outcome.CANNOT_SEE, "forbidden"),
        ({}, [PERMISSIVE], {r.Rights: Unreadable("no reviews")}, Outcome.CANNOT_SEE, "no reviews"),
        ({}, [PERMISSIVE], {r.Rights: (PATCH,)}, Outcome.BLOCKED, "a right is missing: "),
        ({"require_guard": True}, [PERMISSIVE], {}, Outcome.BLOCKED, "nobody would pick this run up"),
        ({}, [policy(Mode.STRICT, "rollout")], {}, Outcome.BLOCKED, "no record says that it was watched to the end"),
        ({}, [ARGO_OWNED], {}, Outcome.BLOCKED, "Argo CD puts its own state back, so --override-owner is refused"),
        ({"override_owner": True}, [ARGO_OWNED], {}, Outcome.BLOCKED, "so --override-owner is refused"),
        ({}, [HELM_OWNED], {}, Outcome.BLOCKED, "or --override-owner"),
        ({}, [], {r.DryRun: "denied by kyverno"}, Outcome.BLOCKED, "the server refuses the first write"),
    ],
)
def test_verifying_refuses_before_the_first_write(
    spec: dict[str, Any], objects: list[Object], answers: dict[Any, Any], outcome: Outcome, why: str
) -> None:
    """Blocked, with the reason."""
    step = settled(run(VERIFYING, spec), *objects, answers=answers)
    assert isinstance(step, Move), step
    assert (step.to, step.outcome, why in step.why) == (State.BLOCKED, outcome, True), step.why


@pytest.mark.parametrize(
    ("state", "fields", "objects", "answers", "to", "why"),
    [
        (State.PERMISSIVE, {}, OWN, {r.DryRun: "denied by kyverno"}, State.BLOCKED, "the server refuses"),
        (State.PERMISSIVE, {"writes": (REFUSED,)}, OWN, {}, State.BLOCKED, "the server refused"),
        (State.ENFORCING, {}, [policy(Mode.DISABLE)], {}, State.BLOCKED, "is not PERMISSIVE any more"),
        (State.ENFORCING, {}, [PERMISSIVE, *OWN], {r.DryRun: "denied"}, State.BLOCKED, "the server refuses the flip"),
        (State.ENFORCING, {}, [PERMISSIVE], {r.Before: AWAY}, State.BLOCKED, "Prometheus is away"),
        (State.CONFIRMING, {}, [], {PeerAuthentication: Unreadable("forbidden")}, State.BLOCKED, "forbidden"),
        (
            State.CHECKING,
            {"writes": (msgspec.structs.replace(REFUSED, failed=FailureKind.FOREIGN, reason="it is gone"),)},
            [],
            {},
            State.OVERRIDDEN,
            "it is gone",
        ),
    ],
)
def test_before_the_flip_a_refusal_blocks(
    state: State, fields: dict[str, Any], objects: list[Object], answers: dict[Any, Any], to: State, why: str
) -> None:
    """Nothing was written by then but PERMISSIVE."""
    step = settled(run(state, **fields), *objects, answers=answers)
    assert isinstance(step, Move), step
    assert (step.to, why in step.why) == (to, True), step.why


@pytest.mark.parametrize(
    ("spec", "objects", "writes", "answers", "why"),
    [
        ({"exemptions": (OPEN,)}, [PERMISSIVE], (), {}, "there is no Deployment, StatefulSet or DaemonSet"),
        (
            {"exemptions": (msgspec.structs.replace(OPEN, port=1),)},
            [PERMISSIVE, *OWN],
            (),
            {},
            "no such port; production/orders has container ports none",
        ),
    ],
)
def test_an_exemption_that_cannot_be_made_blocks(
    spec: dict[str, Any], objects: list[Object], writes: tuple[Write, ...], answers: dict[Any, Any], why: str
) -> None:
    """Before the flip, since the port would be cut by it."""
    step = settled(run(State.PERMISSIVE, spec, writes=writes), *objects, answers=answers)
    assert isinstance(step, Move), step
    assert (step.to, why in step.why) == (State.BLOCKED, True), step.why


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"max_duration": timedelta(minutes=10)}, "and --max-duration leaves 0:10:00"),
        ({"require_guard": True}, "nobody would pick this run up"),
    ],
)
def test_no_flip_that_nobody_could_take_back(spec: dict[str, Any], why: str) -> None:
    """Asked again at the gate: an approval may have taken days."""
    step = settled(run(State.ENFORCING, spec), PERMISSIVE)
    assert isinstance(step, Move), step
    assert (step.to, why in step.why) == (State.BLOCKED, True), step.why


@pytest.mark.parametrize("spec", [{"max_duration": timedelta(days=1)}, {"require_guard": True, "terminal": True}])
def test_a_flip_with_time_and_a_human_beside_it_goes_through_the_gate(spec: dict[str, Any]) -> None:
    """The baseline is recorded first."""
    step = settled(run(State.ENFORCING, spec | {"allow_idle": True}), PERMISSIVE)
    assert isinstance(step, Learn), step


def test_a_cluster_that_cannot_be_read_after_the_flip_is_waited_for() -> None:
    """Before it, it blocks; the flip is never forgotten for want of an answer."""
    step = settled(
        run(State.ENFORCED, writes=(DONE,), roll_back=Requested(t=NOW, kind=RequestKind.ROLL_BACK)),
        answers={PeerAuthentication: Unreadable("forbidden")},
    )
    assert isinstance(step, Move)
    assert step.to is State.ROLLING_BACK
    done = msgspec.structs.replace(DONE, done=None)
    step = settled(run(State.ENFORCING, writes=(done,)), answers={PeerAuthentication: Unreadable("forbidden")})
    assert isinstance(step, Wait), step
    assert "forbidden" in step.why


def test_a_way_back_without_a_flip_has_nothing_to_take_back() -> None:
    """Said, with what goes on; as is that nobody watches what a stop left STRICT."""
    asked = Requested(t=NOW, kind=RequestKind.ROLL_BACK)
    step = settled(run(State.CHECKING, roll_back=asked))
    assert isinstance(step, End)
    assert (step.outcome, "nothing to take back" in step.sentence) == (Outcome.PAUSED, True)
    stop = Requested(t=NOW, kind=RequestKind.STOP)
    step = settled(run(State.WATCHING, {"on_stop": OnStop.LEAVE}, writes=(DONE,), stop=stop))
    assert isinstance(step, End)
    assert "nobody watches it" in step.sentence


def test_a_playbook_without_strict_stops_before_the_flip() -> None:
    """As it was written."""
    step = settled(run(State.CHECKING, {"tasks": (), "allow_idle": True}), PERMISSIVE)
    assert isinstance(step, End), step
    assert (step.outcome, step.sentence) == (Outcome.PAUSED, "the playbook has no strict task")
