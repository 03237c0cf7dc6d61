"""Whole runs on paper: nothing but decisions, from the first step to the sentence at the end."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from rollout.errors import Outcome
from rollout.model.istio import Mode
from rollout.model.kubernetes import ContainerPort, Object
from rollout.record.events import Requested, RequestKind, Resumed
from rollout.record.spec import Task
from rollout.stages.step import End
from rollout.world import reads as r
from tests.stages.hand_made import EVIDENCE, OPEN, PERMISSIVE, policy
from tests.stages.paper import OWN, POD, QUICK, Paper
from tests.world.mesh_fakes import deployment

FORTH = ["verifying", "permissive", "confirming", "checking", "enforcing", "watching"]
DISABLE = policy(Mode.DISABLE)


def test_a_run_that_does_no_harm() -> None:
    """Through every state in its order; the end says since when, and what to look at later."""
    paper = Paper(PERMISSIVE, *OWN)
    end = paper.go()
    assert [*FORTH, "enforced"] == paper.through()
    assert (Mode.STRICT, "rollout plan production") == (paper.mode, end.next)
    assert (Outcome.ENFORCED, "production refuses plaintext since 12:00:01; watched to the end") == (
        end.outcome,
        end.sentence,
    )


def test_harm_in_the_watch_is_taken_back() -> None:
    """And the end says that nobody has to get up."""
    paper = Paper(PERMISSIVE, *OWN)
    paper.harmful = (Mode.STRICT,)
    end = paper.go()
    assert ["rolling_back", "rolled_back"] == paper.through()[-2:]
    assert (Mode.PERMISSIVE, Outcome.ROLLED_BACK) == (paper.mode, end.outcome)
    assert end.sentence.startswith("production accepts plaintext again since 12:0")


def test_a_namespace_that_was_disabled_is_raised_and_judged_first() -> None:
    """The raise waits for proof and drain as a flip does, and is recorded with its own baseline."""
    paper = Paper(DISABLE, *OWN)
    assert Outcome.ENFORCED is paper.go().outcome
    assert [Mode.PERMISSIVE, Mode.STRICT] == [w.change.after and w.change.after.mode for w in paper.run.writes]
    assert [said for said in paper.said if said.startswith("drain, and judged until")]


def test_a_raise_that_does_harm_is_taken_back() -> None:
    """To plaintext only, as it was."""
    paper = Paper(DISABLE, *OWN)
    paper.harmful = (Mode.PERMISSIVE,)
    end = paper.go()
    assert ["verifying", "permissive", "rolling_back", "rolled_back"] == paper.through()
    assert (Mode.DISABLE, Outcome.ROLLED_BACK) == (paper.mode, end.outcome)
    assert "production accepts plaintext only again since" in end.sentence


def test_what_the_run_made_is_taken_away_with_to_start() -> None:
    """First the flip, which is proven, then the policy itself, whose going changes no mode."""
    paper = Paper(*OWN)
    assert Outcome.ENFORCED is paper.go().outcome
    paper.now += timedelta(hours=1)
    paper.record(Requested(t=paper.now, kind=RequestKind.ROLL_BACK, by="ana", to_start=True))
    end = paper.go()
    assert (None, Outcome.ROLLED_BACK) == (paper.mode, end.outcome)
    assert "no effective mode changed" == paper.run.why


def test_what_the_run_made_stays_where_its_going_would_change_a_mode() -> None:
    """The root namespace became STRICT meanwhile: without the own policy that would hold here."""
    paper = Paper(*OWN)
    paper.go()
    root = msgspec.structs.replace(
        policy(Mode.STRICT), metadata=msgspec.structs.replace(PERMISSIVE.metadata, namespace="istio-system", uid="r")
    )
    paper.objects = (*paper.objects, root)
    paper.now += timedelta(hours=1)
    paper.record(Requested(t=paper.now, kind=RequestKind.ROLL_BACK, by="ana", to_start=True))
    assert Outcome.ROLLED_BACK is paper.go().outcome
    assert "; PeerAuthentication production/default stays, because deleting it would change a mode" in paper.run.why
    assert Mode.PERMISSIVE is paper.mode


@pytest.mark.parametrize("state", ["permissive", "confirming", "checking"])
def test_a_run_stops_where_it_was_asked_to(state: str) -> None:
    """And goes on behind that when somebody says so."""
    paper = Paper(PERMISSIVE, *OWN, until=state)
    end = paper.go()
    assert (Outcome.PAUSED, f"production accepts both: stopped after {state} as asked") == (end.outcome, end.sentence)
    paper.record(Resumed(t=paper.now, by="ana", onward=True))
    assert Outcome.ENFORCED is paper.go().outcome


GATED = (Task(name="ask", keyword="approve"), *QUICK)


def test_an_approval_is_waited_for_at_a_terminal() -> None:
    """Said while it waits; the yes goes on."""
    paper = Paper(PERMISSIVE, *OWN, tasks=GATED)
    with pytest.raises(AssertionError, match="waiting for approval of 'ask'"):
        paper.go(minutes=10)
    paper.record(Requested(t=paper.now, kind=RequestKind.APPROVE, task="ask", by="ana"))
    assert Outcome.ENFORCED is paper.go().outcome


def test_an_approval_ends_a_process_without_a_terminal() -> None:
    """A pipeline does not hang; the command that says yes is printed."""
    paper = Paper(PERMISSIVE, *OWN, tasks=GATED, terminal=False)
    assert End(Outcome.PAUSED, "production waits for approval of 'ask'", "rollout approve r") == paper.go()


@pytest.mark.parametrize(("objects", "left"), [([PERMISSIVE, *OWN], "nothing was changed"), (OWN, "PERMISSIVE stays")])
def test_evidence_that_cannot_be_had_blocks(objects: list[Object], left: str) -> None:
    """Whatever was written until then is named."""
    unseen = r.OwnershipAnswer()
    no_data = msgspec.structs.replace(EVIDENCE, verdict="no_data", reason="nobody was scraped")
    paper = Paper(*objects, answers={r.Traffic: no_data, r.Ownership: unseen})
    end = paper.go()
    assert (Outcome.CANNOT_SEE, f"production was not flipped: plaintext-callers; {left}") == (end.outcome, end.sentence)


def test_a_port_that_must_stay_open_is_written_before_the_flip() -> None:
    """One change after the other; the end counts what was left open."""
    app = msgspec.structs.replace(POD.spec.containers[0], ports=(ContainerPort(container_port=8080),))
    declaring = msgspec.structs.replace(
        POD, spec=msgspec.structs.replace(POD.spec, containers=(app, *POD.spec.containers[1:]))
    )
    paper = Paper(PERMISSIVE, declaring, deployment(), exemptions=(OPEN,))
    end = paper.go()
    assert ["PeerAuthentication production/rollout-exempt-orders", "PeerAuthentication production/default"] == [
        str(write.change.ref) for write in paper.run.writes
    ]
    assert (Outcome.EXCEPTIONS, True) == (end.outcome, "1 exception" in end.sentence), end.sentence
