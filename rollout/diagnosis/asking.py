"""The checks of `rollout.checks`, asked of the world as it is: where a check has a rule, diagnosis has none of its own.

What is accepted now and would be refused under STRICT is asked, too: it is where mutual TLS is not in use.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

import msgspec

from rollout.checks.registry import find
from rollout.checks.run import ask, run_checks
from rollout.checks.view import View
from rollout.mesh.peer_authentication import namespace_policy
from rollout.model.diagnosis import Layer, LayerResult
from rollout.model.finding import CheckResult, Finding, Severity, Status
from rollout.model.istio import MeshConfig, Mode, PeerAuthentication
from rollout.model.kubernetes import Ref
from rollout.ports import AnalyzerMessage
from rollout.record.change import Change, Policy
from rollout.world.reads import Objects
from rollout.world.world import KindUnreadable, Needs, Unreadable, World

Analysis = tuple[AnalyzerMessage, ...] | Unreadable | None
ORDER = {Severity.BLOCKING: 0, Severity.WARNING: 1, Severity.INFO: 2}


def strict(world: World, namespace: str) -> World:
    """The world as it would be if the policy that decides for the namespace said STRICT; unchanged where it does.

    Raises:
        KindUnreadable, Needs: there are no PeerAuthentications to tell.
    """
    policies = world.of(PeerAuthentication)
    deciding = namespace_policy(policies, namespace)
    if deciding is None:
        taken = {policy.name for policy in policies if policy.namespace == namespace}
        name = "default" if "default" not in taken else "rollout-default"
        ref = Ref("PeerAuthentication", namespace, name)
        return world.after(Change(ref=ref, before=None, after=Policy(Mode.STRICT)))
    before = Policy.of(deciding)
    if before.mode is Mode.STRICT:
        return world
    return world.after(Change(ref=deciding.ref, before=before, after=Policy(Mode.STRICT, before.ports)))


def view(
    world: World, namespace: str, mesh: MeshConfig, analysis: Analysis = None, *, then: World | None = None
) -> View:
    """What a check sees; without `then` the world is asked as it is."""
    return View(
        now=world,
        then=then or world,
        target=namespace,
        root_namespace=mesh.root_namespace,
        analysis=analysis,
        mesh_config=mesh,
    )


def all_checks(
    world: World, namespace: str, mesh: MeshConfig, analysis: Analysis, now: datetime
) -> tuple[CheckResult, ...]:
    """Every check, of a world with all its kinds: what is wrong now, then what STRICT would refuse (`new`)."""
    found = {r.check: r for r in run_checks(view(world, namespace, mesh, analysis), None, (), (), now)}
    try:
        flipped = strict(world, namespace)
    except KindUnreadable:
        return tuple(found.values())
    then = run_checks(view(world, namespace, mesh, analysis, then=flipped), None, (), (), now)
    return tuple(_joined(_already(found[result.check]), result) for result in then)


def _already(result: CheckResult) -> CheckResult:
    return msgspec.structs.replace(
        result, findings=tuple(msgspec.structs.replace(finding, new=False) for finding in result.findings)
    )


def _joined(present: CheckResult, then: CheckResult) -> CheckResult:
    findings = (*present.findings, *(finding for finding in then.findings if finding.new))
    status = present.status
    if status in (Status.OK, Status.WARNING):
        blocks = any(finding.blocks for finding in findings)
        status = Status.FAILED if blocks else Status.WARNING if findings else Status.OK
    return msgspec.structs.replace(present, findings=findings, status=status, reason=then.reason)


def one_check(check_id: str, world: World, namespace: str, mesh: MeshConfig, analysis: Analysis = None) -> CheckResult:
    """One check on a world that holds only some objects; UNKNOWN where it wants a kind that was not read."""
    check = find(check_id)
    assert check is not None, f"there is no check {check_id}"
    try:
        present = ask(check, view(world, namespace, mesh, analysis).limited(check.reads))
    except Needs as why:
        return _result(check_id, check.meta.title, Status.UNKNOWN, (), _why(why))
    try:
        then = ask(check, view(strict(world, namespace), namespace, mesh, analysis).limited(check.reads))
    except (KindUnreadable, Needs):
        then = present
    found = tuple(msgspec.structs.replace(finding, new=False) for finding in present.findings)
    known = {(f.ref, f.field, f.measured) for f in found}
    findings = (*found, *(f for f in then.findings if (f.ref, f.field, f.measured) not in known))
    status = present.status or (Status.FAILED if any(f.blocks for f in findings) else Status.OK)
    return _result(check_id, check.meta.title, status, findings, present.reason)


def _why(why: KindUnreadable | Needs) -> str:
    if isinstance(why, KindUnreadable):
        return str(why)
    kinds = (read.kind.RESOURCE.name if isinstance(read, Objects) else type(read).__name__ for read in why.reads)
    return f"not read: {', '.join(kinds)}"


def _result(check_id: str, title: str, status: Status, findings: tuple[Finding, ...], reason: str) -> CheckResult:
    return CheckResult(check=check_id, title=title, state="", status=status, findings=findings, reason=reason)


def layer_of(layer: Layer, results: Collection[CheckResult], lines: tuple[str, ...] = ()) -> LayerResult:
    """Several checks as one layer: failed by a blocking finding, unknown where a check could not judge."""
    findings = tuple(finding for result in results for finding in result.findings)
    unknown = unread(results)
    skipped = [f"{r.check}: {r.reason}" for r in results if r.status is Status.SKIPPED]
    if any(finding.blocks for finding in findings):
        status = Status.FAILED
    elif unknown:
        status = Status.UNKNOWN
    else:
        status = Status.SKIPPED if results and len(skipped) == len(results) else Status.OK
    return LayerResult(
        layer=layer,
        status=status,
        findings=ranked(findings),
        lines=(*looked_at(results), *lines),
        reason="; ".join([*unknown, *skipped]),
    )


def looked_at(results: Collection[CheckResult]) -> tuple[str, ...]:
    """What each check that could judge looked at."""
    blind = (Status.UNKNOWN, Status.SKIPPED)
    return tuple(f"{r.check}: {r.reason}" for r in results if r.reason and r.status not in blind)


def unread(results: Collection[CheckResult]) -> list[str]:
    """Why checks could not judge."""
    return [f"{r.check}: {r.reason}" for r in results if r.status is Status.UNKNOWN]


def ranked(findings: Collection[Finding]) -> tuple[Finding, ...]:
    """Likeliest cause first: what blocks before what warns, and what is wrong now before what STRICT would refuse."""
    return tuple(sorted(findings, key=lambda f: (ORDER[f.severity or Severity.BLOCKING], f.new)))


def guarded(layer: Layer, judge: Callable[[], LayerResult]) -> LayerResult:
    """A layer whose data is missing is unknown, and the others go on."""
    try:
        return judge()
    except (KindUnreadable, Needs) as why:
        return LayerResult(layer=layer, status=Status.UNKNOWN, reason=_why(why))


def grouped(why: Mapping[Ref, str]) -> str:
    """Sentences by object as one: what is the same for many is said once."""
    same: dict[str, list[Ref]] = {}
    for ref, sentence in why.items():
        same.setdefault(sentence, []).append(ref)
    return "; ".join(
        f"{refs[0]}{f' and {len(refs) - 1} more' if len(refs) > 1 else ''}: {text}" for text, refs in same.items()
    )
