"""An answer that goes on: read as it comes, and let go from outside."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rollout.adapters.failures import Ask
from rollout.adapters.kubernetes import KubernetesCluster, connect
from rollout.adapters.stream import Stream
from rollout.errors import Forbidden, NotFound, Unreachable
from rollout.lab.api import Effect, Fault, Store
from rollout.lab.api.logs import LogLine
from rollout.lab.clock import VirtualClock
from rollout.lab.server import LabServer

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
POD = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
    "spec": {"nodeName": "node-1", "containers": [{"name": "istio-proxy", "image": "i"}]},
}  # fmt: skip
FOLLOW = [("follow", "true"), ("sinceSeconds", "1")]


class Served:
    """An API server with one pod, whose log grows, and a way to it."""

    def __init__(self, folder: Path) -> None:
        clock = VirtualClock(NOW)
        store = Store(clock.now)
        store.create(POD)
        self.written: list[LogLine] = []
        self.lab = LabServer(store, clock, logs=lambda *_: list(self.written)).start()
        config = folder / "config"
        config.write_text(self.lab.kubeconfig())
        self.cluster: KubernetesCluster = connect(str(config), None, sleep=lambda _: None)

    def open(self, pod: str = "web", quiet: float = 20.0) -> Stream:
        """Its log, followed."""
        return self.cluster.follow("default", pod, "istio-proxy", FOLLOW, quiet)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.cluster.close()
    made.lab.stop()


def test_lines_come_while_it_goes_on(served: Served) -> None:
    """And a reader that waits is let go by another thread."""
    served.written = [(NOW, "one")]
    stream = served.open()
    pieces: list[bytes] = []
    came, over = threading.Event(), threading.Event()

    def read() -> None:
        for piece in stream:
            pieces.append(piece)
            came.set()
        over.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert came.wait(20)
    stream.stop()
    assert over.wait(20)
    reader.join()
    stream.close()
    assert [b"2026-03-02T10:00:00.000000000Z one\n"] == pieces


def test_many_at_once(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """As many pods as are followed, without a word of the client library's."""
    served.written = [(NOW, "one")]
    streams = [served.cluster.follow("default", "web", "istio-proxy", [], 20.0) for _ in range(24)]
    assert [1] * 24 == [b"".join(stream).count(b"\n") for stream in streams]
    assert [] == [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_silence_is_an_end(served: Served) -> None:
    """Of the reader's patience."""
    stream = served.open(quiet=0.3)
    with pytest.raises(Unreachable):
        list(stream)
    stream.close()


def test_what_is_refused(served: Served) -> None:
    """As for any request; the end of a server is one, too."""
    with pytest.raises(NotFound):
        served.open("nobody")
    served.lab.faults.add(Fault(Effect.STATUS, path="/log", status=403, count=1))
    with pytest.raises(Forbidden):
        served.open()
    served.lab.faults.add(Fault(Effect.DROP_BEFORE, path="/log", count=1))
    with pytest.raises(Unreachable):
        served.open()
    served.lab.stop()
    with pytest.raises(Unreachable):
        served.open()


def test_an_older_urllib3_has_no_shutdown() -> None:
    """Then its socket is shut down; what is stopped ends without a word."""
    shut: list[int] = []

    def broken(*_: Any, **__: Any) -> Iterator[bytes]:
        yield b"one"
        raise OSError("the socket is gone")

    socket = SimpleNamespace(shutdown=shut.append)
    response = SimpleNamespace(connection=SimpleNamespace(sock=socket), stream=broken, close=lambda: None)
    stream = Stream(response, Ask("GET", "/log", "http://x", "lab"))
    pieces = iter(stream)
    assert b"one" == next(pieces)
    stream.stop()
    assert ([], 1) == (list(pieces), len(shut))
    with pytest.raises(Unreachable, match="the socket is gone"):
        list(Stream(response, Ask("GET", "/log", "http://x", "lab")))
