"""The process dies before and after each of its effects; the next `migrate`, with another mirror, ends right.

Effects are its writes to the cluster (ConfigMaps, Leases, policies) and its lines in the mirror; and because a process
dies at any time, its questions to the API server and to Prometheus, too, of which every seventh is tried.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.kubernetes import KubernetesCluster
from rollout.adapters.mirror import Mirror
from rollout.adapters.prometheus import PrometheusMetrics
from rollout.cli import main
from rollout.lab.lab import Lab

HERE = Path(__file__).parent
ARGS = ["migrate", "production", "--yes", "--playbook", str(HERE / "quick.yaml")]


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


#: What is counted, and of how many of its calls one is tried.
EFFECTS: dict[str, tuple[type, tuple[str, ...], int]] = {
    "cluster": (KubernetesCluster, ("create", "patch", "delete"), 1),
    "mirror": (Mirror, ("append",), 1),
    "reads": (KubernetesCluster, ("list", "get"), 7),
    "queries": (PrometheusMetrics, ("query", "query_range"), 7),
}
CHUNKS = 3


class Budget:
    """Counts calls of one effect, and kills at one of them, before it is made or after it was carried out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, effect: str) -> None:
        """Wrap the adapters: whatever is counted, a dead process does nothing any more."""
        self.count = 0
        self.kill_at = -1
        self.after = False
        self.dead = False
        for name, (owner, methods, _) in EFFECTS.items():
            for method in methods:
                original = getattr(owner, method)
                monkeypatch.setattr(owner, method, self._wrapped(original, counted=name == effect))

    def _wrapped(self, method: Callable[..., Any], *, counted: bool) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.dead:
                raise Killed
            if not counted or kwargs.get("dry_run"):
                return method(*args, **kwargs)
            self.count += 1
            hit = self.count == self.kill_at
            if hit and not self.after:
                self.dead = True
                raise Killed
            result = method(*args, **kwargs)
            if hit:
                self.dead = True
                raise Killed
            return result

        return call


def run(lab: Lab, state: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """One process with its own mirror."""
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    return main([*ARGS, "--lab", lab.api_url])


def mode(lab: Lab) -> str:
    """What decides for the namespace."""
    policies = lab.store.list("security.istio.io/v1", "PeerAuthentication", "production")
    oldest = min(policies, key=lambda p: p["metadata"]["creationTimestamp"])
    return str(oldest["spec"]["mtls"]["mode"])


def strict_writes(lab: Lab) -> int:
    """How often STRICT was written."""
    return sum(
        1
        for write in lab.store.writes
        if not write.dry_run and write.resource.startswith("peerauth") and "STRICT" in str(write.body)
    )


def reference(effect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many calls an undisturbed run makes."""
    with monkeypatch.context() as patch, Lab.start("oldest-policy-wins") as lab:
        budget = Budget(patch, effect)
        assert run(lab, tmp_path / "reference", patch) == 0
    return budget.count


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("effect", EFFECTS)
def test_a_kill_at_every_effect_is_taken_up(
    effect: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """N of N: whatever effect was the last one, the next process ends it as enforced; STRICT is written once."""
    total = reference(effect, tmp_path, monkeypatch)
    points = range(1, total + 1, EFFECTS[effect][2])[chunk::CHUNKS]
    survived = tried = 0
    for number in points:
        for after in (False, True):
            where = f"{effect} {number} of {total}, {'after' if after else 'before'}"
            state = tmp_path / f"{number}-{after}"
            with Lab.start("oldest-policy-wins") as lab:
                with monkeypatch.context() as patch:
                    budget = Budget(patch, effect)
                    budget.kill_at, budget.after = number, after
                    try:
                        run(lab, state / "first", patch)
                    except Killed:
                        tried += 1
                    else:  # leases are renewed by time, so a run may need a call less than the reference did
                        continue
                lab.advance(timedelta(minutes=2))
                code = run(lab, state / "second", monkeypatch)
                shown = capsys.readouterr()
                assert code == 0, f"{where}\n{shown.out[-3000:]}{shown.err[-1500:]}"
                assert mode(lab) == "STRICT", where
                assert strict_writes(lab) == 1, where
                survived += 1
    assert tried >= 2 * len(points) - 8
    with capsys.disabled():
        print(f"\nkill points survived, {effect} {chunk + 1}/{CHUNKS}: {survived} of {tried}")
