"""Which Istio and Kubernetes the tool is made for: the one place, for `rollout version` and for every header."""

from __future__ import annotations

import re
from typing import NamedTuple


class Range(NamedTuple):
    """Minor releases from `oldest` to `newest`, both included."""

    name: str
    oldest: tuple[int, int]
    newest: tuple[int, int]

    def __str__(self) -> str:
        """`Istio 1.20–1.32`."""
        return f"{self.name} {self.span}"

    @property
    def span(self) -> str:
        """`1.20–1.32`."""
        return "–".join(f"{major}.{minor}" for major, minor in (self.oldest, self.newest))

    def warning(self, version: str) -> str:
        """What to say of a version outside, or one that cannot be told; '' where all is well or nothing is known."""
        if not version:
            return ""
        found = re.match(r"v?(\d+)\.(\d+)", version)
        if found is None:
            return f"{self.name} {version} tells no release; rollout is made for {self.span}"
        release = (int(found[1]), int(found[2]))
        if release < self.oldest:
            return f"{self.name} {version} is older than what rollout is made for, {self.span}"
        if release > self.newest:
            return f"{self.name} {version} is newer than what rollout is made for, {self.span}"
        return ""


#: The releases whose metrics and configuration the rules were taken from.
ISTIO = Range("Istio", (1, 20), (1, 32))
#: From the first API server that refuses unknown fields (fieldValidation=Strict) to the one whose answers are recorded.
KUBERNETES = Range("Kubernetes", (1, 25), (1, 36))


def made_for() -> str:
    """Both ranges."""
    return f"made for {ISTIO}, {KUBERNETES}"


def warnings(istio: str, kubernetes: str) -> list[str]:
    """A sentence for each version outside its range."""
    return [text for text in (ISTIO.warning(istio), KUBERNETES.warning(kubernetes)) if text]
