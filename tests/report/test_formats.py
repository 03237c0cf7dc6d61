"""Layout, redaction, JSON, status, tables: what all the text rests on."""

import json
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.errors import Outcome
from rollout.model.finding import Status
from rollout.record.events import Fact
from rollout.record.run import Run
from rollout.record.spec import Spec
from rollout.record.state import State
from rollout.report import explain, layout, lifecycle, tables, text
from rollout.report.json import batch_json, plan_json, run_json
from rollout.report.layout import Style, cut, labelled, share, span, width_of, wrap
from rollout.report.redact import redact, redact_all
from rollout.report.status import status

ODD = "PeerAuthentication 東京東京東京/ünï-" + "x" * 200 + " \x1b[31m" + "é" * 50 + " 🚀" * 40


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300), st.integers(0, 120), st.booleans(), st.integers(0, 14))
def test_no_line_is_ever_wider_than_asked(words: str, width: int, ascii: bool, indent: int) -> None:  # noqa: A002
    """Whatever the cluster says; nothing but printable characters comes out."""
    style = Style(width=width, ascii=ascii)
    for line in [*wrap(words, style, first=" " * indent), *labelled("label", words, style), cut(words, width, style)]:
        assert width_of(line) <= style.columns
        assert line.isprintable()
        assert line.isascii() or not ascii


@pytest.mark.parametrize("width", [24, 40, 80, 200])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_screen_is_ever_wider_than_asked(
    width: int, ascii_only: bool, story: list[tuple[Run | None, Run, Fact]], now: datetime
) -> None:
    """Plans, events, recaps, results and status, with names that nobody expects."""
    style = Style(width=width, ascii=ascii_only)
    run = story[-1][1]
    odd = msgspec.structs.replace(
        run,
        spec=msgspec.structs.replace(run.spec, namespace=ODD, run=ODD, plan=True, playbook_name=ODD),
        sentence=ODD, why=ODD, next=ODD, held=ODD, blocked=(ODD,),
        checks=tuple(msgspec.structs.replace(check, reason=ODD, title=ODD) for check in run.checks),
    )  # fmt: skip
    lines = [
        *text.header(odd.spec, "plan", ODD, style=style),
        *text.plan(odd, style),
        *text.recap([odd, run], style, not_started=[ODD]),
        *status([odd, run], now, style),
        *explain.explain("probes", ODD, ODD, ODD, style),
        *tables.exit_codes(style),
        *text.problem([ODD, f"    {ODD}"], style),
        *text.heartbeat(odd, now, style, detail=ODD, named=9),
        *(line for before, _, happened in story for line in text.event(before, odd, happened, style, named=True)),
    ]
    assert [line for line in lines if width_of(line) > width] == []
    assert [line for line in lines if not line.isprintable() or (ascii_only and not line.isascii())] == []


def test_colour_is_a_parameter_and_changes_no_word(blocked: Run) -> None:
    """The symbol and the word say the same."""
    coloured = text.plan(blocked, Style(color=True))
    assert any("\x1b[31m× all traffic" in line for line in coloured)
    assert [re.sub(r"\x1b\[[\d;]*m", "", line) for line in coloured] == text.plan(blocked)


def test_ascii_has_a_sign_for_each_mark(blocked: Run) -> None:
    """For terminals and logs that have nothing else."""
    lines = text.plan(blocked, Style(ascii=True))
    assert all(line.isascii() for line in lines)
    assert "x all traffic is already mutual TLS (plaintext-callers)" in lines
    assert "+ Kubernetes probes survive STRICT (probes)" in lines


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0s"),
        (45, "45s"),
        (90, "1m30s"),
        (1800, "30m"),
        (5400, "1h30m"),
        (691200, "8d"),
        (90061, "1d1h"),
        (-60, "-1m"),
    ],
)
def test_spans(seconds: int, expected: str) -> None:
    """Two units at most."""
    assert span(seconds) == expected
    assert span(timedelta(seconds=seconds)) == expected


@pytest.mark.parametrize(
    ("part", "expected"),
    [(1.0, "100%"), (0.99999, ">99.9%"), (0.999, "99.9%"), (0.5, "50%"), (0.0001, "<0.1%"), (0.0, "0%")],
)
def test_shares_never_round_to_all_or_nothing(part: float, expected: str) -> None:
    """99.999% mutual TLS is not all of it."""
    assert share(part) == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("https://ana:s3cret@prom.example/x", "https://***@prom.example/x"),
        ("https://ana:p@ss@prom.example", "https://***@prom.example"),
        ("postgres://app:pw@db:5432/x", "postgres://***@db:5432/x"),
        ("Authorization: Bearer abcdef.123-_x", "Authorization: Bearer ***"),
        ("authorization: basic dXNlcjpwYXNz", "authorization: basic ***"),
        ("token is eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_def", "token is ***"),
        ("https://x/q?access_token=abc&b=1", "https://x/q?access_token=***&b=1"),
        ("DB_PASSWORD=hunter2 ORDERS_URL=http://orders", "DB_PASSWORD=*** ORDERS_URL=http://orders"),
        ("password: 'a b c', next", "password: ***, next"),
        ('{"client_secret": "abc"}', '{"client_secret": ***}'),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- x", "-----PRIVATE KEY ***----- x"),
        ("clientSecret: abc", "clientSecret: ***"),
        ("the token: expired; make a secret: kubectl create", "the token: expired; make a secret: kubectl create"),
        ("unknown -> production/orders", "unknown -> production/orders"),
        ('rate(istio_requests_total{reporter="source"}[2m])', 'rate(istio_requests_total{reporter="source"}[2m])'),
        ("ServiceAccount ana@example.com", "ServiceAccount ana@example.com"),
    ],
)
def test_credentials_are_cut_out(before: str, after: str) -> None:
    """And nothing else is."""
    assert redact(before) == after


def test_credentials_are_cut_out_of_plain_values() -> None:
    """By what stands in a text, and by what a field is called."""
    value = {"a": ["https://u:p@x"], "apiKey": "abc", "n": 1, "b": {"token": "x", "tokens": 3}}
    assert redact_all(value) == {"a": ["https://***@x"], "apiKey": "***", "n": 1, "b": {"token": "***", "tokens": 3}}


@pytest.mark.parametrize(
    "piece",
    ["a.", "a-", "token", "a-token: ", "'token", 'password="', ": ", "://", "eyJ", "a@", "-----BEGIN PRIVATE KEY-----"],
)
def test_cutting_stays_fast_on_long_texts(piece: str) -> None:
    """A log line of 100 kB is no denial of service; processor time, because machines are shared."""
    begun = time.process_time()
    redact(piece * (100_000 // len(piece)))
    assert time.process_time() - begun < 3


def test_a_plans_json_is_versioned_and_whole(blocked: Run) -> None:
    """What a pipeline decides by."""
    plan: Any = json.loads(json.dumps(plan_json(blocked)))
    assert plan["format_version"] == "1.1"
    assert plan["result"] == {"outcome": "blocked", "label": "blocked", "exit_code": 3}
    assert plan["totals"] == {"add": 0, "change": 1, "remove": 0, "blocked": 1}
    assert plan["estimate_seconds"] == 2040
    assert plan["mutual_share"] == {"http": 0.9986, "tcp": 1.0}
    change = plan["changes"][0]
    assert change["object"] == "PeerAuthentication production/default"
    assert change["fields"] == [{"field": "spec.mtls.mode", "before": "PERMISSIVE", "after": "STRICT"}]
    assert change["undo"] == [{"field": "spec.mtls.mode", "before": "STRICT", "after": "PERMISSIVE"}]
    assert (change["server_dry_run"], change["blocked_by"]) == ("both accepted", ["plaintext-callers"])
    assert plan["checks"][1]["findings"][0]["query"].endswith("[8d])")


def test_a_runs_json_adds_how_far_it_is(rolled_back: Run) -> None:
    """Signals, watch, proofs and the recap's counts."""
    run: Any = json.loads(json.dumps(run_json(rolled_back)))
    assert run["signals"][0]["name"] == "edge-survival"
    assert run["watch"]["ticks"] == 9
    assert run["recap"] == {"ok": 1, "changed": 2, "skipped": 1, "failed": 1}
    assert run["proofs"]["propagation"]["ok"] is True
    assert batch_json([rolled_back])["runs"] == [run_json(rolled_back)]


def test_json_of_a_run_that_goes_on_has_no_result(rolled_back: Run, make_spec: Callable[..., Spec]) -> None:
    """And no evidence where none was read; credentials are cut."""
    origin = msgspec.structs.replace(make_spec().origin, prometheus="https://u:p@prom")
    run = msgspec.structs.replace(rolled_back, outcome="", evidence=None, spec=make_spec(origin=origin))
    plain = run_json(run)
    assert (plain["result"], plain["evidence"], plain["mutual_share"]) == (None, None, {})
    assert plain["origin"]["prometheus"] == "https://***@prom"


def test_status_is_a_table_without_spaces_in_cells(rolled_back: Run, blocked: Run, now: datetime) -> None:
    """NAME first, AGE last, what needs a human on top."""
    begun = msgspec.structs.replace(blocked, outcome="", held="approval", state=State.CHECKING)
    lines = status([begun, rolled_back], now + timedelta(hours=26))
    assert [line.split() for line in lines] == [
        ["NAME", "STATE", "RESULT", "SIGHT", "RUN", "AGE"],
        ["production", "rolled_back", "rolled_back", "4m/30m", "production-20260302-1012-b4", "1d2h"],
        ["production", "checking", "held", "-", "production-20260302-1012-b4", "1d2h"],
    ]
    assert status([], now) == ["no runs"]


@pytest.mark.parametrize(
    ("outcome", "cell"),
    [(Outcome.UNCHANGED, "enforced,unchanged"), (Outcome.UNOBSERVED, "enforced,unobserved"),
     (Outcome.EXCEPTIONS, "enforced,with-exceptions"), (Outcome.BLOCKED, "blocked")],
)  # fmt: skip
def test_the_words_of_an_end_in_a_cell(unchanged: Run, now: datetime, outcome: Outcome, cell: str) -> None:
    """One spelling for all of them: after a comma, with no space in it and no bracket."""
    run = msgspec.structs.replace(unchanged, outcome=outcome.name)
    assert cell == status([run], now)[1].split()[2]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_no_end_has_a_space_or_a_bracket_in_its_cell(unchanged: Run, now: datetime, outcome: Outcome) -> None:
    """Ends to come included."""
    row = status([msgspec.structs.replace(unchanged, outcome=outcome.name)], now)[1]
    assert (6, []) == (len(row.split()), [char for char in "()" if char in row])


@pytest.mark.parametrize(
    ("state", "outcome", "failed"),
    [
        (State.VERIFYING, "INTERRUPTED", 0),
        (State.PERMISSIVE, "TERMINATED", 0),
        (State.PERMISSIVE, "PAUSED", 0),
        (State.CONFIRMING, "INTERRUPTED", 1),
        (State.CHECKING, "PAUSED", 1),
        (State.BLOCKED, "BLOCKED", 1),
    ],
)
def test_what_a_run_never_came_to_has_not_failed(blocked: Run, state: State, outcome: str, failed: int) -> None:
    """`plaintext-callers` keeps a run from leaving `confirming`; one that was stopped earlier was not kept by it."""
    run = msgspec.structs.replace(blocked, state=state, outcome=outcome)
    assert ["plaintext-callers"] == [result.check for result in lifecycle.blocking(run)]
    assert failed == lifecycle.tally(run)["failed"]


def test_explain_has_why_and_fix() -> None:
    """Paragraphs are kept."""
    assert explain.explain(
        "probes", "Probes survive", "One.\n\nTwo.", "Do.", severity="blocking", state="checking"
    ) == [
        "probes: Probes survive",
        "blocking, guards the exit of checking",
        "",
        "Why",
        "    One.",
        "",
        "    Two.",
        "",
        "Fix",
        "    Do.",
    ]


def test_the_tables_of_exit_codes_name_every_end() -> None:
    """From the enum alone."""
    terminal, markdown = " ".join(tables.exit_codes()), "\n".join(tables.exit_codes_markdown())
    for end in Outcome:
        assert end.label in terminal
        assert f"| {end.exit_code} | {end.label} | {end.meaning} | {end.changed} |" in markdown


def test_every_check_status_has_a_mark_and_a_tone() -> None:
    """Colour never stands alone."""
    assert set(layout.MARKS) == set(Status)
    assert len(set(layout.MARKS.values())) == len(layout.MARKS)
