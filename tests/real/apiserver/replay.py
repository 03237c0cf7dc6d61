"""The recorded contract against a real server: nothing stands apart, and what it says may take a moment.

What the recording binds to its server's version (1.36): in the topic `discovery` the groups, versions and fields that
each release changes. On another minor version its exchanges are compared by status alone, and counted apart.
Hashes of OpenAPI documents are never compared: they change with every build. A list's revision may be newer than the
newest object's: the server writes for itself.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import time
from datetime import UTC, datetime
from typing import Any

from tests.lab.api.apart import Apart, Kind
from tests.lab.api.replay import Json, Replay, Target

RECORDED = "1.36"
VERSION_BOUND = ("discovery",)
REASON = f"compared by status only: recorded on {RECORDED}"
_HASH = re.compile(r"\?hash=[0-9A-F]+$")
_SOON = 15.0


class RealReplay(Replay):
    """One topic against a real server that holds nothing else.

    Args:
        target: the server.
        topic: the parsed file.
        minor: its version, such as `1.36`.
        apart: also leave out what the lab's own server does not have (the server is a stand-in).
    """

    pause = 0.5

    def __init__(self, target: Target, topic: Json, *, minor: str, apart: bool = False) -> None:
        super().__init__(target, topic, frozenset())
        self._bound_to_version = topic["topic"] in VERSION_BOUND and minor != RECORDED
        self._standin = apart
        self._seen: dict[str, Json] = {}

    def apart(self, exchange: Json) -> Apart | None:
        """Nothing, on a real server; a stand-in keeps the definitions that the lab's own server does not have."""
        found = super().apart(exchange) if self._standin else None
        if found is not None and exchange["name"] in ("crd-get", "table-crd"):
            return found._replace(kind=Kind.FOLLOWS)
        return found

    def exchange(self, exchange: Json) -> None:
        """As the recording did; an answer that may become right is asked for again until it does."""
        patience = float(exchange.get("eventually") or 0)
        reads = exchange["request"]["method"] == "GET" and not exchange.get("during")
        if exchange.get("prepare") or (reads and self.topic["topic"] == "discovery"):
            patience = max(patience, _SOON)
        deadline = time.monotonic() + patience
        while True:
            before = (dict(self.bound), list(self.problems), copy.deepcopy(self.tally))
            super().exchange(exchange)
            if len(self.problems) == len(before[1]) or time.monotonic() >= deadline:
                return
            self.bound, self.problems, self.tally = before
            exchange = {key: value for key, value in exchange.items() if key != "prepare"}
            threading.Event().wait(0.3)

    def compare(self, exchange: Json, status: int, headers: dict[str, list[str]], body: bytes) -> None:
        """Note every difference, as far as the recording may be held against this version."""
        index = exchange["name"] == "openapi-v3-index" and not self._standin
        if (self._bound_to_version or index) and status != exchange["response"]["status"]:
            self.problems.append(f"{exchange['name']}: status {status}, not {exchange['response']['status']}")
        elif self._bound_to_version:
            return
        elif index:
            wanted = json.loads(exchange["response"]["bodyText"])
            self.match(exchange["name"], _unhashed(wanted), _unhashed(json.loads(body)), "body")
        else:
            super().compare(exchange, status, headers, body)

    def send(self, request: Json) -> tuple[int, dict[str, list[str]], bytes]:
        """Send a request; an object that it writes whole carries the times that it was last seen with."""
        body = request.get("body")
        if isinstance(body, dict) and isinstance(meta := body.get("metadata"), dict):
            seen = self._seen.get(self.filled(str(meta.get("uid"))), {})
            request = {**request, "body": _with_times(body, seen)}
        return super().send(request)

    def judge(self, exchange: Json, status: int, headers: dict[str, list[str]], body: bytes) -> None:
        """Count it; what was compared by status alone is counted apart."""
        if status < 300:
            self._remember(body)
        same = self.tally.same
        super().judge(exchange, status, headers, body)
        if self._bound_to_version and self.tally.same > same:
            self.tally.same -= 1
            self.tally.apart[REASON] += 1

    def _remember(self, body: bytes) -> None:
        try:
            document = json.loads(body)
        except ValueError:
            return
        if isinstance(document, dict) and (uid := (document.get("metadata") or {}).get("uid")):
            self._seen[uid] = document


def _with_times(body: Any, seen: Any) -> Any:
    """A body with each `<time>` filled in from the same place of an object; the present where that has none."""
    if isinstance(body, dict):
        known = seen if isinstance(seen, dict) else {}
        return {key: _with_times(value, known.get(key)) for key, value in body.items()}
    if isinstance(body, list):
        return [_with_times(item, _twin(item, index, seen)) for index, item in enumerate(body)]
    if body != "<time>":
        return body
    return seen if isinstance(seen, str) else datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _twin(item: Any, index: int, seen: Any) -> Any:
    """The item of another list that means the same: an entry of managedFields by its owner, others by their place."""
    if not isinstance(seen, list):
        return None
    if isinstance(item, dict) and "manager" in item:
        keys = ("manager", "operation", "apiVersion", "subresource")
        return next((s for s in seen if all(s.get(key) == item.get(key) for key in keys)), None)
    return seen[index] if index < len(seen) else None


def _unhashed(document: Any) -> Any:
    return {path: _HASH.sub("", entry["serverRelativeURL"]) for path, entry in document["paths"].items()}
