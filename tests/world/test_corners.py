"""Small functions of the world at their edges."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from rollout.errors import Forbidden, QueryTooHeavy, Unreachable
from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.kubernetes import Deployment, Node, Pod, Ref
from rollout.model.traffic import Family, Party
from rollout.ports import Right
from rollout.record.change import Change, Policy
from rollout.world.addresses import Addresses
from rollout.world.bodies import body_of
from rollout.world.collector import collect
from rollout.world.evidence import SMALLEST, Slice, halving
from rollout.world.holes import known_from
from rollout.world.live import _moved
from rollout.world.offending import offending
from rollout.world.ownership import telling
from rollout.world.reads import DryRun, Objects, Read, Rights, Traffic
from rollout.world.sightings import sightings
from rollout.world.watch import Fold
from rollout.world.world import Reading, Unreadable, World
from rollout.world.young import too_short
from tests.world.mesh_fakes import NOW, FakeCluster, LabMetrics, NoAnalyzer, deployment, istio_labels, pod, scrapes

HOUR = timedelta(hours=1)
START = NOW - 10 * HOUR


@pytest.mark.parametrize(
    ("holes", "least", "expected"),
    [
        ([], HOUR, START),
        ([(START, START + HOUR)], HOUR, START + HOUR),
        ([(START + HOUR, START + 2 * HOUR)], HOUR, START),
        ([(START, START + HOUR)], 10 * HOUR, START),
        ([(START + 5 * HOUR, NOW), (START, START + HOUR)], HOUR, START + HOUR),
    ],
)
def test_a_window_that_begins_with_a_hole_is_known_from_its_end(
    holes: list[tuple[object, object]], least: timedelta, expected: object
) -> None:
    """Where enough is left of it."""
    assert known_from(holes, START, NOW, least) == expected  # type: ignore[arg-type]


def test_offending_edges_of_many_namespaces_are_counted_together() -> None:
    """One edge seen again and again is one; a namespace without any has zero."""
    metrics = LabMetrics()
    for source in ("web/shop", "web/old"):
        labels = istio_labels(source, connection_security_policy="none")
        metrics.write("istio_requests_total", labels, [(t, t.timestamp()) for t in scrapes(NOW - HOUR, NOW)])
    mutual = istio_labels("web/new")
    metrics.write("istio_requests_total", mutual, [(t, t.timestamp()) for t in scrapes(NOW - HOUR, NOW)])
    assert offending(["payments", "production"], timedelta(days=2), "", metrics) == {"payments": 0, "production": 2}


def test_a_created_policy_names_its_pods_and_ports() -> None:
    """A mode that it inherits is not written."""
    made = Change(
        ref=Ref("PeerAuthentication", "production", "rollout-exempt-orders"), before=None,
        after=Policy(None, {"8080": Mode.PERMISSIVE}), selector=(("app", "orders"),),
    )  # fmt: skip
    assert body_of(made)["spec"] == {
        "selector": {"matchLabels": {"app": "orders"}}, "portLevelMtls": {"8080": {"mode": "PERMISSIVE"}},
    }  # fmt: skip


def test_rights_that_cannot_be_asked_are_no_answer() -> None:
    """Neither missing nor there."""

    class Away(FakeCluster):
        def allowed(self, right: Right) -> bool:
            raise Unreachable("away")

    read = Rights((Right("list", Pod.RESOURCE),))
    value = collect([read], Away(), LabMetrics(), NoAnalyzer(), World(), NOW)[read].value
    assert isinstance(value, Unreadable)
    assert "away" in value.reason


def test_without_a_proxy_there_is_nothing_to_see() -> None:
    """Which is no data, and says why."""
    read = Traffic("production", 86400.0)
    value = collect([read], FakeCluster(), LabMetrics(), NoAnalyzer(), World(), NOW)[read].value
    assert "no pod with a sidecar has been there for long enough" in value.reason


@pytest.mark.parametrize("known", [True, False])
def test_workloads_that_cannot_be_read_only_cost_an_explanation(known: bool) -> None:
    """Asked in vain now, or known to be away."""
    cluster = FakeCluster(pod(), deployment())
    cluster.refuse = {"deployments": Forbidden("no")}
    reading: dict[Read, Reading] = {Objects(Deployment): Reading(NOW, Unreadable("no", absent=True))} if known else {}
    read = Traffic("production", 86400.0)
    value = collect([read], cluster, LabMetrics(), NoAnalyzer(), World(reading), NOW)[read].value
    assert not isinstance(value, Unreadable)
    asked = [item for item in cluster.lists if item.startswith("deployments")]
    assert asked == ([] if known else ["deployments production"])


def test_a_workload_that_receives_nothing_has_no_age_that_counts() -> None:
    """A new Deployment without a pod is no reason to wait."""
    read = Traffic("production", 86400.0)
    objects = [pod(), deployment(), deployment("batch", created=NOW - HOUR)]
    value = collect([read], FakeCluster(*objects), LabMetrics(), NoAnalyzer(), World(), NOW)[read].value
    assert value.reason
    assert "Deployment production/batch" not in value.reason


@pytest.mark.parametrize(
    ("now", "then", "age", "moved"),
    [(None, 1.0, 9, False), (1.0, None, 9, False), (1.0, None, 0, True), (2.0, 1.0, 9, True), (1.0, 1.0, 9, False)],
)
def test_a_counter_without_a_past_moved_where_its_proxy_is_younger(
    now: float | None, then: float | None, age: int, moved: bool
) -> None:
    """It took the present configuration on its way up."""
    assert _moved(now, then, NOW - age * HOUR, NOW - HOUR) is moved


def test_an_address_on_a_drained_host_has_no_guests() -> None:
    """A finished pod of the host's network calls nobody."""
    host = msgspec.convert(
        {"metadata": {"name": "n1"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.9.0.1"}]}}, Node
    )
    guest = msgspec.structs.replace(pod(), spec=msgspec.structs.replace(pod().spec, host_network=True))
    over = msgspec.structs.replace(guest, status=msgspec.structs.replace(guest.status, phase="Succeeded"))
    assert "Deployment production/orders" in Addresses([guest], [host], []).who("10.9.0.1", NOW)
    assert "orders" not in Addresses([over], [host], []).who("10.9.0.1", NOW)


def test_a_label_that_tells_many_clusters_from_ours_is_no_matcher() -> None:
    """Unless its name says that it is the cluster's."""

    def fresh(label: str) -> list[dict[str, str]]:
        return [{"pod": name, label: name} for name in ("ours", "a", "b")]

    assert telling(fresh("zone"), ["a", "b"]) == ""
    assert telling(fresh("zone")[:2], ["a"]) == 'zone="ours"'
    assert telling(fresh("cluster"), ["a", "b"]) == 'cluster="ours"'


def test_samples_of_another_namespace_are_no_edges() -> None:
    """A series may carry labels of nobody that was asked for."""
    labels = istio_labels("web/shop", "payments/ledger")
    fold = Fold(["production"], {}).take({"tried": [(labels, 5.0)]})
    assert fold.tallies == {"production": {}}
    ours = Fold(["production"], {}).take({"tried": [(istio_labels("web/shop"), 5.0)]})
    (key,) = ours.tallies["production"]
    assert (key[0], key[2]) == (Party("web", "shop"), Family.HTTP)


def test_all_young_workloads_are_named() -> None:
    """The newest first, the others behind it."""
    names = ("Deployment p/a", "Deployment p/b")
    born = {names[0]: NOW - 2 * HOUR, names[1]: NOW - HOUR}
    said = too_short(None, born, (), NOW, 86400.0)
    assert said.startswith(": Deployment p/b exists only since 2026-03-10 11:00 UTC")
    assert ", and so are too young: " in said
    assert "too young" not in too_short(None, {names[1]: born[names[1]]}, (), NOW, 86400.0)


def test_an_edge_without_an_hour_has_no_sighting() -> None:
    """And does not hide the others'."""
    found = sightings({"a": [], "b": [NOW]}, {"b": [NOW]}, [NOW], 60.0)
    assert list(found) == ["b"]


def test_a_write_makes_old_what_it_may_have_changed() -> None:
    """The policies, and dry runs that were made of them; what else is known stays."""
    change = Change(ref=Ref("PeerAuthentication", "a", "b"), before=None, after=Policy(Mode.PERMISSIVE))
    pods, old = Reading(NOW, ()), Reading(NOW, ())
    world = World({Objects(Pod): pods, Objects(PeerAuthentication): old, DryRun(change): old}, (change,))
    assert ({Objects(Pod): pods}, (change,)) == (dict(world.written().readings), world.written().changes)


def test_a_part_that_is_too_heavy_is_halved_down_to_the_smallest() -> None:
    """What is asked is over as soon as one of those is refused as well: its neighbours would prove nothing alone."""
    asked: list[timedelta] = []

    def refuse(part: Slice) -> tuple[Slice, ...]:
        asked.append(part.end - part.start)
        raise QueryTooHeavy("query timed out")

    with pytest.raises(QueryTooHeavy, match="query timed out"):
        halving(Slice(NOW - 4 * SMALLEST, NOW), refuse)
    assert [4 * SMALLEST, 2 * SMALLEST, SMALLEST] == asked


def test_halves_are_answered_in_their_order() -> None:
    """And only what is too heavy is divided."""
    long = timedelta(minutes=45)

    def answer(part: Slice) -> tuple[Slice, ...]:
        if part.end - part.start > long:
            raise QueryTooHeavy("query timed out")
        return (part,)

    found = halving(Slice(NOW - 3 * long, NOW), answer)
    assert [NOW - 3 * long, *(part.end for part in found)] == [*(part.start for part in found), NOW]
    assert {long * 3 / 4} == {part.end - part.start for part in found}
