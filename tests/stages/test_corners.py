"""What a state says of the rarer answers: whose metrics these are, no baseline, late rules, and quiet edges."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from rollout.model.finding import CheckResult, Finding, Status
from rollout.model.istio import DestinationRule, Mode
from rollout.model.judgement import Baseline, EdgeBaseline, Verdict
from rollout.model.kubernetes import Service
from rollout.model.traffic import Family, Party
from rollout.record.events import Noted, ProofKind, Proven, Ticks
from rollout.record.run import Run, Watch
from rollout.record.state import State
from rollout.stages.again import at_the_end
from rollout.stages.ownership import disowned
from rollout.stages.step import Learn, Move, Wait
from rollout.world import reads as r
from rollout.world.world import Reading, World
from tests.stages.hand_made import AWAY, DONE, OWN, PERMISSIVE, SIGHT, USUAL, VERIFYING, policy, run, settled
from tests.world.mesh_fakes import NOW, pod

EU = 'cluster="eu"'
HOST = "orders.production.svc.cluster.local"
STRICT = policy(Mode.STRICT, "rollout")
WEB = pod("web-1", "shop", workload="web", ip="10.0.0.2")
UNDO = {ProofKind.UNDO: Proven(t=NOW, of=ProofKind.UNDO, ok=True)}
SEEN = Watch(began=NOW - timedelta(hours=1), due=NOW, sight=1e6, traffic=True)
TO_ORDERS = msgspec.convert(
    {
        "metadata": {"name": "orders", "namespace": "production"},
        "spec": {"selector": {"app": "orders"}, "ports": [{"port": 80, "targetPort": 8080}]},
    },
    Service,
)


def rule(*modes: str) -> DestinationRule:
    """One of the clients' namespace for orders: the first mode for all ports, the second for port 80."""
    first, *ports = ({"tls": {"mode": mode}} for mode in modes)
    of_ports = [{"port": {"number": 80}, **setting} for setting in ports]
    raw = {
        "metadata": {"name": "plain", "namespace": "shop"},
        "spec": {
            "host": HOST,
            "trafficPolicy": {**first, "portLevelSettings": of_ports},
        },
    }
    return msgspec.convert(raw, DestinationRule)


def edges(number: int) -> Baseline:
    """So many edges from web to Services of production, each busy before the flip."""
    known = (
        EdgeBaseline(Party("shop", "web"), Party("production", f"to{n}"), f"to{n}", Family.HTTP, 1.0, 1.0)
        for n in range(number)
    )
    return Baseline(at=NOW, window=3600, sight=SIGHT, edges=tuple(known))


def watched(baseline: Baseline | None, **fields: Any) -> Run:
    """A run whose watch has seen enough."""
    return run(State.WATCHING, writes=(DONE,), watch=SEEN, proofs=UNDO, baseline=baseline, **fields)


def ended(made: Run, *objects: Any, answers: Any = None) -> str:
    """Why the watch was over, and well."""
    step = settled(made, STRICT, *OWN, *objects, answers=answers)
    assert isinstance(step, Move), step
    assert step.to is State.ENFORCED, step
    return step.why


def test_a_run_that_cannot_end_in_time_never_begins() -> None:
    """Nothing was written yet: --max-duration is compared with all that is to come."""
    step = settled(run(VERIFYING, {"max_duration": timedelta(minutes=5)}), PERMISSIVE)
    assert isinstance(step, Move), step
    assert (step.to, "and --max-duration leaves 0:05:00" in step.why) == (State.BLOCKED, True), step.why


def test_a_match_that_passed_is_said() -> None:
    """Whoever reads the record later sees whose proxies were counted."""
    answer = r.OwnershipAnswer(expected=1, seen=1)
    step = settled(run(VERIFYING, {"metrics_match": EU}), PERMISSIVE, answers={r.Ownership: answer})
    assert isinstance(step, Move), step
    said = [fact.text for fact in step.facts if isinstance(fact, Noted) and fact.text.startswith("--metrics-match")]
    expected = "--metrics-match 'cluster=\"eu\"' shows 1 of 1 proxies of production and no foreign pod "
    assert [f"{expected}(one that was deleted less than 5 minutes ago is none)"] == said


@pytest.mark.parametrize(
    ("foreign", "where"),
    [
        (("a", "b"), "a and b"),
        (("a", "b", "c", "d", "e"), "a and b and c and 2 more pods"),
    ],
)
def test_foreign_pods_beside_a_label_that_tells_are_named(foreign: tuple[str, ...], where: str) -> None:
    """With the matcher that leaves them out; no second look is needed."""
    answer = r.OwnershipAnswer(expected=1, seen=1, foreign=foreign, ours=EU)
    step = disowned(run(VERIFYING), World({r.Ownership("production"): Reading(NOW, answer)}), NOW)
    assert isinstance(step, Move), step
    assert (
        f"Prometheus also shows another cluster's production: {where} (samples younger than two scrapes; this API "
        f"server does not know them). The label cluster tells them apart: --metrics-match '{EU}'"
    ) == step.why


def test_pods_that_were_only_just_deleted_are_forgotten_by_the_second_look() -> None:
    """A stranger who came meanwhile may be as short-lived: only one of both looks is another cluster's."""
    first, second = r.Ownership("production"), r.Ownership("production", again=True)
    now = NOW + timedelta(minutes=10)
    looked = Reading(NOW, r.OwnershipAnswer(expected=1, seen=1, foreign=("deleted",)))
    later = Reading(now, r.OwnershipAnswer(expected=1, seen=1, foreign=("new",)))
    assert disowned(run(VERIFYING), World({first: looked, second: later}), now) is None


def test_a_watch_without_a_baseline_is_blind() -> None:
    """A record that lost it judges nothing, and its time is no sight; slow edges are not asked either."""
    began = NOW - timedelta(minutes=6)
    made = run(State.WATCHING, writes=(DONE,), proofs=UNDO, watch=Watch(began=began, due=NOW - timedelta(minutes=1)))
    step = settled(made, STRICT, *OWN)
    assert isinstance(step, Learn), step
    ticks = [(fact.verdict, fact.sight) for fact in step.facts if isinstance(fact, Ticks)]
    assert [(Verdict.CANNOT_SEE, 0.0)] == ticks
    between = settled(msgspec.structs.replace(made, watch=Watch(began=began, due=NOW)), STRICT, *OWN)
    assert Wait(NOW + timedelta(seconds=30), "next sample") == between


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, "1 edge too quiet or silent to be proven: shop/web -> production/to0 (http)"),
        (
            5,
            "5 edges too quiet or silent to be proven: "
            + "".join(f"shop/web -> production/to{n} (http), " for n in range(2))
            + "shop/web -> production/to2 (http) and 2 more",
        ),
    ],
)
def test_edges_of_which_nothing_was_seen_are_named_at_the_end(number: int, said: str) -> None:
    """They are no harm: the watch ends well, and says for whom that is not known."""
    assert f"watched to the end; {said}" == ended(watched(edges(number)))


def test_an_end_without_metrics_says_what_it_could_not_ask() -> None:
    """The watch itself had seen enough; the last long window was refused."""
    why = ended(watched(edges(1)), answers={r.Observed: AWAY})
    assert "watched to the end; which edges stayed quiet could not be asked: Prometheus is away" == why


def test_a_rule_that_a_check_showed_before_the_flip_is_no_news() -> None:
    """It was decided upon then; the same rule that nobody was shown is told."""
    plain = rule("DISABLE")
    shown = CheckResult(
        check="destination-rules", title="", state=State.CHECKING, status=Status.WARNING,
        findings=(Finding(ref=plain.ref, field="spec.trafficPolicy.tls.mode", measured="", limit="", fix=""),),
    )  # fmt: skip
    told = "watched to the end; DestinationRule shop/plain came after the flip and turns mesh TLS off for orders"
    assert told == ended(watched(USUAL[r.Before]), TO_ORDERS, plain, WEB)
    assert ended(watched(USUAL[r.Before], checks=(shown,)), TO_ORDERS, plain, WEB) == "watched to the end"


@pytest.mark.parametrize("modes", [["ISTIO_MUTUAL"], ["DISABLE", "ISTIO_MUTUAL"]])
def test_a_rule_that_keeps_mesh_tls_on_is_not_told(modes: list[str]) -> None:
    """Istio's own mode is what STRICT wants, and a port's own setting outranks the general one."""
    assert ended(watched(USUAL[r.Before]), TO_ORDERS, rule(*modes), WEB) == "watched to the end"


def test_nothing_is_asked_again_of_a_watch_that_never_began() -> None:
    """Without a time to look back over there is no question."""
    made = msgspec.structs.replace(watched(edges(1)), watch=Watch())
    assert at_the_end(made, World()).beside == ()


def test_the_worst_of_the_harm_is_said_and_the_rest_counted() -> None:
    """A rule that came after the flip cuts two edges at once."""
    found = [
        EdgeBaseline(Party("shop", "web"), Party("production", "orders"), HOST, family, 1.0, 1.0)
        for family in (Family.HTTP, Family.TCP)
    ]
    baseline = msgspec.structs.replace(USUAL[r.Before], edges=tuple(found))
    step = settled(watched(baseline), STRICT, *OWN, TO_ORDERS, rule("DISABLE"), WEB)
    assert isinstance(step, Move), step
    assert (step.to, len(step.signals)) == (State.ROLLING_BACK, 2)
    assert (
        "edge-survival of shop/web -> production/orders (http): DestinationRule shop/plain came after the flip, and "
        "its spec.trafficPolicy.tls.mode is DISABLE, limit ISTIO_MUTUAL, or no tls at all: STRICT refuses what this "
        "edge sends now (and 1 more)"
    ) == step.why
