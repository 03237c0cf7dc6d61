"""Proxies that are too young for a proof: the gate waits for their first sample, and the proof does without it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from rollout.errors import Outcome
from rollout.model.istio import Mode, Mtls, PeerAuthentication, PeerAuthenticationSpec, WorkloadSelector
from rollout.model.kubernetes import Metadata, Pod
from rollout.model.traffic import Edge, EvidenceVerdict, Family, Offender, Party, Sight
from rollout.record.events import Baselined, Checked, ProofKind, Proven
from rollout.record.state import State
from rollout.stages.proof import proven_by_proxies
from rollout.stages.step import Flip, Learn, Move, Wait
from rollout.world import reads as r
from rollout.world.world import Reading, World
from tests.stages.hand_made import EVIDENCE, FLIP, PERMISSIVE, policy, run, settled
from tests.stages.paper import BEFORE, OWN, PROXY, Paper
from tests.world.mesh_fakes import NOW, deployment, pod

WHY = f"Ready and not scraped yet: 1 proxy, {PROXY}"
LABELS = {"security.istio.io/tlsMode": "istio"}
SECOND = pod("orders-7d9-new", labels=LABELS, ip="10.0.0.9")


def unseen(*seen: str) -> dict[Any, Any]:
    """A baseline in which only these proxies had a sample."""
    return {r.Before: msgspec.structs.replace(BEFORE, sight=Sight((PROXY,), seen, newest=NOW))}


def at_the_gate(minutes: float, *objects: Any, seen: tuple[str, ...] = (), **spec: Any) -> Any:
    """The step of a run that has been there so long."""
    made = run(State.ENFORCING, spec, entered=NOW - timedelta(minutes=minutes))
    return settled(made, PERMISSIVE, *(objects or OWN), answers=unseen(*seen))


def test_a_flip_waits_for_the_first_sample_of_a_new_proxy() -> None:
    """A counter without a value before the write cannot be seen to move."""
    assert Wait(NOW + timedelta(seconds=15), WHY) == at_the_gate(0)
    assert Wait(NOW + timedelta(seconds=15), WHY) == at_the_gate(4.9)


def test_a_proxy_that_is_never_scraped_blocks_after_five_minutes() -> None:
    """It could not prove the flip, which would then be taken back."""
    why = f"{WHY}; limit 0:05:00, and none of them could prove the flip"
    assert Move(State.BLOCKED, why, Outcome.CANNOT_SEE) == at_the_gate(5)


def test_all_that_are_waited_for_are_named() -> None:
    """Those that were scraped are not among them."""
    third = pod("orders-7d9-abd", labels=LABELS, ip="10.0.0.8")
    why = "Ready and not scraped yet: 2 proxies, orders-7d9-abd, orders-7d9-new"
    step = at_the_gate(0, *OWN, SECOND, third, seen=(PROXY,))
    assert Wait(NOW + timedelta(seconds=15), why) == step


def test_a_plan_waits_for_nobody() -> None:
    """It writes nothing that would have to be proven."""
    step = at_the_gate(0, plan=True)
    assert isinstance(step, Learn), step
    assert [Checked, Baselined] == [type(fact) for fact in step.facts]


def strict_alone(workload: str) -> PeerAuthentication:
    """A policy of the workload's own: the flip of the namespace does not move its listener."""
    spec = PeerAuthenticationSpec(selector=WorkloadSelector({"app": workload}), mtls=Mtls(Mode.STRICT))
    return PeerAuthentication(metadata=Metadata(name="own", namespace="production", uid="own"), spec=spec)


@pytest.mark.parametrize(
    "other",
    [
        (pod("orders-7d9-new", labels=LABELS, ready=False),),
        (pod("orders-7d9-new", labels=LABELS, created=NOW + timedelta(seconds=1)),),
        (pod("web-7d9-new", workload="web", labels=LABELS), deployment("web"), strict_alone("web")),
    ],
    ids=["not Ready", "younger than the look at it", "STRICT before the flip"],
)
def test_a_proxy_that_has_nothing_to_prove_is_not_waited_for(other: tuple[Any, ...]) -> None:
    """As at the proof: the flip goes on with those that have."""
    step = at_the_gate(0, *OWN, *other, seen=(PROXY,))
    assert isinstance(step, Learn), step


def test_a_flip_goes_on_once_the_new_proxy_was_scraped() -> None:
    """A run on paper whose proxy has its first sample a minute later."""
    paper = Paper(PERMISSIVE, *OWN, answers=unseen())
    with pytest.raises(AssertionError, match="it is still enforcing"):
        paper.go(minutes=1)
    assert [(WHY, Mode.PERMISSIVE)] == list(dict.fromkeys((said, paper.mode) for said in paper.said))
    paper.answers |= {r.Before: BEFORE}
    assert (Outcome.ENFORCED, Mode.STRICT) == (paper.go().outcome, paper.mode)


OLD = Edge(Party("web", "old"), Party("production", "orders"), "orders", Family.HTTP, "none", volume=3.0)
SHORT = {"start": NOW - timedelta(minutes=20), "end": NOW}


@pytest.mark.parametrize(
    ("last", "clean_from"),
    [(NOW - timedelta(minutes=4), NOW - timedelta(minutes=4) + timedelta(days=8)), (None, NOW + timedelta(hours=1))],
)
def test_plaintext_that_came_since_the_look_back_shuts_the_gate(last: Any, clean_from: Any) -> None:
    """It counts as repaired when the whole look-back is without it, not the minutes since; without a time as told."""
    edge = msgspec.structs.replace(OLD, last=last)
    tail = msgspec.structs.replace(
        EVIDENCE, **SHORT, verdict=EvidenceVerdict.PLAINTEXT, edges=(edge,),
        offenders=(Offender(edge, clean_from=NOW + timedelta(hours=1)),),
    )  # fmt: skip
    step = settled(run(State.ENFORCING, evidence=EVIDENCE), PERMISSIVE, *OWN, answers={r.Traffic: tail})
    assert isinstance(step, Move), step
    assert (State.BLOCKED, Outcome.BLOCKED, "plaintext-callers") == (step.to, step.outcome, step.why)
    (checked,) = step.facts
    assert isinstance(checked, Checked)
    where = [said for result in checked.results if result.blocks for f in result.findings for said in f.where]
    assert f"{clean_from:%Y-%m-%d %H:%M}" in " ".join(where), where


def test_a_flip_needs_sight_up_to_its_moment() -> None:
    """The look-back was clean, and of the minutes since nothing is known."""
    tail = msgspec.structs.replace(EVIDENCE, **SHORT, verdict=EvidenceVerdict.NO_DATA, reason="nobody was scraped")
    step = settled(run(State.ENFORCING, evidence=EVIDENCE), PERMISSIVE, *OWN, answers={r.Traffic: tail})
    assert isinstance(step, Move), step
    assert (State.BLOCKED, Outcome.CANNOT_SEE, "plaintext-callers") == (step.to, step.outcome, step.why)


def test_minutes_without_plaintext_leave_the_look_back_as_it_was() -> None:
    """Also an idle tail: traffic was judged over days."""
    tail = msgspec.structs.replace(EVIDENCE, **SHORT, verdict=EvidenceVerdict.IDLE)
    made = run(State.ENFORCING, evidence=EVIDENCE, baseline=BEFORE)
    step = settled(made, PERMISSIVE, *OWN, answers={r.Traffic: tail, r.Before: BEFORE})
    assert isinstance(step, Flip), step


WRITTEN = NOW - timedelta(minutes=1)
BOTH_WAYS = pytest.mark.parametrize("back", [False, True], ids=["flip", "way back"])


def proof(*young: Pod, back: bool, updated: tuple[str, ...] = (), **answer: Any) -> Proven | Wait:
    """Of a change that was written a minute ago; the old proxy took it."""
    mode, change = (Mode.PERMISSIVE, FLIP.inverse) if back else (Mode.STRICT, FLIP)
    kind = ProofKind.UNDO_PROPAGATION if back else ProofKind.PROPAGATION
    found = r.PropagationAnswer(updated=(PROXY, *updated), **answer)
    world = World().plus({
        r.Objects(PeerAuthentication): Reading(NOW, (policy(mode),)),
        r.Objects(Pod): Reading(NOW, (*OWN[:1], *young)),
        r.Propagation("production", WRITTEN): Reading(NOW, found),
    })  # fmt: skip
    made = run(State.ROLLING_BACK if back else State.ENFORCING)
    return proven_by_proxies(made, world, WRITTEN, NOW, timedelta(minutes=5), change, kind)


def ready(seconds: float | None) -> Pod:
    """A second proxy, Ready so long before the write."""
    since = None if seconds is None else WRITTEN - timedelta(seconds=seconds)
    return pod(SECOND.name, labels=LABELS, created=WRITTEN - timedelta(hours=1), since=since)


@BOTH_WAYS
@pytest.mark.parametrize("seconds", [149.0, 10.0, -20.0])
def test_a_proxy_that_only_just_became_ready_does_not_hold_up_the_proof(seconds: float, *, back: bool) -> None:
    """Without a sample from before the write its counter has nothing to be compared with: the judge sees it."""
    found = proof(ready(seconds), back=back, new=(SECOND.name,))
    assert isinstance(found, Proven), found
    assert (True, "1/1 proxies prove it (60s)") == (found.ok, found.detail)


@BOTH_WAYS
@pytest.mark.parametrize("seconds", [600.0, 150.0, None], ids=["ten minutes", "two scrapes", "not known"])
def test_a_proxy_that_had_time_to_be_scraped_must_prove_it(seconds: float | None, *, back: bool) -> None:
    """That it has no sample from before is no excuse after two scrapes, nor where nothing says since when."""
    found = proof(ready(seconds), back=back, new=(SECOND.name,))
    assert Wait(NOW + timedelta(seconds=15), f"1/2 proxies after 60s; missing {SECOND.name}") == found


@BOTH_WAYS
def test_a_young_proxy_that_was_scraped_in_time_is_asked_like_the_others(*, back: bool) -> None:
    """It has a counter: unmoved it is waited for, moved it counts."""
    found = proof(ready(10), back=back)
    assert Wait(NOW + timedelta(seconds=15), f"1/2 proxies after 60s; missing {SECOND.name}") == found
    moved = proof(ready(10), back=back, updated=(SECOND.name,))
    assert isinstance(moved, Proven), moved
    assert (True, "2/2 proxies prove it (60s)") == (moved.ok, moved.detail)


@BOTH_WAYS
def test_a_young_proxy_that_rejects_the_change_is_no_proof(*, back: bool) -> None:
    """That can be told without a sample from before."""
    found = proof(ready(10), back=back, new=(SECOND.name,), rejected=(SECOND.name,))
    assert isinstance(found, Proven), found
    assert (False, f"1 proxies rejected the config: {SECOND.name}") == (found.ok, found.detail)
