"""Which mode a workload's port has: Istio's precedence of PeerAuthentications, exactly (istio.md 2.1).

The root namespace's oldest selector-less policy, then the namespace's, then the oldest one that selects the pod; each
overrides the former unless its mode is UNSET. Port modes come from that last one alone, and nothing is merged.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from rollout.mesh.injection import PROXY, gateway, injected, live
from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.kubernetes import Pod, Ref

_NEWEST = datetime.max.replace(tzinfo=UTC)


class Effective(msgspec.Struct, frozen=True):
    """A mode and the policy that decided it; None: nobody did, and Istio's default PERMISSIVE holds."""

    mode: Mode
    decided_by: Ref | None = None


def age(policy: PeerAuthentication) -> tuple[datetime, str, str]:
    """Istio's order: oldest first, ties by name, then namespace; one that was not yet created is the newest."""
    return (policy.metadata.creation_timestamp or _NEWEST, policy.name, policy.namespace)


class Policies:
    """All PeerAuthentications, indexed once: asking for 5,000 pods costs milliseconds."""

    def __init__(self, policies: Iterable[PeerAuthentication], root_namespace: str) -> None:
        """Sort by age, keep the selector-less ones apart and find the others by one of their labels."""
        self.root_namespace = root_namespace
        self._wide: dict[str, PeerAuthentication] = {}
        self._selecting: dict[tuple[str, str, str], list[tuple[int, PeerAuthentication]]] = {}
        for place, policy in enumerate(sorted(policies, key=age)):
            if not policy.selector:
                self._wide.setdefault(policy.namespace, policy)
            elif policy.namespace != root_namespace:  # a selector in the root namespace selects nothing anywhere
                key, value = min(policy.selector.items())
                self._selecting.setdefault((policy.namespace, key, value), []).append((place, policy))

    def namespace_policy(self, namespace: str) -> PeerAuthentication | None:
        """The oldest selector-less policy of a namespace: the one that decides."""
        return self._wide.get(namespace)

    def workload_policy(self, pod: Pod) -> PeerAuthentication | None:
        """The oldest policy that selects the pod; all younger ones are ignored whole."""
        labels = pod.labels.items()
        oldest: tuple[int, PeerAuthentication | None] = (sys.maxsize, None)
        for key, value in labels:
            for place, policy in self._selecting.get((pod.namespace, key, value), ()):
                if place < oldest[0] and policy.selector.items() <= labels:
                    oldest = (place, policy)
        return oldest[1]

    def inherited(self, namespace: str) -> Effective:
        """What a namespace has without a policy of its own."""
        if namespace == self.root_namespace:
            return Effective(Mode.PERMISSIVE)
        return _overridden(Effective(Mode.PERMISSIVE), self._wide.get(self.root_namespace))

    def of_namespace(self, namespace: str) -> Effective:
        """What a pod has that no workload policy selects."""
        return _overridden(self.inherited(namespace), self._wide.get(namespace))

    def effective(self, pod: Pod, port: int | None = None) -> Effective:
        """The mode of a container port; None or 0 asks for the workload's own."""
        selecting = self.workload_policy(pod)
        mode = _overridden(self.of_namespace(pod.namespace), selecting)
        if selecting is None or not port:
            return mode
        own = selecting.spec.port_level_mtls.get(str(port))
        if own is None or own.mode is Mode.UNSET:
            return mode
        return Effective(own.mode, selecting.ref)

    def raise_to_permissive(self, pod: Pod, port: int) -> str:
        """The command that raises a port which a policy of its workload keeps at DISABLE."""
        policy = self.workload_policy(pod)
        assert policy is not None, "what the namespace's policy says is raised there"
        own = policy.spec.port_level_mtls.get(str(port))
        place = "mtls" if own is None or own.mode is Mode.UNSET else f"portLevelMtls.{port}"
        return permissive(policy.ref, f"spec.{place}.mode")

    def ports(self, pod: Pod) -> tuple[int, ...]:
        """The ports that can differ: the containers' TCP ports, and those that the workload's policy names."""
        containers = (*pod.spec.containers, *pod.spec.init_containers)
        declared = {p.container_port for c in containers if c.name != PROXY for p in c.ports if p.protocol == "TCP"}
        selecting = self.workload_policy(pod)
        named = {int(port) for port in selecting.spec.port_level_mtls if port.isdigit()} if selecting else set()
        return tuple(sorted(declared | named))


def permissive(policy: Ref, field: str) -> str:
    """The command that lets a port take mutual TLS, and cuts nobody off."""
    *parents, leaf = field.split(".")
    body = json.dumps({leaf: "PERMISSIVE"}, separators=(",", ":"))
    for parent in reversed(parents):
        body = f'{{"{parent}":{body}}}'
    return f"kubectl patch peerauthentication {policy.name} -n {policy.namespace} --type merge -p '{body}'"


def _overridden(above: Effective, policy: PeerAuthentication | None) -> Effective:
    if policy is None or policy.mode is Mode.UNSET:
        return above
    return Effective(policy.mode, policy.ref)


def namespace_policy(policies: Iterable[PeerAuthentication], namespace: str) -> PeerAuthentication | None:
    """The oldest selector-less policy of a namespace: the only one of them with effect."""
    wide = (policy for policy in policies if policy.namespace == namespace and not policy.selector)
    return min(wide, key=age, default=None)


def effective(pod: Pod, port: int | None, policies: Iterable[PeerAuthentication], root_namespace: str) -> Effective:
    """The mode of one container port (None: of the workload). For many pods ask a `Policies`."""
    return Policies(policies, root_namespace).effective(pod, port)


def effective_modes(
    pods: Iterable[Pod], policies: Iterable[PeerAuthentication], root_namespace: str
) -> dict[tuple[str, int], Mode]:
    """The mode per (pod name, port) of every live injected pod; port 0 stands for the workload.

    Gateways are left out: no PeerAuthentication reaches their listeners (istio.md 2.1).
    """
    index = Policies(policies, root_namespace)
    modes: dict[tuple[str, int], Mode] = {}
    for pod in pods:
        if live(pod) and injected(pod) and not gateway(pod):
            for port in (0, *index.ports(pod)):
                modes[pod.name, port] = index.effective(pod, port).mode
    return modes


def inherited(policies: Iterable[PeerAuthentication], namespace: str, root_namespace: str) -> Mode:
    """The mode that a namespace has without a policy of its own."""
    return Policies(policies, root_namespace).inherited(namespace).mode


def without_effect(
    policies: Iterable[PeerAuthentication], namespace: str, pods: Iterable[Pod], root_namespace: str = "istio-system"
) -> tuple[tuple[PeerAuthentication, str], ...]:
    """The namespace's policies (or their port modes) that change nothing, and why; oldest first."""
    own = sorted((policy for policy in policies if policy.namespace == namespace), key=age)
    index = Policies(own, root_namespace)
    here = [pod for pod in pods if pod.namespace == namespace and live(pod)]
    effectless: list[tuple[PeerAuthentication, str]] = []
    for policy in own:
        why = _why_not(policy, index, here) if policy.selector else _why_not_wide(policy, index)
        if why:
            effectless.append((policy, why))
    return tuple(effectless)


def _why_not_wide(policy: PeerAuthentication, index: Policies) -> str:
    winner = index.namespace_policy(policy.namespace)
    if winner is not None and winner.name != policy.name:
        return f"{winner.name} is the oldest policy without a selector, and the only one with effect"
    if policy.spec.port_level_mtls:
        return "portLevelMtls is ignored without a selector"
    return ""


def _why_not(policy: PeerAuthentication, index: Policies, pods: list[Pod]) -> str:
    if policy.namespace == index.root_namespace:
        return "a selector in the root namespace selects no pod"
    selected = [pod for pod in pods if policy.selector.items() <= pod.labels.items()]
    if not selected:
        return "its selector matches no live pod"
    winners = {winner.name for pod in selected if (winner := index.workload_policy(pod))}
    if policy.name not in winners:
        return f"{', '.join(sorted(winners))} is older and selects the same pods"
    return ""
