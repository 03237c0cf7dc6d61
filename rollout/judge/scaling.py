"""What somebody scaled since the flip: calls to it fail, or it falls silent, and the flip has nothing to do with it."""

from __future__ import annotations

from datetime import timedelta

from rollout.model.judgement import Baseline, Observation
from rollout.model.traffic import Party

#: Pods that somebody just asked for are starting.
START_UP = timedelta(minutes=2)
#: Their writes follow the load, and so may follow harm.
AUTOSCALERS = frozenset({"kube-controller-manager", "keda", "keda-operator"})


class Excused:
    """The workloads whose silence, and whose callers' errors, prove nothing now."""

    def __init__(self, baseline: Baseline, observation: Observation) -> None:
        """Scaled to nothing by whoever it was, or by a person within the window."""
        before = {workload.ref: workload.desired for workload in baseline.workloads}
        recent = observation.at - timedelta(seconds=observation.window) - START_UP
        self._names = frozenset(
            scaling.ref.partition(" ")[2]
            for scaling in observation.scalings
            if (scaling.desired == 0 and before.get(scaling.ref, 0) > 0)
            or (
                scaling.subresource
                and scaling.by not in AUTOSCALERS
                and scaling.at is not None
                and scaling.at > max(recent, baseline.at)
            )
        )

    def __contains__(self, party: Party) -> bool:
        """The workload is one of them."""
        return f"{party.namespace}/{party.workload}" in self._names
