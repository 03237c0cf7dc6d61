"""What proxies hold, read of a few pods on both sides."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.errors import Forbidden, RolloutError, Unreachable
from rollout.mesh.secrets import Held, Summary
from rollout.model.kubernetes import ConfigMap, Metadata, Pod, Ref
from rollout.model.traffic import Edge, Evidence, EvidenceVerdict, Family, Party, Sight
from rollout.ports import InboundChain
from rollout.world.certificates import CLIENTS, ROOT_CERT, SERVERS, SILENT, TOGETHER, Certified, rights, told
from rollout.world.collector import collect
from rollout.world.reads import Certificates, Objects, Read, Traffic
from rollout.world.world import Reading, Unreadable, World
from tests.world.mesh_fakes import NOW, FakeCluster, LabMetrics, NoAnalyzer, pod

READ = Certificates("production")
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
DUMP = b'{"dynamic_active_secrets": []}'
CERTS = b'{"certificates": []}'


class Proxies:
    """They answer alike, but for those with an answer of their own."""

    def __init__(self, **own: bytes | RolloutError) -> None:
        self.own = own
        self.asked: list[str] = []
        self.certificates: bytes | RolloutError = Unreachable("no answer")

    def config_dump(self, pod: Ref) -> bytes:
        self.asked.append(pod.name)
        return self._given(self.own.get(pod.name, DUMP))

    def certs(self, pod: Ref) -> bytes:
        return self._given(self.certificates)

    def inbound(self, pod: Ref) -> tuple[InboundChain, ...]:
        raise AssertionError("nobody asks")

    @staticmethod
    def _given(answer: bytes | RolloutError) -> bytes:
        if isinstance(answer, RolloutError):
            raise answer
        return answer


def answer(proxies: Proxies | None, *objects: Any, world: World | None = None, **refuse: Any) -> Any:
    cluster = FakeCluster(*objects)
    cluster.refuse.update({key.replace("_", " "): error for key, error in refuse.items()})
    read = world or World()
    return collect([READ], cluster, LabMetrics(), NoAnalyzer(), read, NOW, proxies)[READ].value


def evidence(*callers: tuple[str, str]) -> World:
    edges = tuple(
        Edge(Party(ns, name), Party("production", "orders"), "orders", Family.HTTP, "mutual_tls")
        for ns, name in callers
    )
    found = Evidence(
        namespace="production", verdict=EvidenceVerdict.CLEAN, start=NOW, end=NOW, sight=Sight((), ()), edges=edges
    )
    return World({Traffic("production", 60.0): Reading(NOW, found)})


def test_one_pod_of_each_workload_is_asked() -> None:
    """Those with a proxy; each with the root of its namespace, and the time."""
    root = ConfigMap(metadata=Metadata(name=ROOT_CERT, namespace="production"), data={"root-cert.pem": PEM})
    proxies = Proxies()
    pods = [
        pod("orders-7d9-b"), pod("orders-7d9-a"), pod("web-7d9-a", workload="web"),
        pod("old-7d9-a", workload="old", sidecar=False), pod("far-7d9-a", "elsewhere"),
    ]  # fmt: skip
    found = answer(proxies, *pods, root)
    assert isinstance(found, Certified)
    assert (["orders-7d9-a", "web-7d9-a"], NOW, 0) == (proxies.asked, found.at, found.left)
    assert {(PEM.encode(),)} == {side.mesh_root for side in found.sides}
    assert {None} == {side.mesh_root for side in answer(Proxies(), *pods).sides}


def test_callers_that_the_evidence_names_are_asked_too() -> None:
    """By their workload, in their namespaces; of the nameless nothing can be asked."""
    proxies = Proxies()
    world = evidence(("shop", "web"), ("", "unknown"), ("production", "orders"), ("gone", "job"))
    pods = [pod(), pod("web-7d9-a", "shop", workload="web"), pod("other-7d9-a", "shop", workload="other")]
    found = answer(proxies, *pods, world=world)
    assert ["orders-7d9-abc", "web-7d9-a"] == [side.pod.name for side in found.sides]


def test_so_many_and_no_more() -> None:
    """The others are counted."""
    own = [pod(f"w{n:02}-7d9-a", workload=f"w{n:02}") for n in range(SERVERS + 3)]
    names = [f"c{n:02}" for n in range(CLIENTS + 2)]
    callers = [pod(f"{name}-7d9-a", "shop", workload=name) for name in names]
    found = answer(Proxies(), *own, *callers, world=evidence(*(("shop", name) for name in names)))
    assert (SERVERS + CLIENTS, 5) == (len(found.sides), found.left)


def test_where_exec_is_forbidden_nobody_else_of_the_namespace_is_asked() -> None:
    """Another failure concerns one pod."""
    pods = [pod("a-7d9-a", workload="a"), pod("b-7d9-a", workload="b"), pod("c-7d9-a", workload="c")]
    proxies = Proxies(**{"a-7d9-a": Forbidden("cannot create pods/exec")})
    found = answer(proxies, *pods)
    assert (["a-7d9-a"], {"cannot create pods/exec"}) == (proxies.asked, {side.held for side in found.sides})
    proxies = Proxies(**{"b-7d9-a": Unreachable("no answer")})
    held = [side.held for side in answer(proxies, *pods).sides]
    assert "no answer" == held[1]
    assert [True, False, True] == [isinstance(each, Held) for each in held]


def test_after_two_failures_nobody_else_is_asked() -> None:
    """Each may take as long as a command may: the world must not grow old meanwhile."""
    pods = [pod(f"{name}-7d9-a", workload=name) for name in "abcd"]
    proxies = Proxies(**{f"{name}-7d9-a": Unreachable("no answer") for name in "ab"})
    held = [side.held for side in answer(proxies, *pods).sides]
    assert ["no answer", "no answer", "not asked any more: no answer", "not asked any more: no answer"] == held
    assert ["a-7d9-a", "b-7d9-a"] == proxies.asked


def test_many_namespaces_share_what_is_asked() -> None:
    """At least one pod of each; callers where some are left over."""
    spaces = [f"n{number:03}" for number in range(TOGETHER * 2)]
    pods = [pod(f"{name}-7d9-a", space, workload=name) for space in spaces for name in "abc"]
    proxies = Proxies()
    reads = [Certificates(space) for space in spaces]
    found = collect(reads, FakeCluster(*pods), LabMetrics(), NoAnalyzer(), World(), NOW, proxies)
    assert {(1, 2)} == {(len(found[read].value.sides), found[read].value.left) for read in reads}
    proxies = Proxies()
    collect(reads[:20], FakeCluster(*pods), LabMetrics(), NoAnalyzer(), World(), NOW, proxies)
    assert TOGETHER == len(proxies.asked)


def test_what_cannot_be_asked_at_all() -> None:
    """Without proxies, and without pods."""
    assert Unreadable("nothing here asks proxies") == answer(None, pod())
    refused = answer(Proxies(), pod(), list_pods=Forbidden("cannot list pods"))
    assert isinstance(refused, Unreadable)
    known = World({Objects(Pod): Reading(NOW, (pod(),))})
    assert 1 == len(answer(Proxies(), world=known).sides)


def test_a_collection_that_wants_no_certificates_asks_no_proxy() -> None:
    """Of no namespace there is nothing to share, though proxies could be asked."""
    proxies, pods = Proxies(), Objects(Pod)
    found = collect([pods], FakeCluster(pod()), LabMetrics(), NoAnalyzer(), World(), NOW, proxies)
    assert ([pods], []) == ([*found], proxies.asked)


def test_certs_prove_less_and_are_better_than_nothing() -> None:
    """Not where exec itself is forbidden: the second answer would be the same."""
    proxies = Proxies(a=b"junk", b=Forbidden("no"))
    with pytest.raises(RolloutError, match="is no JSON"):
        told(Ref("Pod", "production", "a"), proxies)
    proxies.certificates = CERTS
    assert Summary() == told(Ref("Pod", "production", "a"), proxies)
    with pytest.raises(Forbidden):
        told(Ref("Pod", "production", "b"), proxies)


def test_the_rights_it_needs() -> None:
    """A WebSocket is a GET, and creates."""
    assert ["get pods/exec in production", "create pods/exec in production"] == [str(r) for r in rights("production")]


def together(proxies: Proxies, pods: list[Pod], reads: list[Certificates], world: World | None = None) -> list[Any]:
    cluster = FakeCluster(*pods)
    found = collect(reads, cluster, LabMetrics(), NoAnalyzer(), world or World(), NOW, proxies)
    return [found[read].value for read in reads]


def test_a_plan_of_many_namespaces_leaves_some_unasked_and_says_so() -> None:
    """A migration asks a pod of each all the same."""
    spaces = [f"n{number:03}" for number in range(TOGETHER + 5)]
    pods = [pod(f"{name}-7d9-a", space, workload=name) for space in spaces for name in "ab"]
    proxies = Proxies()
    told = together(proxies, pods, [Certificates(space, spare=True) for space in spaces])
    assert TOGETHER == len(proxies.asked)
    assert [Certified] * TOGETHER + [Unreadable] * 5 == [type(answer) for answer in told]
    assert (
        f"a plan asks {TOGETHER} proxies, which other namespaces had; `rollout plan {spaces[-1]}` asks here"
        == told[-1].reason
    )


@pytest.mark.parametrize("spare", [True, False])
def test_where_no_proxy_of_several_namespaces_answers_the_others_are_not_asked(*, spare: bool) -> None:
    """Whatever the reason; one that answers means that they can be asked."""
    pods = [pod(f"{name}-7d9-a", name, workload=name) for name in "abcde"]
    reads = [Certificates(name, spare=spare) for name in "abcde"]
    why = RolloutError("no program pilot-agent")
    silent = Proxies(**{f"{name}-7d9-a": why for name in "abcd"})
    told = together(silent, pods, reads)
    assert [f"{name}-7d9-a" for name in "abc"] == silent.asked
    assert {f"not asked: no proxy of {SILENT} other namespaces could be, no program pilot-agent"} == {
        answer.reason for answer in told[SILENT:]
    }
    some = Proxies(**{f"{name}-7d9-a": why for name in "bcde"})
    assert [Certified] * 5 == [type(answer) for answer in together(some, pods, reads)]
    assert 5 == len(some.asked)


def test_rights_may_differ_between_namespaces_and_a_plan_is_content_with_three_refusals() -> None:
    """A migration asks each."""
    pods = [pod(f"{name}-7d9-a", name, workload=name) for name in "abcde"]
    for spare, expected in ((True, SILENT), (False, 5)):
        proxies = Proxies(**{f"{name}-7d9-a": Forbidden("cannot create pods/exec") for name in "abcde"})
        together(proxies, pods, [Certificates(name, spare=spare) for name in "abcde"])
        assert expected == len(proxies.asked)


def test_a_caller_of_several_namespaces_is_asked_once_and_its_root_is_read_once() -> None:
    """What it holds is the same."""
    edges = {
        name: Edge(Party("shop", "web"), Party(name, "orders"), "orders", Family.HTTP, "mutual_tls")
        for name in ("one", "two")
    }
    known: dict[Read, Reading] = {
        Traffic(name, 60.0): Reading(
            NOW,
            Evidence(namespace=name, verdict=EvidenceVerdict.CLEAN, start=NOW, end=NOW, sight=Sight((), ()),
                     edges=(edge,)),
        )
        for name, edge in edges.items()
    }  # fmt: skip
    pods = [pod("web-7d9-a", "shop", workload="web"), *(pod(f"{name}-7d9-a", name, workload=name) for name in edges)]
    proxies = Proxies()
    told = together(proxies, pods, [Certificates(name) for name in edges], World(known))
    assert ["one-7d9-a", "web-7d9-a", "two-7d9-a"] == proxies.asked
    assert [["one-7d9-a", "web-7d9-a"], ["two-7d9-a", "web-7d9-a"]] == [
        [side.pod.name for side in answer.sides] for answer in told
    ]
