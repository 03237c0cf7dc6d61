"""Layer 3: the certificates of each side, and the two against each other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rollout.diagnosis.asking import grouped
from rollout.mesh.certificates import Side, judged
from rollout.model.diagnosis import Layer, LayerResult
from rollout.model.finding import Status
from rollout.model.istio import MeshConfig


def certificates(sides: Sequence[Side], mesh: MeshConfig, now: datetime) -> LayerResult:
    """The layer; who could not be read makes it unknown, unless something is wrong already."""
    found = judged(sides, mesh, now)
    blocking = any(finding.blocks for finding in found.findings)
    status = Status.FAILED if blocking else Status.UNKNOWN if found.unread or not sides else Status.OK
    return LayerResult(
        layer=Layer.CERTIFICATES,
        status=status,
        findings=found.findings,
        lines=found.lines,
        reason=grouped(found.unread) or ("" if sides else "no pod with a sidecar is asked about"),
    )
