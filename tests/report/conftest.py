"""Runs to print, each folded from its events as every run is."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import pytest

from rollout.model.finding import CheckResult, Finding, Severity, Status
from rollout.model.istio import Mode
from rollout.model.judgement import Baseline, EdgeBaseline, Signal, Verdict, WorkloadBaseline
from rollout.model.kubernetes import Ref
from rollout.model.traffic import Edge, Evidence, EvidenceVerdict, Family, Offender, Party, Sight, Suspect
from rollout.record.change import Change, Policy
from rollout.record.events import (
    Baselined,
    Checked,
    Confirmed,
    Done,
    Ended,
    Fact,
    Intended,
    Moved,
    ProofKind,
    Proven,
    Started,
    Ticks,
)
from rollout.record.run import Run, fold
from rollout.record.spec import Origin, Spec, Task, Waiver
from rollout.record.state import State

NOW = datetime(2026, 3, 2, 10, 12, tzinfo=UTC)
DEFAULT = Ref("PeerAuthentication", "production", "default")
FLIP = Change(ref=DEFAULT, before=Policy(Mode.PERMISSIVE), after=Policy(Mode.STRICT), uid="u1")
ORDERS = Party("production", "orders")
PROXIES = tuple(f"p{n}" for n in range(12))
TASKS = (
    Task(name="Require mutual TLS", keyword="strict", args={"propagation": "PT5M"}, line=23),
    Task(name="Watch", keyword="watch", line=25, args={
        "for": "PT1800S", "interval": "PT30S", "blind_deadline": "PT30M", "rollback_timeout": "PT10M",
    }),
)  # fmt: skip


def spec(**changes: object) -> Spec:
    """The run of the screens."""
    fields: dict[str, object] = {
        "run": "production-20260302-1012-b4",
        "namespace": "production",
        "tasks": TASKS,
        "started": NOW,
        "playbook_sha": "3f2a9c" + "0" * 58,
        "origin": Origin(context="kind-demo", server="https://127.0.0.1:6443"),
        "plan": True,
    }
    return Spec(**{**fields, **changes})  # type: ignore[arg-type]


def evidence(verdict: EvidenceVerdict = EvidenceVerdict.PLAINTEXT) -> Evidence:
    """One nameless plaintext caller beside healthy traffic; or none."""
    healthy = (
        Edge(Party("web", "shop"), ORDERS, "orders.production", Family.HTTP, "mutual_tls", 9986.0),
        Edge(Party("web", "shop"), ORDERS, "orders.production", Family.TCP, "mutual_tls", 40.0, 3.0),
    )
    last = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
    plain = Edge(Party("", "unknown"), ORDERS, "orders.production", Family.HTTP, "none", 14.0, 0.0, None, last)
    suspect = Suspect(
        "billing/invoicer (CronJob, no sidecar)", "env ORDERS_URL names orders.production", "add a sidecar"
    )
    bad = verdict is EvidenceVerdict.PLAINTEXT
    return Evidence(
        namespace="production",
        verdict=verdict,
        start=NOW - timedelta(days=8),
        end=NOW,
        sight=Sight(PROXIES, PROXIES),
        edges=(*healthy, plain) if bad else healthy,
        offenders=(Offender(plain, (suspect,), "daily", last + timedelta(days=8)),) if bad else (),
        query='increase(istio_requests_total{reporter=~"destination|waypoint",connection_security_policy!="mutual_tls"}[8d])',
    )


def passed(check: str, title: str, state: str, **changes: object) -> CheckResult:
    """A check's answer; ok unless said otherwise."""
    fields = {"check": check, "title": title, "state": state, "status": Status.OK, **changes}
    return CheckResult(**fields)  # type: ignore[arg-type]


CALLERS = passed(
    "plaintext-callers",
    "all traffic is already mutual TLS",
    "confirming",
    status=Status.FAILED,
    findings=(
        Finding(
            ref=Ref("Namespace", "", "production"),
            measured="1 plaintext edge: unknown (no sidecar, so no name) -> production/orders, 14 requests, daily",
            limit="0 edges",
            window="8d to Mon 2 Mar 10:12, sight 12/12 proxies",
            query=evidence().query,
            where=(
                "suspects, likeliest first:",
                "1. billing/invoicer (CronJob, no sidecar; env names orders.production)",
            ),
            fix="label its pod template sidecar.istio.io/inject=true, or exempt the port",
            check="plaintext-callers",
            severity=Severity.BLOCKING,
        ),
    ),
)
INJECTION = passed("injection", "every pod runs the sidecar, and its traffic is captured", "verifying")
PROBES = passed("probes", "Kubernetes probes survive STRICT", "checking")
ANALYZE = passed(
    "istioctl-analyze",
    "istioctl analyze shows no errors",
    "checking",
    status=Status.SKIPPED,
    reason="no istioctl on PATH",
)


def move(source: State, to: State, why: str = "", **fields: object) -> Moved:
    """One move."""
    return Moved(t=NOW, from_=source, to=to, why=why, **fields)  # type: ignore[arg-type]


def numbered(events: Iterable[Fact]) -> list[Fact]:
    """The events with their places in the journal."""
    import msgspec

    return [msgspec.structs.replace(event, seq=number) for number, event in enumerate(events, 1)]


def blocked_events() -> list[Fact]:
    """A plan that finds one plaintext caller and goes on to show the flip."""
    s = State
    end = "production was not flipped; nothing was changed"
    return numbered(
        [
            Started(t=NOW, spec=spec()),
            move(s.PLANNED, s.VERIFYING),
            Proven(t=NOW, of=ProofKind.RIGHTS, ok=True, detail="9 rights"),
            Checked(t=NOW, state=s.VERIFYING, results=(INJECTION,)),
            move(s.VERIFYING, s.PERMISSIVE),
            move(s.PERMISSIVE, s.CONFIRMING),
            Confirmed(t=NOW, evidence=evidence()),
            Checked(t=NOW, state=s.CONFIRMING, results=(CALLERS,)),
            move(s.CONFIRMING, s.BLOCKED, "plaintext-callers: 1 finding", outcome="BLOCKED"),
            move(s.BLOCKED, s.CHECKING),
            Checked(t=NOW, state=s.CHECKING, results=(PROBES, ANALYZE)),
            move(s.CHECKING, s.ENFORCING),
            Intended(t=NOW, change=FLIP, accepted=("server dry run: both accepted",)),
            Ended(t=NOW, outcome="BLOCKED", sentence=end, next="rollout explain plaintext-callers"),
        ]
    )


def rolled_back_events() -> list[Fact]:
    """A real run that loses an edge and takes the flip back."""
    s = State
    lost = Signal(
        name="edge-survival", where="web/shop -> payments/ledger", measured="46 tried, 0 arrived, on 2 new samples",
        limit="1 arrives", verdict=Verdict.REGRESSED, breached=True, window="2m", query="increase(x[2m])",
        note="Deployment orders 41→42 at 10:58",
    )  # fmt: skip
    at = NOW + timedelta(minutes=5)
    edge = EdgeBaseline(Party("web", "shop"), ORDERS, "orders", Family.HTTP, 1.0, 1.0)
    base = Baseline(
        at=NOW, window=3600, sight=Sight(PROXIES, PROXIES), edges=(edge,), workloads=(WorkloadBaseline("d", 1, 1),)
    )
    tick = {"since": NOW, "until": NOW + timedelta(minutes=4), "n": 8, "sight": 240.0}
    return numbered(
        [
            Started(t=NOW, spec=spec(plan=False)),
            move(s.PLANNED, s.VERIFYING),
            move(s.VERIFYING, s.PERMISSIVE),
            move(s.PERMISSIVE, s.CONFIRMING),
            Confirmed(t=NOW, evidence=evidence(EvidenceVerdict.CLEAN)),
            move(s.CONFIRMING, s.CHECKING),
            Checked(t=NOW, state=s.CHECKING, results=(PROBES, ANALYZE)),
            move(s.CHECKING, s.ENFORCING),
            Baselined(t=NOW, baseline=base),
            Intended(t=NOW, change=FLIP),
            Done(t=NOW, of=10, change=FLIP, resource_version="2"),
            Proven(t=NOW, of=ProofKind.PROPAGATION, ok=True, detail="12/12 proxies (31s)"),
            move(s.ENFORCING, s.WATCHING),
            Ticks(t=NOW, verdict=Verdict.HEALTHY, **tick),  # type: ignore[arg-type]
            Ticks(t=at, verdict=Verdict.REGRESSED, since=at, until=at, breached=(lost.key,)),
            Moved(t=at, from_=s.WATCHING, to=s.ROLLING_BACK, why=f"{lost.where} is lost", signals=(lost,)),
            Done(t=at, of=0, change=FLIP.inverse, resource_version="3", undo=True),
            Moved(t=at, from_=s.ROLLING_BACK, to=s.ROLLED_BACK, why="proven"),
            Ended(
                t=at, outcome="ROLLED_BACK", next="kubectl -n web edit destinationrule ledger",
                sentence="production accepts plaintext again since 10:17:00; nothing to do tonight",
            ),
        ]
    )  # fmt: skip


def unchanged_events() -> list[Fact]:
    """STRICT already."""
    s = State
    return numbered(
        [
            Started(t=NOW, spec=spec()),
            move(s.PLANNED, s.VERIFYING),
            Checked(t=NOW, state=s.VERIFYING, results=(INJECTION,)),
            move(s.VERIFYING, s.ENFORCED),
            Ended(t=NOW, outcome="UNCHANGED", sentence="production is STRICT already", next=""),
        ]
    )


@pytest.fixture
def now() -> datetime:
    """The screens' time."""
    return NOW


@pytest.fixture
def make_spec() -> Callable[..., Spec]:
    """A spec with changes."""
    return spec


@pytest.fixture
def blocked() -> Run:
    """A plan that is blocked."""
    return fold(blocked_events())


@pytest.fixture
def rolled_back() -> Run:
    """A run that was taken back."""
    return fold(rolled_back_events())


@pytest.fixture
def unchanged() -> Run:
    """A plan without changes."""
    return fold(unchanged_events())


@pytest.fixture
def story() -> list[tuple[Run | None, Run, Fact]]:
    """The rolled-back run, event by event: before, after, event."""
    events = rolled_back_events()
    runs: list[Run | None] = [None, *(fold(events[:n]) for n in range(1, len(events) + 1))]
    return [(runs[n], run, event) for n, event in enumerate(events) if (run := runs[n + 1])]


@pytest.fixture
def waived_spec() -> Spec:
    """Somebody accepted something."""
    waiver = Waiver(
        check="probes", object="Pod production/x-*", reason="goes in May", owner="ana", expires=NOW, max_rate=0.5
    )
    return spec(waivers=(waiver,), plan=False)


@pytest.fixture
def clean() -> Evidence:
    """Nothing in plaintext."""
    return evidence(EvidenceVerdict.CLEAN)
