"""As on a cluster: a kubeconfig, and Prometheus through the API server's service proxy; nothing knows of the lab."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rollout.cli import main
from rollout.lab.lab import Lab

QUICK = str(Path(__file__).parents[1] / "lifecycle" / "quick.yaml")


@pytest.mark.parametrize("prometheus", ["prometheus.monitoring:9090", "URL"])
def test_a_plan_through_a_kubeconfig(
    prometheus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The README's command; KUBECONFIG is honoured."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with Lab.start("oldest-policy-wins", start=datetime.now(UTC)) as lab:
        path = tmp_path / "config"
        path.write_text(lab.kubeconfig, encoding="utf-8")
        monkeypatch.setenv("KUBECONFIG", str(path))
        address = lab.prometheus_url if prometheus == "URL" else prometheus
        code = main(["plan", "production", "--prometheus", address, "--playbook", QUICK])
        shown = capsys.readouterr()
        assert code == 0, shown.out + shown.err
        assert "context lab" in shown.out


def test_json_is_the_only_thing_on_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Progress goes to stderr; the document has a version, and the same end as the exit code."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for command in (["plan"], ["migrate", "--yes"]):
        code = main([*command, "production", "--playbook", QUICK, "--lab", "oldest-policy-wins", "-o", "json"])
        document = json.loads(capsys.readouterr().out)
        assert code == 0
        assert document["format_version"]


def test_no_prometheus_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, with the two forms."""
    with Lab.start("oldest-policy-wins") as lab:
        path = tmp_path / "config"
        path.write_text(lab.kubeconfig, encoding="utf-8")
        assert main(["plan", "production", "--kubeconfig", str(path)]) == 2
        assert "SERVICE.NAMESPACE:PORT" in capsys.readouterr().err


def test_a_rollback_at_night_needs_no_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`rollout status` asks no Prometheus; `rollout rollback` takes the one in the record (NamedMetrics)."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with Lab.start("oldest-policy-wins", start=datetime.now(UTC)) as lab:
        assert main(["migrate", "production", "--yes", "--playbook", QUICK, "--lab", lab.api_url]) == 0
        path = tmp_path / "config"
        path.write_text(lab.kubeconfig, encoding="utf-8")
        kubeconfig = ["--kubeconfig", str(path)]
        assert main(["status", *kubeconfig]) == 0
        assert "production" in capsys.readouterr().out
        assert main(["rollback", "production", "--lab", lab.api_url]) == 5
