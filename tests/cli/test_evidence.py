"""`rollout evidence` against the lab: who calls, and the names that only the access logs have."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.cli import main
from rollout.cli.evidence import size
from rollout.errors import UsageError
from rollout.lab.lab import Lab

SCENARIOS = Path(__file__).parents[2] / "rollout" / "lab" / "scenarios"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def variant(folder: Path, name: str, **changes: Any) -> str:
    """A shipped scenario with other keys."""
    document = yaml.safe_load((SCENARIOS / f"{name}.yaml").read_text(encoding="utf-8"))
    for key, value in changes.items():
        document[key] = document.get(key, []) + value if isinstance(value, list) else value
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    """Exit status and the words of stdout."""
    code = main(["evidence", *argv])
    out = capsys.readouterr()
    assert "Traceback" not in out.err
    return code, " ".join(out.out.split()) if "-o" not in argv else out.out


def test_the_nameless_callers_get_names(capsys: pytest.CaptureFixture[str]) -> None:
    """Those that are there, one that has ended, and a node; the metrics know none of them."""
    code, text = run(capsys, "production", "--lab", "nameless-caller", "--access-logs", "--since", "1d")
    assert 3 == code
    assert "unknown orders orders http plaintext" in text
    found = text[text.index("unknown -> production/orders, http") :]
    assert " = Pod billing/ledger-" in found
    assert "(Deployment billing/ledger)" in found
    assert "192.168.10.12 = Node node-2 (its kubelet, a NodePort or a load balancer)" in found
    assert ", which was Pod billing/closing-" in found
    assert "(CronJob billing/closing) until " in found
    assert "token" not in text
    assert "Besides" not in text


def test_without_access_logs_they_are_offered(capsys: pytest.CaptureFixture[str]) -> None:
    """The command repeats the cluster."""
    code, text = run(capsys, "production", "--lab", "nameless-caller")
    assert 3 == code
    assert "Next: rollout evidence production --access-logs --lab nameless-caller" in text


def test_a_clean_namespace(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0, and nothing is offered."""
    code, text = run(capsys, "payments", "--lab", "healthy")
    assert 0 == code
    assert "√ payments: clean:" in text
    assert "--access-logs" not in text


def test_no_data_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    """A namespace without sidecars proves nothing: 4."""
    code, text = run(capsys, "billing", "--lab", "nameless-caller")
    assert 4 == code
    assert "? billing: no data:" in text
    code, text = run(capsys, "production", "billing", "--lab", "nameless-caller")
    assert 4 == code
    assert "× production" in text


def test_a_mesh_that_writes_no_access_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Istio's default: said, and the suspects stay."""
    code, text = run(capsys, "production", "--lab", "legacy-caller", "--access-logs")
    assert 3 == code
    assert "Istio's default profile sets no accessLogFile" in text
    assert "suspect: CronJob billing/invoicer" in text


def test_json_lines_name_the_same_callers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`accessLogEncoding: JSON`, as documents and as CSV."""
    lab = variant(tmp_path, "nameless-caller", mesh={"access_log": "json"})
    code, text = run(capsys, "production", "--lab", lab, "--access-logs", "-o", "json")
    assert 3 == code
    (one,) = json.loads(text)["evidence"]
    first = one["edges"][0]
    assert ["Pod", "Node"] == [found["who"].split()[0] for found in first["access_log"]]
    assert "of-the-caller" not in text
    code, text = run(capsys, "production", "--lab", lab, "--access-logs", "-o", "csv")
    assert 3 == code
    rows = list(csv.DictReader(io.StringIO(text)))
    assert ["plaintext", "mutual TLS"] == [row["security"] for row in rows]
    assert " = Pod billing/ledger-" in rows[0]["access_log"]


def test_after_the_flip_the_refused_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """No metric knows them any more; the log's NR lines do."""
    with Lab.start("nameless-caller") as lab:
        spec = {"mtls": {"mode": "STRICT"}}
        meta = {"name": "default", "namespace": "production"}
        kind = {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication"}
        lab.store.create({**kind, "metadata": meta, "spec": spec})
        lab.advance(timedelta(minutes=30))
        code, text = run(capsys, "production", "--lab", lab.api_url, "--access-logs", "--since", "20m", "-o", "json")
    assert 3 == code
    (one,) = json.loads(text)["evidence"]
    refused = {
        found["who"].partition("-")[0]: (found["refused"], found["lines"]) for found in one["access_log"]["callers"]
    }
    assert {"Pod billing/ledger": (4, 4), "Node node": (2, 2)} == refused


def test_bounds_are_kept_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Pods, bytes, time."""
    limits = ("--access-logs", "--since", "1d", "--max-pods", "1", "--max-bytes", "20kB")
    code, text = run(capsys, "production", "--lab", "nameless-caller", *limits)
    assert 3 == code
    assert "2 of 3 pods with a sidecar; all of them: --max-pods 3" in text
    assert "a larger --max-bytes" in text
    read = text[text.index("Access log: ") :].partition(" kB read")[0].rpartition("(")[2]
    assert 0 < int(read) <= 20


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((), "no namespace is named"),
        (("production", "--max-bytes", "much"), "'much' is no number of bytes"),
        (("production", "--max-bytes", "0"), "'0' is no number of bytes"),
        (("production", "--max-pods", "0"), "--max-pods is 0"),
        (("production", "--since", "yesterday"), "'yesterday' is no duration"),
        (("production", "--look-back", "long"), "'long' is no duration"),
        (("prodution",), "no namespace matches 'prodution'; did you mean production?"),
    ],
)
def test_bad_input_is_a_sentence(argv: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, before anything is read."""
    assert 2 == main(["evidence", *argv, "--lab", "nameless-caller"])
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10MB", 10_000_000), ("512KiB", 524_288), ("1.5 mb", 1_500_000), ("42", 42), ("2GiB", 2 * 1024**3)],
)
def test_sizes(text: str, expected: int) -> None:
    """Decimal and binary units."""
    assert expected == size(text, "--max-bytes")


@pytest.mark.parametrize("text", ["", "-1", "MB", "1 TB", "1e6", "0.1"])
def test_what_is_no_size(text: str) -> None:
    """Said with an example."""
    with pytest.raises(UsageError):
        size(text, "--max-bytes")


def as_ana(folder: Path, capsys: pytest.CaptureFixture[str], *rights: str) -> str:
    """The scenario for a user with the rights that `rollout rbac` prints."""
    assert 0 == main(["rbac", "--user", "ana", *rights])
    roles = list(yaml.safe_load_all(capsys.readouterr().out))
    return variant(folder, "nameless-caller", user="ana", manifests=roles)


def test_the_printed_rights_suffice(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`rollout rbac --for evidence`: in the namespaces that are named."""
    lab = as_ana(tmp_path, capsys, "--for", "evidence", "--namespace", "production")
    code, text = run(capsys, "production", "--lab", lab, "--access-logs")
    assert 3 == code
    assert " = Pod billing/ledger-" in text
    assert "not permitted" not in text


def test_no_other_command_asks_for_logs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """With a plan's rights the table is there, and the right that is missing is named with its source."""
    lab = as_ana(tmp_path, capsys, "--for", "plan")
    assert "pods/log" not in Path(lab).read_text(encoding="utf-8")
    code, text = run(capsys, "production", "--lab", lab, "--access-logs")
    assert 3 == code
    assert "not permitted: get pods/log in production; rollout rbac --for evidence prints the right" in text
    assert "unknown orders orders http plaintext" in text
