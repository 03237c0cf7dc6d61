"""A run on paper: every question is answered at once, every write arrives, and what happened is folded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.judgement import Baseline, EdgeBaseline, EdgeSample, Observation
from rollout.model.kubernetes import Object
from rollout.model.traffic import Family, Party, Sight
from rollout.record.change import Change
from rollout.record.events import Done, Fact, Intended, Moved, Note, Started
from rollout.record.run import Run, fold
from rollout.record.spec import Task
from rollout.stages.decide import decide
from rollout.stages.step import End, Flip, Learn, Move, Read, Undo, Wait, Write
from rollout.world import reads as r
from rollout.world.world import Reading, World
from tests.stages.hand_made import SPEC, USUAL
from tests.world.mesh_fakes import NOW, deployment, pod

PROXY = "orders-7d9-abc"
WEB, ORDERS = Party("shop", "web"), Party("production", "orders")
SERVICE = "orders.production.svc.cluster.local"
BEFORE = Baseline(
    at=NOW, window=3600, sight=Sight((PROXY,), (PROXY,), newest=NOW),
    edges=(EdgeBaseline(WEB, ORDERS, SERVICE, Family.HTTP, 1.0, 1.0),),
)  # fmt: skip
POD = pod(labels={"security.istio.io/tlsMode": "istio"})
OWN = (POD, deployment())
QUICK = (Task(name="flip", keyword="strict"), Task(name="look", keyword="watch", args={"for": "PT2M"}))


class Paper:
    """The run, its objects and its clock; under a mode that is `harmful` every call fails."""

    def __init__(self, *objects: Object, answers: Mapping[Any, Any] | None = None, **spec: Any) -> None:
        """Begin it."""
        self.now = NOW
        self.objects = objects
        self.answers = USUAL | {r.Before: BEFORE} | dict(answers or {})
        self.harmful: tuple[Mode, ...] = ()
        self.events: list[Fact | Note] = []
        self.said: list[str] = []
        changed = msgspec.structs.replace(SPEC, **({"tasks": QUICK, "terminal": True} | spec))
        self.record(Started(t=NOW, spec=changed))

    @property
    def run(self) -> Run:
        """What the record says."""
        return fold(self.events)

    @property
    def mode(self) -> Mode | None:
        """Of the namespace's policy; None without one."""
        return next((o.mode for o in self.objects if isinstance(o, PeerAuthentication)), None)

    def record(self, *events: Fact | Note) -> None:
        """In their order."""
        for event in events:
            self.events.append(msgspec.structs.replace(event, seq=len(self.events) + 1))

    def through(self) -> list[str]:
        """The states, in their order."""
        return [event.to.value for event in self.events if isinstance(event, Moved)]

    def go(self, minutes: float = 120) -> End:
        """Until the process is done with it."""
        over = self.now + timedelta(minutes=minutes)
        while self.now < over:
            step = self._step()
            match step:
                case End():
                    return step
                case Wait():
                    self.said.append(step.why)
                    self.now = max(step.until, self.now + timedelta(seconds=1))
                case Learn():
                    self.record(*step.facts)
                case Move():
                    self._move(step)
                case Undo():
                    self._write(step.change)
                    self.record(Done(t=self.now, of=0, change=step.change, resource_version="2", undo=True))
                case Write() | Flip():
                    permit = step.permit if isinstance(step, Flip) else None
                    self.record(Intended(t=self.now, change=step.change, permit=permit, accepted=step.accepted))
                    self._write(step.change)
                    seq = len(self.events)
                    self.record(Done(t=self.now, of=seq, change=step.change, resource_version="2"))
        raise AssertionError(f"it is still {self.run.state} after {minutes} minutes: {self.said[-3:]}")

    def _move(self, step: Move) -> None:
        outcome = step.outcome.name if step.outcome else ""
        moved = Moved(t=self.now, from_=self.run.state, to=step.to, why=step.why, outcome=outcome, signals=step.signals)
        self.record(*step.facts, moved)

    def _step(self) -> Write | Flip | Undo | Wait | Learn | Move | End:
        world, run = World(), self.run
        for _ in range(20):
            step = decide(run, world, self.now)
            if not isinstance(step, Read):
                return step
            world = world.plus({read: Reading(self.now, self._answer(read)) for read in step.reads})
        raise AssertionError("it reads for ever")

    def _answer(self, read: r.Read) -> Any:
        if isinstance(read, r.Objects):
            return self.answers.get(read.kind, tuple(o for o in self.objects if isinstance(o, read.kind)))
        if isinstance(read, r.Observed) and r.Observed not in self.answers.keys() - USUAL.keys():
            return self._observed(read.window)
        return self.answers[type(read)]

    def _observed(self, window: float) -> Observation:
        """A call a second."""
        failed = window if self.mode in self.harmful else 0.0
        edge = EdgeSample(WEB, ORDERS, SERVICE, Family.HTTP, tried=window, failed=failed, arrived=window - failed)
        return Observation(at=self.now, window=window, sight=Sight((PROXY,), (PROXY,), newest=self.now), edges=(edge,))

    def _write(self, change: Change) -> None:
        """It arrives a second later."""
        self.now += timedelta(seconds=1)
        policies = tuple(o for o in self.objects if isinstance(o, PeerAuthentication))
        question = r.Objects(PeerAuthentication)
        after = World({question: Reading(self.now, policies)}).after(change).of(PeerAuthentication)
        self.objects = (*(o for o in self.objects if not isinstance(o, PeerAuthentication)), *after)
