"""How the recorded contract is held against a real server: what may take time, and what another version may change."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.api.replay import Target
from tests.lab.standin import StandIn
from tests.real.apiserver.replay import REASON, RealReplay, _unhashed, _with_times

Json = dict[str, Any]
ADMIN = {"Authorization": "Bearer <token:admin>", "Accept": "application/json", "User-Agent": "contract/1"}
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def server() -> Iterator[StandIn]:
    """A server in real time."""
    with StandIn() as running:
        yield running


def exchange(name: str, method: str, path: str, status: int, **more: Any) -> Json:
    """One exchange of a topic."""
    body = {"body": more.pop("body")} if "body" in more else {}
    headers = {**ADMIN, "Content-Type": "application/json"} if body else ADMIN
    answer = {"status": status, "headers": {}, **more.pop("answer", {})}
    return {"name": name, "request": {"method": method, "path": path, "headers": headers, **body},
            "response": answer, **more}  # fmt: skip


def replayed(server: StandIn, exchanges: list[Json], topic: str = "made-up", minor: str = "1.36") -> RealReplay:
    """After the replay."""
    document = {"topic": topic, "rvOrder": [], "exchanges": exchanges}
    replay = RealReplay(Target(server.server.port), document, minor=minor)
    replay.pause = 0.0
    replay.run()
    return replay


def configmap(name: str) -> Json:
    """A manifest."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def test_an_answer_that_becomes_right_is_waited_for(server: StandIn) -> None:
    """And counted once; without `eventually` it is wrong at once."""
    late = threading.Timer(0.5, lambda: server.store.create(configmap("late")))
    late.start()
    replay = replayed(server, [exchange("get", "GET", f"{CONFIGMAPS}/late", 200, eventually=10)])
    late.join()
    assert ([], 1, 0) == (replay.problems, replay.tally.same, replay.tally.wrong)
    replay = replayed(server, [exchange("get", "GET", f"{CONFIGMAPS}/never", 200)])
    assert (1, 0, 1) == (len(replay.problems), replay.tally.same, replay.tally.wrong)


def test_nothing_stands_apart_on_a_real_server(server: StandIn) -> None:
    """What the lab's own server is excused for is compared."""
    recorded = exchange("crd-missing", "GET", "/apis/events.k8s.io/v1", 200)
    recorded["name"] = "resources-events.k8s.io-v1"
    replay = RealReplay(
        Target(server.server.port), {"topic": "discovery", "rvOrder": [], "exchanges": []}, minor="1.36"
    )
    assert replay.apart(recorded) is None


def test_another_version_is_compared_by_status_where_the_recording_is_bound_to_its_own(server: StandIn) -> None:
    """Counted apart with the reason; a status that differs is a problem all the same, as is every other topic."""
    version = exchange("version", "GET", "/version", 200, answer={"body": {"minor": "99"}})
    replay = replayed(server, [version], "discovery", minor="1.35")
    assert ([], 0, {REASON: 1}) == (replay.problems, replay.tally.same, dict(replay.tally.apart))
    assert [] != replayed(server, [version], minor="1.35").problems
    wrong = exchange("version", "POST", "/version", 200)
    assert [] != replayed(server, [wrong], "discovery", minor="1.35").problems


def test_an_object_that_is_written_whole_carries_the_times_that_it_was_seen_with(server: StandIn) -> None:
    """An identical PUT changes nothing, as it did when the times were recorded."""
    known = {"a": {"time": "2026-03-02T10:00:00Z", "other": "x"}, "managedFields": [
        {"manager": "one", "operation": "Update", "time": "2026-03-02T10:00:01Z"},
        {"manager": "two", "operation": "Update", "time": "2026-03-02T10:00:02Z"},
    ]}  # fmt: skip
    body = {"a": {"time": "<time>", "other": "y"}, "new": "<time>", "managedFields": [
        {"manager": "two", "operation": "Update", "time": "<time>"},
    ]}  # fmt: skip
    filled = _with_times(body, known)
    assert {"time": "2026-03-02T10:00:00Z", "other": "y"} == filled["a"]
    assert ["2026-03-02T10:00:02Z"] == [entry["time"] for entry in filled["managedFields"]]
    assert filled["new"].endswith("Z")
    server.store.create({**configmap("whole"), "data": {"k": "v"}})
    stored = server.store.get("v1", "ConfigMap", "whole", "default")
    assert stored is not None
    recorded = {**stored, "metadata": {**stored["metadata"], "uid": "<uid:1>", "resourceVersion": "<rv:1>"}}
    recorded["metadata"]["creationTimestamp"] = "<time>"
    recorded["metadata"]["managedFields"] = [{**e, "time": "<time>"} for e in stored["metadata"]["managedFields"]]
    path = f"{CONFIGMAPS}/whole"
    exchanges = [
        exchange("get", "GET", path, 200, answer={"body": recorded}),
        exchange("put", "PUT", f"{path}?fieldManager=kubectl", 200, body=recorded, answer={"body": recorded}),
    ]
    assert [] == replayed(server, exchanges).problems


def test_hashes_of_documents_are_not_compared() -> None:
    """They change with every build; which documents there are is compared."""
    index = {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=" + "0A" * 64}}}
    assert {"api/v1": "/openapi/v3/api/v1"} == _unhashed(index)
