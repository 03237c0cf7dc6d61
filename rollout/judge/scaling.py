"""What somebody scaled since the flip: calls to it fail, or it falls silent, and the flip has nothing to do with it."""

from __future__ import annotations

from datetime import datetime, timedelta

from rollout.model.judgement import Baseline, Observation, Scaling
from rollout.model.traffic import Party

#: Pods that somebody just asked for are starting.
START_UP = timedelta(minutes=2)
#: Their writes follow the load, and so may follow harm.
AUTOSCALERS = frozenset({"kube-controller-manager", "keda", "keda-operator"})


class Excused:
    """The workloads whose silence, and whose callers' errors, prove nothing now."""

    def __init__(self, baseline: Baseline, observation: Observation) -> None:
        """Scaled to nothing by whoever it was, by a person within the window, or from nothing within it."""
        before = {workload.ref: workload.desired for workload in baseline.workloads}
        begin = observation.at - timedelta(seconds=observation.window)
        recent = max(begin - START_UP, baseline.at)
        self._names = frozenset(
            scaling.ref.partition(" ")[2]
            for scaling in observation.scalings
            if (scaling.desired == 0 and before.get(scaling.ref, 0) > 0)
            or (_written(scaling, recent) and (scaling.subresource or _anew(scaling, begin)))
        )

    def __contains__(self, party: Party) -> bool:
        """The workload is one of them."""
        return f"{party.namespace}/{party.workload}" in self._names


def _written(scaling: Scaling, since: datetime) -> bool:
    """By a person, after `since`."""
    return scaling.by not in AUTOSCALERS and scaling.at is not None and scaling.at > since


def _anew(scaling: Scaling, begin: datetime) -> bool:
    """No pod has lived through the window: with that write all of them came, and before there was none.

    A write that is no mere scaling leaves no other trace of the zero replicas that the window still holds.
    """
    return scaling.oldest is not None and scaling.oldest > begin - START_UP
