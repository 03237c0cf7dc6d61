"""Each check taken out of its registry, and each proof and the watch switched off, makes a named scenario fail."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

import rollout.checks.registry
import rollout.checks.run
import rollout.stages.enforcing
import rollout.stages.judging
import rollout.stages.rolling_back
import rollout.stages.watching
from rollout.checks.registry import checks
from rollout.cli import main
from rollout.lab.scenario import load_scenario
from rollout.model.judgement import Judgement, Verdict
from rollout.record.events import ProofKind, Proven
from rollout.stages.again import Again

#: The scenario that needs the check, and the check's words that it expects.
GUARDED_BY = {
    "certificates": "expired-certificate",
    "injection": "missing-sidecar",
    "effective-mode": "oldest-policy-wins",
    "plaintext-callers": "legacy-caller",
    "destination-rules": "destination-rule-disable",
    "probes": "probe-rewrite-off",
    "apiserver-callers": "webhook-in-namespace",
    "authorization-policies": "policy-wakes-up",
    "external-traffic": "load-balancer-to-pods",
    "excluded-ports": "caller-past-its-sidecar",
    "prometheus-scrapes": "monitor-scrapes-app-port",
    "headless-services": "peers-by-address",
    "workloads-to-come": "caller-scaled-to-zero",
    "proxy-versions": "old-proxies",
}
#: Without a binary they are skipped everywhere; their cases in tests/checks hold them.
WITHOUT_SCENARIO = {"istioctl-analyze", "proxies-in-sync"}


def test_every_check_has_its_scenario() -> None:
    """A new check names one."""
    assert {c.meta.id for c in checks()} == set(GUARDED_BY) | WITHOUT_SCENARIO


@pytest.mark.parametrize(("check", "name"), sorted(GUARDED_BY.items()))
def test_a_check_taken_out_makes_its_scenario_fail(
    check: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With it the plan shows a finding of its; without it nothing says its name."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    argv = ["plan", *load_scenario(name).target, "--lab", name]
    main(argv)
    assert re.search(rf"[×?‼] [^√×?‼–]*\({check}\)", " ".join(capsys.readouterr().out.split()))
    left = tuple(c for c in checks() if c.meta.id != check)
    monkeypatch.setattr(rollout.checks.run, "checks", lambda: left)
    main(argv)
    assert f"({check})" not in capsys.readouterr().out


def _migrated(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    scenario = load_scenario(name)
    return main(["migrate", *scenario.target, "--yes", "--lab", name, *scenario.flags])


def _always(ok: ProofKind) -> Callable[..., Proven]:
    def proven(
        run: object, world: object, written: object, now: object, budget: timedelta, *_: object, **__: object
    ) -> Proven:
        return Proven(t=now, of=ok, ok=True, detail="switched off")  # type: ignore[arg-type]

    return proven


def test_without_the_watch_a_regression_is_not_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """regression-after-flip ends `enforced` instead of `rolled_back`."""
    healthy = Judgement(verdict=Verdict.HEALTHY)
    monkeypatch.setattr(rollout.stages.judging, "judge", lambda *_, **__: healthy)
    monkeypatch.setattr(rollout.stages.watching, "on_the_way", lambda *_, **__: Again())
    monkeypatch.setattr(rollout.stages.watching, "at_the_end", lambda *_, **__: Again())
    assert _migrated("regression-after-flip", tmp_path, monkeypatch) == 0


def test_without_the_rollback_proof_a_blind_rollback_looks_proven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """prometheus-outage-for-good ends `rolled_back` instead of `rollback_failed`."""
    monkeypatch.setattr(rollout.stages.rolling_back, "proven_by_proxies", _always(ProofKind.UNDO_PROPAGATION))
    assert _migrated("prometheus-outage-for-good", tmp_path, monkeypatch) == 5


def test_without_the_propagation_proof_a_stuck_proxy_looks_enforced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """istiod-stopped ends `enforced` although no proxy took the policy."""
    assert _migrated("istiod-stopped", tmp_path / "with", monkeypatch) != 0
    monkeypatch.setattr(rollout.stages.enforcing, "proven_by_proxies", _always(ProofKind.PROPAGATION))
    assert _migrated("istiod-stopped", tmp_path / "without", monkeypatch) == 0
