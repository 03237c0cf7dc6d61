"""What somebody did to it once and what it must do since: a case for each repaired bug."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.cli import main
from rollout.lab.api.faults import Effect, Fault
from rollout.lab.lab import Lab
from rollout.report.commands import namespace_of

QUICK = str(Path(__file__).parent / "quick.yaml")
READY = yaml.safe_load("""
title: Two workloads that are ready
description: the base of the cases
target: production
namespaces: {production: {injection: enabled}}
workloads:
  - {name: web, namespace: production, ports: {http: 8080}}
  - {name: orders, namespace: production, ports: {http: 8080}}
traffic: {web-orders: {from: production/web, to: "production/orders:8080", rate: 6/s, swing: 0.3}}
expect: {exit: 0, outcome: enforced}
""")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """The ready namespace."""
    with started(tmp_path) as running:
        yield running


def started(folder: Path, *manifests: dict[str, Any]) -> Lab:
    """A lab with these objects besides."""
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump({**READY, "manifests": list(manifests)}), encoding="utf-8")
    return Lab.start(path)


def policy(name: str, mode: str, **labels: str) -> dict[str, Any]:
    """A PeerAuthentication."""
    spec: dict[str, Any] = {"mtls": {"mode": mode}}
    if labels:
        spec["selector"] = {"matchLabels": labels}
    return {
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": name, "namespace": "production"}, "spec": spec,
    }  # fmt: skip


def run(lab: Lab, *argv: str) -> int:
    """One command."""
    quick = ["--playbook", QUICK, "--yes"] if argv[0] == "migrate" else []
    return main([*argv, *quick, "--lab", lab.api_url])


def once_watching(lab: Lab, deed: Callable[[], object]) -> None:
    """Do it when the run says that it watches."""
    done: list[str] = []

    def hear(kind: str, obj: dict[str, Any]) -> None:
        if not done and obj.get("kind") == "ConfigMap" and '"to":"watching"' in str(obj.get("data")):
            done.append(kind)
            deed()

    lab.store.subscribe(hear)


@pytest.mark.parametrize("fault", [Fault(Effect.STATUS, path="/apis?/"), Fault(Effect.UNAUTHORIZED, path="/apis?/")])
def test_an_api_that_stays_away_ends_the_rollback(lab: Lab, fault: Fault) -> None:
    """Blind for half an hour, ten minutes of undo, and then 6: not round and round."""
    once_watching(lab, lambda: lab.faults.add(fault))
    assert run(lab, "migrate", "production") == 6


@pytest.mark.parametrize("until", ["permissive", "confirming", "checking"])
def test_resume_goes_on_after_until(lab: Lab, until: str) -> None:
    """Paused on purpose, then to the end."""
    assert run(lab, "migrate", "production", "--until", until) == 7
    assert run(lab, "resume", "production") == 0


def test_the_same_until_again_stops_there_again(lab: Lab) -> None:
    """A pipeline that says `--until checking` every night never flips; another assignment is refused."""
    for _ in range(2):
        assert run(lab, "migrate", "production", "--until", "checking") == 7
    assert run(lab, "migrate", "production") == 2
    real = [w for w in lab.store.writes if not w.dry_run and w.resource == "peerauthentications"]
    assert not [w for w in real if "STRICT" in str(w.body)]


def test_a_rollback_of_a_paused_run_says_so_and_is_over(lab: Lab) -> None:
    """Nothing to take back: 7, and resume still goes on."""
    assert run(lab, "migrate", "production", "--until", "checking") == 7
    assert run(lab, "rollback", "production") == 7
    assert run(lab, "resume", "production") == 0


def test_to_start_of_a_paused_run_takes_its_policy_away(lab: Lab) -> None:
    """The created PERMISSIVE is deleted, and the next migration begins anew."""
    assert run(lab, "migrate", "production", "--until", "checking") == 7
    assert run(lab, "rollback", "production", "--to-start") == 5
    assert lab.store.list("security.istio.io/v1", "PeerAuthentication", "production") == []
    assert run(lab, "migrate", "production") == 0


def test_a_workload_that_was_strict_before_moves_no_listener(tmp_path: Path) -> None:
    """Only the proxies whose policy changes must prove it."""
    with started(tmp_path, policy("orders", "STRICT", app="orders")) as lab:
        assert run(lab, "migrate", "production") == 0


def test_an_exempted_policy_ends_with_exceptions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--exempt` accepts what the user made."""
    with started(tmp_path, policy("orders-open", "PERMISSIVE", app="orders")) as lab:
        exempt = ["--exempt", "PeerAuthentication production/orders-open", "--reason", "old clients"]
        assert run(lab, "migrate", "production") == 3
        assert run(lab, "migrate", "production", *exempt) == 0
        assert "EXCEPTION" in capsys.readouterr().out


def test_a_port_that_somebody_opens_in_mid_watch_is_no_success(lab: Lab) -> None:
    """10: the namespace does not refuse plaintext everywhere."""
    once_watching(lab, lambda: lab.store.create(policy("orders-open", "PERMISSIVE", app="orders")))
    assert run(lab, "migrate", "production") == 10


def test_an_end_that_cannot_be_recorded_is_no_success(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Journal writes refused for the whole watch: said at once, and taken back at the deadline."""
    refuse = Fault(Effect.STATUS, method="PATCH|POST", path="configmaps", status=500)
    once_watching(lab, lambda: lab.faults.add(refuse))
    assert run(lab, "migrate", "production") in (5, 6)
    assert "the journal cannot be written" in capsys.readouterr().out


def test_a_selector_that_matches_nothing(lab: Lab) -> None:
    """2, as a glob gives."""
    assert run(lab, "migrate", "-l", "foo=bar") == 2
    assert run(lab, "migrate", "-l", "foo in (") == 2


@pytest.mark.parametrize(
    ("name", "namespace"),
    [("team-2024", "team-2024"), ("team-2024-20260302-1012-b4c1", "team-2024"), ("production", "production")],
)
def test_a_run_is_told_from_a_namespace(name: str, namespace: str) -> None:
    """A year in a namespace's name is no date of a run."""
    assert namespace_of(name) == namespace
