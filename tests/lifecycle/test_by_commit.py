"""`strict: {via: commit}`: a controller writes; the tool proposes, waits, watches, and proposes the way back."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.cli import main
from rollout.lab.lab import Lab
from rollout.lab.mesh.instants import to_ms
from tests.lifecycle.test_what_users_did import QUICK, READY

FILE = """# the mesh of production
kind: PeerAuthentication
apiVersion: security.istio.io/v1
metadata: {name: default, namespace: production}
spec:
  mtls:
    mode: PERMISSIVE  # until everybody has a sidecar
"""
POLICY = {
    **yaml.safe_load(FILE),
    "metadata": {
        "name": "default",
        "namespace": "production",
        "annotations": {"argocd.argoproj.io/tracking-id": "mesh:PeerAuthentication:production/default"},
    },
    "by": "argocd-controller",
}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A working copy with the policy, a chart's template, and another object."""
    folder = tmp_path / "repo"
    (folder / "templates").mkdir(parents=True)
    (folder / "mesh.yaml").write_text(FILE, encoding="utf-8")
    (folder / "templates" / "policy.yaml").write_text(
        "{{- if .Values.on }}\nkind: PeerAuthentication\n", encoding="utf-8"
    )
    (folder / "other.yaml").write_text(FILE.replace("default", "other"), encoding="utf-8")
    return folder


@pytest.fixture
def playbook(tmp_path: Path) -> str:
    """The quick one, by commit."""
    book = yaml.safe_load(Path(QUICK).read_text(encoding="utf-8"))
    next(task for task in book[0]["tasks"] if "strict" in task)["strict"]["via"] = "commit"
    path = tmp_path / "commit.yaml"
    path.write_text(yaml.safe_dump(book, sort_keys=False), encoding="utf-8")
    return str(path)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Ready, and owned by Argo CD."""
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump({**READY, "manifests": [POLICY]}), encoding="utf-8")
    with Lab.start(path) as running:
        yield running


def controller(lab: Lab, repo: Path, *, applies: Callable[[str], bool] = lambda mode: True) -> None:
    """Every half minute it applies what the repository says."""

    def sync(now: int) -> None:
        mode = yaml.safe_load((repo / "mesh.yaml").read_text(encoding="utf-8"))["spec"]["mtls"]["mode"]
        key = ("security.istio.io/v1", "PeerAuthentication", "default")
        live = lab.store.get(*key, "production")
        if live is not None and live["spec"]["mtls"]["mode"] != mode and applies(mode):
            lab.store.patch(
                *key, {"spec": {"mtls": {"mode": mode}}}, namespace="production", manager="argocd-controller"
            )
        lab.simulation.schedule(now + 30_000, sync)

    lab.simulation.schedule(to_ms(lab.clock.now()) + 30_000, sync)


def migrate(lab: Lab, playbook: str, repo: Path, *more: str) -> int:
    """By commit."""
    args = ["--playbook", playbook, "--yes", "--lab", lab.api_url, "--repo", str(repo), *more]
    return main(["migrate", "production", *args])


def mode(lab: Lab) -> str:
    """What the cluster says."""
    (policy,) = lab.store.list("security.istio.io/v1", "PeerAuthentication", "production")
    return str(policy["spec"]["mtls"]["mode"])


def own_writes(lab: Lab) -> list[Any]:
    """Of policies, by the tool."""
    return [w for w in lab.store.writes if not w.dry_run and w.resource == "peerauthentications"]


def test_a_slow_way_back_is_said_beforehand(
    lab: Lab, playbook: str, repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """3 without --accept-slow-rollback, and the plan says so too."""
    assert migrate(lab, playbook, repo) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert "Argo CD puts its own state back, so the way back is a commit, too" in said
    assert "0:10:00 (rollback_timeout)" in said
    assert FILE == (repo / "mesh.yaml").read_text(encoding="utf-8")


def test_the_controller_applies_it_and_it_is_watched(lab: Lab, playbook: str, repo: Path) -> None:
    """One word of the file changes, the tool itself writes no policy."""
    controller(lab, repo)
    assert migrate(lab, playbook, repo, "--accept-slow-rollback") == 0
    assert FILE.replace("PERMISSIVE", "STRICT") == (repo / "mesh.yaml").read_text(encoding="utf-8")
    assert "STRICT" == mode(lab)
    assert [] == own_writes(lab)


def test_harm_is_taken_back_by_a_revert(lab: Lab, playbook: str, repo: Path) -> None:
    """5: the file says PERMISSIVE again, and every proxy proves it."""
    controller(lab, repo)
    _harm(lab)
    assert migrate(lab, playbook, repo, "--accept-slow-rollback") == 5
    assert FILE == (repo / "mesh.yaml").read_text(encoding="utf-8")
    assert "PERMISSIVE" == mode(lab)
    assert [] == own_writes(lab)


def test_a_revert_that_nobody_applies_is_the_loudest_end(
    lab: Lab, playbook: str, repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """6: STRICT still stands; resume takes it up once the revert is applied."""
    controller(lab, repo, applies=lambda mode: mode == "STRICT")
    _harm(lab)
    assert migrate(lab, playbook, repo, "--accept-slow-rollback") == 6
    assert "STRICT" == mode(lab)
    assert "rollout resume" in capsys.readouterr().out
    controller(lab, repo)
    assert main(["resume", "production", "--lab", lab.api_url]) == 5


def test_a_commit_that_nobody_applies_pauses_and_is_resumed(lab: Lab, playbook: str, repo: Path) -> None:
    """7 after commit_timeout; applied later, resume watches it."""
    assert migrate(lab, playbook, repo, "--accept-slow-rollback") == 7
    assert "PERMISSIVE" == mode(lab)
    controller(lab, repo)
    lab.advance(timedelta(minutes=1))
    assert "STRICT" == mode(lab)
    assert main(["resume", "production", "--lab", lab.api_url]) == 0


def test_without_one_place_in_the_repository_the_manifest_is_enough(
    lab: Lab, playbook: str, repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two files that hold it: neither is touched, the manifest lies in the run's folder."""
    (repo / "again.yaml").write_text(FILE, encoding="utf-8")
    assert migrate(lab, playbook, repo, "--accept-slow-rollback") == 7
    said = " ".join(capsys.readouterr().out.split())
    assert "one is needed: commit the manifest by hand" in said
    (manifest,) = (tmp_path / "state").rglob("strict.yaml")
    assert {"mtls": {"mode": "STRICT"}} == yaml.safe_load(manifest.read_text(encoding="utf-8"))["spec"]
    assert FILE == (repo / "mesh.yaml").read_text(encoding="utf-8")


def _harm(lab: Lab) -> None:
    """A DestinationRule makes the caller speak plaintext once the namespace is STRICT."""
    done: list[str] = []

    def hear(kind: str, obj: dict[str, Any]) -> None:
        if not done and obj.get("kind") == "PeerAuthentication" and obj["spec"]["mtls"]["mode"] == "STRICT":
            done.append(kind)
            lab.store.create(
                {
                    "apiVersion": "networking.istio.io/v1",
                    "kind": "DestinationRule",
                    "metadata": {"name": "orders", "namespace": "production"},
                    "spec": {
                        "host": "orders.production.svc.cluster.local",
                        "trafficPolicy": {"tls": {"mode": "DISABLE"}},
                    },
                }
            )

    lab.store.subscribe(hear)
