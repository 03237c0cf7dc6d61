"""What the proxies have in force, against what the objects say: a proxy that istiod does not reach goes on as before.

The modes are read off the filter chains of the inbound listener (istio.md 2.2): STRICT takes mutual TLS alone, DISABLE
plaintext alone, PERMISSIVE both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from rollout.mesh.injection import captured_port, gateway
from rollout.mesh.peer_authentication import Policies
from rollout.mesh.workloads import restart, workload
from rollout.model.diagnosis import LayerResult
from rollout.model.finding import Finding, Severity, Status
from rollout.model.istio import MeshConfig, Mode, PeerAuthentication
from rollout.model.kubernetes import Pod, Ref
from rollout.ports import InboundChain
from rollout.world.world import World

#: Chains of the listener's own ports, which no mode concerns.
_OWN = frozenset({15006})
#: A change that is younger may still be on its way: debounce, push, and a busy istiod.
GRACE = timedelta(seconds=30)
_MODES = {(True, False): Mode.STRICT, (True, True): Mode.PERMISSIVE, (False, True): Mode.DISABLE}


def modes(chains: Iterable[InboundChain]) -> dict[int, Mode]:
    """The mode in force by port; 0 stands for every port without chains of its own.

    A port whose chains are none of Istio's three shapes is left out.
    """
    by_port: dict[int, list[InboundChain]] = {}
    for chain in chains:
        if chain.port not in _OWN:
            by_port.setdefault(chain.port, []).append(chain)
    seen = {
        port: (any(c.client_certificate for c in of), any(not c.tls and c.transport != "tls" for c in of))
        for port, of in by_port.items()
    }
    return {port: _MODES[found] for port, found in seen.items() if found in _MODES}


def compared(
    layer: LayerResult,
    world: World,
    told: Mapping[Ref, Mapping[int, Mode] | str],
    pods: Iterable[Pod],
    mesh: MeshConfig,
    now: datetime,
) -> LayerResult:
    """The layer with what the proxies tell; who could not be asked is left out, the next layer says why.

    Raises:
        KindUnreadable: the policies cannot be read.
    """
    objects = world.of(PeerAuthentication)
    policies = Policies(objects, mesh.root_namespace)
    fresh = frozenset(policy.ref for policy in objects if now - _changed(policy) < GRACE)
    stale: list[Finding] = []
    asked = 0
    for pod in pods:
        found = told.get(pod.ref)
        if found is None or isinstance(found, str) or gateway(pod):
            continue
        asked += 1
        finding = _of_pod(pod, found, policies, fresh)
        if finding is not None:
            stale.append(finding)
    if not asked:
        return layer
    lines = (*layer.lines, f"in force: {asked - len(stale)} of {asked} proxies asked have what the objects say")
    if not stale:
        return msgspec.structs.replace(layer, lines=lines)
    blocking = [finding for finding in stale if finding.blocks]
    findings = (*blocking, *layer.findings, *(finding for finding in stale if not finding.blocks))
    status = Status.FAILED if blocking else layer.status
    return msgspec.structs.replace(layer, status=status, findings=findings, lines=lines)


def _changed(policy: PeerAuthentication) -> datetime:
    """When it was written last, as far as its metadata tells."""
    times = (policy.metadata.creation_timestamp, *(field.time for field in policy.metadata.managed_fields))
    return max((time for time in times if time is not None), default=datetime.min.replace(tzinfo=UTC))


def _of_pod(pod: Pod, found: Mapping[int, Mode], policies: Policies, fresh: Collection[Ref]) -> Finding | None:
    """The first port that differs."""
    for port in (*policies.ports(pod), 0):
        wanted = policies.effective(pod, port or None)
        there = found.get(port, found.get(0))
        if there is None or there is wanted.mode or (port and not captured_port(pod, port)):
            continue
        by = wanted.decided_by or "no policy"
        others = sum(found.get(p, found.get(0)) is not policies.effective(pod, p).mode for p in policies.ports(pod))
        return Finding(
            ref=pod.ref,
            field=f"port {port}" if port else "other ports",
            measured=f"its proxy has {there.value} in force, {by} says {wanted.mode.value}",
            limit="the mode of the objects",
            where=(
                "the policy changed just now, which takes some seconds to arrive: ask again"
                if wanted.decided_by in fresh
                else "the proxy did not get the change, or rejected it",
                *((f"{others} ports differ",) if others > 1 else ()),
            ),
            fix=f"istioctl proxy-status, and its istio-proxy log; then: {restart(workload(pod))}",
            check="in-force",
            severity=Severity.WARNING if wanted.decided_by in fresh else Severity.BLOCKING,
            new=False,
        )
    return None
