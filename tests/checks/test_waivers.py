"""What people accepted: in force, void, or above its ceiling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from rollout.checks.waivers import EXEMPTIBLE, NOT_PROVABLE, UNPROVABLE, settle
from rollout.model.finding import Finding
from rollout.model.kubernetes import LabelRequirement, LabelSelector, Ref
from rollout.model.traffic import Edge, Evidence, EvidenceVerdict, Family, Party, Sight
from rollout.record.spec import Exemption

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
EDGE = Edge(Party("web", "shop"), Party("production", "orders"), "orders", Family.HTTP, "none", volume=100.0)
EVIDENCE = Evidence(
    namespace="production", verdict=EvidenceVerdict.PLAINTEXT, start=NOW - timedelta(seconds=100), end=NOW,
    sight=Sight((), ()), edges=(EDGE,),
)  # fmt: skip
PLAIN = Finding(
    check=UNPROVABLE, ref=Ref("Deployment", "production", "orders"), measured=f"{EDGE.key}, 100 requests",
    where=(f"{NOT_PROVABLE}: Service orders has exempt and other ports",),
)  # fmt: skip
PORT = Exemption(object="production/orders:8080", workload="production/orders", port=8080, reason="a probe")
CEILING = msgspec.structs.replace(PORT, max_rate=2.0)


@pytest.mark.parametrize(
    ("exemption", "evidence", "waived", "said"),
    [
        (CEILING, EVIDENCE, "exempt: a probe (port not provable)", ""),
        (msgspec.structs.replace(CEILING, max_rate=0.5), EVIDENCE, "", "1/s is above the max_rate 0.5/s of"),
        (CEILING, None, "", "inf/s is above the max_rate 2/s of production/orders:8080"),
        (PORT, EVIDENCE, "", "the exemption of production/orders:8080 needs a max_rate"),
        (msgspec.structs.replace(CEILING, workload="production/other"), EVIDENCE, "", ""),
        (msgspec.structs.replace(CEILING, expires=NOW), EVIDENCE, "", ""),
    ],
)
def test_plaintext_whose_port_is_unknown_is_accepted_up_to_the_ceiling(
    exemption: Exemption, evidence: Evidence | None, waived: str, said: str
) -> None:
    """And what is above it says so."""
    settled = settle(PLAIN, (), (exemption,), evidence, NOW)
    more = settled.where[len(PLAIN.where) :]
    assert (settled.waived, len(more), said in "".join(more)) == (waived, bool(said), True)


@pytest.mark.parametrize(
    ("exemption", "waived"),
    [
        (PORT, "exempt: a probe"),
        (msgspec.structs.replace(PORT, workload="production/other"), ""),
        (Exemption(object="Deployment production/*", reason="theirs"), "exempt: theirs"),
        (Exemption(object="Deployment web/*", reason="theirs"), ""),
    ],
)
def test_an_open_port_is_exempt_by_its_workload_or_its_policy(exemption: Exemption, waived: str) -> None:
    """The finding names the one workload whose port is open."""
    found = Finding(
        check=EXEMPTIBLE, ref=PLAIN.ref, field="spec.portLevelMtls.8080.mode", measured="PERMISSIVE",
        where=("Deployment production/orders",),
    )  # fmt: skip
    assert settle(found, (), (exemption,), None, NOW).waived == waived


@pytest.mark.parametrize(
    ("operator", "values", "labels", "expected"),
    [
        ("In", ("a", "b"), {"app": "a"}, True),
        ("In", ("a",), {}, False),
        ("NotIn", ("a",), {"app": "a"}, False),
        ("NotIn", ("a",), {}, True),
        ("Exists", (), {"app": "x"}, True),
        ("Exists", (), {}, False),
        ("DoesNotExist", (), {}, True),
        ("DoesNotExist", (), {"app": "x"}, False),
        ("Near", (), {"app": "x"}, False),
    ],
)
def test_expressions_of_a_selector(
    operator: str, values: tuple[str, ...], labels: dict[str, str], expected: bool
) -> None:
    """As kube-apiserver evaluates them; an operator that it does not know selects nothing."""
    term = LabelRequirement(key="app", operator=operator, values=values)
    assert LabelSelector(match_expressions=(term,)).matches(labels) is expected
