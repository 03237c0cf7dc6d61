"""Callers that fell silent because their pods lost the sidecar: STRICT refuses them, and neither end counts a thing.

Pure. The proxy that would have counted the failures is gone, and the destination counts no refused handshake.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from rollout.judge.baseline import place, silent
from rollout.judge.signals import SURVIVAL
from rollout.mesh.injection import ambient, injected, live, proxy_container
from rollout.mesh.workloads import workload
from rollout.model.judgement import Baseline, Observation, Signal, Verdict
from rollout.model.kubernetes import Pod
from rollout.model.traffic import Party
from rollout.world.baseline import edge_key
from rollout.world.world import KindUnreadable, World


def without_sidecar(baseline: Baseline, observation: Observation, world: World) -> Iterator[Signal]:
    """One signal per silent edge whose caller had a proxy, and whose Ready pods have none all through the window."""
    try:
        by_party = world.derived(Pod, _by_party)
    except KindUnreadable:
        return
    now = {edge_key(edge): edge for edge in observation.edges}
    begin = observation.at - timedelta(seconds=observation.window)
    taken = {e.service for e in observation.edges if not e.source.named and e.arrived > 0}  # its port is not STRICT
    for known in baseline.edges:
        if not known.at_source or known.service in taken or not silent(now.get(edge_key(known))):
            continue
        pods = by_party.get(known.source, ())
        ready = [pod for pod in pods if pod.ready]
        if not ready or any(_meshed(pod) for pod in pods) or not all(_older(pod, begin) for pod in ready):
            continue
        rate = max(known.tried, known.arrived)
        yield Signal(
            name=SURVIVAL,
            where=place(known, known),
            measured=f"nothing in {observation.window:.0f}s, {rate:.2f}/s before; the caller's {len(ready)} Ready "
            f"pods run without a sidecar now ({ready[0].name})",
            limit="a sidecar, as before the flip: STRICT refuses plaintext",
            verdict=Verdict.HEALTHY,
            breached=True,
            window=f"{observation.window:.0f}s",
            query=observation.queries.get("tried", ""),
        )


def lost_at_the_end(baseline: Baseline, world: World) -> tuple[str, ...]:
    """The callers that had a proxy, and of whose pods none has one now: too late to be heard falling silent."""
    try:
        by_party = world.derived(Pod, _by_party)
    except KindUnreadable:
        return ()
    callers = sorted({known.source for known in baseline.edges if known.at_source and known.source.named})
    bare = [source for source in callers if (pods := by_party.get(source)) and not any(map(_meshed, pods))]
    return tuple(f"{source} runs without a sidecar now, and STRICT refuses plaintext" for source in bare)


def _by_party(pods: tuple[Pod, ...]) -> dict[Party, tuple[Pod, ...]]:
    found: dict[Party, tuple[Pod, ...]] = {}
    for pod in pods:
        if live(pod):
            party = Party(pod.namespace, workload(pod).name)
            found[party] = (*found.get(party, ()), pod)
    return found


def _meshed(pod: Pod) -> bool:
    return injected(pod) or proxy_container(pod) is not None or ambient(pod)


def _older(pod: Pod, than: datetime) -> bool:
    born = pod.metadata.creation_timestamp
    return born is None or born <= than
