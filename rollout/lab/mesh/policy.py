"""Which mutual TLS mode istiod gives to each port of a pod (istio.md 2.1), from the objects as they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Mode(StrEnum):
    """`spec.mtls.mode` of a PeerAuthentication; UNSET inherits."""

    UNSET = "UNSET"
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


@dataclass(frozen=True, slots=True)
class Policy:
    """One PeerAuthentication: what istiod reads of it."""

    namespace: str
    name: str
    created: str
    selector: Mapping[str, str]
    mode: Mode
    ports: Mapping[int, Mode]

    @property
    def age_key(self) -> tuple[str, str, str]:
        """Istio's order of precedence: oldest first (one second resolution), then name, then namespace."""
        return (self.created, self.name, self.namespace)


@dataclass(frozen=True, slots=True)
class PodModes:
    """The mode of a workload, and of those container ports that differ or are named."""

    workload: Mode
    ports: Mapping[int, Mode]

    def at(self, port: int) -> Mode:
        """The effective mode of one container port."""
        return self.ports.get(port, self.workload)


def parse_policy(obj: Mapping[str, Any]) -> Policy:
    """Read a PeerAuthentication; an unknown mode counts as UNSET, as protobuf's zero does."""
    meta, spec = obj["metadata"], obj.get("spec") or {}
    return Policy(
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        created=meta.get("creationTimestamp") or "",
        selector=dict((spec.get("selector") or {}).get("matchLabels") or {}),
        mode=_mode(spec.get("mtls")),
        ports={int(port): _mode(value) for port, value in (spec.get("portLevelMtls") or {}).items()},
    )


def pod_modes(policies: Iterable[Policy], root: str, namespace: str, labels: Mapping[str, str]) -> PodModes:
    """Compose the mesh's, the namespace's and the workload's oldest policy.

    Selector policies of the root namespace count nowhere, not even in the root namespace itself.
    """
    ordered = sorted(policies, key=lambda policy: policy.age_key)
    levels = [_oldest(ordered, root)]
    workload = None
    if namespace != root:
        levels.append(_oldest(ordered, namespace))
        workload = next((p for p in ordered if p.namespace == namespace and _selects(p, labels)), None)
        levels.append(workload)
    mode = Mode.PERMISSIVE
    for level in levels:
        if level is not None and level.mode is not Mode.UNSET:
            mode = level.mode
    named = workload.ports if workload is not None else {}
    return PodModes(mode, {port: mode if m is Mode.UNSET else m for port, m in named.items()})


def service_mode(policies: Iterable[Policy], root: str, namespace: str) -> Mode:
    """What clients infer for a Service: the workload and port levels are ignored (istio.md 3.2)."""
    return pod_modes([p for p in policies if not p.selector], root, namespace, {}).workload


def _mode(mtls: Mapping[str, Any] | None) -> Mode:
    text = str((mtls or {}).get("mode") or "UNSET")
    return Mode(text) if text in Mode.__members__ else Mode.UNSET


def _oldest(ordered: list[Policy], namespace: str) -> Policy | None:
    return next((p for p in ordered if p.namespace == namespace and not p.selector), None)


def _selects(policy: Policy, labels: Mapping[str, str]) -> bool:
    return bool(policy.selector) and all(labels.get(key) == value for key, value in policy.selector.items())
