"""An ended run is no witness of the present: `rollback` and `resume` read the policy, the journals and the mirror."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.kubernetes import KubernetesCluster
from rollout.cli import main
from rollout.lab.lab import Lab

QUICK = str(Path(__file__).parent / "quick.yaml")
TAKE_BACK = "kubectl patch peerauthentication mesh-mtls -n production --type merge"


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A ready namespace whose deciding policy is mesh-mtls."""
    with Lab.start("oldest-policy-wins") as started:
        yield started


def run(lab: Lab, *argv: str) -> int:
    """One command."""
    quick = ["--playbook", QUICK, "--yes"] if argv[0] == "migrate" else []
    return main([*argv, *quick, "--lab", lab.api_url])


def words(shown: str) -> str:
    """What was shown, as if on one line."""
    return " ".join(shown.replace(" \\\n", "\n").split())


def mode(lab: Lab) -> str:
    """What stands in the deciding policy."""
    policies = lab.store.list("security.istio.io/v1", "PeerAuthentication", "production")
    return str(next(p["spec"]["mtls"]["mode"] for p in policies if p["metadata"]["name"] == "mesh-mtls"))


def journals(lab: Lab) -> list[dict[str, Any]]:
    """Their ConfigMaps, oldest first."""
    found = [c for c in lab.store.list("v1", "ConfigMap", "production") if c["metadata"]["name"].startswith("rollout-")]
    return sorted(found, key=lambda c: c["metadata"]["creationTimestamp"])


def killed_in_watch(lab: Lab, monkeypatch: pytest.MonkeyPatch, *more: str) -> str:
    """A migration whose process dies in mid-watch, its lease still running; the run's id."""
    dead: list[bool] = []
    before = {c["metadata"]["name"] for c in journals(lab)}

    def fresh() -> list[dict[str, Any]]:
        return [c for c in journals(lab) if c["metadata"]["name"] not in before]

    def guarded(method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if dead:
                raise Killed
            result = method(*args, **kwargs)
            if any('"to":"watching"' in str(c.get("data")) for c in fresh()):
                dead.append(True)
                raise Killed
            return result

        return call

    with monkeypatch.context() as patch:
        for name in ("create", "patch", "delete", "list", "get"):
            patch.setattr(KubernetesCluster, name, guarded(getattr(KubernetesCluster, name)))
        with pytest.raises(Killed):
            run(lab, "migrate", "production", *more)
    assert mode(lab) == "STRICT"
    return str(fresh()[0]["metadata"]["name"]).removeprefix("rollout-")


def somebody_sets(lab: Lab, wanted: str) -> None:
    """kubectl patch."""
    body = {"spec": {"mtls": {"mode": wanted}}}
    lab.store.patch("security.istio.io/v1", "PeerAuthentication", "mesh-mtls", body, namespace="production")


def delete(lab: Lab, run_id: str) -> None:
    """Somebody deletes the journal."""
    lab.store.delete("v1", "ConfigMap", f"rollout-{run_id}", "production")


def test_rollback_takes_the_run_that_made_it_strict(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Enforced, enforced again (unchanged), and back: the older run's flip is undone."""
    assert run(lab, "migrate", "production") == 0
    assert run(lab, "migrate", "production") == 0
    assert "UNCHANGED" in capsys.readouterr().out
    assert run(lab, "rollback", "production") == 5
    assert mode(lab) == "PERMISSIVE"
    assert run(lab, "rollback", "production") == 0
    assert "nothing of ours to take back" in words(capsys.readouterr().out)


def test_rollback_says_what_is_there_where_nothing_is_ours(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """A STRICT of somebody else is not taken back: 3, and the command; after he took it back: 0."""
    somebody_sets(lab, "STRICT")
    assert run(lab, "migrate", "production") == 0
    assert run(lab, "rollback", "production") == 3
    assert TAKE_BACK in words(capsys.readouterr().err)
    somebody_sets(lab, "PERMISSIVE")
    assert run(lab, "rollback", "production") == 0
    assert "nothing of ours to take back" in words(capsys.readouterr().out)
    assert run(lab, "resume", "production") == 3


@pytest.mark.parametrize(("command", "end", "after"), [("resume", 0, "STRICT"), ("rollback", 5, "PERMISSIVE")])
@pytest.mark.parametrize("older", [True, False])
def test_a_deleted_journal_comes_back_from_the_mirror(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, command: str, end: int, after: str, older: bool
) -> None:
    """The namespace is STRICT by us and the cluster has no record of it, or only an older run's."""
    if older:
        assert run(lab, "migrate", "production") == 0
        assert run(lab, "rollback", "production") == 5
        lab.advance(timedelta(minutes=10))
    run_id = killed_in_watch(lab, monkeypatch)
    delete(lab, run_id)
    lab.advance(timedelta(minutes=2))
    assert run(lab, command, "production") == end
    assert mode(lab) == after
    assert f"rollout-{run_id}" in [c["metadata"]["name"] for c in journals(lab)]


def test_an_older_flip_of_the_same_policy_is_no_record_of_this_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enforced, opened by somebody, flipped anew and lost: the lost run goes on, the older one is not reprinted."""
    assert run(lab, "migrate", "production") == 0
    (older,) = journals(lab)
    delete(lab, older["metadata"]["name"].removeprefix("rollout-"))
    somebody_sets(lab, "PERMISSIVE")
    lab.advance(days=2)
    run_id = killed_in_watch(lab, monkeypatch)
    delete(lab, run_id)
    kept = {name: older["metadata"][name] for name in ("name", "namespace", "labels")}
    lab.store.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": kept, "data": older["data"]})
    lab.advance(timedelta(minutes=2))
    assert run(lab, "resume", "production") == 0
    assert f"rollout-{run_id}" in [c["metadata"]["name"] for c in journals(lab)]


@pytest.mark.parametrize("command", ["resume", "rollback"])
def test_a_lost_journal_is_no_end_of_an_older_run(
    lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: str,
) -> None:
    """On another machine, without the mirror: 3 with the command that takes STRICT back, by namespace and by run."""
    assert run(lab, "migrate", "production") == 0
    assert run(lab, "rollback", "production") == 5
    older = str(journals(lab)[-1]["metadata"]["name"]).removeprefix("rollout-")
    lab.advance(timedelta(minutes=10))
    delete(lab, killed_in_watch(lab, monkeypatch))
    lab.advance(timedelta(minutes=2))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another machine"))
    for name in ("production", older):
        capsys.readouterr()
        assert run(lab, command, name) == 3
        shown = capsys.readouterr()
        assert "ROLLED BACK" not in shown.out
        assert TAKE_BACK in words(shown.err)
    assert mode(lab) == "STRICT"


def damage(lab: Lab, run_id: str) -> None:
    """One bad key in a journal."""
    lab.store.patch("v1", "ConfigMap", f"rollout-{run_id}", {"data": {"e00000002": "garbage"}}, namespace="production")


@pytest.mark.parametrize(("command", "end", "after"), [("resume", 0, "STRICT"), ("rollback", 5, "PERMISSIVE")])
def test_a_damaged_journal_is_mended_from_the_mirror(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, command: str, end: int, after: str
) -> None:
    """One bad key: the run goes on, or back, all the same, and its journal can be read again."""
    run_id = killed_in_watch(lab, monkeypatch)
    damage(lab, run_id)
    lab.advance(timedelta(minutes=2))
    assert run(lab, command, "production") == end
    assert mode(lab) == after
    assert run(lab, "status", run_id) == 0


def test_a_damaged_journal_without_a_mirror(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`status` lists it beside the rest, `rollback` says the command; nothing is written."""
    run_id = killed_in_watch(lab, monkeypatch)
    damage(lab, run_id)
    lab.advance(timedelta(minutes=2))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another machine"))
    capsys.readouterr()
    assert run(lab, "status") == 3
    table = capsys.readouterr().out
    assert any("damaged" in line and run_id in line for line in table.splitlines()), table
    assert run(lab, "rollback", "production") == 3
    assert TAKE_BACK in words(capsys.readouterr().err)
    assert mode(lab) == "STRICT"


def test_a_mirror_older_than_the_journal_mends_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch, state: Path) -> None:
    """Another machine went on with the run: its events must not be lost."""
    run_id = killed_in_watch(lab, monkeypatch)
    path = state / "rollout" / "runs" / run_id / "journal.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    flip = next(n for n, line in enumerate(lines) if '"type":"done"' in line and "STRICT" in line)
    path.write_text("".join(lines[: flip + 1]), encoding="utf-8")
    damage(lab, run_id)
    lab.advance(timedelta(minutes=2))
    assert run(lab, "rollback", "production") == 3
    assert mode(lab) == "STRICT"


def test_rollback_waits_for_a_dead_process_and_takes_over(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its lease runs: waited for until it has run out, and then rolled back: 5."""
    run_id = killed_in_watch(lab, monkeypatch)
    capsys.readouterr()
    assert run(lab, "rollback", "production") == 5
    assert mode(lab) == "PERMISSIVE"
    assert f"asked {run_id} to roll back" in words(capsys.readouterr().out)


def test_status_marks_a_run_that_nobody_works_on(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once its lease has ended, with the command that takes it up."""
    run_id = killed_in_watch(lab, monkeypatch)
    capsys.readouterr()
    assert run(lab, "status") == 0
    assert "nobody works on it" not in capsys.readouterr().out
    lab.advance(timedelta(minutes=2))
    assert run(lab, "status") == 0
    out = capsys.readouterr().out
    assert "unattended" in out
    assert f"rollout resume {run_id}" in words(out)


@pytest.mark.parametrize("namespace", ["kube-system", "istio-system"])
def test_a_refused_namespace_is_not_written_to(lab: Lab, namespace: str, capsys: pytest.CaptureFixture[str]) -> None:
    """3 before the first record: no ConfigMap and no Lease in a system namespace."""
    if lab.store.list("v1", "Namespace") and namespace not in {
        ns["metadata"]["name"] for ns in lab.store.list("v1", "Namespace")
    }:
        lab.store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    before = len([w for w in lab.store.writes if not w.dry_run])
    assert run(lab, "migrate", namespace) == 3
    assert "nothing was changed" in words(capsys.readouterr().out)
    assert len([w for w in lab.store.writes if not w.dry_run]) == before


def test_a_mirror_that_cannot_be_written_is_said_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert run(lab, "migrate", "production") == 0
    assert capsys.readouterr().out.count("the local journal cannot be written") == 1
