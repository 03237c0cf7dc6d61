"""A port that must go on working: kept PERMISSIVE by a policy of its own, before the flip, and taken back on demand."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.cli import main
from rollout.errors import RecordError
from rollout.lab.lab import Lab
from rollout.lab.scenario import load_scenario
from rollout.lifecycle.writes import authorise
from rollout.model.istio import Mode
from rollout.model.kubernetes import Ref
from rollout.record.change import Change, Policy
from rollout.record.run import Run, Write
from rollout.record.spec import Spec
from tests.lifecycle.test_what_users_did import QUICK

SCENARIO = Path(__file__).parents[2] / "rollout" / "lab" / "scenarios" / "webhook-in-namespace.yaml"
NOW = datetime(2026, 3, 2, tzinfo=UTC)
EXEMPT = ["--exempt", "policy/validator:9443", "--reason", "kube-apiserver has no sidecar"]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def lab() -> Iterator[Lab]:
    """kube-apiserver calls a webhook of the namespace."""
    with Lab.start("webhook-in-namespace") as running:
        yield running


def migrate(lab: Lab, *more: str, playbook: str = QUICK) -> int:
    """With a quick playbook."""
    return main(["migrate", "policy", "--playbook", playbook, "--yes", "--lab", lab.api_url, *more])


def policies(lab: Lab) -> dict[str, Any]:
    """name -> spec."""
    found = lab.store.list("security.istio.io/v1", "PeerAuthentication", "policy")
    return {item["metadata"]["name"]: item["spec"] for item in found}


def test_the_port_stays_open_and_the_namespace_is_strict(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """One policy with a selector, a PERMISSIVE port and no mode of its own, made before the flip."""
    assert migrate(lab) == 3
    capsys.readouterr()
    assert migrate(lab, *EXEMPT) == 0
    assert "1 exception" in " ".join(capsys.readouterr().out.split())
    made = policies(lab)
    assert made.pop("rollout-exempt-validator") == {
        "selector": {"matchLabels": {"app": "validator"}},
        "portLevelMtls": {"9443": {"mode": "PERMISSIVE"}},
    }
    assert [spec["mtls"]["mode"] for spec in made.values()] == ["STRICT"]
    written = [w for w in lab.store.writes if not w.dry_run and w.resource == "peerauthentications"]
    assert ["rollout-exempt" in str(w.body) for w in written].index(True) < len(written) - 1


def test_a_service_port_is_resolved(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """443 is the Service's port; a policy knows container ports."""
    assert migrate(lab, "--exempt", "policy/validator:443", "--reason", "webhook") == 0
    assert "Service port 443 is container port 9443" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("exempt", "said"),
    [
        ("policy/nobody:8080", "there is no Deployment, StatefulSet or DaemonSet of that name"),
        ("policy/validator:1234", "no such port; policy/validator has container ports 9443"),
    ],
)
def test_what_cannot_be_exempted_is_said(lab: Lab, capsys: pytest.CaptureFixture[str], exempt: str, said: str) -> None:
    """3, and nothing is written."""
    assert migrate(lab, "--exempt", exempt, "--reason", "x") == 3
    assert said in " ".join(capsys.readouterr().out.split())
    assert [w for w in lab.store.writes if not w.dry_run and w.resource == "peerauthentications"] == []


def test_to_start_takes_it_away(lab: Lab) -> None:
    """The created policy goes, the namespace is as before."""
    before = policies(lab)
    assert migrate(lab, *EXEMPT) == 0
    assert main(["rollback", "policy", "--to-start", "--lab", lab.api_url]) == 5
    assert policies(lab) == before


def test_a_policy_that_selects_the_workload_is_patched_and_put_back(tmp_path: Path) -> None:
    """A younger one would be ignored whole, so the old one gets the port."""
    own: dict[str, Any] = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "hook", "namespace": "policy"},
        "spec": {"selector": {"matchLabels": {"app": "validator"}}, "portLevelMtls": {"8080": {"mode": "STRICT"}}},
    }
    scenario = yaml.safe_load(SCENARIO.read_text(encoding="utf-8"))
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump({**scenario, "manifests": [*scenario.get("manifests", []), own]}), encoding="utf-8")
    assert load_scenario(path).title
    with Lab.start(path) as lab:
        assert migrate(lab, *EXEMPT) == 0
        ports = {"8080": {"mode": "STRICT"}, "9443": {"mode": "PERMISSIVE"}}
        assert policies(lab)["hook"] == {**own["spec"], "portLevelMtls": ports}
        assert main(["rollback", "policy", "--to-start", "--lab", lab.api_url]) == 5
        assert policies(lab)["hook"] == own["spec"]


def test_a_playbook_says_it_too(lab: Lab, tmp_path: Path) -> None:
    """Workload, port, reason, owner, expiry."""
    book = yaml.safe_load(Path(QUICK).read_text(encoding="utf-8"))
    entry = {"workload": "policy/validator", "port": 9443, "reason": "r", "owner": "sre", "expires": "2099-01-01"}
    book[0]["exempt"] = [entry]
    path = tmp_path / "book.yaml"
    path.write_text(yaml.safe_dump(book, sort_keys=False), encoding="utf-8")
    assert migrate(lab, playbook=str(path)) == 0
    assert "rollout-exempt-validator" in policies(lab)


def test_a_plan_suggests_the_block_and_the_block_is_enough(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it prints is YAML for the playbook; its owner is left to fill in."""
    plan = ["plan", "policy", "--playbook", QUICK, "--lab", lab.api_url, "--suggest-exemptions"]
    assert main(plan) == 3
    (entry,) = yaml.safe_load(capsys.readouterr().out)["exempt"]
    assert {**entry, "expires": "", "reason": ""} == {
        "workload": "policy/validator", "port": 9443, "reason": "", "owner": "", "expires": "",
    }  # fmt: skip
    assert "kube-apiserver calls policy/validator port 9443" in entry["reason"]
    book = yaml.safe_load(Path(QUICK).read_text(encoding="utf-8"))
    book[0]["exempt"] = [{**entry, "owner": "sre"}]
    path = tmp_path / "book.yaml"
    path.write_text(yaml.safe_dump(book, sort_keys=False), encoding="utf-8")
    assert migrate(lab, playbook=str(path)) == 0


def test_plaintext_that_may_go_to_an_exempt_port_needs_a_ceiling(tmp_path: Path) -> None:
    """The Service leads to an exempt port and to another one, and the metrics name no port."""
    scenario = yaml.safe_load(SCENARIO.read_text(encoding="utf-8"))
    scenario["workloads"][0].update(ports={"https": 443, "http": 8080}, targets={"https": 9443})
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump(scenario), encoding="utf-8")
    with Lab.start(path) as lab:
        assert migrate(lab, *EXEMPT) == 3
        assert migrate(lab, *EXEMPT, "--max-rate", "0.001") == 3
        assert migrate(lab, *EXEMPT, "--max-rate", "1") == 0


@pytest.mark.parametrize(
    ("before", "after", "selector"),
    [
        (None, Policy(None, {"80": Mode.PERMISSIVE}), ()),
        (None, Policy(Mode.PERMISSIVE, {"80": Mode.PERMISSIVE}), (("app", "a"),)),
        (None, Policy(None, {"80": Mode.DISABLE}), (("app", "a"),)),
        (Policy(None, {"80": Mode.STRICT}), Policy(None, {"80": Mode.PERMISSIVE}), ()),
        (Policy(None, {"81": Mode.STRICT}), Policy(None, {"80": Mode.PERMISSIVE}), ()),
        (Policy(Mode.STRICT), Policy(Mode.PERMISSIVE, {"80": Mode.PERMISSIVE}), ()),
    ],
)
def test_a_forged_exemption_is_refused(
    before: Policy | None, after: Policy, selector: tuple[tuple[str, str], ...]
) -> None:
    """Safety 11: a record lowers nothing, and opens no port that had a mode."""
    ref = Ref("PeerAuthentication", "policy", "hook")
    change = Change(ref=ref, before=before, after=after, selector=selector)
    spec = Spec(run="r", namespace="policy", tasks=(), started=NOW)
    write = Write(seq=2, change=change, intended=NOW)
    with pytest.raises(RecordError):
        authorise(Run(spec=spec, entered=NOW, updated=NOW, writes=(write,)))
