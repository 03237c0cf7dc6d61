"""The lab's API answers as a real kube-apiserver did: recorded exchanges, replayed.

A topic is a file in `contract/`: exchanges in order, with placeholders for what differs from run to run. A
placeholder is bound at first sight in an answer, substituted in later requests, and compared from then on; bound
resourceVersions must come in the order that the file tells. Server-side apply, which the lab does not have, must be
refused with 415.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout.lab.api import ADMIN, Kinds, Store, User
from rollout.lab.clock import VirtualClock
from rollout.lab.server import LabServer

SLOW = ("watch",)
TOPICS = [
    pytest.param(path.stem, marks=pytest.mark.slow) if path.stem in SLOW else path.stem
    for path in sorted((Path(__file__).parent / "contract").glob("*.json"))
]
TOKENS = {"admin-token": ADMIN, "limited-token": User("limited", ("limited-group",), "limited-uid")}
PLACEHOLDER = re.compile(
    r"<(uid|rv|continue|suffix|etag|token|fill):([^>]*)>|<(time|age|hash|commit|go-version|server)>"
)
SHAPES = {
    "uid": r"[0-9a-f-]{36}",
    "rv": r"\d+",
    "continue": r"[A-Za-z0-9_.=-]+",
    "suffix": r"[a-z0-9]{5}",
    "etag": r".+",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?Z",
    "age": r"\d+[smhdy0-9]*|<invalid>",
}
UNORDERED = ("managedFields", "versions", "resourceRules", "nonResourceRules", "resources")


STATUS_ONLY = {
    "pods/forbidden-change": "the message ends with a diff of Go's internal structs",
    "pods/forbidden-nodename-clear": "the same",
    "pods/table": "the recorded rows are in an order that no other list of the server shows",
}
"""Exchanges of which only the status is compared, and why."""


class Replay:
    """One topic against one server.

    Args:
        port: of the server.
        topic: the parsed file.
    """

    def __init__(self, server: LabServer, topic: dict[str, Any]) -> None:
        """Start with the tokens known and everything else to be bound."""
        self.server = server
        self.topic = topic
        self.bound = {"<token:admin>": "admin-token", "<token:limited>": "limited-token"}
        self.bound["<time>"] = server.store.stamp()  # somebody is attached: time stands still
        self.problems: list[str] = []

    def run(self) -> int:
        """Replay all exchanges; returns how many."""
        for exchanges in batches(self.topic["exchanges"]):
            if len(exchanges) == 1:
                self.exchange(exchanges[0])
                continue
            with ThreadPoolExecutor(len(exchanges)) as pool:
                answers = list(pool.map(lambda exchange: self.send(exchange["request"]), exchanges))
            for exchange, answer in zip(exchanges, answers, strict=True):
                self.compare(exchange, *answer)
        revisions = [int(self.bound[word]) for word in self.topic["rvOrder"] if word in self.bound]
        if revisions != sorted(revisions):
            self.problems.append(f"resourceVersions out of order: {revisions}")
        return len(self.topic["exchanges"])

    def exchange(self, exchange: dict[str, Any]) -> None:
        """Send one request and compare its answer."""
        if exchange.get("prepare") == "compact-history":
            self.server.store.compact(watches=False)
        during = exchange.get("during", [])
        answers: list[tuple[int, dict[str, list[str]], bytes]] = []
        sender = threading.Thread(target=lambda: answers.append(self.send(exchange["request"])))
        sender.start()
        if during:
            time.sleep(0.1)  # the watch must be open before anything happens
        for inner in during:
            self.exchange(inner)
        sender.join()
        self.compare(exchange, *answers[0])

    def send(self, request: dict[str, Any]) -> tuple[int, dict[str, list[str]], bytes]:
        """Send a request on a connection of its own."""
        body = request.get("bodyText")
        if "body" in request:
            body = json.dumps(request["body"])
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            connection.putrequest(request["method"], self.filled(request["path"]), skip_accept_encoding=True)
            for name, value in request["headers"].items():
                for each in value if isinstance(value, list) else [value]:
                    connection.putheader(name, self.filled(each))
            data = self.filled(body).encode() if body is not None else None
            if data is not None:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            answer = connection.getresponse()
            headers: dict[str, list[str]] = {}
            for name, value in answer.getheaders():
                headers.setdefault(name.lower(), []).append(value)
            return answer.status, headers, answer.read()
        finally:
            connection.close()

    def filled(self, text: str) -> str:
        """A text of a request with its placeholders filled in."""

        def value(match: re.Match[str]) -> str:
            if match[1] == "fill":
                return "x" * int(match[2])
            return self.bound.get(match[0], match[0])

        return PLACEHOLDER.sub(value, text)

    def compare(self, exchange: dict[str, Any], status: int, headers: dict[str, list[str]], body: bytes) -> None:
        """Note every difference from the recorded answer."""
        expected, name = exchange["response"], exchange["name"]
        if status == 415 and "apply-patch" in str(exchange["request"]["headers"].get("Content-Type")):
            return
        if status != expected["status"]:
            self.problems.append(f"{name}: status {status}, not {expected['status']}: {body[:300]!r}")
            return
        if f"{self.topic['topic']}/{name}" in STATUS_ONLY:
            return
        for header, wanted in expected["headers"].items():
            self.match_header(name, header, wanted, headers)
        if "stream" in expected:
            events = [json.loads(line) for line in body.splitlines() if line]
            self.match(name, expected["stream"], events, "stream")
        elif status == 304 or exchange["request"]["method"] == "HEAD":
            assert body == b""
        elif "body" in expected:
            try:
                self.match(name, expected["body"], json.loads(body), "body")
            except ValueError:
                self.problems.append(f"{name}: no JSON: {body[:200]!r}")
        elif "bodyText" in expected:
            self.match(name, expected["bodyText"], body.decode(), "text")

    def match_header(self, name: str, header: str, wanted: Any, headers: dict[str, list[str]]) -> None:
        """Compare one header."""
        actual = headers.get(header.lower(), [])
        values = wanted if isinstance(wanted, list) else [wanted]
        self.match(name, values, actual, header)

    def match(self, name: str, expected: Any, actual: Any, where: str) -> bool:
        """Compare, bind placeholders, note differences."""
        count = len(self.problems)
        if isinstance(expected, dict) and isinstance(actual, dict):
            for key in expected.keys() | actual.keys():
                if key not in actual or key not in expected:
                    side = "missing" if key not in actual else "unexpected"
                    self.problems.append(f"{name}: {where}.{key} {side}: {expected.get(key, actual.get(key))!r:.200}")
                else:
                    self.match(name, expected[key], actual[key], f"{where}.{key}")
        elif isinstance(expected, list) and isinstance(actual, list):
            self.match_list(name, expected, actual, where)
        elif isinstance(expected, str) and isinstance(actual, str):
            if not self.match_text(expected, actual):
                self.problems.append(f"{name}: {where}:\n      {actual:.1500}\n  not {expected:.1500}")
        elif expected != actual:
            self.problems.append(f"{name}: {where}: {actual!r:.300}, not {expected!r:.300}")
        return len(self.problems) == count

    def match_list(self, name: str, expected: list[Any], actual: list[Any], where: str) -> None:
        """Compare lists, some of them as sets."""
        if len(expected) != len(actual):
            self.problems.append(f"{name}: {where}: {len(actual)} items, not {len(expected)}: {actual!r:.400}")
            return
        if where.rpartition(".")[2] in UNORDERED:
            actual = self.aligned(name, expected, actual, where)
        for index, (left, right) in enumerate(zip(expected, actual, strict=True)):
            self.match(name, left, right, f"{where}[{index}]")

    def aligned(self, name: str, expected: list[Any], actual: list[Any], where: str) -> list[Any]:
        """The actual items in the order of the expected ones, as far as they match."""
        left, result = list(actual), []
        for item in expected:
            for candidate in left:
                before, problems = dict(self.bound), list(self.problems)
                if self.match(name, item, candidate, where):
                    left.remove(candidate)
                    result.append(candidate)
                    break
                self.bound, self.problems = before, problems
        return [*result, *left]

    def match_text(self, expected: str, actual: str) -> bool:
        """Compare a text; unknown placeholders are bound to what stands there."""
        fresh: list[str] = []

        def pattern(match: re.Match[str]) -> str:
            word, kind = match[0], match[1] or match[3]
            if kind == "fill":
                return re.escape("x" * int(match[2]))
            if kind in ("time", "age", "hash", "commit", "go-version", "server") or word == "<rv:any>":
                return f"(?:{SHAPES.get(kind, '.+')})"
            if word in self.bound:
                return re.escape(self.bound[word])
            if word in fresh:
                return f"(?P=g{fresh.index(word)})"
            fresh.append(word)
            return f"(?P<g{len(fresh) - 1}>{SHAPES[kind]})"

        parts, at = [], 0
        for match in PLACEHOLDER.finditer(expected):
            parts += [re.escape(expected[at : match.start()]), pattern(match)]
            at = match.end()
        found = re.fullmatch("".join([*parts, re.escape(expected[at:])]), actual, re.DOTALL)
        if found is None:
            return False
        for index, word in enumerate(fresh):
            self.bound[word] = found[f"g{index}"]
        return True


def batches(exchanges: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Watches that follow each other, together: each lasts for seconds, and none changes anything."""
    together: list[dict[str, Any]] = []
    for exchange in exchanges:
        if re.search(r"[?&]watch=|/watch/", exchange["request"]["path"]) and not {"during", "prepare"} & set(exchange):
            together.append(exchange)
            continue
        if together:
            yield together
            together = []
        yield [exchange]
    if together:
        yield together


@pytest.fixture
def server() -> Iterator[LabServer]:
    """A lab with two tokens and no controllers, an hour ahead of the real clock."""
    clock = VirtualClock(datetime.now(UTC) + timedelta(hours=1))
    store = Store(clock.now, Kinds(), namespace_controller=False)
    with LabServer(store, clock, tokens=TOKENS) as running, clock.attach():
        yield running


@pytest.mark.parametrize("topic", TOPICS)
def test_the_lab_answers_as_a_real_server_did(topic: str, server: LabServer, record_property: Any) -> None:
    """Every exchange of the topic gets the recorded answer."""
    document = json.loads((Path(__file__).parent / "contract" / f"{topic}.json").read_text(encoding="utf-8"))
    replay = Replay(server, document)
    count = replay.run()
    record_property("exchanges", count)
    assert server.failures == []
    assert replay.problems == [], "\n".join(replay.problems)
