"""Recorded exchanges, replayed against a server: placeholders bound, answers compared, every difference noted.

A topic is a file in `contract/`: exchanges in order, with placeholders for what differs from run to run. A
placeholder is bound at first sight in an answer, substituted in later requests, and compared from then on; bound
resourceVersions must come in the order that the file tells.
"""

from __future__ import annotations

import gzip
import http.client
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.api.apart import APART, REFUSALS, STATUS_ONLY, Apart, Kind, without_unserved

Json = dict[str, Any]
CONTRACT = Path(__file__).parent / "contract"
PLACEHOLDER = re.compile(
    r"<(uid|rv|continue|suffix|etag|token|fill):([^>]*)>|<(time|age|hash|commit|go-version|server|http-date)>"
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
_NEWEST = re.compile(r"(?:body|stream\[\d+\]\.object)\.metadata\.resourceVersion")


def topics() -> list[str]:
    """The names of all topics."""
    return sorted(path.stem for path in CONTRACT.glob("*.json") if path.stem != "kubectl-sequences")


def read(topic: str) -> Json:
    """A topic's file."""
    found: Json = json.loads((CONTRACT / f"{topic}.json").read_text(encoding="utf-8"))
    return found


@dataclass
class Tally:
    """How many exchanges were answered as recorded, how many otherwise, and how many were counted apart, by reason."""

    same: int = 0
    wrong: int = 0
    apart: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """All exchanges of the topic."""
        return self.same + self.wrong + sum(self.apart.values())


@dataclass(frozen=True)
class Target:
    """A server under test.

    Attributes:
        port: on loopback.
        stamp: the time of everything it writes (somebody is attached: time stands still); '' when that is unknown.
        compact: throws its history away.
        overload: makes it shed the load of the limited user, or no longer.
        connect: opens a connection to it; None for plain HTTP to the port.
    """

    port: int
    stamp: str = ""
    compact: Callable[[], None] = lambda: None
    overload: Callable[[bool], None] = lambda on: None
    connect: Callable[[], http.client.HTTPConnection] | None = None


class Replay:
    """One topic against one server.

    Args:
        target: the server.
        topic: the parsed file.
        foreign: namespaces that others use on the same server at the same time: what is in them is overlooked.
    """

    pause = 0.1
    """Seconds until a watch is certainly open."""

    def __init__(self, target: Target, topic: Json, foreign: frozenset[str] | None = None) -> None:
        """Start with the tokens known and everything else to be bound."""
        self.target = target
        self.topic = topic
        self.foreign = foreign
        self.bound = {"<token:admin>": "admin-token", "<token:limited>": "limited-token"}
        if target.stamp:
            self.bound["<time>"] = target.stamp
        self.problems: list[str] = []
        self.tally = Tally()
        self.never_made: set[str] = set()

    def run(self) -> Tally:
        """Replay all exchanges."""
        for _ in self.steps():
            pass
        return self.tally

    def steps(self) -> Iterator[None]:
        """Replay, with a pause after each exchange (or batch of watches) in which others may send theirs."""
        for exchanges in batches(self.topic["exchanges"]):
            if len(exchanges) == 1:
                self.exchange(exchanges[0])
            else:
                with ThreadPoolExecutor(len(exchanges)) as pool:
                    answers = list(pool.map(lambda exchange: self.send(exchange["request"]), exchanges))
                for exchange, answer in zip(exchanges, answers, strict=True):
                    self.judge(exchange, *answer)
            yield
        revisions = [int(self.bound[word]) for word in self.topic["rvOrder"] if word in self.bound]
        if revisions != sorted(revisions):
            self.problems.append(f"resourceVersions out of order: {revisions}")

    def exchange(self, exchange: Json) -> None:
        """Send one request and compare its answer."""
        if exchange.get("prepare") == "compact-history":
            self.target.compact()
        apart = self.apart(exchange)
        during = exchange.get("during", [])
        if apart is not None and apart.kind is Kind.UNSENT:
            self.leave_out(exchange, apart)
            return
        answers: list[tuple[int, dict[str, list[str]], bytes]] = []
        sender = threading.Thread(target=lambda: answers.append(self.send(exchange["request"])))
        sender.start()
        if during:
            time.sleep(self.pause)  # the watch must be open before anything happens
        for inner in during:
            self.exchange(inner)
        sender.join()
        self.judge(exchange, *answers[0])

    def leave_out(self, exchange: Json, apart: Apart) -> None:
        """Count an exchange that is not sent; what was sent while it was open comes under load."""
        self.tally.apart[apart.reason] += 1
        self.never_made.add((exchange["request"].get("body") or {}).get("metadata", {}).get("name", ""))
        if during := exchange.get("during", []):
            self.target.overload(True)
            for inner in during:
                self.exchange(inner)
            self.target.overload(False)

    def apart(self, exchange: Json) -> Apart | None:
        """Why an exchange is counted apart, None for the others."""
        return APART.get(self.topic["topic"], {}).get(exchange["name"])

    def judge(self, exchange: Json, status: int, headers: dict[str, list[str]], body: bytes) -> None:
        """Count one exchange, as recorded or apart, and note what is wrong with it."""
        name, apart = exchange["name"], self.apart(exchange)
        if "apply-patch" in str(exchange["request"]["headers"].get("Content-Type")) and status == 415:
            self.tally.apart["server-side apply: 415"] += 1
        elif apart is None or apart.kind is Kind.PART:
            before = len(self.problems)
            self.compare(exchange, status, headers, body)
            if len(self.problems) > before:
                self.tally.wrong += 1
            elif apart is not None:
                self.tally.apart[apart.reason] += 1
            else:
                self.tally.same += 1
        else:
            self.tally.apart[apart.reason] += 1
            if apart.kind is Kind.REFUSED and (status not in REFUSALS or not (body or headers)):
                self.problems.append(f"{name}: {status} where a refusal was expected ({apart.reason})")
            if status >= 500 and status != 501 and status != exchange["response"]["status"]:
                self.problems.append(f"{name}: {status}: {body[:300]!r}")

    def send(self, request: Json) -> tuple[int, dict[str, list[str]], bytes]:
        """Send a request on a connection of its own."""
        body = request.get("bodyText")
        if "body" in request:
            body = json.dumps(request["body"])
        connection = self.opened()
        try:
            connection.putrequest(request["method"], self.filled(request["path"]), skip_accept_encoding=True)
            for name, value in request["headers"].items():
                for each in value if isinstance(value, list) else [value]:
                    connection.putheader(name, self.filled(each))
            data = self.filled(body).encode() if body is not None else None
            if data is not None:
                connection.putheader("Content-Length", str(len(data)))
            with suppress(BrokenPipeError):  # a server may refuse a body that is too large before it has read it
                connection.endheaders(data)
            answer = connection.getresponse()
            headers: dict[str, list[str]] = {}
            for name, value in answer.getheaders():
                headers.setdefault(name.lower(), []).append(value)
            raw = answer.read()
            return answer.status, headers, gzip.decompress(raw) if headers.get("content-encoding") == ["gzip"] else raw
        finally:
            connection.close()

    def opened(self) -> http.client.HTTPConnection:
        """A new connection."""
        if self.target.connect is not None:
            return self.target.connect()
        return http.client.HTTPConnection("127.0.0.1", self.target.port, timeout=30)

    def filled(self, text: str) -> str:
        """A text of a request with its placeholders filled in."""

        def value(match: re.Match[str]) -> str:
            if match[1] == "fill":
                return "x" * int(match[2])
            return self.bound.get(match[0], match[0])

        return PLACEHOLDER.sub(value, text)

    def compare(self, exchange: Json, status: int, headers: dict[str, list[str]], body: bytes) -> None:
        """Note every difference from the recorded answer."""
        expected, name = exchange["response"], exchange["name"]
        if status != expected["status"]:
            self.problems.append(f"{name}: status {status}, not {expected['status']}: {body[:300]!r}")
            return
        if f"{self.topic['topic']}/{name}" in STATUS_ONLY:
            return
        for header, wanted in expected["headers"].items():
            self.match_header(name, header, wanted, headers)
        if "stream" in expected:
            events = [json.loads(line) for line in body.splitlines() if line]
            self.match(name, expected["stream"], self.own(events), "stream")
        elif status == 304 or exchange["request"]["method"] == "HEAD":
            self.match(name, "", body.decode(), "body")
        elif "body" in expected or name == "openapi-v3-index":
            try:
                actual = json.loads(body)
            except ValueError:
                self.problems.append(f"{name}: no JSON: {body[:200]!r}")
                return
            wanted = expected["body"] if "body" in expected else json.loads(expected["bodyText"])
            if self.apart(exchange) is not None:
                wanted, actual = without_unserved(wanted), without_unserved(actual)
            self.match(name, self.made(wanted), self.own(actual), "body")
        elif "bodyText" in expected:
            self.match(name, expected["bodyText"], body.decode(), "text")

    def made(self, document: Any) -> Any:
        """A recorded list without the objects that were counted apart when they should have been created."""
        for key in ("items", "rows"):
            if self.never_made and isinstance(document, dict) and isinstance(document.get(key), list):
                kept = [item for item in document[key] if _name(item) not in self.never_made]
                return {**document, key: kept}
        return document

    def own(self, document: Any) -> Any:
        """An answer without what others made meanwhile."""
        if self.foreign is None:
            return document
        if isinstance(document, list):
            return [event for event in document if not self._foreign(event.get("object") or {})]
        for key in ("items", "rows"):
            if isinstance(document, dict) and isinstance(document.get(key), list):
                return {**document, key: [item for item in document[key] if not self._foreign(item)]}
        return document

    def _foreign(self, item: Json) -> bool:
        meta = (item.get("object") or item).get("metadata") or {}
        return bool({meta.get("namespace"), meta.get("name")} & (self.foreign or set()))

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
            if not self.match_text(expected, actual) and not self.newer(expected, actual, where):
                self.problems.append(f"{name}: {where}:\n      {actual:.1500}\n  not {expected:.1500}")
        elif expected != actual:
            self.problems.append(f"{name}: {where}: {actual!r:.300}, not {expected!r:.300}")
        return len(self.problems) == count

    def newer(self, expected: str, actual: str, where: str) -> bool:
        """Whether this is a list's (or bookmark's) revision that others have moved on: it only may not go back."""
        if self.foreign is None:
            return False
        if "current: <rv:" in expected:
            return self.match_text(re.sub(r"current: <rv:\d+>", "current: <rv:any>", expected), actual)
        if not _NEWEST.fullmatch(where) or not expected.startswith("<rv:"):
            return False
        return actual.isdigit() and int(actual) >= int(self.bound.get(expected, "0"))

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
            if match[3] is not None or word == "<rv:any>":
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


def _name(item: Json) -> str:
    return str(((item.get("object") or item).get("metadata") or {}).get("name"))


def batches(exchanges: list[Json]) -> Iterator[list[Json]]:
    """Watches that follow each other, together: each lasts for seconds, and none changes anything."""
    together: list[Json] = []
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
