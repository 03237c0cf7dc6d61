"""What istiod knows of proxies, asked through istioctl for a diagnosis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rollout.diagnosis.telling import Seen
from rollout.errors import RolloutError
from rollout.model.kubernetes import Pod, Ref
from rollout.model.synchronization import Difference
from rollout.world.collector import proxy_status
from rollout.world.world import Unreadable

if TYPE_CHECKING:
    from rollout.cli.wiring import Ports


def synchronized(seen: Seen, p: Ports, compare: Iterable[Pod] = ()) -> Seen:
    """With the state of every proxy, and what differs in these; without an istioctl only why it is not known."""
    known = proxy_status(p.analyzer, p.clock.now())
    wanted = () if isinstance(known, Unreadable) else tuple(compare)
    found: Mapping[Ref, tuple[Difference, ...] | str] = {pod.ref: _differences(p, pod.ref) for pod in wanted}
    return replace(seen, sync=known, differences=found)


def _differences(p: Ports, pod: Ref) -> tuple[Difference, ...] | str:
    try:
        return p.analyzer.differences(pod)
    except RolloutError as error:
        return error.problem
