"""A batch as a document: what was never begun, and the command's own end."""

import json
from pathlib import Path

import pytest

from rollout.cli import main

HERE = Path(__file__).parent


def test_a_batch_that_stops_names_what_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first wave regresses, no failure is allowed: the second is not started."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    book = tmp_path / "book.yaml"
    together = (HERE / "together.yaml").read_text(encoding="utf-8")
    book.write_text(together.replace("max_failures: 4", "max_failures: 0").replace('["100%"]', "[1]"))
    lab = ["--lab", str(HERE / "batch.yaml")]
    assert 5 == main(["migrate", "ledger", "shop", "--yes", "--playbook", str(book), *lab, "-o", "json"])
    document = json.loads(capsys.readouterr().out)
    assert ["ledger"] == [run["namespace"] for run in document["runs"]]
    assert ["shop"] == document["not_started"]
    assert {"outcome": "rolled_back", "label": "rolled_back", "exit_code": 5} == document["result"]
