"""Runs the checks: what each may read, what its answer becomes, what was accepted and what was wrong already."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

import msgspec

from rollout.checks.registry import Check, checks
from rollout.checks.view import CannotTell, NotChecked, View
from rollout.checks.waivers import expired, settle, unknown_accepted
from rollout.model.finding import CheckResult, Finding, Severity, Status
from rollout.model.kubernetes import Object
from rollout.model.traffic import Evidence
from rollout.record.spec import Exemption, Waiver
from rollout.record.state import State
from rollout.world.world import KindUnreadable, Needs


class Answer(msgspec.Struct, frozen=True):
    """A check's findings before anybody accepted any; `status` is None unless it could not judge."""

    findings: tuple[Finding, ...] = ()
    reason: str = ""
    status: Status | None = None


def ids() -> frozenset[str]:
    """Of all checks."""
    return frozenset(check.meta.id for check in checks())


def reads(states: Collection[State] | None = None, only: Collection[str] | None = None) -> tuple[type[Object], ...]:
    """The kinds that the checks of these states and ids read (None: of all), each once, by name."""
    kinds = {kind for check in _of(states, only) for kind in check.reads if issubclass(kind, Object)}
    return tuple(sorted(kinds, key=lambda kind: kind.__name__))


def run_checks(
    view: View,
    states: Collection[State] | None,
    waivers: Iterable[Waiver],
    exemptions: Iterable[Exemption],
    now: datetime,
    only: Collection[str] | None = None,
) -> tuple[CheckResult, ...]:
    """Every check of these states and ids (None: of all) against the view.

    Raises:
        Needs: a declared kind was never read; read it and ask again.
    """
    accepted, exempted = tuple(waivers), tuple(exemptions)
    return tuple(_result(check, view, accepted, exempted, now) for check in _of(states, only))


def ask(check: Check, view: View) -> Answer:
    """One check's answer. Whatever stops it from judging makes it UNKNOWN or SKIPPED, with what it found till then."""
    findings: list[Finding] = []
    reason, status = "", None
    generator = check.judge(view)
    try:
        while True:
            findings.append(_named(next(generator), check))
    except StopIteration as end:
        reason = end.value or ""
    except Needs:
        raise
    except NotChecked as why:
        reason, status = str(why), Status.SKIPPED
    except (CannotTell, KindUnreadable) as why:
        reason, status = str(why), Status.UNKNOWN
    except Exception as bug:  # noqa: BLE001  a check with a bug has not passed, and must not stop the others
        reason, status = f"the check failed: {type(bug).__name__}: {bug}", Status.UNKNOWN
    return Answer(tuple(findings), reason, status)


def _answer(check: Check, view: View) -> Answer:
    return view.remembered(check.meta.id, lambda: ask(check, view))


def _of(states: Collection[State] | None, only: Collection[str] | None = None) -> Iterable[Check]:
    chosen = (check for check in checks() if states is None or check.meta.state in states)
    return (check for check in chosen if only is None or check.meta.id in only)


def _named(finding: Finding, check: Check) -> Finding:
    return msgspec.structs.replace(
        finding, check=check.meta.id, severity=finding.severity or check.meta.severity, new=True
    )


def _result(
    check: Check, view: View, waivers: tuple[Waiver, ...], exemptions: tuple[Exemption, ...], now: datetime
) -> CheckResult:
    answer = _answer(check, view.limited(check.reads))
    compared = view.changed and bool(answer.findings)
    before = _answer(check, view.limited(check.reads, without_flip=True)) if compared else answer
    already = {_same(finding) for finding in before.findings}
    evidence = view.evidence_or_none if Evidence in check.reads else None
    findings = tuple(
        settle(msgspec.structs.replace(finding, new=_same(finding) not in already), waivers, exemptions, evidence, now)
        for finding in answer.findings
    ) + expired(check.meta.id, waivers, exemptions, now)
    status = answer.status
    if status is Status.UNKNOWN and Evidence not in check.reads:  # no evidence is never waived: it can only be short
        accepted = unknown_accepted(check.meta.id, answer.reason, waivers, now)
        findings, status = (*findings, *accepted), None if accepted else status
    return CheckResult(
        check=check.meta.id,
        title=check.meta.title,
        state=check.meta.state.value,
        status=status or _status(findings),
        findings=findings,
        reason=answer.reason,
    )


def _same(finding: Finding) -> tuple[object, ...]:
    """What makes two findings one. A harmless finding that the flip makes a blocking one is new."""
    return (finding.ref, finding.field, finding.measured, finding.severity)


def _status(findings: Iterable[Finding]) -> Status:
    """FAILED for a block, WARNING also for what was waived: it is shown in every report."""
    status = Status.OK
    for finding in findings:
        if finding.blocks:
            return Status.FAILED
        if finding.severity is Severity.WARNING or finding.waived:
            status = Status.WARNING
    return status
