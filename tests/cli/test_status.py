"""`rollout status` in a pipe, and beside a journal that cannot be read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.cli import main
from rollout.lab.lab import Lab

QUICK = str(Path(__file__).parent.parent / "lifecycle" / "quick.yaml")
LONG = "checkout-and-fulfilment-of-the-northern-regions"
SCENARIO = yaml.safe_load(f"""
title: Two namespaces that are ready
description: one of them with a long name
target: {LONG}
namespaces: {{{LONG}: {{injection: enabled}}, spare: {{injection: enabled}}}}
workloads:
  - {{name: web, namespace: {LONG}, ports: {{http: 8080}}}}
  - {{name: orders, namespace: {LONG}, ports: {{http: 8080}}}}
  - {{name: stock, namespace: spare, ports: {{http: 8080}}}}
traffic:
  web-orders: {{from: {LONG}/web, to: "{LONG}/orders:8080", rate: 6/s, swing: 0.3}}
  orders-stock: {{from: {LONG}/orders, to: "spare/stock:8080", rate: 6/s, swing: 0.3}}
expect: {{exit: 0, outcome: enforced}}
""")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Both namespaces, and a mirror of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump(SCENARIO), encoding="utf-8")
    with Lab.start(path) as running:
        yield running


def run(lab: Lab, *argv: str) -> int:
    """One command."""
    quick = ["--playbook", QUICK, "--yes"] if argv[0] == "migrate" else []
    return main([*argv, *quick, "--lab", lab.api_url])


def journal(lab: Lab, namespace: str) -> dict[str, Any]:
    """The one journal that is kept there."""
    found = [c for c in lab.store.list("v1", "ConfigMap", namespace) if c["metadata"]["name"].startswith("rollout-")]
    (only,) = found
    return only


def test_a_pipe_gets_whole_run_ids(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """However narrow 80 columns are: what `cut` and `awk` take from a line must name a run."""
    assert run(lab, "migrate", LONG, "--until", "checking") == 7
    capsys.readouterr()
    assert run(lab, "status") == 0
    header, row = capsys.readouterr().out.splitlines()[:2]
    assert header.split() == ["NAME", "STATE", "RESULT", "SIGHT", "RUN", "AGE"]
    wanted = [LONG, journal(lab, LONG)["metadata"]["name"].removeprefix("rollout-")]
    assert [row.split()[0], row.split()[4]] == wanted
    assert run(lab, "status", wanted[1]) == 0
    assert run(lab, "rollback", wanted[1]) == 7


@pytest.mark.parametrize("place", ["", "spare"])
def test_a_damaged_journal_leaves_other_namespaces_alone(
    lab: Lab, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    """It is listed as damaged; the other namespace is migrated, shown and rolled back as ever."""
    kept = ["--state-namespace", place] if place else []
    assert run(lab, "migrate", LONG, "--until", "checking", *kept) == 7
    broken = journal(lab, place or LONG)["metadata"]["name"]
    body = {"data": {"e00000002": "garbage"}}
    lab.store.patch("v1", "ConfigMap", broken, body, namespace=place or LONG)
    assert run(lab, "migrate", "spare", *kept) == 0
    capsys.readouterr()
    assert run(lab, "status", *kept) == 3
    rows = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()[1:3]}
    assert rows == {LONG if not place else LONG[:40]: "damaged", "spare": "enforced"}
    assert run(lab, "status", "spare", *kept) == 0
    assert run(lab, "rollback", "spare", *kept) == 5
    capsys.readouterr()
    assert run(lab, "rollback", LONG, *kept) == 0
    said = " ".join(capsys.readouterr().out.replace("\\\n", "").split())
    assert f"kubectl delete configmap {broken} -n {place or LONG}" in said
    lab.store.delete("v1", "ConfigMap", broken, place or LONG)
    assert run(lab, "migrate", LONG, "--until", "checking", *kept) == 7
