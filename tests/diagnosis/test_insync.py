"""What istiod knows of the proxies, in the second layer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from rollout.diagnosis.diagnose import of_call
from rollout.diagnosis.insync import in_sync
from rollout.diagnosis.question import OfPod
from rollout.diagnosis.telling import Seen
from rollout.mesh.synchronization import Connections
from rollout.model.diagnosis import Diagnosis, Layer, LayerResult
from rollout.model.finding import Finding, Severity, Status
from rollout.model.istio import Mode
from rollout.model.kubernetes import Metadata, Pod, Ref
from rollout.model.synchronization import Difference, ProxySync, Synced
from rollout.world.world import Unreadable
from tests.checks.synced import proxy
from tests.diagnosis.answers import MESH, NO_ISTIOCTL, SHOP, layer, ledger_name, pair
from tests.diagnosis.makers import NOW, found, peers, pod, service

LEDGER = "ledger-1.payments"
OK = LayerResult(layer=Layer.POLICY, status=Status.OK, lines=("looked at",))


def known(*proxies: ProxySync) -> Seen:
    return Seen(sync=Connections(Synced(NOW, proxies)))


def judged(told: Seen, *pods: Pod, to: LayerResult = OK) -> LayerResult:
    return in_sync(to, told, pods or (pod(),))


def test_all_in_sync() -> None:
    """A line, and each proxy for programs."""
    result = judged(known(proxy(LEDGER, istiod="istiod-1", version="1.27.3")))
    assert ("looked at", "in sync with istiod (istioctl proxy-status): 1 of 1 proxy") == result.lines
    (state,) = result.proxies
    assert ("synced", "istiod-1", "1.27.3", Status.OK) == (state.state, state.istiod, state.version, result.status)


@pytest.mark.parametrize(
    ("sync", "lines"),
    [
        (None, ("looked at",)),
        (
            Unreadable("istioctl failed", absent=False),
            ("looked at", "in sync with istiod (istioctl proxy-status): not known, istioctl failed"),
        ),
        (
            Unreadable("no istioctl on PATH", absent=True),
            ("looked at", "in sync with istiod (istioctl proxy-status): not known, no istioctl on PATH"),
        ),
    ],
)
def test_what_is_not_known_changes_nothing_else(sync: Unreadable | None, lines: tuple[str, ...]) -> None:
    """Neither the status nor the findings: the modes in force are told without it."""
    result = judged(Seen(sync=sync))
    assert (Status.OK, (), (), lines) == (result.status, result.findings, result.proxies, result.lines)


def test_pods_without_a_proxy_are_no_business_of_istiods() -> None:
    """Nor are those that have ended."""
    bare = Pod(metadata=Metadata(name="bare", namespace="payments"))
    assert OK == judged(known(), bare)


@pytest.mark.parametrize(
    ("proxies", "measured", "severity", "status"),
    [
        ([], "not connected", Severity.BLOCKING, Status.FAILED),
        ([proxy(LEDGER, LDS="ERROR")], "rejected", Severity.BLOCKING, Status.FAILED),
        ([proxy(LEDGER, LDS="STALE", sent="2026-03-02T10:00:00+00:00")], "stale", Severity.BLOCKING, Status.FAILED),
        ([proxy(LEDGER, LDS="STALE")], "stale", Severity.WARNING, Status.OK),
        ([proxy(LEDGER, CDS="NOT SENT")], "not sent", Severity.WARNING, Status.OK),
    ],
)
def test_a_proxy_out_of_sync(proxies: list[ProxySync], measured: str, severity: Severity, status: Status) -> None:
    """Is a cause where it is certain to lack something, and a warning where it may pass."""
    result = judged(known(*proxies))
    (finding,) = result.findings
    assert (measured, severity, status) == (finding.measured, finding.severity, result.status)
    assert (Ref("Pod", "payments", "ledger-1"), "in-sync", False) == (finding.ref, finding.check, finding.new)
    assert "in sync with istiod (istioctl proxy-status): 0 of 1 proxy" in result.lines


def test_a_word_that_is_not_known_is_a_line() -> None:
    """And nobody's fault."""
    result = judged(known(proxy(LEDGER, LDS=None)))
    assert ((), Status.OK, "unknown") == (result.findings, result.status, result.proxies[0].state)
    assert "Pod payments/ledger-1: istioctl's word for its listeners or clusters is not known here" in result.lines


def test_the_mode_in_force_comes_first_with_istiods_side_of_it() -> None:
    """One finding for one pod; others follow, and what only warns stands last."""
    differs = Finding(
        ref=Ref("Pod", "payments", "ledger-1"), measured="PERMISSIVE", where=("because",), check="in-force",
        severity=Severity.BLOCKING,
    )  # fmt: skip
    rule = Finding(ref=Ref("DestinationRule", "shop", "r"), measured="DISABLE", severity=Severity.BLOCKING)
    hint = Finding(ref=Ref("Service", "shop", "s"), measured="a hint", severity=Severity.WARNING)
    before = LayerResult(layer=Layer.POLICY, status=Status.FAILED, findings=(differs, rule, hint))
    other = pod("ledger-2")
    stale = proxy("ledger-3.payments", LDS="STALE")
    result = judged(known(stale), pod(), other, pod("ledger-3"), to=before)
    assert ["PERMISSIVE", "not connected", "DISABLE", "stale", "a hint"] == [f.measured for f in result.findings]
    assert (
        "because",
        "istiod: not connected, no istiod that istioctl reaches has a connection of it",
    ) == result.findings[0].where


SAME = tuple(Difference(part=part, matches=True) for part in ("Clusters", "Listeners", "Routes"))
LISTENERS = Difference(part="Listeners", matches=False, missing=3, extra=1, examples=("- a", "+ b"))


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (SAME, "Clusters, Listeners, Routes: the proxy has what istiod would send"),
        (
            (SAME[0], LISTENERS),
            "Listeners differ from what istiod would send: 3 lines missing, 1 line that only the proxy has: - a; + b",
        ),
        (
            (Difference(part="Routes", matches=False, missing=1, extra=0),),
            "Routes differ from what istiod would send: 1 line missing, 0 lines that only the proxy has",
        ),
        ("it failed", "what differs from what istiod would send: not known, it failed"),
    ],
)
def test_what_differs_in_one_pod(told: tuple[Difference, ...] | str, line: str) -> None:
    """A line for people, all of it for programs."""
    ref = Ref("Pod", "payments", "ledger-1")
    seen = Seen(sync=Connections(Synced(NOW, (proxy(LEDGER),))), differences={ref: told})
    result = judged(seen)
    assert line == result.lines[-1]
    assert (() if isinstance(told, str) else told) == result.proxies[0].differences
    assert (Status.OK, ()) == (result.status, result.findings)


def diagnosed(asked: str, told: Seen, modes: Mapping[int, Mode] | None = None) -> Diagnosis:
    seen = Seen(sync=told.sync, modes={Ref("Pod", "payments", "ledger-1"): modes} if modes else {})
    policy = peers("STRICT")
    if asked == "pod":
        objects = found(policy, servers=[pod()])
        return of_call(OfPod(ledger_name()), objects, seen, MESH, NO_ISTIOCTL, NOW + timedelta(hours=1))
    objects = found(policy, client=SHOP, to=service(), servers=[pod()])
    return of_call(pair(), objects, seen, MESH, NO_ISTIOCTL, NOW + timedelta(hours=1))


@pytest.mark.parametrize("asked", ["pod", "pair"])
def test_it_is_the_cause_of_a_diagnosis(asked: str) -> None:
    """Of a pod, and of a pair where the client's clusters count as well."""
    told = known(proxy(LEDGER, LDS="ERROR", error="LDS: bad filter"), proxy("web-1.shop"))
    diagnosis = diagnosed(asked, told)
    assert Layer.POLICY is diagnosis.cause
    assert diagnosis.sentence.startswith("Pod payments/ledger-1 istioctl proxy-status: rejected (it rejected listeners")
    assert (1 if asked == "pod" else 2) == len(layer(diagnosis, Layer.POLICY).proxies)


def test_a_mode_in_force_that_istiod_explains() -> None:
    """The sentence is that of the mode; istiod's word is evidence."""
    diagnosis = diagnosed("pod", known(proxy("web-1.shop")), {0: Mode.PERMISSIVE, 8080: Mode.PERMISSIVE})
    assert "its proxy has PERMISSIVE in force" in diagnosis.sentence
    assert "istiod: not connected, no istiod that istioctl reaches has a connection of it" in diagnosis.evidence
