"""The dry run that a team lead reads."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from rollout.errors import Outcome
from rollout.model.finding import CheckResult, Finding, Severity, Status
from rollout.model.istio import Mode
from rollout.model.kubernetes import Ref
from rollout.record.change import Change, Policy
from rollout.record.run import Run, Write
from rollout.record.spec import Exemption, Fixed, Spec
from rollout.record.state import State
from rollout.report import findings
from rollout.report.layout import Style
from rollout.report.overview import overview
from rollout.report.text import header, plan, plans


def test_the_header_says_where_and_with_what(make_spec: Callable[..., Spec]) -> None:
    """Context, cluster, versions, playbook, namespace, mode; the marker for a dry run."""
    assert header(make_spec(), "plan", "1.24.2") == [
        "[DRY RUN] context kind-demo · cluster https://127.0.0.1:6443",
        "Istio 1.24.2 (made for Istio 1.20–1.32, Kubernetes 1.25–1.36)",
        "playbook strict-mtls.yaml (sha 3f2a9c) · namespace production · mode plan",
    ]


@pytest.mark.parametrize(
    ("istio", "kubernetes", "warned"),
    [
        ("1.20.0", "v1.25.0", []),
        ("1.32.1-distroless", "v1.36.2", []),
        ("", "", []),
        ("1.19.9", "v1.30.1", ["Istio 1.19.9 is older than what rollout is made for, 1.20–1.32"]),
        ("2.0.0", "v1.24.9+k3s1", ["Istio 2.0.0 is newer than what rollout is made for, 1.20–1.32",
                                   "Kubernetes v1.24.9+k3s1 is older than what rollout is made for, 1.25–1.36"]),
        ("latest", "1.37", ["Istio latest tells no release; rollout is made for 1.20–1.32",
                            "Kubernetes 1.37 is newer than what rollout is made for, 1.25–1.36"]),
    ],
)  # fmt: skip
def test_the_header_warns_of_versions_outside(
    make_spec: Callable[..., Spec], istio: str, kubernetes: str, warned: list[str]
) -> None:
    """Both ends belong to the range; what is not known is not warned of."""
    lines = header(make_spec(), "plan", istio, kubernetes, Style(width=400))
    assert [f"warning: {text}" for text in warned] == [line for line in lines if line.startswith("warning")]


def test_the_header_fits_a_terminal(make_spec: Callable[..., Spec]) -> None:
    """Items are not broken where they need not be; what the API server serves is said."""
    lines = header(make_spec(), "migrate", "1.24.2", "v1.31.2", served="security.istio.io/v1beta1", names=["a", "b"])
    assert lines == [
        "[DRY RUN] context kind-demo · cluster https://127.0.0.1:6443",
        "Istio 1.24.2 · Kubernetes v1.31.2 · PeerAuthentication v1beta1",
        "  (made for Istio 1.20–1.32, Kubernetes 1.25–1.36)",
        "playbook strict-mtls.yaml (sha 3f2a9c) · mode migrate",
        "2 namespaces: a, b",
    ]


def test_the_header_names_what_people_accepted(waived_spec: Spec) -> None:
    """Waivers are shown in every report, with owner and end."""
    assert header(waived_spec, "migrate")[3:] == [
        "waived probes=Pod production/x-*: goes in May (up to 0.5/s); owner ana, until",
        "  Mon 2 Mar 10:12",
    ]


def test_the_header_names_what_the_record_cannot_know(make_spec: Callable[..., Spec]) -> None:
    """A repaired caller, the date since when plaintext is accepted, an exemption."""
    at = datetime(2026, 3, 1, 9, tzinfo=UTC)
    spec = make_spec(
        fixed=(Fixed(edge="a/b -> c/d", at=at, reason="redeployed"),),
        permissive_since=at,
        permissive_reason="see the wiki",
        exemptions=(Exemption(object="PeerAuthentication a/b", reason="old client"),),
    )
    assert header(spec, "plan")[3:] == [
        "exempt PeerAuthentication a/b: old client",
        "fixed a/b -> c/d at Sun 1 Mar 09:00: redeployed",
        "plaintext accepted since Sun 1 Mar 09:00, as said: see the wiki",
    ]


BLOCKED = """
[DRY RUN] verifying
√ every right that the run needs, undo first: 9 rights
√ every pod runs the sidecar, and its traffic is captured (injection)
[DRY RUN] permissive
nothing to change
[DRY RUN] confirming
× plaintext: 3 edges, 1 plaintext, 8d; sight 12/12 proxies
    window    Sun 22 Feb 10:12 to Mon 2 Mar 10:12
    mTLS      99.9% of 10,000 requests, 100% of 40 connections
    edges     unknown -> production/orders: plaintext, http, 14 requests, last
              Mon 2 Mar 02:00
              web/shop -> production/orders: mutual TLS, http, 9,986 requests
              web/shop -> production/orders: mutual TLS, tcp, 40 connections, 3
              open
    cut       3 open connections of healthy callers, when the drain ends
× all traffic is already mutual TLS (plaintext-callers)
    measured  1 plaintext edge: unknown (no sidecar, so no name) ->
              production/orders, 14 requests, daily
    limit     0 edges
    window    8d to Mon 2 Mar 10:12, sight 12/12 proxies
    query     increase(istio_requests_total{reporter=~"destination|waypoint",co…
    where     suspects, likeliest first:
              1. billing/invoicer (CronJob, no sidecar; env names
              orders.production)
    fix       label its pod template sidecar.istio.io/inject=true, or exempt the
              port
[DRY RUN] checking
√ Kubernetes probes survive STRICT (probes)
– istioctl analyze shows no errors (istioctl-analyze): skipped, no istioctl on
  PATH
[DRY RUN] enforcing, then watching 30m of sight
~ PeerAuthentication production/default   spec.mtls.mode: PERMISSIVE -> STRICT
    undo: mode back to PERMISSIVE   server dry run: both accepted
    blocked by: × plaintext-callers
Plan: 0 to add, 1 to change, 0 to remove; 1 blocked. About 34m.
Result: BLOCKED (exit 3). production was not flipped; nothing was changed.
Next: rollout explain plaintext-callers
"""


def test_a_blocked_plan(blocked: Run) -> None:
    """Every state, what it found, what it would do, and why it will not."""
    assert BLOCKED.strip().splitlines() == plan(blocked)


def test_nothing_to_change_is_one_bold_line(unchanged: Run) -> None:
    """No blocks of states that were not entered."""
    assert plan(unchanged) == [
        "[DRY RUN] verifying",
        "√ every pod runs the sidecar, and its traffic is captured (injection)",
        "No changes. production is STRICT already.",
        "Result: ENFORCED (UNCHANGED) (exit 0). production is STRICT already.",
    ]
    assert "\x1b[1mNo changes. production is STRICT already.\x1b[0m" in plan(unchanged, Style(color=True))


def test_short_leaves_out_what_is_ok(blocked: Run) -> None:
    """What is not ok stays, with its details."""
    text = "\n".join(plan(blocked, short=True))
    assert "√" not in text
    assert "plaintext-callers" in text
    assert "skipped, no istioctl on" in text


def test_a_state_that_was_not_reached_says_why(blocked: Run) -> None:
    """No state is left out in silence."""
    run = msgspec.structs.replace(
        blocked, state=State.BLOCKED, came_from=State.VERIFYING, why="no Istio", checks=(), writes=(), proofs={}
    )
    lines = plan(run)
    assert lines.count("– not reached: no Istio") == 3
    assert "– no change planned: no Istio" in lines
    assert "    blocked: plaintext-callers: 1 finding" in lines


def test_several_fields_have_a_line_each(blocked: Run) -> None:
    """Ports too, and the way back names them."""
    ref = Ref("PeerAuthentication", "production", "default")
    before = Policy(Mode.PERMISSIVE, {"8080": Mode.PERMISSIVE})
    change = Change(ref=ref, before=before, after=Policy(Mode.STRICT))
    run = msgspec.structs.replace(blocked, writes=(Write(seq=1, change=change, intended=blocked.entered),), checks=())
    lines = plan(run)
    at = lines.index("~ PeerAuthentication production/default")
    assert lines[at + 1 : at + 5] == [
        "    spec.mtls.mode: PERMISSIVE -> STRICT",
        "    spec.portLevelMtls.8080.mode: PERMISSIVE -> absent",
        "    undo: spec.mtls.mode back to PERMISSIVE, spec.portLevelMtls.8080.mode back",
        "      to PERMISSIVE",
    ]
    assert "    server dry run: not proven: none is recorded" in lines


def test_a_created_policy_is_an_addition_in_its_own_state(blocked: Run) -> None:
    """It stands under permissive, with what takes it back."""
    ref = Ref("PeerAuthentication", "production", "default")
    created = Change(ref=ref, before=None, after=Policy(Mode.PERMISSIVE))
    write = Write(seq=1, change=created, intended=blocked.entered, accepted=("server dry run: accepted",))
    lines = plan(msgspec.structs.replace(blocked, writes=(write, *blocked.writes)))
    at = lines.index("[DRY RUN] permissive")
    assert lines[at + 1] == "+ PeerAuthentication production/default   spec.mtls.mode: absent -> PERMISSIVE"
    assert "Plan: 1 to add, 1 to change, 0 to remove; 1 blocked. About 34m." in lines


@pytest.mark.parametrize(
    ("status", "severity", "waived", "expected"),
    [
        (Status.FAILED, Severity.BLOCKING, "", "× a title (c)"),
        (Status.FAILED, Severity.BLOCKING, "goes in May", "‼ a title (c): waived"),
        (Status.WARNING, Severity.WARNING, "", "‼ a title (c)"),
    ],
)
def test_a_waived_failure_is_a_warning_that_says_so(
    status: Status, severity: Severity, waived: str, expected: str
) -> None:
    """The reason stands under it."""
    finding = Finding(ref=Ref("Pod", "a", "b"), field="spec.x", severity=severity, waived=waived, new=False)
    result = CheckResult(check="c", title="a title", state="checking", status=status, findings=(finding,))
    lines = findings.check(result, Style())
    assert lines[:3] == [expected, "    object    Pod a/b spec.x", "              so already, before any flip"]
    assert ("    waived    goes in May" in lines) is bool(waived)


def test_unknown_and_skipped_have_their_reason() -> None:
    """No data never passes, and says what is missing."""
    for status, line in (
        (Status.UNKNOWN, "? t (c): unknown, pods: 403"),
        (Status.SKIPPED, "– t (c): skipped, pods: 403"),
    ):
        result = CheckResult(check="c", title="t", state="checking", status=status, reason="pods: 403")
        assert findings.check(result, Style()) == [line]


def test_evidence_names_suspects_where_no_finding_does(blocked: Run) -> None:
    """Who the nameless caller might be, its rhythm and when the look-back is clean."""
    assert blocked.evidence
    lines = findings.evidence(blocked.evidence, Style())
    assert lines[-7:] == [
        "    caller    unknown -> production/orders, daily, clean from Tue 10 Mar 02:00",
        "              on",
        "    suspects  likeliest first:",
        "              1. billing/invoicer (CronJob, no sidecar): env ORDERS_URL names",
        "              orders.production",
        "    fix       add a sidecar",
        '    query     increase(istio_requests_total{reporter=~"destination|waypoint",co…',
    ]


def test_a_real_run_says_what_was_written_and_taken_back(rolled_back: Run) -> None:
    """The same blocks, with times, the signals and no totals."""
    lines = plan(rolled_back)
    at = lines.index("enforcing, then watching 30m of sight")
    assert lines[at + 2 :] == [
        "~ PeerAuthentication production/default   spec.mtls.mode: PERMISSIVE -> STRICT",
        "    undo: mode back to PERMISSIVE   server dry run: not proven: none is recorded",
        "    written 10:12:00, taken back 10:17:00",
        "    baseline  1 edge, 1 workload, 0% of requests fail",
        "rolling_back: proven",
        "    signal    edge-survival at web/shop -> payments/ledger",
        "    measured  46 tried, 0 arrived, on 2 new samples",
        "    limit     1 arrives",
        "    window    2m",
        "    query     increase(x[2m])",
        "    beside    Deployment orders 41→42 at 10:58",
        "Result: ROLLED BACK (exit 5). production accepts plaintext again since 10:17:00;",
        "nothing to do tonight. Next: kubectl -n web edit destinationrule ledger",
    ]


def test_a_plan_that_is_not_to_flip_says_so(blocked: Run) -> None:
    """`--until`, or a playbook without `strict`."""
    until = msgspec.structs.replace(blocked.spec, until="checking")
    bare = msgspec.structs.replace(blocked.spec, tasks=())
    for spec, why in ((until, "--until checking"), (bare, "the playbook asks for no `strict`")):
        lines = plan(msgspec.structs.replace(blocked, spec=spec, writes=()))
        assert f"– no change planned: {why}" in lines


def test_many_edges_are_counted_not_listed(clean: Any) -> None:
    """Ten, and how to see the rest."""
    many = msgspec.structs.replace(clean, edges=clean.edges * 10)
    assert "              and 10 more (all of them: -o json)" in findings.evidence(many, Style())


def test_a_batch_names_each_namespace_and_sums_up(blocked: Run, unchanged: Run) -> None:
    """One total, one result each."""
    lines = plans([blocked, unchanged])
    assert lines[0] == "[DRY RUN] namespace production"
    assert "Plan: 0 to add, 1 to change, 0 to remove; 1 blocked. About 34m." in lines
    assert sum(line.startswith("Result of production: ") for line in lines) == 2
    assert lines[-1] == "Batch: BLOCKED (exit 3)."


def test_a_plan_that_cannot_see_counts_as_blocked(blocked: Run) -> None:
    """Nothing was found wrong, and nothing was seen."""
    blind = msgspec.structs.replace(
        blocked, state=State.VERIFYING, came_from=State.PLANNED, outcome=Outcome.CANNOT_SEE.name, writes=(), checks=(),
        blocked=(), sentence="no answer from https://10.0.0.1", next="",
    )  # fmt: skip
    assert plan(blind)[-2:] == [
        "Plan: 0 to add, 0 to change, 0 to remove; 1 blocked.",
        "Result: CANNOT SEE (exit 4). no answer from https://10.0.0.1.",
    ]


def test_every_marker_is_on_every_block_of_a_dry_run(blocked: Run) -> None:
    """And on none of a real run's."""
    real = msgspec.structs.replace(blocked, spec=msgspec.structs.replace(blocked.spec, plan=False))
    assert sum(line.startswith("[DRY RUN]") for line in plan(blocked)) == 5
    assert not any("[DRY RUN]" in line for line in plan(real))


@pytest.mark.parametrize("end", list(Outcome))
def test_every_end_has_a_result_line(blocked: Run, end: Outcome) -> None:
    """With its exit code."""
    text = " ".join(plan(msgspec.structs.replace(blocked, outcome=end.name)))
    assert f"(exit {end.exit_code})" in text


def test_the_table_names_what_stands_in_the_way(blocked: Run, unchanged: Run) -> None:
    """One line a namespace: result, plaintext edges, the checks that block, the reasons that no check has."""
    refused = msgspec.structs.replace(blocked, checks=(), evidence=None, blocked=("Istio is not installed",))
    assert overview([blocked, unchanged, refused]) == [
        "NAMESPACE   RESULT                PLAINTEXT  BLOCKED BY",
        "production  blocked               1          plaintext-callers",
        "production  enforced (unchanged)  -",
        "production  blocked               -          Istio is not installed",
    ]
