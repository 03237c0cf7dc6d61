"""Diagnoses of a call of web-1 to ledger, and of ledger-1."""

from __future__ import annotations

from typing import Any

from rollout.diagnosis.diagnose import of_call
from rollout.diagnosis.question import OfPod, Pair, question
from rollout.diagnosis.telling import Seen
from rollout.model.diagnosis import Diagnosis, Layer, LayerResult
from rollout.model.finding import Status
from rollout.model.istio import MeshConfig
from rollout.model.kubernetes import Object, Pod
from rollout.world.world import Unreadable
from tests.diagnosis.makers import NOW, found, pod, service

MESH = MeshConfig()
SHOP = pod("web-1", "shop", ip="10.0.0.9")
NO_ISTIOCTL = Unreadable("no istioctl on PATH", absent=True)
EXCLUDE = "traffic.sidecar.istio.io/excludeInboundPorts"


def pair(port: str = "80", **request: str) -> Pair:
    """web-1 calls ledger."""
    asked = question(source="web-1.shop", to=f"ledger.payments:{port}", **request)
    assert isinstance(asked, Pair)
    return asked


def of_pair(*objects: Object, asked: Pair | None = None, **case: Any) -> Diagnosis:
    """The diagnosis of a call of web-1 to ledger."""
    case = {"client": SHOP, "to": service(), "servers": [pod()], **case}
    analysis = case.pop("analysis", NO_ISTIOCTL)
    return of_call(asked or pair(), found(*objects, **case), Seen(), MESH, analysis, NOW)


def layer(diagnosis: Diagnosis, which: Layer) -> LayerResult:
    """One of the six."""
    return next(result for result in diagnosis.layers if result.layer is which)


def statuses(diagnosis: Diagnosis) -> dict[Layer, Status]:
    """Of each layer."""
    return {result.layer: result.status for result in diagnosis.layers}


def of_pod(*objects: Object, server: Pod | None = None, **case: Any) -> Diagnosis:
    """The diagnosis of one pod."""
    return of_call(
        OfPod(ledger_name()), found(*objects, servers=[server or pod()], **case), Seen(), MESH, NO_ISTIOCTL, NOW
    )


def ledger_name() -> Any:
    """ledger-1.payments."""
    asked = question("ledger-1.payments")
    assert isinstance(asked, OfPod)
    return asked.pod
