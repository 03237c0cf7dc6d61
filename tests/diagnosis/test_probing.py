"""A pod that exists for as long as its calls take, whatever happens to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from rollout.diagnosis.calling import Call, Ending
from rollout.diagnosis.probing import CALLS, calls, container_of, existing, permitted, ready, remove, rights
from rollout.errors import ClusterError, Conflict, Forbidden, NotFound, RolloutError, Unreachable, UsageError
from rollout.model.kubernetes import Pod, Ref
from rollout.ports import Right
from tests.diagnosis.makers import NOW
from tests.world.mesh_fakes import FakeCluster

POD = Ref("Pod", "shop", "rollout-probe-ab12")
BODY = {"metadata": {"name": POD.name, "namespace": POD.namespace}}


class Time:
    """A clock that nobody waits for."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def sleep_until(self, until: datetime) -> None:
        self.at = until


class Cluster(FakeCluster):
    """One pod, made and deleted; `answers` to deletions, one after the other."""

    def __init__(self, *answers: ClusterError | None, pod: Callable[[], Pod] | None = None) -> None:
        super().__init__()
        self.answers, self.pod = list(answers), pod
        self.refuses: ClusterError | None = None
        self.done: list[str] = []
        self.missing = ""

    def create(self, kind: Any, namespace: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Any:
        self.done.append(f"create {body['metadata']['name']}")
        if self.refuses:
            raise self.refuses
        return msgspec.convert({"metadata": {**body["metadata"], "uid": "u1"}}, Pod)

    def delete(self, kind: Any, namespace: str, name: str, *, uid: str = "", dry_run: bool = False) -> None:
        self.done.append(f"delete {name} {uid}".rstrip())
        answer = self.answers.pop(0) if self.answers else None
        if answer:
            raise answer

    def get(self, kind: Any, namespace: str, name: str) -> Any:
        assert self.pod is not None
        return self.pod()

    def allowed(self, right: Right) -> bool:
        return right.verb != self.missing


def test_it_is_deleted_at_the_end() -> None:
    """The very one that was made."""
    cluster, said = Cluster(), list[str]()
    with existing(cluster, BODY, Time(), said.append) as made:
        assert "u1" == made.metadata.uid
    assert ([f"create {POD.name}", f"delete {POD.name} u1"], []) == (cluster.done, said)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_it_is_deleted_when_the_work_breaks_off(error: type[BaseException]) -> None:
    """And the error goes on."""
    cluster = Cluster()

    def work() -> None:
        with existing(cluster, BODY, Time(), print):
            raise error

    with pytest.raises(error):
        work()
    assert f"delete {POD.name} u1" == cluster.done[-1]


def test_what_was_refused_is_not_deleted() -> None:
    """There is nothing."""
    cluster = Cluster()
    cluster.refuses = Forbidden("no")
    with pytest.raises(Forbidden), existing(cluster, BODY, Time(), print):
        pass
    assert [f"create {POD.name}"] == cluster.done


def test_what_may_be_there_is_deleted() -> None:
    """The answer to its creation was lost."""
    cluster = Cluster(NotFound("gone"))
    cluster.refuses = Unreachable("silence")
    with pytest.raises(Unreachable), existing(cluster, BODY, Time(), print):
        pass
    assert [f"create {POD.name}", f"delete {POD.name}"] == cluster.done


@pytest.mark.parametrize(
    ("answers", "gone", "times"),
    [
        ([None], True, 1),
        ([NotFound("x")], True, 1),
        ([Conflict("another uid")], True, 1),
        ([Unreachable("x"), None], True, 2),
        ([Unreachable("silence")] * 3, False, 3),
        ([Forbidden("no")] * 3, False, 3),
    ],
)
def test_how_often_it_is_tried(answers: list[ClusterError | None], gone: bool, times: int) -> None:
    """Three times; then a person is told how."""
    cluster, said = Cluster(*answers), list[str]()
    assert gone is remove(cluster, POD, "u1", Time(), said.append)
    assert times == len(cluster.done)
    assert (not gone) is any(f"kubectl delete pod {POD.name} -n shop" in each for each in said)


def state(phase: str = "Running", *, ready: bool = False) -> Pod:
    """The probe's pod at some moment."""
    conditions = [{"type": "Ready", "status": str(ready)}]
    return msgspec.convert({"metadata": BODY["metadata"], "status": {"phase": phase, "conditions": conditions}}, Pod)


def test_it_is_waited_for() -> None:
    """Until it is Ready, a minute at most, and not beyond its end."""
    answers = [state("Pending"), state(), state(ready=True)]
    time = Time()
    assert ready(Cluster(pod=lambda: answers.pop(0)), POD, time).ready
    assert timedelta(seconds=2) == time.at - NOW
    time = Time()
    with pytest.raises(RolloutError, match=r"was not Ready within 60 s$"):
        ready(Cluster(pod=state), POD, time)
    assert timedelta(seconds=60) == time.at - NOW
    with pytest.raises(RolloutError, match="ended as Failed"):
        ready(Cluster(pod=lambda: state("Failed")), POD, Time())


class Ran(msgspec.Struct, frozen=True):
    """What a command gives."""

    code: int
    out: bytes
    err: bytes = b""


class Containers:
    """They answer so, every time."""

    def __init__(self, ran: Ran) -> None:
        self.ran = ran
        self.asked: list[tuple[Ref, str, Sequence[str]]] = []

    def execute(self, pod: Ref, container: str, command: Sequence[str], *, limit: float) -> Ran:
        assert limit > 15
        self.asked.append((pod, container, command))
        return self.ran


@pytest.mark.parametrize(
    ("ran", "http", "ending", "times"),
    [
        (Ran(0, b"\nrollout-probe:200 0.1 0 0\n"), True, Ending.ANSWERED, CALLS),
        (Ran(28, b"\nrollout-probe:000 0.1 0 0\n"), True, Ending.TIMEOUT, 1),
        (Ran(28, b"\nrollout-probe:000 0.1 0 0\n"), False, Ending.SILENT, 1),
    ],
)
def test_the_calls(ran: Ran, http: bool, ending: Ending, times: int) -> None:
    """Several, since pods differ; where one waits for nothing, one."""
    containers, ask = Containers(ran), Call(url="http://a", http=http)
    found = calls(containers, POD, "probe", ask)
    assert ([ending] * times, [(POD, "probe", ask.argv())] * times) == ([e.ending for e in found], containers.asked)


def test_nothing_is_made_that_could_not_be_deleted() -> None:
    """The right to delete comes first."""
    assert ["delete", "get", "create"] == [right.verb for right in rights("shop") if right.resource.plural == "pods"]
    cluster = Cluster()
    permitted(cluster, "shop")
    cluster.missing = "delete"
    with pytest.raises(RolloutError, match="not permitted: delete pods in shop; no pod was made"):
        permitted(cluster, "shop")


def shaped(*names: str, default: str = "") -> Pod:
    """A caller with these containers."""
    annotations = {"kubectl.kubernetes.io/default-container": default} if default else {}
    meta = {"name": "web-1", "namespace": "shop", "annotations": annotations}
    return msgspec.convert({"metadata": meta, "spec": {"containers": [{"name": name} for name in names]}}, Pod)


def test_the_container_of_the_callers() -> None:
    """The one that is named, else kubectl's default, else the first; never the proxy."""
    assert "b" == container_of(shaped("a", "b"), "b")
    assert "b" == container_of(shaped("istio-proxy", "a", "b", default="b"), "")
    assert "a" == container_of(shaped("istio-proxy", "a", "b", default="istio-proxy"), "")
    for client, asked, problem in (
        (shaped("a"), "c", "has no container c"),
        (shaped("a", "istio-proxy"), "istio-proxy", "go past the proxy"),
        (shaped("istio-proxy"), "", "has no container but istio-proxy"),
    ):
        with pytest.raises(UsageError, match=problem):
            container_of(client, asked)
