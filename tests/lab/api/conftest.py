"""A running lab, and an HTTP client that keeps its connection."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout.lab.api import Faults, Kinds, Store, User
from rollout.lab.clock import VirtualClock
from rollout.lab.server import LabServer, PrometheusHandler

MERGE = "application/merge-patch+json"


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        """Connect at the first request."""
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Send a request; the answer's status and its JSON (or text)."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            named.setdefault("Content-Type", MERGE if method == "PATCH" else "application/json")
        self.connection.request(method, path, data, {"User-Agent": "test/1", **named})
        answer = self.connection.getresponse()
        text = answer.read()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text.decode()


@dataclass
class Lab:
    """A lab and what belongs to it."""

    server: LabServer
    store: Store
    clock: VirtualClock
    client: Callable[[], Client]
    kubeconfig: Path

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One request on a connection of its own."""
        client = self.client()
        return client(method, path, body, **headers)


MakeLab = Callable[..., Lab]


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[MakeLab]:
    """Make a running lab; everything is closed afterwards, and no bug of the lab stays hidden."""
    labs: list[Lab] = []
    clients: list[Client] = []

    def make(
        *,
        kinds: Kinds | None = None,
        tokens: dict[str, User] | None = None,
        prometheus: PrometheusHandler | None = None,
        faults: Faults | None = None,
    ) -> Lab:
        clock = VirtualClock(datetime.now(UTC) + timedelta(days=9))
        store = Store(clock.now, kinds)
        server = LabServer(store, clock, prometheus=prometheus, tokens=tokens, faults=faults).start()

        def client() -> Client:
            clients.append(Client(server.port))
            return clients[-1]

        path = tmp_path / f"kubeconfig-{len(labs)}"
        path.write_text(server.kubeconfig(), encoding="utf-8")
        labs.append(Lab(server, store, clock, client, path))
        return labs[-1]

    yield make
    for client in clients:
        client.connection.close()
    for lab in labs:
        lab.server.stop()
        assert lab.server.failures == []


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    """A lab where everybody is admin."""
    return make_lab()
