"""The lease: who may take it, when, and what is said to the others."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollout.adapters.lease import KubernetesLease, LeaseObject
from rollout.errors import NotOurs, Unreachable
from rollout.ports import Lease

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
KEY = ("Lease", "production", "rollout-production")


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        return self.at

    def go(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Hand:
    """Stands at NOW."""
    return Hand()


def lease(cluster: Any, clock: Hand, who: str = "ana@host") -> KubernetesLease:
    return KubernetesLease(cluster, clock, who)


def test_a_free_one_is_taken_with_six_digits(cluster: Any, clock: Hand) -> None:
    """As the API server wants a MicroTime, also on the full second."""
    port: Lease = lease(cluster, clock)
    port.acquire("production", "run-1")
    spec = cluster.objects[KEY]["spec"]
    assert spec["holderIdentity"] == "ana@host/run-1"
    assert spec["leaseDurationSeconds"] == 30
    assert spec["renewTime"] == spec["acquireTime"] == "2026-03-02T10:00:00.000000Z"
    assert port.holder("production") == ("run-1", NOW + timedelta(seconds=30))


def test_a_held_one_is_refused_with_holder_and_expiry(cluster: Any, clock: Hand) -> None:
    """Also for the same run in another process."""
    lease(cluster, clock).acquire("production", "run-1")
    for run in ("run-2", "run-1"):
        with pytest.raises(NotOurs, match="ana@host/run-1 works on production") as error:
            lease(cluster, clock, "ben@other").acquire("production", run, takeover=True)
        assert "2026-03-02 10:00:30Z" in error.value.limit
        assert error.value.next == "rollout status run-1"


def test_a_stale_one_is_for_its_own_run(cluster: Any, clock: Hand) -> None:
    """Resume on another machine; another run is told how."""
    lease(cluster, clock).acquire("production", "run-1")
    clock.go(31)
    with pytest.raises(NotOurs) as error:
        lease(cluster, clock, "ben@other").acquire("production", "run-2")
    assert error.value.next == "rollout resume run-1"
    lease(cluster, clock, "ben@other").acquire("production", "run-1")
    assert cluster.objects[KEY]["spec"]["holderIdentity"] == "ben@other/run-1"
    assert cluster.objects[KEY]["spec"]["leaseTransitions"] == 1


def test_a_stale_one_may_be_taken_over_when_the_caller_says_so(cluster: Any, clock: Hand) -> None:
    """When the stale holder's run is finished."""
    lease(cluster, clock).acquire("production", "run-1")
    clock.go(31)
    other = lease(cluster, clock, "ben@other")
    other.acquire("production", "run-2", takeover=True)
    assert other.holder("production") == ("run-2", clock.at + timedelta(seconds=30))


def test_two_that_take_it_at_once_are_not_both_told_yes(cluster: Any, clock: Hand) -> None:
    """Neither when it is new, nor when it is stale."""
    ana, ben = lease(cluster, clock), lease(cluster, clock, "ben@other")
    ana.acquire("production", "run-1")
    clock.go(31)
    cluster.before_write.append(lambda: ben.acquire("production", "run-1"))
    with pytest.raises(NotOurs, match="ben@other"):
        lease(cluster, clock).acquire("production", "run-1")


def test_it_is_renewed_at_a_third(cluster: Any, clock: Hand) -> None:
    """Not with every call."""
    mine = lease(cluster, clock)
    mine.acquire("production", "run-1")
    clock.go(9)
    mine.renew("production", "run-1")
    assert cluster.writes == []
    clock.go(1)
    mine.renew("production", "run-1")
    assert cluster.writes == [("Lease", "rollout-production")]
    assert mine.holder("production") == ("run-1", clock.at + timedelta(seconds=30))


def test_a_lost_one_is_noticed_at_renewal(cluster: Any, clock: Hand) -> None:
    """A process that was asleep for too long stops."""
    mine = lease(cluster, clock)
    mine.acquire("production", "run-1")
    clock.go(31)
    lease(cluster, clock, "ben@other").acquire("production", "run-1")
    with pytest.raises(NotOurs, match="ben@other/run-1"):
        mine.renew("production", "run-1")


def test_an_own_expired_or_deleted_one_goes_on(cluster: Any, clock: Hand) -> None:
    """Nobody took it."""
    mine = lease(cluster, clock)
    mine.acquire("production", "run-1")
    clock.go(300)
    mine.renew("production", "run-1")
    del cluster.objects[KEY]
    clock.go(10)
    mine.renew("production", "run-1")
    assert mine.holder("production") is not None


def test_an_outage_is_passed_on_and_tried_again(cluster: Any, clock: Hand) -> None:
    """The next call renews; a lost answer does not cost the lease."""
    mine = lease(cluster, clock)
    mine.acquire("production", "run-1")
    clock.go(11)
    cluster.down = True
    with pytest.raises(Unreachable):
        mine.renew("production", "run-1")
    cluster.down = False
    cluster.lose_answers = 1
    mine.renew("production", "run-1")
    assert mine.holder("production") == ("run-1", clock.at + timedelta(seconds=30))


def test_a_lost_answer_is_no_lost_lease(cluster: Any, clock: Hand) -> None:
    """Neither when it is made nor when it is taken over."""
    cluster.lose_answers = 1
    lease(cluster, clock).acquire("production", "run-1")
    clock.go(31)
    cluster.lose_answers = 1
    again = lease(cluster, clock, "ben@other")
    again.acquire("production", "run-1")
    clock.go(10)
    again.renew("production", "run-1")
    assert again.holder("production") == ("run-1", clock.at + timedelta(seconds=30))


def test_a_released_one_is_free(cluster: Any, clock: Hand) -> None:
    """And only one's own is released."""
    mine = lease(cluster, clock)
    mine.acquire("production", "run-1")
    lease(cluster, clock, "ben@other").release("production", "run-2")
    assert mine.holder("production") is not None
    mine.release("production", "run-1")
    assert mine.holder("production") is None
    lease(cluster, clock, "ben@other").acquire("production", "run-2")
    mine.release("nosuch", "run-1")


def test_it_may_lie_in_another_namespace(cluster: Any, clock: Hand) -> None:
    """Beside the journals."""
    made = KubernetesLease(cluster, clock, "ana@host", "rollout-state")
    made.acquire("production", "run-1")
    assert ("Lease", "rollout-state", "rollout-production") in cluster.objects
    assert re.match(
        r"ana@host/", cluster.objects["Lease", "rollout-state", "rollout-production"]["spec"]["holderIdentity"]
    )


def test_a_renewal_reads_nothing_while_nobody_else_writes(cluster: Any, clock: Hand, monkeypatch: Any) -> None:
    """The version of our own last write is the fence; after somebody's write it is read again."""
    port = lease(cluster, clock)
    port.acquire("production", "run-1")
    reads: list[str] = []
    get = cluster.get

    def noted(*args: Any) -> Any:
        reads.append(args[2])
        return get(*args)

    monkeypatch.setattr(cluster, "get", noted)
    for _ in range(3):
        clock.go(11)
        port.renew("production", "run-1")
    assert reads == []
    assert cluster.objects[KEY]["spec"]["renewTime"] == "2026-03-02T10:00:33.000000Z"
    cluster.patch(LeaseObject, "production", "rollout-production", {"metadata": {"labels": {"seen": "by-ana"}}})
    clock.go(11)
    port.renew("production", "run-1")
    assert reads == ["rollout-production"]
    assert cluster.objects[KEY]["spec"]["renewTime"] == "2026-03-02T10:00:44.000000Z"
