"""From access log lines to the nameless edges of the metrics, and how much of the logs is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from rollout.errors import ClusterError, Forbidden, NotFound, Rejected
from rollout.model.callers import AccessLog, Caller, Wire
from rollout.model.kubernetes import Pod, Service
from rollout.model.traffic import Edge, Family, Party
from rollout.ports import LogPart
from rollout.world.access_log import Record
from rollout.world.addresses import Addresses
from rollout.world.callers import callers, fitting
from rollout.world.log_reading import Bounds, chosen, read_access_logs

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
NOBODY = Addresses((), (), ())
MESH = "outbound_.8080_._.orders.production.svc.cluster.local"


def server(name: str, workload: str = "orders", *, proxy: bool = True) -> Pod:
    """A pod of production, with a sidecar."""
    containers = [{"name": "app", "ports": [{"name": "http", "containerPort": 8080}]}]
    containers += [{"name": "istio-proxy"}] if proxy else []
    owner = {"kind": "ReplicaSet", "name": f"{workload}-abc", "controller": True}
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "namespace": "production",
                "labels": {"app": workload, "pod-template-hash": "abc"},
                "annotations": {"sidecar.istio.io/status": "{}"} if proxy else {},
                "ownerReferences": [owner],
            },
            "spec": {"containers": containers},
            "status": {"phase": "Running", "podIP": "10.1.0.7"},
        },
        Pod,
    )


ORDERS = server("orders-1")
SERVICE = msgspec.convert(
    {
        "metadata": {"name": "orders", "namespace": "production"},
        "spec": {"selector": {"app": "orders"}, "ports": [{"port": 80, "targetPort": "http"}]},
    },
    Service,
)


def line(minutes: float = 0, remote: str = "10.2.3.4:5000", name: str = "-", **over: Any) -> str:
    """A text line, so many minutes before NOW."""
    at = NOW - timedelta(minutes=minutes)
    refused = over.get("refused", False)
    result = "0 NR filter_chain_not_found" if refused else "200 - via_upstream"
    cluster = "-" if refused else f"inbound|{over.get('port', 8080)}||"
    return (
        f'[{at:%Y-%m-%dT%H:%M:%S}.000Z] "GET / HTTP/1.1" {result} - "-" 0 1 1 1 "-" "curl/8" "id-{minutes}-{remote}" '
        f'"orders" "-" {cluster} - 10.1.0.7:{over.get("port", 8080)} {remote} {name} default'
    )


def record(**over: Any) -> Record:
    """A line that was parsed."""
    fields: dict[str, Any] = {
        "at": NOW, "cluster": "inbound|8080||", "local": "10.1.0.7", "port": 8080, "remote": "10.2.3.4",
    }  # fmt: skip
    return Record(**fields | over)


def edge(**over: Any) -> Edge:
    """A nameless caller of orders."""
    fields: dict[str, Any] = {
        "source": Party("unknown", "unknown"),
        "destination": Party("production", "orders"),
        "service": "orders.production.svc.cluster.local",
        "family": Family.HTTP,
        "policy": "none",
        "last": NOW,
    }
    return Edge(**fields | over)


def caller(**over: Any) -> Caller:
    """A caller of the log."""
    fields: dict[str, Any] = {
        "destination": "production/orders", "port": 8080, "address": "10.2.3.4", "who": "", "wire": Wire.PLAINTEXT,
        "family": Family.HTTP, "lines": 1, "refused": 0, "first": NOW, "last": NOW,
    }  # fmt: skip
    return Caller(**fields | over)


def test_lines_are_counted_by_caller() -> None:
    """Mesh TLS and calls that go out are nobody's; the most lines stand first."""
    seen = [
        (ORDERS, record(at=NOW - timedelta(minutes=5), remote="10.2.3.5")),
        (ORDERS, record(at=NOW - timedelta(minutes=4), agent="b")),
        (ORDERS, record(at=NOW - timedelta(minutes=2), agent="a")),
        (ORDERS, record(name=MESH)),
        (ORDERS, record(cluster="outbound|8080||orders")),
        (ORDERS, record(name="own.example", family=Family.TCP)),
    ]
    expected = (
        caller(lines=2, first=NOW - timedelta(minutes=4), last=NOW - timedelta(minutes=2), agents=("a", "b")),
        caller(wire=Wire.OWN_TLS, family=Family.TCP),
        caller(address="10.2.3.5", first=NOW - timedelta(minutes=5), last=NOW - timedelta(minutes=5)),
    )
    assert expected == callers(seen, NOBODY)


def test_a_refused_connection_has_no_family() -> None:
    """Nothing was read of it."""
    (found,) = callers([(ORDERS, record(refused=True, cluster="", family=Family.TCP))], NOBODY)
    assert caller(family=None, refused=1) == found


@pytest.mark.parametrize(
    ("of", "there", "fits"),
    [
        (edge(), caller(), True),
        (edge(), caller(family=Family.TCP), False),
        (edge(), caller(family=None, refused=1), True),
        (edge(), caller(destination="production/stock"), False),
        (edge(), caller(port=9090), False),
        (edge(service="unknown"), caller(port=9090), True),
        (edge(source=Party("billing", "legacy")), caller(), False),
        (edge(policy="mutual_tls"), caller(), False),
        (edge(policy="unknown"), caller(), True),
    ],
)
def test_which_callers_an_edge_may_be(of: Edge, there: Caller, fits: bool) -> None:
    """Same workload, family, and a container port that the Service leads to; named and clean edges need none."""
    assert fits == (fitting(of, [there], [ORDERS], [SERVICE]) == (there,))


class FakeLogs:
    """`ports.Logs` as kubelet works: a window, its newest lines, and the first bytes of those."""

    def __init__(self, lines: Mapping[str, Sequence[str] | ClusterError]) -> None:
        self.of = lines
        self.asked: list[tuple[str, float, int | None, int]] = []

    def logs(self, namespace: str, pod: str, container: str, *, since: float, lines: int | None, limit: int) -> LogPart:
        assert ("production", "istio-proxy") == (namespace, container)
        self.asked.append((pod, since, lines, limit))
        found = self.of[pod]
        if isinstance(found, ClusterError):
            raise found
        start = f"[{NOW - timedelta(seconds=since):%Y-%m-%dT%H:%M:%S}"
        kept = [text for text in found if text >= start or not text.startswith("[")]
        newest = kept if lines is None else kept[-lines:]
        whole = "".join(f"{text}\n" for text in newest)
        read = whole[:limit]
        read = read[: read.rfind("\n") + 1]
        return LogPart(
            tuple(read.splitlines()),
            min(len(whole), limit),
            lines is not None and len(newest) >= lines,
            len(whole) > limit,
        )


def read(lines: Mapping[str, Sequence[str] | ClusterError], *edges: Edge, **bounds: Any) -> tuple[AccessLog, FakeLogs]:
    """The logs of pods of orders."""
    limits: dict[str, Any] = {"since": timedelta(hours=1), "pods": 20, "size": 1_000_000}
    source = FakeLogs(lines)
    pods = chosen([server(name) for name in lines], "production", edges or (edge(),))
    found = read_access_logs("production", pods, edges or (edge(),), NOBODY, source, Bounds(**limits | bounds), NOW)
    return found, source


def test_what_was_read_is_counted() -> None:
    """Lines that are none, and lines of a foreign format, beside those that are understood."""
    own = "2026-03-02T10:00:00Z\tinfo\tready"
    found, _ = read({"orders-1": [line(9), line(8, name=MESH), "[own] format", own], "orders-2": []})
    assert (2, 4, 2, 1, ()) == (found.pods, found.lines, found.records, found.foreign, found.unread)
    assert [1] == [one.lines for one in found.callers]


def test_a_caller_of_last_night_is_looked_for_where_it_was() -> None:
    """The newest lines of a busy pod do not reach so far; the window begins before the last sighting."""
    night = NOW - timedelta(hours=8)
    busy = [line(minutes / 10, remote="10.2.3.9:1", name=MESH) for minutes in range(9000, -1, -1)]
    log = sorted([*busy, line(480.5)])
    found, source = read({"orders-1": log}, edge(last=night), since=timedelta(days=1), size=100_000)
    assert ["10.2.3.4"] == [one.address for one in found.callers]
    assert [("orders-1", 8 * 3600 + 600.0, None, 100_000)] == source.asked
    assert "orders-1: only 2026-03-02 01:50 UTC to 2026-03-02 " in found.unread[0]


def test_two_callers_of_which_one_is_there_now() -> None:
    """Newest lines and the old sighting, each with half of the bytes; a line that both hold counts once."""
    log = [line(480.5), *(line(minutes, remote="10.2.3.9:1", name=MESH) for minutes in (400, 300, 200)), line(1)]
    old = edge(last=NOW - timedelta(hours=8), family=Family.TCP)
    found, source = read({"orders-1": log}, edge(), old, since=timedelta(days=1))
    assert [None, 8 * 3600 + 600.0] == [None if asked[2] else asked[1] for asked in source.asked]
    assert (5, [2]) == (found.records, [one.lines for one in found.callers])


def test_a_sighting_before_the_window_is_not_looked_for() -> None:
    """--since is a bound; the report says how far back it would have to reach."""
    _, source = read({"orders-1": []}, edge(last=NOW - timedelta(hours=8)))
    assert [3600.0] == [asked[1] for asked in source.asked]


def test_bytes_are_a_bound_of_all_pods_together() -> None:
    """Whatever the logs hold, and what was left out is said."""
    log = [line(minutes / 100, remote="10.2.3.9:1") for minutes in range(5000, 0, -1)]
    found, source = read({f"orders-{n}": log for n in range(4)}, size=40_000)
    assert found.size <= 40_000
    assert [] == [asked for asked in source.asked if asked[3] > 40_000]
    assert [20] == [asked[2] for asked in source.asked][:1]  # to see how long the lines are
    assert [] == [asked for asked in source.asked[1:] if asked[2] is None or not 20 < asked[2] < 100]
    assert "lines before" in found.unread[0]
    assert "orders-0, orders-1, orders-2 and 1 more" in found.unread[0]


def test_pods_are_a_bound() -> None:
    """A pod of each workload in turn; those that nameless callers reached come first."""
    pods = [server("stock-1", "stock"), server("orders-2"), server("orders-1"), server("plain", proxy=False)]
    assert ["orders-1", "orders-2", "stock-1"] == [pod.name for pod in chosen(pods, "production", [edge()])]
    assert ["orders-1", "stock-1", "orders-2"] == [pod.name for pod in chosen(pods, "production", [])]
    found, source = read({"orders-1": [], "orders-2": [], "orders-3": []}, pods=2)
    assert ["orders-1", "orders-2"] == [asked[0] for asked in source.asked]
    assert ("1 of 3 pods with a sidecar; all of them: --max-pods 3",) == found.unread


def test_a_missing_right_is_said_once() -> None:
    """No other pod is tried."""
    found, source = read({"orders-1": Forbidden("no"), "orders-2": []})
    assert 1 == len(source.asked)
    expected = "any more: not permitted: get pods/log in production; rollout rbac --for evidence prints the right"
    assert (expected,) == found.unread


def test_one_pod_that_cannot_be_read_does_not_stop_the_others() -> None:
    """Gone, or without such a container."""
    found, _ = read({"orders-1": NotFound("x"), "orders-2": Rejected("waiting to start"), "orders-3": [line(1)]})
    assert ("orders-1: the pod is gone", "orders-2: waiting to start") == found.unread
    assert 1 == found.records


def test_the_first_bytes_that_do_not_fit_cost_the_newest_lines() -> None:
    """Kubelet counts bytes from the oldest line on."""
    long = [line(minutes, remote="10.2.3.9:1") + " " * 5000 for minutes in range(9, 0, -1)]
    found, _ = read({"orders-1": long}, size=9_000)
    assert ("orders-1: the newest lines, which did not fit: a larger --max-bytes",) == found.unread


def test_a_log_that_was_rotated_begins_later() -> None:
    """Kubelet keeps 10 MiB: what the caller left may be gone."""
    found, _ = read({"orders-1": [line(60), line(1)]}, edge(last=NOW - timedelta(hours=8)), since=timedelta(days=1))
    assert ("orders-1: only 2026-03-02 09:00 UTC to 2026-03-02 09:59 UTC, its log begins there",) == found.unread


def test_bytes_that_are_used_up_leave_pods_out() -> None:
    """A pod that was asked in vain is told for itself, and not counted again."""
    logs: dict[str, Sequence[str] | ClusterError] = {
        "orders-1": Rejected("waiting to start"),
        "orders-2": [line(1)],
        "orders-3": [line(1)],
        "orders-4": [],
    }
    found, source = read(logs, size=1)
    assert ["orders-1", "orders-2"] == [asked[0] for asked in source.asked]
    assert ("2 pods, for want of bytes: a larger --max-bytes", "orders-1: waiting to start") == found.unread[:2]
