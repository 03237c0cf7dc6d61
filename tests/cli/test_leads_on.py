"""After a block or a mistake: the sentence names its cause, and the next command does not end the same way."""

import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rollout.cli import main
from rollout.cli.matchers import understood
from rollout.cli.parser import parser
from rollout.errors import BadQuery, MetricsUnreachable, UsageError
from rollout.lab.lab import Lab
from rollout.lab.prometheus import Outage
from rollout.ports import Answer, RangeAnswer
from tests.cli.test_next import following

NOW = datetime(2026, 3, 2, 10, 12, tzinfo=UTC)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """The namespace shop, ready."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with Lab.start("healthy") as started:
        yield started


def run(lab: Lab, capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    """Exit code, and all that was shown."""
    code = main([*argv, "--lab", lab.api_url])
    shown = capsys.readouterr()
    return code, shown.out + shown.err


def said(text: str) -> str:
    """Without line breaks."""
    return re.sub(r"\s+", " ", text)


def written(lab: Lab) -> list[object]:
    """Everything but server dry runs."""
    return [write for write in lab.store.writes if not write.dry_run]


@pytest.mark.parametrize(
    ("argv", "expected", "then"),
    [
        (["plan", "kube-system"], ["plan", "kube-system", "--allow-system"], "kube-system"),
        (["migrate", "kube-system", "--yes"], ["plan", "kube-system", "--allow-system"], "kube-system"),
        (["plan", "istio-system"], ["plan", "--all-namespaces"], "namespace shop"),
        (["plan", "istio-system", "--allow-system"], ["plan", "--all-namespaces", "--allow-system"], "namespace shop"),
        (["plan", "shop", "--max-duration", "5m"], ["plan", "shop", "--max-duration=55m"], "WOULD PASS"),
        (["migrate", "shop", "--yes", "--max-duration", "5m"], ["plan", "shop", "--max-duration=55m"], "WOULD PASS"),
    ],
)
def test_the_next_of_a_block_leads_on(
    argv: list[str], expected: list[str], then: str, lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is another command, and it is not refused for the same reason."""
    code, text = run(lab, capsys, *argv)
    words = following(text)
    assert (3, "rollout") == (code, words[0])
    assert [w for w in expected if w not in words] == []
    assert [w for w in words if w.startswith("--max")] == [w for w in expected if w.startswith("--max")]
    reason = said(text).partition("flipped: ")[2].partition(".")[0]
    again = main(words[1:])
    shown = said(capsys.readouterr().out)
    assert then in shown
    assert (True, False) == (bool(reason), reason in shown)
    assert again in (0, 3, 4)


def test_a_result_keeps_its_reasons_commas(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Names of checks are told one by one, a sentence as it was written."""
    _, text = run(lab, capsys, "plan", "shop", "--max-duration", "5m")
    assert re.search(r"flipped: drain, watch and rollback need 0:\d\d:\d\d, and --max-duration leaves 0:05:00\.",
                     said(text))  # fmt: skip
    with Lab.start("destination-rule-disable") as other:
        _, text = run(other, capsys, "plan", *other.scenario.target)
    assert "would not be flipped: plaintext-callers; destination-rules." in said(text)


@pytest.mark.parametrize("command", ["plan", "migrate", "evidence"])
@pytest.mark.parametrize(("place", "near"), [("nope", ""), ("kube-sytem", "kube-system")])
def test_a_place_for_the_record_that_is_not_there(
    command: str, place: str, near: str, lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 before anything is written, and not a promise that the migration breaks."""
    more = ["--yes"] if command == "migrate" else []
    code, text = run(lab, capsys, command, "shop", "--state-namespace", place, *more)
    assert (2, []) == (code, written(lab))
    assert f"rollout: there is no namespace '{place}'" in text
    words = following(text)
    if near:
        assert ["rollout", command, "shop", f"--state-namespace={near}"] == words[:4]
        assert near == parser().parse_args(words[1:]).state_namespace
    else:
        assert ["kubectl", "create", "namespace", place] == words


def test_labels_that_leave_a_namespace_out(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """It is there: the selector is the cause, and is not repeated."""
    code, text = run(lab, capsys, "plan", "shop", "-l", "a")
    assert 2 == code
    assert "rollout: shop has no labels that match 'a'\n    where   -l\n" in text
    assert ["rollout", "plan", "shop", "--lab", lab.api_url] == following(text)
    code, text = run(lab, capsys, "plan", "*o*", "-l", "a")
    words = following(text)
    assert 2 == code
    assert ["ops", "shop"] == [n for n in parser().parse_args(words[1:]).namespaces if n in ("ops", "shop", "payments")]
    assert "no namespace matches 'zzz'" in run(lab, capsys, "plan", "zzz", "-l", "a")[1]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["plan", "--waive", "foo"], "rollout checks list"),
        (["plan", "--fixed", "foo"], "rollout evidence shop"),
        (["plan", "--fixed", "a -> b@yesterday", "--reason", "r"], "rollout evidence shop"),
        (["plan", "--permissive-since", "yesterday"], "kubectl get peerauthentications -n shop"),
        (["plan", "--permissive-since", "2999-01-01", "--reason", "r"], "kubectl get peerauthentications -n shop"),
        (["migrate", "--confirm", "shpo"], "rollout plan shop"),
    ],
)
def test_a_mistake_has_a_next_command(
    argv: list[str], expected: str, lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one that shows what has to be typed."""
    code, text = run(lab, capsys, argv[0], "shop", *argv[1:])
    assert (2, []) == (code, written(lab))
    assert expected == shlex.join(following(text))[: len(expected)]


@pytest.mark.parametrize("command", ["plan", "migrate", "evidence"])
@pytest.mark.parametrize("match", ["foo", "a=", 'a=~"("'])
def test_matchers_that_prometheus_cannot_parse(
    command: str, match: str, lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    """Usage, with Prometheus' own words; the next command is the same without them."""
    more = ["--yes"] if command == "migrate" else []
    code, text = run(lab, capsys, command, "shop", "--metrics-match", match, *more)
    assert (2, []) == (code, written(lab))
    assert "parse error" in said(text)
    assert ["rollout", command, "shop", "--lab", lab.api_url] == following(text)


def test_matchers_are_not_blamed_for_an_outage(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 4, as without them."""
    lab.prometheus.switches.outage = Outage.UNAVAILABLE
    assert 4 == run(lab, capsys, "plan", "shop", "--metrics-match", 'cluster="eu1"')[0]


class Refusing:
    """A Prometheus that refuses whatever has one of these words in it."""

    def __init__(self, error: type[Exception], *words: str) -> None:
        self._error, self._words = error, words
        self.asked: list[str] = []

    def query(self, promql: str, at: datetime) -> Answer:
        """Refuse, or find nothing."""
        self.asked.append(promql)
        if any(word in promql for word in self._words):
            raise self._error("no")
        return Answer(samples=())

    def query_range(self, promql: str, start: datetime, end: datetime, step: float) -> RangeAnswer:
        """Not asked."""
        raise AssertionError(promql)

    def past(self) -> "Refusing":
        """Not asked."""
        raise AssertionError

    def now(self) -> datetime:
        """Not asked."""
        raise AssertionError

    def address(self) -> str:
        """Nowhere."""
        return ""


@pytest.mark.parametrize(
    ("error", "words", "queries"),
    [(BadQuery, ("up",), 2), (MetricsUnreachable, ("up",), 1), (MetricsUnreachable, ("foo",), 1), (BadQuery, (), 1)],
)
def test_what_is_no_fault_of_the_matchers(error: type[Exception], words: tuple[str, ...], queries: int) -> None:
    """Refused with and without them, not reached, or understood: the run goes on, and says it."""
    args = parser().parse_args(["plan", "shop", "--metrics-match", "foo"])
    metrics = Refusing(error, *words)
    understood(args, ["shop"], metrics, NOW)
    assert queries == len(metrics.asked)
    with pytest.raises(UsageError):
        understood(args, ["shop"], Refusing(BadQuery, "foo"), NOW)


def test_without_matchers_nothing_is_asked() -> None:
    """Most command lines have none."""
    metrics = Refusing(BadQuery, "up")
    understood(parser().parse_args(["plan", "shop"]), ["shop"], metrics, NOW)
    assert [] == metrics.asked
