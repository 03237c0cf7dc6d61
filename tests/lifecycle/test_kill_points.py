"""The process dies before and after each of its writes to the cluster; the next `migrate` ends right."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.kubernetes import KubernetesCluster
from rollout.cli import main
from rollout.lab.lab import Lab

HERE = Path(__file__).parent
ARGS = ["migrate", "production", "--yes", "--playbook", str(HERE / "quick.yaml")]


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


class Budget:
    """Counts real writes and kills at one of them, before it is sent or after it was carried out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Wrap the adapter's three writing methods."""
        self.count = 0
        self.kill_at = -1
        self.after = False
        self.dead = False
        for name in ("create", "patch", "delete"):
            monkeypatch.setattr(KubernetesCluster, name, self._wrapped(getattr(KubernetesCluster, name)))

    def _wrapped(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if kwargs.get("dry_run"):
                return method(*args, **kwargs)
            if self.dead:
                raise Killed
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


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A ready namespace."""
    with Lab.start("oldest-policy-wins") as started:
        yield started


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


def reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many writes an undisturbed run makes."""
    budget = Budget(monkeypatch)
    with Lab.start("oldest-policy-wins") as lab:
        assert run(lab, tmp_path / "reference", monkeypatch) == 0
    return budget.count


def test_a_kill_at_every_write_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """N of N: whatever write was the last one, the next process ends it as enforced; STRICT is written once."""
    total = reference(tmp_path, monkeypatch)
    survived = tried = 0
    for number in range(1, total + 1):
        for after in (False, True):
            with monkeypatch.context() as patch, Lab.start("oldest-policy-wins") as lab:
                budget = Budget(patch)
                budget.kill_at, budget.after = number, after
                try:
                    run(lab, tmp_path / "first", patch)
                except Killed:
                    pass
                else:  # leases are renewed by time, so a run may need a write less than the reference did
                    continue
                tried += 1
                patch.undo()
                lab.advance(timedelta(minutes=2))
                code = run(lab, tmp_path / f"second-{number}-{after}", patch)
                shown = capsys.readouterr()
                where = f"write {number} of {total}, {'after' if after else 'before'}"
                assert code == 0, f"{where}\n{shown.out[-3000:]}{shown.err[-1500:]}"
                assert mode(lab) == "STRICT", where
                assert strict_writes(lab) == 1, where
                survived += 1
    assert tried >= 2 * total - 12
    with capsys.disabled():
        print(f"\nkill points survived: {survived} of {tried}")
