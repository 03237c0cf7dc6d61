"""The lab's API answers as a real kube-apiserver did: recorded exchanges, replayed as they are and otherwise.

Otherwise: with renamed objects and users, and with the exchanges of several topics interleaved on one server. A server
that answers from a stored table passes the first replay and fails these.

Server-side apply, which the lab does not have, must be refused with 415. What else it does not have is named in
`apart.py` with its reason, and counted in the summary of the test run.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollout.lab.api import ADMIN, Effect, Fault, Kinds, Store, User
from rollout.lab.clock import VirtualClock
from rollout.lab.server import LabServer
from tests.lab.api.apart import APART, STATUS_ONLY, UNSERVED, UNSERVED_GROUPS
from tests.lab.api.renaming import every, renamable, rename, renamed
from tests.lab.api.replay import Json, Replay, Target, read, topics
from tests.lab.api.table_server import STAMP, table_server

INFIX = "q7"
Serve = Callable[..., tuple[LabServer, Target]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start labs as the recording had it: two tokens, no controllers, Istio's kinds; an hour ahead of real time."""
    with ExitStack() as stack:

        def start(name: Callable[[str], str] = str) -> tuple[LabServer, Target]:
            limited = User(name("limited"), (name("limited-group"),), name("limited-uid"))
            clock = VirtualClock(datetime.now(UTC) + timedelta(hours=1))
            store = Store(clock.now, Kinds().without("monitoring.coreos.com"), namespace_controller=False)
            server = LabServer(store, clock, tokens={"admin-token": ADMIN, "limited-token": limited})
            stack.enter_context(server)
            server.api.watch_second = 0.4
            stack.enter_context(clock.attach())

            def overload(on: bool) -> None:
                server.faults.clear()
                if on:
                    server.faults.add(Fault(Effect.OVERLOADED, token="limited-token"))

            return server, Target(server.port, store.stamp(), lambda: store.compact(watches=False), overload)

        yield start


@pytest.mark.parametrize("topic", topics())
def test_the_lab_answers_as_a_real_server_did(topic: str, serve: Serve, record_property: Any) -> None:
    """Every exchange of the topic gets the recorded answer."""
    server, target = serve()
    replay = Replay(target, read(topic))
    tally = replay.run()
    record_property("exchanges", ["plain HTTP, as recorded", topic, tally.same, dict(tally.apart)])
    assert [] == server.failures
    assert [] == replay.problems, "\n".join(replay.problems)


@pytest.mark.parametrize("topic", [topic for topic in topics() if topic != "discovery"])
def test_other_names_get_the_same_answers(topic: str, serve: Serve, record_property: Any) -> None:
    """Namespaces, objects, labels, data, managers and users of other names: the answers with these names."""
    document = read(topic)
    words = renamable(document)
    server, target = serve(lambda name: renamed(name, words, INFIX))
    replay = Replay(target, rename(document, INFIX))
    tally = replay.run()
    record_property("exchanges", ["plain HTTP, renamed", topic, tally.same, dict(tally.apart)])
    assert [] == server.failures
    assert [] == replay.problems, "\n".join(replay.problems)
    assert len(words) >= 3


@pytest.mark.parametrize("topic", ["configmaps", "peer-authentication", "paging", "merge-patch", "leases"])
def test_a_table_of_stored_answers_fails(topic: str) -> None:
    """It passes the replay of what it was made of, and none of the requests with other names."""
    document = read(topic)
    with table_server(document) as port:
        plain = Replay(Target(port, STAMP), document)
        plain.run()
    with table_server(document) as port:
        other = Replay(Target(port, STAMP), rename(document, INFIX))
        other.run()
    assert [] == plain.problems, "\n".join(plain.problems)
    assert other.tally.same < other.tally.total / 3
    assert other.problems


def test_what_stands_apart_exists() -> None:
    """Every exchange that `apart.py` names was recorded: none is excused that is not there."""
    recorded = {(topic, exchange["name"]) for topic in topics() for exchange in every(read(topic)["exchanges"])}
    named = {(topic, name) for topic, names in APART.items() for name in names}
    assert set() == named - recorded
    assert set() == {tuple(name.split("/")) for name in STATUS_ONLY} - recorded


SEES_EVERYTHING = ("discovery", "expired", "namespaces", "paging")
"""Topics that compact the history, or count what is in the whole cluster."""
TOGETHER = [topic for topic in topics() if topic not in (*SEES_EVERYTHING, "watch", "overload")]


@pytest.mark.parametrize("seed", range(2))
def test_another_order_gets_the_same_answers(seed: int, serve: Serve, record_property: Any) -> None:
    """The topics at once on one server, in a random order that keeps each topic's own: none notices the others."""
    chance = random.Random(seed)
    server, target = serve()
    documents = {topic: read(topic) for topic in TOGETHER}
    own = {topic: _namespaces(document) for topic, document in documents.items()}
    replays = {
        topic: Replay(target, document, frozenset().union(*(own[other] - own[topic] for other in own)))
        for topic, document in documents.items()
    }
    running = {topic: replay.steps() for topic, replay in replays.items()}
    while running:
        topic = chance.choice(sorted(running))
        if next(running[topic], "over") == "over":
            del running[topic]
    for topic, replay in replays.items():
        tally = replay.tally
        record_property("exchanges", [f"plain HTTP, interleaved (seed {seed})", topic, tally.same, dict(tally.apart)])
    problems = [f"{topic}/{problem}" for topic, replay in replays.items() for problem in replay.problems]
    assert [] == server.failures
    assert [] == problems, "\n".join(problems)


def _namespaces(document: Json) -> frozenset[str]:
    found = {
        name
        for exchange in document["exchanges"]
        for name in re.findall(r"/namespaces/(contract-[^/?]+)", exchange["request"]["path"])
    }
    return frozenset(found - {"contract-nosuch"})


def test_what_is_not_served_is_refused(serve: Serve, record_property: Any) -> None:
    """Each kind that discovery does not name answers 404, and none of them anything else."""
    _, target = serve()
    replay = Replay(target, read("discovery"))
    found: Json = {}
    for exchange in replay.topic["exchanges"]:
        if exchange["name"] in ("api-aggregated", "apis-aggregated"):
            found |= {
                path: replay.send({"method": "GET", "path": path, "headers": ADMIN_HEADERS})[0]
                for path in _unserved(exchange["response"]["body"])
            }
    record_property("exchanges", ["plain HTTP, 404 for what discovery does not name", "paths", len(found), {}])
    assert len(found) > 40
    assert {404} == set(found.values()), {path: status for path, status in found.items() if status != 404}


ADMIN_HEADERS = {"Accept": "application/json", "Authorization": "Bearer <token:admin>"}


def _unserved(document: Json) -> Iterator[str]:
    for group in document["items"]:
        name = group["metadata"].get("name", "")
        for version in group["versions"]:
            root = f"/apis/{name}/{version['version']}" if name else f"/api/{version['version']}"
            for resource in version["resources"]:
                plural = resource["resource"]
                if name in UNSERVED_GROUPS or plural in UNSERVED:
                    yield f"{root}/{plural}"
                for sub in resource.get("subresources", []):
                    if f"{plural}/{sub['subresource']}" in UNSERVED:
                        where = "/namespaces/default" if resource["scope"] == "Namespaced" else ""
                        yield f"{root}{where}/{plural}/x/{sub['subresource']}"
