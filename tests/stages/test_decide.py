"""Whatever the past and whatever is asked: the step is one that the table of states accepts."""

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.errors import Outcome
from rollout.model.istio import Mode, Mtls, PeerAuthentication, PeerAuthenticationSpec
from rollout.model.judgement import Baseline, Verdict
from rollout.model.kubernetes import Metadata, Ref
from rollout.model.traffic import Sight
from rollout.record.change import Change, Permit, Policy
from rollout.record.events import ProofKind, Proven, Requested, RequestKind
from rollout.record.run import Run, Watch, Write
from rollout.record.spec import OnStop, Spec, Task
from rollout.record.state import ENDS, State, trigger
from rollout.stages.decide import decide
from rollout.stages.step import End, Flip, Move, Read, Step, Undo
from rollout.stages.step import Write as WriteStep
from rollout.world.reads import Objects
from rollout.world.reads import Read as Question
from rollout.world.world import Reading, Unreadable, World

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
REF = Ref("PeerAuthentication", "production", "default")
FLIP = Change(ref=REF, before=Policy(Mode.PERMISSIVE), after=Policy(Mode.STRICT), uid="u")
PERMIT = Permit(at=NOW, resource_version="1", oldest_read=NOW, evidence="", evidence_end=NOW, checks="", undo_proof="")
SPEC = Spec(run="r", namespace="production", started=NOW - timedelta(hours=1), tasks=(
    Task(name="gate", keyword="approve"), Task(name="strict", keyword="strict")))  # fmt: skip
AFTER_FLIP = [State.ENFORCING, State.WATCHING, State.ROLLING_BACK]


def policy(mode: Mode) -> PeerAuthentication:
    """The live object."""
    spec = PeerAuthenticationSpec(mtls=Mtls(mode))
    return PeerAuthentication(metadata=Metadata(name="default", namespace="production", uid="u"), spec=spec)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Any state, with or without a flip, open or done, asked or not, seeing or blind."""
    state = draw(st.sampled_from(list(State)))
    flipped = state is State.WATCHING or (state in AFTER_FLIP and draw(st.booleans()))
    done = NOW - timedelta(minutes=20) if not flipped or draw(st.booleans()) else None
    write = Write(seq=5, change=FLIP, permit=PERMIT, intended=NOW - timedelta(minutes=20), done=done)
    kinds = draw(st.lists(st.sampled_from(list(RequestKind)), max_size=2))
    asked = {kind: Requested(t=NOW, kind=kind) for kind in kinds}
    blind = draw(st.sampled_from([None, NOW - timedelta(minutes=1), NOW - timedelta(hours=1)]))
    spec = msgspec.structs.replace(
        SPEC, terminal=draw(st.booleans()), on_stop=draw(st.sampled_from(list(OnStop))),
        until=draw(st.sampled_from(["", "permissive", "confirming", "checking"])),
    )  # fmt: skip
    proofs: dict[str, Proven] = {
        kind: Proven(t=NOW, of=kind, ok=draw(st.booleans()))
        for kind in draw(st.lists(st.sampled_from(list(ProofKind))))
    }
    baseline = Baseline(at=NOW, window=600, sight=Sight((), ())) if draw(st.booleans()) else None
    return Run(
        spec=spec, state=state, seq=9, entered=NOW - timedelta(minutes=15), updated=NOW - timedelta(minutes=1),
        writes=(write,) if flipped else (), stop=asked.get(RequestKind.STOP), proofs=proofs, baseline=baseline,
        roll_back=asked.get(RequestKind.ROLL_BACK), held=draw(st.sampled_from(["", "request"])),
        watch=Watch(began=NOW - timedelta(minutes=15), blind=blind, sight=draw(st.sampled_from([0.0, 1800.0])),
                    traffic=draw(st.booleans()), verdict=draw(st.sampled_from([None, *Verdict]))),
        ending=draw(st.sampled_from(["", Outcome.BLOCKED.name])),
    )  # fmt: skip


def settled(run: Run, live: Mode | None) -> Step:
    """Answer reads until there is another step; everything but the policies is unreadable."""
    world = World()
    for _ in range(20):
        step = decide(run, world, NOW)
        if not isinstance(step, Read):
            return step
        world = world.plus({read: Reading(NOW, answer(read, live)) for read in step.reads})
    raise AssertionError("it reads for ever")


def answer(read: Question, live: Mode | None) -> object:
    """The policies, and nothing else."""
    if read == Objects(PeerAuthentication):
        return (policy(live),) if live else ()
    return () if isinstance(read, Objects) else Unreadable("away")


@settings(max_examples=600, deadline=None)
@given(run=runs(), live=st.sampled_from([None, *Mode]))
def test_every_step_is_one_that_the_table_accepts(run: Run, live: Mode | None) -> None:
    """And none of them flips blindly, undoes twice, or forgets a flip."""
    step = settled(run, live)
    if isinstance(step, Move):
        assert trigger(run.state, step.to) is not None, (run.state, step)
        assert run.flip is None or step.to is not State.BLOCKED
    assert not isinstance(step, Flip)
    if isinstance(step, Undo):
        assert run.flip is not None
        assert step.change == FLIP.inverse
    if isinstance(step, End) and run.flip is not None and run.state not in ENDS:
        assert run.spec.on_stop is OnStop.LEAVE
        assert run.stop is not None
    if isinstance(step, WriteStep):
        assert not step.change.strict


@settings(max_examples=200, deadline=None)
@given(run=runs(), live=st.sampled_from([None, *Mode]))
def test_the_decision_is_a_function(run: Run, live: Mode | None) -> None:
    """The same past and world give the same step."""
    assert settled(run, live) == settled(run, live)
