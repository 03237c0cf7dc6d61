"""Small labs without sockets, and what their Prometheus would answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.lab.lab import Lab
from rollout.lab.promql import InstantVector, instant
from rollout.lab.scenario import load_scenario

START = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


class Bench:
    """A lab with the questions that tests ask of it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def query(self, text: str) -> dict[tuple[str, ...], float]:
        """Label values (in the order of their names, without __name__) and values of an instant query."""
        result = instant(self.lab.storage, text, round(self.lab.clock.now().timestamp() * 1000))
        assert isinstance(result, InstantVector)
        return {
            tuple(value for name, value in sorted(s.labels.items()) if name != "__name__"): s.value
            for s in result.samples
        }

    def total(self, text: str) -> float:
        """The one value of a query that has one; 0 for none."""
        values = list(self.query(text).values())
        assert len(values) <= 1, f"{text} has {len(values)} results"
        return values[0] if values else 0.0

    def moved(self, name: str, by: str, seconds: int = 120, **labels: str) -> dict[tuple[str, ...], float]:
        """Which series of a family grew in the last seconds, summed by some labels."""
        where = ",".join(f'{label}="{value}"' for label, value in labels.items())
        text = f"sum by ({by}) ({name}{{{where}}} - ({name}{{{where}}} offset {seconds}s or {name}{{{where}}} * 0))"
        return {key: value for key, value in self.query(text).items() if value}

    def wait(self, **by: float) -> None:
        """Let time pass."""
        self.lab.advance(timedelta(**by))

    def policy(self, mode: str, namespace: str = "app", name: str = "default", **spec: Any) -> None:
        """Write a PeerAuthentication."""
        mtls = {"mtls": {"mode": mode}, **spec}
        found = self.lab.store.get("security.istio.io/v1", "PeerAuthentication", name, namespace)
        if found is None:
            meta = {"name": name, "namespace": namespace}
            kind = {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication"}
            self.lab.store.create({**kind, "metadata": meta, "spec": mtls})
        else:
            self.lab.store.patch(
                "security.istio.io/v1", "PeerAuthentication", name, {"spec": mtls}, namespace=namespace
            )

    def pods(self, namespace: str = "app") -> dict[str, dict[str, Any]]:
        """Pods by name."""
        return {p["metadata"]["name"]: p for p in self.lab.store.list("v1", "Pod", namespace)}

    def ready(self, workload: str, namespace: str = "app") -> int:
        """Available replicas of a Deployment."""
        found = self.lab.store.get("apps/v1", "Deployment", workload, namespace)
        return int((found or {}).get("status", {}).get("availableReplicas", 0))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Start labs from documents; `expect` and the like are filled in."""
    labs: list[Lab] = []

    def start(*, seed: int = 1, **document: Any) -> Bench:
        base = {
            "title": "a test",
            "description": "a test",
            "target": "app",
            "namespaces": {"app": {"injection": "enabled"}, "out": {}},
            "look_back": "1h",
            "mesh": {"scrape_interval": "5s"},
            "expect": {"exit": 0, "outcome": "enforced"},
        }
        path = tmp_path / f"scenario-{len(labs)}.yaml"
        path.write_text(yaml.safe_dump({**base, **document}))
        lab = Lab(load_scenario(path), seed=seed, start=START, monotonic=lambda: 0.0)
        labs.append(lab)
        return Bench(lab)

    yield start
    for lab in labs:
        lab.stop()
