"""A real Prometheus in place of the lab's evaluator: it gets the lab's samples, and its clients the lab's time.

Samples lie days ahead of the wall clock that the server looks at, so a query that names no time is given the lab's.
A metric is written when a query can read it, with all that it has: two thirds of nine days are never asked for.
The server takes such samples where out-of-order ingestion is on (`out_of_order_time_window`, tried with 2.42).
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from rollout.errors import UsageError
from rollout.lab.front import JSON, TEXT, Answer, Parameters, Switches, parameters_of, query_text
from rollout.lab.mesh.samples import Feed, ScrapeStorage
from rollout.lab.promql.answers import failure, parse_time, success
from rollout.lab.promql.errors import QueryError
from rollout.lab.remote_write import HEADERS, bodies
from rollout.lab.wanted import Wanted, wanted_by

_TIMEOUT = 120.0
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Forwarder:
    """One real Prometheus server behind the lab's socket; safe to call from several threads."""

    def __init__(
        self,
        url: str,
        storage: ScrapeStorage,
        now: Callable[[], datetime],
        *,
        targets: Callable[[], Sequence[Mapping[str, object]]] = tuple,
    ) -> None:
        """Send nothing yet.

        Args:
            url: the server's, with nothing of this lab in it, started with `--web.enable-remote-write-receiver`.
            storage: where the samples come from.
            now: the lab's clock, with a time zone.
            targets: what `/api/v1/targets` lists as `activeTargets`: the server itself scrapes nobody.

        Raises:
            UsageError: not the URL of a server on plain HTTP.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise UsageError(f"{url!r} is no address of a Prometheus that the lab can use", limit="http://HOST:PORT")
        self._host, self._port, self._prefix = parts.hostname, parts.port or 80, parts.path.rstrip("/")
        self._feed = Feed(storage)
        self._now = now
        self._targets = targets
        self._writing = threading.Lock()
        self.switches = Switches()

    def handle(
        self, method: str, path: str, query: str | Parameters, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """Answer one request: see `Prometheus.handle`. 502 when the server cannot be reached.

        Raises:
            ConnectionDropped: the outage switch asks for it.
            ValueError: the server does not take the lab's samples; with its words.
        """
        refused = self.switches.refusal(headers)
        if refused is not None:
            return refused
        if path == "/api/v1/targets" and method == "GET":
            return 200, JSON, success({"activeTargets": list(self._targets()), "droppedTargets": []})
        parameters = self._at_lab_time(path, parameters_of(method, query, headers, body))
        try:
            self._refuse_long(path, parameters)
            self._write(wanted_by(texts) if (texts := _texts(parameters)) else lambda _: True)
            answer = self._forward(method, path, parameters)
        except QueryError as error:
            return error.status, JSON, failure(error.error_type, str(error))
        except (OSError, http.client.HTTPException) as error:
            return 502, TEXT, f"Bad Gateway: {error}\n".encode()
        return self._spoilt(answer)

    def _at_lab_time(self, path: str, parameters: Parameters) -> Parameters:
        if path != "/api/v1/query" or any(parameters.get("time", ())):
            return parameters
        return {**parameters, "time": [f"{self._now().timestamp():.3f}"]}

    def _refuse_long(self, path: str, parameters: Parameters) -> None:
        if self.switches.longest_range_ms is None or not query_text(parameters):
            return
        ranged = path == "/api/v1/query_range"
        span = parse_time(parameters, "end") - parse_time(parameters, "start") if ranged else 0
        self.switches.refuse_long(query_text(parameters), span)

    def _write(self, wanted: Wanted) -> None:
        """Let the server have every scrape of these metrics up to now: a write is visible when it is answered."""
        with self._writing:
            for body in bodies(self._feed.take(wanted)):
                status, _, said = self._send("POST", "/api/v1/write", body, HEADERS)
                if status >= 300:
                    raise ValueError(f"the real Prometheus refuses the lab's samples ({status}): {said.decode()[:300]}")
            self._feed.confirm()

    def _forward(self, method: str, path: str, parameters: Parameters) -> Answer:
        form = urlencode(parameters, doseq=True)
        if method == "POST":
            return self._send(method, path, form.encode(), _FORM)
        return self._send(method, f"{path}?{form}" if form else path, b"", {})

    def _send(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT)
        try:
            connection.request(method, f"{self._prefix}{target}", body, dict(headers))
            response = connection.getresponse()
            return response.status, response.headers.get("Content-Type", TEXT), response.read()
        finally:
            connection.close()

    def _spoilt(self, answer: Answer) -> Answer:
        """The answer as the switches `empty` and `warnings` leave it."""
        status, media, body = answer
        if status != 200 or media != JSON or not (self.switches.empty or self.switches.warnings):
            return answer
        document: dict[str, Any] = json.loads(body)
        found = document.get("data")
        if self.switches.empty and isinstance(found, dict) and found.get("resultType") in ("vector", "matrix"):
            found["result"] = []
        elif self.switches.empty and isinstance(found, list):
            document["data"] = []
        if self.switches.warnings:
            document["warnings"] = [*document.get("warnings", ()), *self.switches.warnings]
        return status, media, json.dumps(document, separators=(",", ":")).encode()


def _texts(parameters: Parameters) -> list[str]:
    """All PromQL of a request."""
    return [text for name in ("query", "match[]") for text in parameters.get(name, ())]
