"""What screens and documents say of the rarer runs: nothing found, nothing matched, a refusal, a gate's checks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from rollout.errors import RolloutError, Unreachable
from rollout.model.finding import CheckResult, Finding, Severity, Status
from rollout.model.judgement import Signal, Verdict
from rollout.model.kubernetes import Ref
from rollout.model.traffic import Evidence
from rollout.playbook.errors import PlaybookErrors, Problem
from rollout.record.events import FailureKind, ProofKind, Proven, Ticked, Ticks
from rollout.record.run import Run, Watch
from rollout.record.spec import Exemption, Waiver
from rollout.record.state import State
from rollout.report import lifecycle
from rollout.report.commands import Again
from rollout.report.endings import recap
from rollout.report.endings import result as ending
from rollout.report.evidence import Shown as ShownEvidence
from rollout.report.evidence import evidence_lines
from rollout.report.exemptions import suggested
from rollout.report.explain import explain
from rollout.report.json import error_json
from rollout.report.layout import Style, beginning
from rollout.report.lines import event, heartbeat, waiting
from rollout.report.plan import totals
from rollout.report.status import status
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


def test_a_suggestion_is_a_block_for_the_playbook(blocked: Run, now: datetime) -> None:
    """One entry a port, with the first finding's reason, an end, and an owner that somebody has to fill in."""
    port = msgspec.structs.replace(PROBE, exemption="production/orders:8080")
    late = msgspec.structs.replace(port, measured="something else")
    assert [
        "# for the playbook; each owner must be filled in",
        "exempt:",
        "- workload: production/orders",
        "  port: 8080",
        "  reason: 'probes: plain HTTP, on 8080'",
        "  owner: ''",
        "  expires: '2026-05-31'",
    ] == suggested([having(blocked, result("probes", port, PROBE), result("late", late))], now)


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


def test_runs_that_nobody_works_on_have_their_command(rolled_back: Run, now: datetime) -> None:
    """Below the table, where it can be copied."""
    on = msgspec.structs.replace(rolled_back, outcome="", state=State.WATCHING)
    lines = status([on], now, unattended={on.id})
    assert "unattended" in lines[1]
    assert [f"{on.id}: nobody works on it.", f"Next: rollout resume {on.id}"] == lines[2:]


def test_an_undo_that_is_proven_again_is_no_news(rolled_back: Run, now: datetime) -> None:
    """Every five minutes of a watch; the first time it is told."""
    proof = Proven(t=now, of=ProofKind.UNDO, ok=True, detail="accepted")
    first = msgspec.structs.replace(rolled_back, state=State.WATCHING, proofs={})
    again = msgspec.structs.replace(first, proofs={ProofKind.UNDO: proof})
    assert ["10:12:00 watching        √ undo proven: accepted"] == event(first, again, proof)
    assert [] == event(again, again, proof)


def test_before_the_flip_is_written_only_the_time_counts(rolled_back: Run, now: datetime) -> None:
    """Nothing spreads yet that somebody could wait for."""
    run = msgspec.structs.replace(rolled_back, outcome="", state=State.ENFORCING, entered=now, writes=())
    assert "40s" == waiting(run, now + timedelta(seconds=40))


def test_a_flip_that_spreads_has_a_verdict_already(rolled_back: Run, now: datetime) -> None:
    """Which is no time of sight."""
    watch = Watch(verdict=Verdict.NO_TRAFFIC)
    run = msgspec.structs.replace(rolled_back, state=State.ENFORCING, watch=watch)
    ticks = Ticks(t=now, verdict=Verdict.NO_TRAFFIC, since=now, until=now)
    before = msgspec.structs.replace(run, watch=Watch())
    assert ["10:12:00 enforcing       no traffic while the flip spreads"] == event(before, run, ticks)


def test_the_waiting_line_counts_edges_where_nothing_is_over_its_limit(rolled_back: Run, now: datetime) -> None:
    """How many of the baseline's are alive."""
    watch = msgspec.structs.replace(rolled_back.watch, blind=None, verdict=Verdict.HEALTHY)
    run = msgspec.structs.replace(rolled_back, outcome="", state=State.WATCHING, watch=watch)
    alive = Signal(name="edge-survival", where="web/shop -> production/orders (http)", measured="20 tried, 20 arrived",
                   limit="1", verdict=Verdict.HEALTHY)  # fmt: skip
    tick = Ticked(t=now, due=now, verdict=Verdict.HEALTHY, signals=(alive,))
    (line,) = heartbeat(run, now, Style(width=120), last=tick)
    assert "watching        healthy: 4m/30m of sight, tick 9/60 · edges 1/1" == line.partition(" ")[2]


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


@pytest.mark.parametrize(
    ("waivers", "exemptions", "title"),
    [(1, 0, "ENFORCED, 1 EXCEPTION"), (1, 2, "ENFORCED, 3 EXCEPTIONS"), (0, 0, "ENFORCED, WITH EXCEPTIONS")],
)
def test_exceptions_that_were_asked_for_are_counted(
    rolled_back: Run, waivers: int, exemptions: int, title: str
) -> None:
    """Waivers and open ports together; what came by itself is in the sentence, and has no number here."""
    waiver = Waiver(check="injection", object="Pod production/old", reason="it goes next week")
    port = Exemption(
        object="production/orders:8080", workload="production/orders", port=8080, reason="the scanner comes at night"
    )
    ended = msgspec.structs.replace(
        having(rolled_back, waivers=(waiver,) * waivers, exemptions=(port,) * exemptions),
        outcome="EXCEPTIONS", state=State.ENFORCED, sentence="production is STRICT", next="",
    )  # fmt: skip
    assert f"Result: {title} (exit 0). production is STRICT." == " ".join(ending(ended))
