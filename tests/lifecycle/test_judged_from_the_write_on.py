"""Harm is seen from the write on, and not only in the watch: while the flip spreads and drains, and during a raise."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.adapters.mirror import state_folder
from rollout.cli import main
from rollout.lab.api.faults import Effect, Fault
from rollout.lab.lab import Lab
from rollout.record.codec import decode
from rollout.record.events import Baselined, Fact, Moved, Note, Ticks
from rollout.record.run import fold
from tests.lifecycle.test_what_users_did import QUICK, READY, once_watching

SCENARIOS = Path(__file__).parents[2] / "rollout" / "lab" / "scenarios"
DISABLED = {
    "apiVersion": "security.istio.io/v1",
    "kind": "PeerAuthentication",
    "metadata": {"name": "default", "namespace": "production"},
    "spec": {"mtls": {"mode": "DISABLE"}},
    "age": "100d",
}
BROKEN = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "DestinationRule",
    "metadata": {"name": "orders", "namespace": "production"},
    "spec": {"host": "orders.production.svc.cluster.local", "trafficPolicy": {"tls": {"mode": "SIMPLE"}}},
}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[Lab]:
    """Two workloads that are ready."""
    with lab(tmp_path) as running:
        yield running


def lab(folder: Path, **more: Any) -> Lab:
    """The ready namespace with more in its scenario."""
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump({**READY, **more}), encoding="utf-8")
    return Lab.start(path)


def migrate(running: Lab, *more: str) -> int:
    """With the quick playbook."""
    return main(["migrate", "production", "--playbook", QUICK, "--yes", "--lab", running.api_url, *more])


def facts() -> list[Fact | Note]:
    """Of the one run."""
    (journal,) = state_folder().glob("**/*.jsonl")
    return [decode(line) for line in journal.read_text(encoding="utf-8").splitlines()]


def test_harm_while_the_flip_spreads_is_taken_back_before_the_watch(ready: Lab) -> None:
    """All pods of a workload gone at the flip: no need to wait for propagation, drain and samples."""
    flipped: list[str] = []

    def hear(kind: str, obj: dict[str, Any]) -> None:
        strict = (obj.get("spec") or {}).get("mtls", {}).get("mode") == "STRICT"
        if obj.get("kind") == "PeerAuthentication" and strict and not flipped:
            flipped.append(kind)
            for name in ("web", "orders"):
                change = {"status": {"availableReplicas": 0, "readyReplicas": 0}}
                ready.store.patch("apps/v1", "Deployment", name, change, namespace="production")

    ready.store.subscribe(hear)
    assert migrate(ready) == 5
    moves = [(m.from_, m.to) for m in facts() if isinstance(m, Moved)]
    assert moves[-2:] == [("enforcing", "rolling_back"), ("rolling_back", "rolled_back")]


def test_a_healthy_flip_is_judged_before_the_watch_and_goes_on(ready: Lab) -> None:
    """Ticks stand between the flip and the watch, and their sight does not count."""
    assert migrate(ready) == 0
    told = facts()
    watching = next(n for n, e in enumerate(told) if isinstance(e, Moved) and e.to == "watching")
    assert [e for e in told[:watching] if isinstance(e, Ticks)] != []
    assert fold(told[: watching + 1]).watch.sight == 0.0


def test_a_raise_is_judged_like_a_flip(tmp_path: Path) -> None:
    """Callers that fail since the raise: DISABLE again, 5."""
    event = {
        "on_write": {"kind": "PeerAuthentication", "when": {"spec": {"mtls": {"mode": "PERMISSIVE"}}}},
        "delay": "5s",
        "apply": BROKEN,
    }
    with lab(tmp_path, manifests=[DISABLED], events=[event]) as running:
        assert migrate(running) == 5
        (policy,) = running.store.list("security.istio.io/v1", "PeerAuthentication", "production")
        assert policy["spec"]["mtls"]["mode"] == "DISABLE"
    told = facts()
    assert [(m.from_, m.to) for m in told if isinstance(m, Moved)][-2:] == [
        ("permissive", "rolling_back"),
        ("rolling_back", "rolled_back"),
    ]
    assert any(isinstance(e, Baselined) for e in told)


def test_a_harmless_raise_stays(tmp_path: Path) -> None:
    """Judged until whole windows lie behind the drain; then the evidence is too young."""
    with lab(tmp_path, manifests=[DISABLED]) as running:
        assert migrate(running) == 4
        (policy,) = running.store.list("security.istio.io/v1", "PeerAuthentication", "production")
        assert policy["spec"]["mtls"]["mode"] == "PERMISSIVE"
    assert sum(e.n for e in facts() if isinstance(e, Ticks)) >= 5


@pytest.mark.parametrize(
    "fault",
    [Fault(Effect.UNAUTHORIZED, path="/apis?/"), Fault(Effect.STATUS, path="/apis?/", status=403)],
    ids=["401", "403"],
)
def test_credentials_refused_for_good_end_at_once(ready: Lab, fault: Fault) -> None:
    """One try of the undo, then 6 with the command that takes it up; not half an hour of blindness."""
    began: list[Any] = []

    def cut() -> None:
        began.append(ready.clock.now())
        ready.faults.add(fault)

    once_watching(ready, cut)
    assert migrate(ready) == 6
    assert (ready.clock.now() - began[0]).total_seconds() < 240


def test_a_short_watch_still_judges_ratios(tmp_path: Path) -> None:
    """Harm in its last seconds: it does not end before whole windows were judged, nor while a limit is passed."""
    scenario = yaml.safe_load((SCENARIOS / "regression-after-flip.yaml").read_text(encoding="utf-8"))
    scenario["events"][0]["after_flip"] = "95s"
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump(scenario), encoding="utf-8")
    with Lab.start(path) as running:
        assert 5 == main(["migrate", "payments", "--playbook", QUICK, "--yes", "--lab", running.api_url])
