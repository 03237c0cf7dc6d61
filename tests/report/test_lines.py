"""A run as it happens, and how it ends."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from rollout.errors import Outcome
from rollout.model.judgement import Signal, Verdict
from rollout.record.events import (
    Checked,
    Fact,
    Failed,
    FailureKind,
    Held,
    Note,
    Noted,
    ProofKind,
    Proven,
    Requested,
    RequestKind,
    Resumed,
    Ticked,
    Ticks,
)
from rollout.record.run import Run, Watch, Write
from rollout.record.state import State
from rollout.report.commands import Again
from rollout.report.layout import Style
from rollout.report.text import event, heartbeat, problem, recap, result

#: When the flip of these runs was written.
DONE = datetime(2026, 3, 2, 10, 12, tzinfo=UTC)
Story = list[tuple[Run | None, Run, Fact]]


def test_a_run_is_told_one_line_a_change(story: Story) -> None:
    """From the flip to the way back, as a pipeline's log shows it."""
    lines = [line for before, after, happened in story[8:] for line in event(before, after, happened)]
    assert lines == [
        "10:12:00 enforcing       baseline: 1 edge, 1 workload",
        "10:12:00 enforcing       writing: PeerAuthentication production/default",
        "                         PERMISSIVE -> STRICT",
        "10:12:00 enforcing       changed: PeerAuthentication production/default",
        "                         PERMISSIVE -> STRICT",
        "10:12:00 enforcing       √ propagation proven: 12/12 proxies (31s)",
        "10:12:00 watching        begins",
        "10:12:00 watching        healthy: 4m/30m of sight, tick 8/60",
        "10:17:00 watching        regressed: 4m/30m of sight, tick 9/60; over the limit:",
        "                         edge-survival:web/shop -> payments/ledger",
        "10:17:00 rolling_back    web/shop -> payments/ledger is lost",
        "    signal    edge-survival at web/shop -> payments/ledger",
        "    measured  46 tried, 0 arrived, on 2 new samples",
        "    limit     1 arrives",
        "    window    2m",
        "    query     increase(x[2m])",
        "    beside    Deployment orders 41→42 at 10:58",
        "10:17:00 rolling_back    changed back: PeerAuthentication production/default",
        "                         STRICT -> PERMISSIVE",
        "10:17:00 rolled_back     proven",
        "Result: ROLLED BACK (exit 5). production accepts plaintext again since 10:17:00;",
        "nothing to do tonight. Next: kubectl -n web edit destinationrule ledger",
    ]


def test_the_same_verdict_again_is_no_line(story: Story, now: datetime) -> None:
    """Only changes are told; the heartbeat is the waiting line."""
    _, run, _ = story[13]
    again = Ticks(t=now, verdict=Verdict.HEALTHY, since=now, until=now)
    assert event(run, run, again) == []


@pytest.mark.parametrize(
    ("happened", "words"),
    [
        ({"type": Failed, "of": 1, "kind": FailureKind.CONFLICT, "reason": "changed", "owner": "argocd"},
         "the change was not written, conflict: changed (owner: argocd)"),
        ({"type": Failed, "of": 0, "kind": FailureKind.UNSURE, "reason": "timeout", "undo": True},
         "the undo is not known to be written, unsure: timeout"),
        ({"type": Requested, "kind": RequestKind.APPROVE, "by": "ana", "task": "t"}, "asked by ana: approve t"),
        ({"type": Held, "on": True, "why": "blind"}, "held: blind"),
        ({"type": Held, "on": False}, "no longer held"),
        ({"type": Resumed, "by": "bo@ci"}, "taken up by bo@ci"),
        ({"type": Noted, "text": "a\n  note\x1b[2J"}, "a note�[2J"),
    ],
)  # fmt: skip
def test_every_event_has_its_words(blocked: Run, now: datetime, happened: dict[str, object], words: str) -> None:
    """Also those that others cause."""
    kind: type[Fact | Note] = happened.pop("type")  # type: ignore[assignment]
    text = " ".join(line.strip() for line in event(blocked, blocked, kind(t=now, **happened)))  # type: ignore[arg-type]
    assert text.removeprefix("10:12:00 enforcing").strip() == words


def test_a_tick_is_told_where_something_is_over_its_limit(blocked: Run, now: datetime) -> None:
    """With numbers; a quiet one is not told."""
    bad = Signal(name="errors", where="web -> x", measured="9%", limit="1%", verdict=Verdict.HEALTHY, breached=True)
    tick = Ticked(t=now, due=now, verdict=Verdict.HEALTHY, signals=(bad,))
    assert event(blocked, blocked, tick) == ["    over      errors at web -> x: 9% (limit 1%)"]
    assert event(blocked, blocked, msgspec.structs.replace(tick, signals=())) == []
    assert event(blocked, blocked, msgspec.structs.replace(tick, verdict=Verdict.REGRESSED)) == []


def test_a_check_that_says_the_same_again_is_counted_only(blocked: Run, now: datetime) -> None:
    """The gate asks all of them a second time."""
    again = Checked(t=now, state=State.ENFORCING, results=blocked.checks)
    assert event(blocked, blocked, again) == ["10:12:00 enforcing       4 checks: 2 √, 1 ×, 1 –"]


def test_several_runs_in_one_log_are_named(blocked: Run, now: datetime) -> None:
    """And times are in the reader's zone."""
    style = Style(zone=timezone(timedelta(hours=2)))
    line = event(blocked, blocked, Noted(t=now, text="x"), style, named=12)[0]
    assert line == "12:12:00 production   enforcing       x"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"state": State.VERIFYING}, "verifying       1m30s"),
        ({"state": State.ENFORCING}, "enforcing       waiting for the proxies' proof 1m30s/5m"),
        (
            {
                "state": State.ENFORCING,
                "proofs": {ProofKind.PROPAGATION: Proven(t=DONE, of=ProofKind.PROPAGATION, ok=True)},
            },
            "enforcing       waiting for the drain's end 1m30s",
        ),
        ({"state": State.ROLLING_BACK}, "rolling_back    waiting for the proxies' proof of the way back 1m30s/10m"),
        ({"state": State.WATCHING, "watch": Watch()}, "watching        no sample yet: 0s/30m of sight, tick 0/60"),
        ({"state": State.WATCHING, "held": "approval"}, "watching        held 1m30s: approval"),
    ],
)
def test_the_waiting_line_has_elapsed_and_limit(
    blocked: Run, now: datetime, fields: dict[str, object], expected: str
) -> None:
    """What for, how long, how much longer."""
    written = tuple(msgspec.structs.replace(write, done=now) for write in blocked.writes)
    run = msgspec.structs.replace(blocked, entered=now, writes=written, **fields)
    assert heartbeat(run, now + timedelta(seconds=90), Style(width=99)) == [f"10:13:30 {expected}"]


def test_the_waiting_line_counts_blindness_and_shows_the_worst_number(blocked: Run, now: datetime) -> None:
    """The deadline after which it rolls back."""
    watch = Watch(began=now, ticks=3, sight=60, verdict=Verdict.CANNOT_SEE, blind=now)
    run = msgspec.structs.replace(blocked, state=State.WATCHING, watch=watch)
    fine, bad = (
        Signal(name=name, where="w", measured="0.2%", limit="0.7%", verdict=Verdict.HEALTHY, breached=name == "bad")
        for name in ("fine", "bad")
    )
    last = Ticked(t=now, due=now, verdict=Verdict.HEALTHY, signals=(fine, bad))
    assert heartbeat(run, now + timedelta(minutes=4), Style(width=90), last=last, detail="missing p", named=11) == [
        "10:16:00 production  watching        cannot see: 1m/30m of sight, tick 3/60 · blind",
        "                                     4m/30m, then back · bad 0.2% (limit 0.7%) · missing p",
    ]


def test_the_recap_lists_every_namespace(rolled_back: Run, blocked: Run) -> None:
    """Those that were never begun too; the batch ends with the worst."""
    assert recap([rolled_back, blocked], not_started=["shop"]) == [
        "RECAP  production  rolled_back  ok=1 changed=2 skipped=1 failed=1",
        "RECAP  production  blocked      ok=2 changed=0 skipped=1 failed=1",
        "RECAP  shop        not started  ok=0 changed=0 skipped=0 failed=0",
        "Batch: ROLLED BACK (exit 5).",
    ]


def test_a_failed_rollback_is_the_loudest(rolled_back: Run) -> None:
    """Nobody takes it for a success."""
    run = msgspec.structs.replace(rolled_back, outcome=Outcome.ROLLBACK_FAILED.name, sentence="no proof", next="resume")
    assert result(run) == [
        "!" * 80,
        "ROLLBACK FAILED: production may still refuse plaintext. A human is needed now.",
        "Result: ROLLBACK FAILED (exit 6). no proof. Next: resume",
        "!" * 80,
    ]
    assert all(line.startswith("\x1b[1;97;41m") for line in result(run, Style(color=True)))


def test_a_run_that_goes_on_says_how_to_follow(rolled_back: Run) -> None:
    """No result yet."""
    run = msgspec.structs.replace(rolled_back, outcome="", state=State.WATCHING, held="approval")
    assert result(run) == [
        "Not ended: production is held, watching.",
        "Next: rollout resume production-20260302-1012-b4",
    ]


def test_exceptions_are_counted(rolled_back: Run) -> None:
    """`enforced, N exceptions`; what came since the flip is in nobody's list."""
    run = msgspec.structs.replace(rolled_back, outcome=Outcome.EXCEPTIONS.name, sentence="", next="")
    assert result(run) == ["Result: ENFORCED, WITH EXCEPTIONS (exit 0)."]


def test_a_problem_keeps_its_details_under_its_sentence() -> None:
    """Long ones wrap, credentials go, and a caret stays under its place."""
    shown = problem(["no answer", "    where   https://u:p@x", "    a:  b", "        ^", "    next    " + "word " * 20])
    assert shown == [
        "no answer",
        "    where   https://***@x",
        "    a:  b",
        "        ^",
        "    next    word word word word word word word word word word word word word",
        "      word word word word word word word",
    ]


def test_a_write_that_failed_says_so_in_the_recap(rolled_back: Run, now: datetime) -> None:
    """Refused writes count as failed."""
    failed = tuple(
        Write(seq=w.seq, change=w.change, intended=now, failed=FailureKind.REFUSED) for w in rolled_back.writes
    )
    run = msgspec.structs.replace(rolled_back, writes=failed)
    assert recap([run]) == ["RECAP  production  rolled_back  ok=1 changed=0 skipped=1 failed=2"]


def test_a_run_that_waits_for_an_approval_says_how_to_give_it(blocked: Run, now: datetime) -> None:
    """On the same cluster; a lab within this process can be reached by nobody else."""
    held = Held(t=now, on=True, why="approval of 'go'")
    style = Style(again=Again(cluster=("--context c",)))
    assert event(blocked, blocked, held, style) == [
        "10:12:00 enforcing       held: approval of 'go'",
        "    next      rollout approve production-20260302-1012-b4 --context c",
    ]
    lab = Style(again=Again(cluster=("--lab healthy",), ephemeral=True))
    assert event(blocked, blocked, held, lab) == ["10:12:00 enforcing       held: approval of 'go'"]
