"""Which version of Istio a proxy or istiod runs, as far as the tag of its image tells."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from rollout.mesh.injection import REVISION, live, proxy_container
from rollout.model.kubernetes import Container, Pod

#: `1.27.3`, `1.27.3-distroless`, `1.20.3-asm.4`, `v1.9-dev`; never a date or a commit.
_TAG = re.compile(r"v?(?P<major>\d)\.(?P<minor>\d{1,2})(?:\.(?P<patch>\d{1,3}))?(?:[-.].*)?")
_DEFAULT = "default"


class Version(msgspec.Struct, frozen=True, order=True):
    """Of Istio. Supported distances are counted in minors."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        """`1.27.3`."""
        return f"{self.major}.{self.minor}.{self.patch}"

    def behind(self, other: Version) -> int:
        """How many minors older than the other; negative where it is newer."""
        return (other.major - self.major) * 100 + other.minor - self.minor


def version(container: Container | None) -> Version | None:
    """None where the image has no tag, or one that is no version, such as `latest`."""
    name = container.image.partition("@")[0].rpartition("/")[2] if container else ""
    match = _TAG.fullmatch(name.partition(":")[2])
    if match is None:
        return None
    return Version(int(match["major"]), int(match["minor"]), int(match["patch"] or 0))


def proxy_version(pod: Pod) -> Version | None:
    """Of the pod's proxy."""
    return version(proxy_container(pod))


def revision(pod: Pod) -> str:
    """The one that injected the pod: an annotation; the label only says what was asked for (istio.md 1.2)."""
    return pod.annotations.get(REVISION) or _DEFAULT


def control_planes(pods: Iterable[Pod]) -> dict[str, Version]:
    """The oldest version that runs of each revision's istiod; a managed control plane has no pods."""
    found: dict[str, Version] = {}
    for pod in pods:
        if pod.labels.get("app") == "istiod" and live(pod):
            own = next((container for container in pod.spec.containers if container.name == "discovery"), None)
            running = version(own)
            if running is not None:
                name = pod.labels.get(REVISION) or _DEFAULT
                found[name] = min(running, found.get(name, running))
    return found
