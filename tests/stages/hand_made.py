"""Runs in a state, and a world that answers as it is told to, for whoever asks what the next step is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from rollout.model.istio import Mode, Mtls, PeerAuthentication, PeerAuthenticationSpec
from rollout.model.judgement import Baseline, Observation
from rollout.model.kubernetes import ManagedField, Metadata, Object, Ref
from rollout.model.traffic import Evidence, EvidenceVerdict, Sight
from rollout.ports import Right
from rollout.record.change import Change, Permit, Policy
from rollout.record.events import FailureKind
from rollout.record.run import Run, Write
from rollout.record.spec import Exemption, Spec, Task
from rollout.record.state import State
from rollout.stages.decide import decide
from rollout.stages.step import Read, Step
from rollout.world import reads as r
from rollout.world.world import Reading, Unreadable, World
from tests.world.mesh_fakes import NOW, deployment, pod

REF = Ref("PeerAuthentication", "production", "default")
FLIP = Change(ref=REF, before=Policy(Mode.PERMISSIVE), after=Policy(Mode.STRICT), uid="u")
PERMIT = Permit(at=NOW, resource_version="1", oldest_read=NOW, evidence="", evidence_end=NOW, checks="", undo_proof="")
SPEC = Spec(run="r", namespace="production", started=NOW, tasks=(Task(name="flip", keyword="strict"),))
WRITTEN = NOW - timedelta(minutes=1)
DONE = Write(seq=5, change=FLIP, permit=PERMIT, intended=WRITTEN, done=WRITTEN)
SIGHT = Sight(("orders-7d9-abc",), ("orders-7d9-abc",), newest=NOW)
EVIDENCE = Evidence(
    namespace="production", verdict=EvidenceVerdict.CLEAN, start=NOW - timedelta(days=8), end=NOW, sight=SIGHT
)
AWAY = Unreadable("Prometheus is away")
USUAL: dict[type, Any] = {
    r.Rights: (), r.DryRun: "", r.Analysis: (), r.Traffic: EVIDENCE, r.Beside: r.BesideAnswer(),
    r.Before: Baseline(at=NOW, window=3600, sight=SIGHT), r.Observed: Observation(at=NOW, window=120, sight=SIGHT),
    r.Propagation: r.PropagationAnswer(updated=("orders-7d9-abc",)), r.Ownership: r.OwnershipAnswer(),
    r.ReferencedConfigMaps: (), r.Certificates: Unreadable("nothing here asks proxies"),
    r.ProxyStatus: Unreadable("no istioctl on PATH", absent=True),
}  # fmt: skip


def policy(mode: Mode, manager: str = "") -> PeerAuthentication:
    """The namespace's own."""
    field = ManagedField(manager=manager, operation="Update", fields={"f:spec": {"f:mtls": {}}}, time=NOW)
    fields = (field,) if manager else ()
    metadata = Metadata(name="default", namespace="production", uid="u", managed_fields=fields)
    return PeerAuthentication(metadata=metadata, spec=PeerAuthenticationSpec(mtls=Mtls(mode)))


def run(state: State, spec: Mapping[str, Any] | None = None, **fields: Any) -> Run:
    """In that state since a minute."""
    began = NOW - timedelta(minutes=2)
    made = Run(spec=msgspec.structs.replace(SPEC, **(spec or {})), state=state, entered=began, updated=began, seq=9)
    return msgspec.structs.replace(made, **fields)


def settled(made: Run, *objects: Object, answers: Mapping[Any, Any] | None = None) -> Step:
    """Answer reads until there is another step; `answers` are by kind of object or of question."""
    known = USUAL | dict(answers or {})

    def answer(read: r.Read) -> Any:
        if isinstance(read, r.Objects):
            return known.get(read.kind, tuple(o for o in objects if isinstance(o, read.kind)))
        return known[type(read)]

    world = World()
    for _ in range(20):
        step = decide(made, world, NOW)
        if not isinstance(step, Read):
            return step
        world = world.plus({read: Reading(NOW, answer(read)) for read in step.reads})
    raise AssertionError("it reads for ever")


PERMISSIVE = policy(Mode.PERMISSIVE)
VERIFYING = State.VERIFYING
PATCH = Right("patch", PeerAuthentication.RESOURCE, "production")
OWN = [pod(), deployment()]
BARE = [pod(sidecar=False), deployment()]
ARGO_OWNED = msgspec.structs.replace(
    PERMISSIVE, metadata=msgspec.structs.replace(PERMISSIVE.metadata, labels={"argocd.argoproj.io/instance": "shop"})
)
HELM_OWNED = msgspec.structs.replace(
    PERMISSIVE, metadata=msgspec.structs.replace(PERMISSIVE.metadata, labels={"app.kubernetes.io/managed-by": "Helm"})
)
OPEN = Exemption(object="production/orders:8080", workload="production/orders", port=8080, reason="a probe")
REFUSED = Write(seq=4, change=FLIP.inverse, intended=WRITTEN, failed=FailureKind.REFUSED, reason="no")
