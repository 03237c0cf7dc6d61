"""What the runner makes of a check's answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from rollout.checks import run
from rollout.checks.meta import Meta
from rollout.checks.registry import Check
from rollout.checks.view import CannotTell, Findings, NotChecked, UndeclaredRead, View
from rollout.model.finding import CheckResult, Finding, Severity, Status
from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.kubernetes import Container, Metadata, Object, Pod, PodSpec, Ref, Service, ServicePort, ServiceSpec
from rollout.model.traffic import Evidence
from rollout.ports import AnalyzerMessage
from rollout.record.change import Change, Policy
from rollout.record.spec import Waiver
from rollout.record.state import State
from rollout.world.reads import Objects
from rollout.world.world import Needs, Reading, Unreadable, World

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DOC = "It is so.\n\nWhy: because\nof that.\n\nFix: do it.\n"
REF = Ref("PeerAuthentication", "production", "default")
Run = Callable[..., CheckResult]


def _view(**readings: object) -> View:
    now = World({Objects(kind): Reading(NOW, ()) for kind in (PeerAuthentication, Service)})
    flip = Change(ref=REF, before=None, after=Policy(Mode.STRICT))
    return View(now=now, then=now.after(flip), target="production", **readings)  # type: ignore[arg-type]


@pytest.fixture
def run_one(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a check that is made on the spot, as the only one."""

    def one(
        judge: Callable[[View], Findings],
        *,
        reads: tuple[type, ...] = (PeerAuthentication, Service),
        view: View | None = None,
        waivers: tuple[Waiver, ...] = (),
    ) -> CheckResult:
        check = Check(Meta("mine", State.CHECKING, DOC), reads, judge)
        monkeypatch.setattr(run, "checks", lambda: (check,))
        (result,) = run.run_checks(view or _view(), None, waivers, (), NOW)
        return result

    return one


def test_words_come_from_the_docstring() -> None:
    """Joined to one line each; a word that is missing is empty."""
    meta = Meta("mine", State.CHECKING, DOC)
    assert (meta.title, meta.why, meta.fix) == ("It is so", "because of that.", "do it.")
    assert Meta("mine", State.CHECKING, "Bare.").why == ""


def test_findings_get_the_checks_id_and_severity(run_one: Run) -> None:
    """A finding may say another severity itself."""

    def judge(view: View) -> Findings:
        yield Finding(ref=REF, measured="a")
        yield Finding(ref=REF, measured="b", severity=Severity.WARNING)
        return "two"

    result = run_one(judge)
    assert [(f.check, f.severity) for f in result.findings] == [
        ("mine", Severity.BLOCKING),
        ("mine", Severity.WARNING),
    ]
    assert (result.status, result.reason, result.state) == (Status.FAILED, "two", "checking")
    assert result.blocks


def test_what_is_wrong_already_is_not_new(run_one: Run) -> None:
    """The same check is asked without the flip; a harmless finding that becomes a blocking one is new."""

    def judge(view: View) -> Findings:
        flipped = bool(view.then.of(PeerAuthentication, view.target))
        yield Finding(ref=REF, measured="old")
        yield Finding(ref=REF, measured="grows", severity=None if flipped else Severity.INFO)
        if flipped:
            yield Finding(ref=REF, measured="new")
        return ""

    assert {f.measured: f.new for f in run_one(judge).findings} == {"old": False, "grows": True, "new": True}


def test_without_a_flip_nothing_is_new(run_one: Run) -> None:
    """One run of the check is enough then."""
    asked = []

    def judge(view: View) -> Findings:
        asked.append(view.target)
        yield Finding(ref=REF, measured="a")
        return ""

    world = World({})
    result = run_one(judge, view=View(now=world, then=world, target="production"))
    assert [f.new for f in result.findings] == [False]
    assert asked == ["production"]


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (CannotTell("no data"), Status.UNKNOWN, "no data"),
        (NotChecked("no tool"), Status.SKIPPED, "no tool"),
        (ValueError("odd"), Status.UNKNOWN, "the check failed: ValueError: odd"),
    ],
)
def test_a_check_that_cannot_judge_keeps_what_it_found(
    run_one: Run, error: Exception, status: Status, reason: str
) -> None:
    """Its status says that it did not finish."""

    def judge(view: View) -> Findings:
        yield Finding(ref=REF, measured="a")
        raise error

    result = run_one(judge)
    assert (result.status, result.reason, len(result.findings)) == (status, reason, 1)


def test_an_undeclared_read_is_refused(run_one: Run) -> None:
    """In the check's own run, and for whoever asks the view directly."""

    def judge(view: View) -> Findings:
        view.now.of(Service)
        yield Finding(ref=REF)
        return ""

    result = run_one(judge, reads=(Pod,))
    assert result.status is Status.UNKNOWN
    assert "UndeclaredRead: Service is not in READS" in result.reason
    with pytest.raises(UndeclaredRead, match="Evidence is not in READS"):
        _ = _view().limited((Pod,)).evidence
    with pytest.raises(UndeclaredRead, match="AnalyzerMessage is not in READS"):
        _ = _view().limited((Pod,)).analysis


def test_a_kind_that_nobody_read_is_asked_for(run_one: Run) -> None:
    """The stage hears of it and reads it."""

    def judge(view: View) -> Findings:
        view.now.of(Pod)
        yield Finding(ref=REF)
        return ""

    with pytest.raises(Needs) as caught:
        run_one(judge, reads=(Pod,))
    assert caught.value.reads == (Objects(Pod),)


def test_an_unreadable_kind_makes_the_check_unknown(run_one: Run) -> None:
    """With the kind and the reason."""

    def judge(view: View) -> Findings:
        view.now.of(Pod)
        yield Finding(ref=REF)
        return ""

    world = World({Objects(Pod): Reading(NOW, Unreadable("503"))})
    result = run_one(judge, reads=(Pod,), view=View(now=world, then=world, target="production"))
    assert (result.status, result.reason) == (Status.UNKNOWN, "pods: 503")
    assert result.blocks


def test_markers_without_data_say_so() -> None:
    """Evidence is unknown, istioctl is skipped."""
    view = _view()
    with pytest.raises(CannotTell, match="no traffic evidence"):
        _ = view.evidence
    with pytest.raises(NotChecked, match="not run"):
        _ = view.analysis
    with pytest.raises(NotChecked, match="too old"):
        _ = _view(analysis=Unreadable("too old")).analysis
    assert view.seen == {Evidence, AnalyzerMessage}


@pytest.mark.parametrize(
    ("waiver", "waived"),
    [
        (Waiver(check="mine", object="PeerAuthentication production/*", reason="ok"), True),
        (Waiver(check="mine", object="a -> b", reason="ok"), True),
        (Waiver(check="mine", object="PeerAuthentication other/*", reason="ok"), False),
        (Waiver(check="other", object="*", reason="ok"), False),
        (Waiver(check="mine", object="*", reason="ok", expires=NOW + timedelta(seconds=1)), True),
        (Waiver(check="mine", object="*", reason="ok", expires=NOW), False),
    ],
)
def test_a_waiver_names_an_object_or_an_edge_and_ends(run_one: Run, waiver: Waiver, waived: bool) -> None:
    """At its very second."""

    def judge(view: View) -> Findings:
        yield Finding(ref=REF, measured="a -> b, 3 requests")
        return ""

    result = run_one(judge, waivers=(waiver,))
    assert bool(result.findings[0].waived) is waived
    assert result.status is (Status.WARNING if waived else Status.FAILED)
    lapsed = [f for f in result.findings if f.ref.kind == "Waiver"]
    assert len(lapsed) == (1 if waiver.expires == NOW else 0)


@pytest.mark.parametrize(
    ("waiver", "reads", "status"),
    [
        (Waiver(check="mine", object="unknown", reason="no right there"), (Service,), Status.WARNING),
        (Waiver(check="mine", object="unknown", reason="no right there"), (Service, Evidence), Status.UNKNOWN),
        (Waiver(check="mine", object="unknown", reason="old", expires=NOW), (Service,), Status.UNKNOWN),
        (Waiver(check="mine", object="Service *", reason="other"), (Service,), Status.UNKNOWN),
    ],
)
def test_an_unknown_check_is_waived_by_that_word_but_never_the_evidence(
    run_one: Run, waiver: Waiver, reads: tuple[type, ...], status: Status
) -> None:
    """What it could not tell stands in the report; no data is never good (DESIGN.md Safety 6)."""

    def judge(view: View) -> Findings:
        yield from ()
        raise CannotTell("a broken answer")

    result = run_one(judge, reads=reads, waivers=(waiver,))
    assert status is result.status
    accepted = [f.measured for f in result.findings if f.waived]
    assert (["unknown: a broken answer"] if status is Status.WARNING else []) == accepted


def test_a_check_is_asked_once_for_the_same_answers(run_one: Run) -> None:
    """By whichever state; after another change, or when the kind was read again, it is asked anew."""
    asked: list[str] = []

    def judge(view: View) -> Findings:
        asked.append(view.target)
        yield from ()
        return f"{len(view.then.of(PeerAuthentication))} policies"

    view = _view()
    same = View(now=view._worlds[0], then=view._worlds[1], target="production")
    assert run_one(judge, view=view) == run_one(judge, view=same)
    assert len(asked) == 1
    assert (
        run_one(judge, view=View(now=view._worlds[0], then=view._worlds[0], target="production")).reason == "0 policies"
    )
    run_one(judge)
    assert len(asked) == 3


def test_what_reads_traffic_is_asked_every_time(run_one: Run) -> None:
    """The evidence is none of the world's answers."""
    asked: list[str] = []

    def judge(view: View) -> Findings:
        asked.append(view.target)
        yield from ()
        return ""

    view = _view()
    for _ in range(2):
        run_one(judge, view=view, reads=(PeerAuthentication, Evidence))
    assert len(asked) == 2


def test_what_a_function_makes_of_a_kind_is_made_once() -> None:
    """For all namespaces; and anew of the policies after a change."""
    made: list[int] = []

    def count(objects: tuple[object, ...]) -> int:
        made.append(len(objects))
        return len(objects)

    view = _view()
    assert [view.then.derived(Service, count), view.now.derived(Service, count)] == [0, 0]
    assert made == [0]
    assert view.then.derived(PeerAuthentication, count) == 1


def test_what_is_made_of_several_kinds_is_made_once_for_the_same_answers() -> None:
    """Each is a read; where one of them has a change, it is made of what the change made."""
    asked: list[tuple[int, int]] = []

    def count(services: tuple[Service, ...], policies: tuple[PeerAuthentication, ...]) -> int:
        asked.append((len(services), len(policies)))
        return len(services) + len(policies)

    view = _view()
    kinds = (Service, PeerAuthentication)
    assert [0, 0] == [view.now.joined(kinds, count), view.now.joined(kinds, count)]
    assert [(0, 0)] == asked
    assert [1, 1] == [view.then.joined(kinds, count), view.then.joined(kinds, count)]
    assert [(0, 0), (0, 1), (0, 1)] == asked
    assert {Service, PeerAuthentication} == view.seen
    with pytest.raises(UndeclaredRead, match="Service is not in READS"):
        view.limited((PeerAuthentication,)).now.joined((PeerAuthentication, Service), count)
    again = World({Objects(kind): Reading(NOW, ()) for kind in kinds})
    assert 0 == View(now=again, then=again, target="production").now.joined(kinds, count)
    assert 4 == len(asked)


def test_strict_services_are_looked_for_once_and_for_each_world() -> None:
    """Checks of one view share them; a check must have declared what they rest on."""
    app = Pod(
        metadata=Metadata(
            name="orders-1", namespace="production", labels={"app": "orders"},
            annotations={"sidecar.istio.io/status": "{}"},
        ),
        spec=PodSpec(containers=(Container(name="app"), Container(name="istio-proxy"))),
    )  # fmt: skip
    service = Service(
        metadata=Metadata(name="orders", namespace="production"),
        spec=ServiceSpec(selector={"app": "orders"}, ports=(ServicePort(port=80),)),
    )
    answers: dict[type[Object], tuple[Object, ...]] = {PeerAuthentication: (), Service: (service,), Pod: (app,)}
    now = World({Objects(kind): Reading(NOW, found) for kind, found in answers.items()})
    flip = Change(ref=REF, before=None, after=Policy(Mode.STRICT))
    view = View(now=now, then=now.after(flip), target="production")
    found = view.then.strict_services()
    assert ((service, (80,)),) == found
    assert found is view.limited((Pod, Service, PeerAuthentication)).then.strict_services()
    assert () == view.now.strict_services()
    assert () == view.limited((Pod, Service, PeerAuthentication), without_flip=True).then.strict_services()
    with pytest.raises(UndeclaredRead, match="Pod is not in READS"):
        view.limited((Service, PeerAuthentication)).then.strict_services()
