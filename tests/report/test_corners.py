"""What screens and documents say of the rarer runs: nothing found, nothing matched, a refusal, a gate's checks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from rollout.errors import RolloutError, Unreachable
from rollout.model.finding import CheckResult, Finding, Severity, Status
from rollout.model.kubernetes import Ref
from rollout.model.traffic import Evidence
from rollout.playbook.errors import PlaybookErrors, Problem
from rollout.record.events import FailureKind
from rollout.record.run import Run
from rollout.record.spec import Exemption, Waiver
from rollout.record.state import State
from rollout.report import lifecycle
from rollout.report.commands import Again
from rollout.report.endings import recap
from rollout.report.evidence import Shown as ShownEvidence
from rollout.report.evidence import evidence_lines
from rollout.report.exemptions import suggested
from rollout.report.explain import explain
from rollout.report.json import error_json
from rollout.report.layout import Style, beginning
from rollout.report.plan import totals
from rollout.report.text import plan
from rollout.report.tree import Shown, block
from rollout.report.unmatched import unmatched

PROBE = Finding(
    ref=Ref("Deployment", "production", "orders"), measured="plain HTTP, on 8080", limit="none", fix="restart",
    severity=Severity.BLOCKING,
)  # fmt: skip


def having(run: Run, *results: CheckResult, **spec: Any) -> Run:
    """The run with these checks and a changed spec."""
    return msgspec.structs.replace(run, checks=results, spec=msgspec.structs.replace(run.spec, **spec))


def result(check: str, *findings: Finding, state: State = State.CHECKING, status: Status | None = None) -> CheckResult:
    """A check's answer."""
    status = status or (Status.FAILED if findings else Status.OK)
    return CheckResult(check=check, title=f"{check} is well", state=state, status=status, findings=findings)


def test_runs_that_go_on_have_no_end_of_their_batch(rolled_back: Run) -> None:
    """The recap stops behind their lines: an exit code that is not decided is not printed."""
    on = msgspec.structs.replace(rolled_back, outcome="", state=State.WATCHING)
    assert [
        "RECAP  production  watching     ok=1 changed=2 skipped=1 failed=1",
        "RECAP  shop        not started  ok=0 changed=0 skipped=0 failed=0",
    ] == recap([on], not_started=["shop"])


def test_evidence_without_traffic_has_no_table(clean: Evidence) -> None:
    """A head without rows would look like a fault of the screen."""
    lines = evidence_lines(ShownEvidence(msgspec.structs.replace(clean, edges=())), Style())
    assert [] == [line for line in lines if line.startswith("SOURCE")]
    assert lines[-1].strip(), lines


def test_a_suggestion_without_candidates_is_a_comment(blocked: Run, now: datetime) -> None:
    """YAML all the same, so that it can be piped into a file; what is waived needs no exemption."""
    waived = msgspec.structs.replace(PROBE, exemption="production/orders:8080", waived="goes in May")
    nothing = ["# no finding is one that an exemption would help"]
    assert nothing == suggested([], now)
    assert nothing == suggested([blocked, having(blocked, result("probes", waived))], now)


def test_an_explanation_without_a_fix_has_no_such_heading() -> None:
    """Signals of the watch have none."""
    assert ["silence: The edge is alive", "", "Why", "    It fell silent."] == explain(
        "silence", "The edge is alive", "It fell silent.", " "
    )


def test_an_error_is_a_document() -> None:
    """Its parts apart, the next command as it can be typed, and the exit code of the process."""
    error = Unreachable("no answer", limit="5s", where="https://10.0.0.1", next="rollout status")
    assert {
        "format_version": "1.1",
        "error": {
            "problem": "no answer", "limit": "5s", "where": "https://10.0.0.1",
            "next": "rollout status --context kind-demo", "outcome": "cannot_see",
        },
        "exit": 4,
    } == error_json(error, Again(("--context", "kind-demo")))  # fmt: skip
    assert "problems" not in error_json(RolloutError("x"))["error"]


def test_the_mistakes_of_a_playbook_are_in_its_document() -> None:
    """All of them with their places, for an editor."""
    said = error_json(PlaybookErrors("book.yaml", [Problem(2, 3, "no key `taks`", "did you mean `tasks`?")]))
    assert 2 == said["exit"]
    assert [
        {"line": 2, "column": 3, "message": "no key `taks`", "hint": "did you mean `tasks`?", "source": ""}
    ] == said["error"]["problems"]


@pytest.mark.parametrize(("room", "expected"), [(9, "名前ab"), (6, "名前ab"), (5, "名前a"), (3, "名"), (1, "")])
def test_the_beginning_of_a_text(room: int, expected: str) -> None:
    """As many columns as there are, and no half of a wide character; a text that fits is whole."""
    assert expected == beginning("名前ab", room)


def test_a_duration_that_is_none_is_not_known(rolled_back: Run) -> None:
    """A journal may come from another version: the screen leaves the number out."""
    tasks = tuple(msgspec.structs.replace(task, args={"for": "soon"}) for task in rolled_back.spec.tasks)
    run = having(rolled_back, tasks=tasks)
    assert lifecycle.argument(run, "watch", "for") is None
    assert timedelta(minutes=4) == lifecycle.estimate(run)
    assert "" == lifecycle.seen(run)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("denied by kyverno", "    undo: mode back to PERMISSIVE   server dry run: refused: denied by kyverno"),
        ("", "    undo: mode back to PERMISSIVE   server dry run: refused: no reason given"),
    ],
)
def test_a_plan_says_that_the_server_refuses_its_write(blocked: Run, reason: str, said: str) -> None:
    """In the webhook's words, where it gave some."""
    write = msgspec.structs.replace(blocked.writes[0], failed=FailureKind.REFUSED, reason=reason)
    assert said in plan(msgspec.structs.replace(blocked, writes=(write,)), Style(width=120))


def test_checks_of_the_gate_stand_above_its_write(blocked: Run) -> None:
    """Those that are well are left out of the short plan."""
    well = result("gate", state=State.ENFORCING)
    found = having(blocked, *blocked.checks, well, result("late", PROBE, state=State.ENFORCING))
    for short, expected in ((False, ["√ gate", "× late"]), (True, ["× late"])):
        lines = plan(found, short=short)
        shown = [line for line in lines if line.startswith(("√ gate is", "× late is"))]
        assert expected == [line.partition(" is")[0] for line in shown]
        assert lines.index(shown[-1]) < next(n for n, line in enumerate(lines) if line.startswith("~ PeerAuth"))


def test_a_plan_of_several_flips_tells_the_longest_of_a_wave(blocked: Run) -> None:
    """They go on side by side."""
    assert ["Plan: 0 to add, 2 to change, 0 to remove; 2 blocked. About 34m a wave."] == totals(
        [blocked, blocked], Style()
    )


def test_one_run_that_is_over_keeps_its_reason(rolled_back: Run, now: datetime) -> None:
    """In the one line that is left of its block."""
    assert ["rolled_back proven"] == block([Shown(rolled_back)], now, Style(), height=10)


def test_waivers_that_match_nothing_are_told(blocked: Run) -> None:
    """Only where their check looked; one that fits a finding, or its object, is used."""
    waivers = tuple(
        Waiver(check=check, object=name, reason="r")
        for check, name in (("probes", "Deployment production/*"), ("probes", "plain HTTP"), ("probes", "Pod x/y"),
                            ("injection", "Pod x/z"))
    )  # fmt: skip
    run = having(blocked, result("probes", PROBE), waivers=waivers)
    assert ["warning: the waiver probes=Pod x/y matches nothing that was found"] == unmatched([run])
    blind = having(blocked, result("probes", status=Status.UNKNOWN), waivers=waivers)
    assert [] == unmatched([blind])


def test_exemptions_that_match_nothing_are_told(blocked: Run) -> None:
    """A port's is of its namespace; an object's is looked for among the exceptions to STRICT."""
    mine, other, legacy, lost = (
        Exemption(object="production/orders:8080", workload="production/orders", port=8080, reason="r"),
        Exemption(object="shop/web:80", workload="shop/web", port=80, reason="r"),
        Exemption(object="Deployment production/*", reason="r"),
        Exemption(object="PeerAuthentication production/lost", reason="r"),
    )
    run = having(blocked, result("effective-mode", PROBE), exemptions=(mine, other, legacy, lost))
    assert [
        "warning: the exemption of shop/web:80 is of another namespace",
        "warning: the exemption of PeerAuthentication production/lost matches no exception that was found",
    ] == unmatched([run])
    assert [] == unmatched([having(blocked, exemptions=(legacy, lost))])


def test_a_playbooks_own_entries_are_told_of_its_namespaces_only(blocked: Run) -> None:
    """It serves others too: those have an owner, and name somebody else's object."""
    owned = [Waiver(check="probes", object=f"Pod {name}/x", reason="r", owner="ana") for name in ("production", "shop")]
    run = having(blocked, result("probes", PROBE), waivers=tuple(owned))
    assert ["warning: the waiver probes=Pod production/x matches nothing that was found"] == unmatched([run])
