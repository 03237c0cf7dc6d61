"""What a pod sends past its own sidecar: it arrives as plaintext (istio.md 1.2, 7; incidents.md 2)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import msgspec

from rollout.mesh.injection import EXCLUDE_INTERFACES, argument, past_interface
from rollout.model.kubernetes import Container, Pod

_PREFIX = "traffic.sidecar.istio.io/"
EXCLUDE_PORTS = f"{_PREFIX}excludeOutboundPorts"
INCLUDE_PORTS = f"{_PREFIX}includeOutboundPorts"
EXCLUDE_RANGES = f"{_PREFIX}excludeOutboundIPRanges"
INCLUDE_RANGES = f"{_PREFIX}includeOutboundIPRanges"
#: The injector hands each to istio-iptables: there the mesh-wide defaults are seen, too.
_FLAGS = {EXCLUDE_PORTS: "-o", INCLUDE_PORTS: "-q", EXCLUDE_RANGES: "-x", INCLUDE_RANGES: "-i"}


class Exclusions(msgspec.Struct, frozen=True):
    """What a pod's outbound capture leaves out; the ranges are texts as they were written.

    `interface`: that of the pod's own address, and so everything.
    """

    exclude_ports: frozenset[str]
    include_ports: frozenset[str]
    exclude_ranges: frozenset[str]
    include_ranges: frozenset[str]
    interface: bool = False

    @property
    def none(self) -> bool:
        """Everything is captured."""
        return not self.interface and not self.exclude_ports and not self.exclude_ranges and "*" in self.include_ranges

    def reason(self, port: int, addresses: Iterable[str]) -> str:
        """The annotation that lets a call to this port of one of these addresses pass by; '' when none does.

        An excluded range or port goes before an included one; an included port is captured whatever its address.
        """
        if self.interface:
            return EXCLUDE_INTERFACES
        if str(port) in self.exclude_ports:
            return EXCLUDE_PORTS
        known = tuple(addresses)
        if known and all(_within(self.exclude_ranges, address) for address in known):
            return EXCLUDE_RANGES
        if str(port) in self.include_ports or "*" in self.include_ports | self.include_ranges:
            return ""
        if known and not any(_within(self.include_ranges, address) for address in known):
            return INCLUDE_RANGES
        return ""


def exclusions(pod: Pod) -> Exclusions:
    """Of a pod with a sidecar: its annotations, else what the injector wrote from the mesh's defaults."""
    return Exclusions(
        _stated(pod, EXCLUDE_PORTS),
        _stated(pod, INCLUDE_PORTS),
        _stated(pod, EXCLUDE_RANGES),
        _ranges(pod),
        past_interface(pod),
    )


def early(pod: Pod) -> tuple[Container, ...]:
    """The init containers that run before istio-init turns the traffic round: what they send is plaintext.

    With a native sidecar istio-init comes first, with istio-cni there is none and they reach nobody in any mode.
    """
    names = [container.name for container in pod.spec.init_containers]
    return pod.spec.init_containers[: names.index("istio-init")] if "istio-init" in names else ()


def _ranges(pod: Pod) -> frozenset[str]:
    if pod.annotations.get(INCLUDE_RANGES) is None and not argument(pod, _FLAGS[INCLUDE_RANGES]):
        return frozenset({"*"})
    return _stated(pod, INCLUDE_RANGES)


def _stated(pod: Pod, annotation: str) -> frozenset[str]:
    text = pod.annotations.get(annotation)
    found = argument(pod, _FLAGS[annotation]) if text is None else text
    return frozenset(part.strip() for part in found.split(",") if part.strip())


def _within(ranges: Iterable[str], address: str) -> bool:
    for each in ranges:
        try:
            if each == "*" or ipaddress.ip_address(address) in ipaddress.ip_network(each, strict=False):
                return True
        except ValueError:
            continue
    return False
