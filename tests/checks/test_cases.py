"""Every check against its own folder of cases: manifests in, findings out.

A case is `{objects, target, expect}` and, where the check needs them, `flip: false`, `evidence`, `analysis`,
`certificates`, `synced`, `mesh_config`, `unreadable: {Kind: reason}`, `waivers`, `exemptions`, `terminal`,
`allow_idle`.
The flip is what a run does: the deciding policy (or a new `default`) to STRICT.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from rollout.checks.registry import Check, checks, find
from rollout.checks.run import ask, run_checks
from rollout.checks.view import View
from rollout.mesh.peer_authentication import namespace_policy
from rollout.model.finding import CheckResult, Finding, Severity, Status
from rollout.model.istio import MeshConfig, Mode, PeerAuthentication
from rollout.model.kubernetes import Object, Ref, Workload
from rollout.model.traffic import Evidence
from rollout.ports import AnalyzerMessage
from rollout.record.change import Change, Policy
from rollout.record.spec import Exemption, Waiver
from rollout.world.reads import Objects, Read
from rollout.world.world import Reading, Unreadable, World
from tests.checks.certified import certified
from tests.checks.synced import synced

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
FOLDER = Path(__file__).parent
CASES = sorted(FOLDER.glob("*/*.yaml"))
QUOTED = re.compile(r"'([\[{].*?)'(?: \||;|$)")
EXPECTED_KEYS = {"ref", "field", "severity", "new", "waived", "measured", "fix", "where"}


def _kinds() -> dict[str, type[Object]]:
    """By name, and for those that share one (both APIs have a Gateway) by `Gateway.networking.istio.io`."""
    kinds = [kind for kind in (*Object.__subclasses__(), *Workload.__subclasses__()) if kind is not Workload]
    return {
        **{kind.RESOURCE.kind: kind for kind in kinds},
        **{f"{kind.RESOURCE.kind}.{kind.RESOURCE.group}": kind for kind in kinds},
    }


def _kind_of(manifest: dict[str, Any], kinds: dict[str, type[Object]]) -> type[Object]:
    group, slash, _ = manifest.get("apiVersion", "").partition("/")
    return kinds[f"{manifest['kind']}.{group}" if slash else manifest["kind"]]


def world_of(case: dict[str, Any]) -> World:
    """The objects of a case, and what it says cannot be read."""
    kinds = _kinds()
    objects: dict[type[Object], list[Object]] = {kind: [] for kind in kinds.values()}
    for manifest in case.get("objects", []):
        kind = _kind_of(manifest, kinds)
        objects[kind].append(msgspec.convert(manifest, kind))
    readings: dict[Read, Reading] = {Objects(kind): Reading(NOW, tuple(found)) for kind, found in objects.items()}
    for name, reason in case.get("unreadable", {}).items():
        readings[Objects(kinds[name])] = Reading(NOW, Unreadable(reason))
    for name in case.get("not_installed", []):
        readings[Objects(kinds[name])] = Reading(NOW, Unreadable("not installed", absent=True))
    return World(readings)


def _flipped(world: World, case: dict[str, Any]) -> World:
    if not case.get("flip", True) or "PeerAuthentication" in case.get("unreadable", {}):
        return world
    policy = namespace_policy(world.of(PeerAuthentication), case["target"])
    if policy is None:
        ref = Ref("PeerAuthentication", case["target"], "default")
        return world.after(Change(ref=ref, before=None, after=Policy(Mode.STRICT)))
    before = Policy.of(policy)
    return world.after(Change(ref=policy.ref, before=before, after=Policy(Mode.STRICT, before.ports)))


def view_of(case: dict[str, Any]) -> View:
    """The view that a stage would hand to the checks."""
    world = world_of(case)
    analysis = case.get("analysis")
    return View(
        now=world,
        then=_flipped(world, case),
        target=case["target"],
        evidence=msgspec.convert(case["evidence"], Evidence) if "evidence" in case else None,
        analysis=Unreadable(analysis)
        if isinstance(analysis, str)
        else None
        if analysis is None
        else msgspec.convert(analysis, tuple[AnalyzerMessage, ...]),
        certificates=certified(case, world),
        synced=synced(case),
        mesh_config=msgspec.convert(case.get("mesh_config", {}), MeshConfig),
        terminal=case.get("terminal", False),
        allow_idle=case.get("allow_idle", False),
    )


def load(path: Path) -> dict[str, Any]:
    """A case file."""
    case = yaml.safe_load(path.read_text())
    assert isinstance(case, dict)
    return case


def check_of(path: Path) -> Check:
    """The check whose folder the case lies in."""
    check = find(path.parent.name)
    assert check is not None, f"{path.parent.name} names no check"
    return check


def result_of(path: Path, case: dict[str, Any]) -> CheckResult:
    """The runner's result of the case's check."""
    meta = check_of(path).meta
    waivers = msgspec.convert(case.get("waivers", []), tuple[Waiver, ...])
    exemptions = msgspec.convert(case.get("exemptions", []), tuple[Exemption, ...])
    results = run_checks(view_of(case), {meta.state}, waivers, exemptions, NOW)
    return next(result for result in results if result.check == meta.id)


def _matches(finding: Finding, expected: dict[str, Any]) -> bool:
    for key, value in expected.items():
        actual = getattr(finding, key)
        match key:
            case "measured" | "fix" | "waived":
                same = value in actual if value else not actual
            case "where":
                same = value in "\n".join(actual)
            case "severity":
                same = actual == Severity(value)
            case "ref":
                same = value == str(actual)
            case _:
                same = value == actual
        if not same:
            return False
    return True


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_case(path: Path) -> None:
    """The check says what the case expects, finding by finding and no other."""
    case = load(path)
    result = result_of(path, case)
    expected = case["expect"]
    shown = msgspec.to_builtins(result)
    assert result.status is Status(expected["status"]), shown
    assert expected.get("reason", "") in result.reason
    wanted = expected.get("findings", [])
    assert len(result.findings) == len(wanted), shown
    for finding in wanted:
        assert set(finding) <= EXPECTED_KEYS
        assert any(_matches(actual, finding) for actual in result.findings), (finding, shown)


@pytest.mark.parametrize("check", checks(), ids=lambda check: check.meta.id)
def test_each_check_has_a_case_that_passes_one_that_fails_and_one_that_cannot_tell(check: Check) -> None:
    """No check is trusted that was never seen to pass, to fail and to be without data."""
    paths = (FOLDER / check.meta.id).glob("*.yaml")
    statuses = {load(path)["expect"]["status"] for path in paths}
    assert {"ok", "failed"} <= statuses
    assert statuses & {"unknown", "skipped"}


@pytest.mark.parametrize("check", checks(), ids=lambda check: check.meta.id)
def test_declared_reads_are_the_ones_really_read(check: Check) -> None:
    """READS names no kind too many: the collector would fetch it for nothing; one too few fails at once."""
    seen: set[type] = set()
    for path in (FOLDER / check.meta.id).glob("*.yaml"):
        view = view_of(load(path)).limited(check.reads)
        answer = ask(check, view)
        assert "UndeclaredRead" not in answer.reason
        seen |= view.seen
    assert seen == set(check.reads)


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_finding_that_asks_for_a_deed_names_one(path: Path) -> None:
    """On one line, and what it hands to kubectl is JSON."""
    for finding in result_of(path, load(path)).findings:
        if finding.severity is not Severity.INFO:
            assert finding.measured
            assert finding.fix or finding.query
            assert "\n" not in finding.fix
            for printed in QUOTED.findall(finding.fix):
                json.loads(printed)
