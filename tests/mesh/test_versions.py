"""Versions are read from the tags of images."""

from __future__ import annotations

import pytest

from rollout.mesh.versions import Version, version
from rollout.model.kubernetes import Container


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("docker.io/istio/proxyv2:1.27.3", Version(1, 27, 3)),
        ("docker.io/istio/proxyv2:1.27.3-distroless", Version(1, 27, 3)),
        ("registry.example:5000/istio/proxyv2:v1.20", Version(1, 20)),
        ("gcr.io/gke-release/asm/proxyv2:1.20.3-asm.4@sha256:abc", Version(1, 20, 3)),
        ("proxyv2:1.28-dev", Version(1, 28)),
        ("proxyv2:1.28-alpha.0123", Version(1, 28)),
        ("registry.example:5000/istio/proxyv2", None),
        ("docker.io/istio/proxyv2:latest", None),
        ("docker.io/istio/proxyv2@sha256:1.27.3", None),
        ("proxyv2:2026.03.02", None),
        ("auto", None),
        ("", None),
    ],
)
def test_a_tag_is_a_version_or_nothing(image: str, expected: Version | None) -> None:
    """Ports of registries, digests and dates are none."""
    assert expected == version(Container(image=image))


def test_without_a_container_there_is_none() -> None:
    """A pod without a proxy."""
    assert version(None) is None


def test_distances_are_in_minors() -> None:
    """Patches do not count; another major is far away."""
    assert Version(1, 26, 4).behind(Version(1, 27)) == 1
    assert Version(1, 27).behind(Version(1, 26)) == -1
    assert Version(1, 30).behind(Version(2, 0)) == 70
    assert str(Version(1, 9)) == "1.9.0"
