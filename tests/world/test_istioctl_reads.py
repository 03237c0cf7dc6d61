"""istioctl is asked once for all that need it, and what it does not tell is an answer, too."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

import pytest

from rollout.errors import NoProgram, RolloutError
from rollout.model.kubernetes import Pod
from rollout.model.synchronization import ProxySync
from rollout.ports import AnalyzerMessage
from rollout.world.collector import collect
from rollout.world.reads import Analysis, Certificates, Objects, ProxyStatus, Read
from rollout.world.world import Needs, Reading, Unreadable, World
from tests.world.mesh_fakes import NOW, FakeCluster, LabMetrics, NoAnalyzer


class Counting(NoAnalyzer):
    """istioctl, which is told what to answer."""

    def __init__(self, error: RolloutError | None = None) -> None:
        self.error = error
        self.asked: list[Any] = []

    def analyze(self, namespaces: Collection[str]) -> dict[str, tuple[AnalyzerMessage, ...]]:
        self.asked.append(list(namespaces))
        if self.error is not None:
            raise self.error
        return {name: (AnalyzerMessage("IST0101", "Error", f"Pod {name}/a", ""),) for name in namespaces}

    def proxy_status(self) -> tuple[ProxySync, ...]:
        self.asked.append("proxy-status")
        if self.error is not None:
            raise self.error
        return ()


@pytest.mark.parametrize(("error", "absent"), [(NoProgram("no istioctl"), True), (RolloutError("it failed"), False)])
def test_istioctl_that_is_missing_or_fails_is_an_answer(error: RolloutError, absent: bool) -> None:
    """With its sentence, and which of the two; of each namespace."""
    reads: list[Read] = [Analysis("production"), Analysis("web"), ProxyStatus()]
    found = collect(reads, FakeCluster(), LabMetrics(), Counting(error), World(), NOW)
    assert [Unreadable(error.problem, error.outcome, absent=absent)] * 3 == [found[read].value for read in reads]


def test_istioctl_is_run_once_for_all_namespaces() -> None:
    """And once for what istiod knows, however many ask."""
    analyzer = Counting()
    reads: list[Read] = [Analysis("a"), ProxyStatus(), Analysis("b"), ProxyStatus(), Analysis("a")]
    found = collect(reads, FakeCluster(), LabMetrics(), analyzer, World(), NOW)
    assert [["a", "b"], "proxy-status"] == analyzer.asked
    assert ["Pod a/a", "Pod b/a"] == [found[Analysis(name)].value[0].origin for name in ("a", "b")]


@pytest.mark.parametrize("read", [Analysis("a"), ProxyStatus(), Certificates("a")])
def test_what_takes_long_is_not_asked_again_because_it_took_long(read: Read) -> None:
    """It may be ten minutes older than the lists beside it, and no older."""
    world = World({read: Reading(NOW, ()), Objects(Pod): Reading(NOW, ())})
    later = NOW + timedelta(minutes=10)
    world.need(read, since=later)
    with pytest.raises(Needs):
        world.need(read, since=later + timedelta(seconds=1))
    with pytest.raises(Needs) as needs:
        world.need(read, Objects(Pod), since=NOW + timedelta(seconds=1))
    assert (Objects(Pod),) == needs.value.reads
