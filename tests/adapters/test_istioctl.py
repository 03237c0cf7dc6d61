"""istioctl analyze: findings, and the ways in which it does not work."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rollout.adapters import istioctl
from rollout.adapters.istioctl import Istioctl
from rollout.adapters.process import Finished
from rollout.errors import Outcome, RolloutError
from rollout.ports import Analyzer, AnalyzerMessage

FOUND = {
    "code": "IST0108",
    "level": "Warning",
    "origin": "PeerAuthentication ns/default",
    "message": "Unknown annotation",
    "documentationUrl": "https://istio.io/ist0108",
    "reference": "x.yaml:3",
}


def answering(code: int | None, out: bytes, err: str = "") -> Istioctl:
    return Istioctl(run=lambda argv: Finished(code, out, err))


def test_findings_are_read_from_its_json() -> None:
    """With code, level, place, words and page."""
    port: Analyzer = answering(0, json.dumps([FOUND]).encode())
    assert port.analyze("ns") == (
        AnalyzerMessage(
            "IST0108",
            "Warning",
            "PeerAuthentication ns/default",
            "Unknown annotation",
            "https://istio.io/ist0108",
        ),
    )


def test_it_is_asked_for_one_namespace_of_the_same_cluster() -> None:
    """Kubeconfig and context are passed on."""
    seen: list[list[str]] = []

    def run(argv: Sequence[str]) -> Finished:
        seen.append(list(argv))
        return Finished(0, b"[]", "")

    Istioctl("/bin/i", kubeconfig="k", context="c", run=run).analyze("ns")
    assert seen == [
        ["/bin/i", "analyze", "--color=false", "-o", "json", "--kubeconfig", "k", "--context", "c", "-n", "ns"]
    ]


@pytest.mark.parametrize("out", [b"[]", b"null\n", b""])
def test_no_findings(out: bytes) -> None:
    """In each of its spellings."""
    assert answering(0, out).analyze("ns") == ()


def test_findings_count_whatever_the_exit_status() -> None:
    """A version that fails at its threshold."""
    assert len(answering(79, json.dumps([FOUND]).encode()).analyze("ns")) == 1


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (answering(1, b"", "Error: connection refused"), "exit status 1: Error: connection refused"),
        (answering(1, b"[]", "Error: unknown flag"), "unknown flag"),
        (answering(0, b"no JSON"), "no JSON"),
        (answering(None, b""), "within 60 s"),
        (Istioctl("/nosuch/istioctl"), "no istioctl on PATH"),
    ],
)
def test_failures_are_sentences(made: Istioctl, words: str) -> None:
    """Unknown, not clean."""
    with pytest.raises(RolloutError, match=words) as error:
        made.analyze("ns")
    assert error.value.outcome is Outcome.CANNOT_SEE
    assert "analyze" in error.value.where


def test_one_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Really, as a process."""
    monkeypatch.setattr(istioctl, "LIMIT", 0.2)
    program = tmp_path / "istioctl"
    program.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(20)\n")
    program.chmod(0o700)
    with pytest.raises(RolloutError, match="did not end"):
        Istioctl(str(program)).analyze("ns")
