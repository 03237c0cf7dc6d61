"""A server process: the lab's API server with a generated cluster in it, and a Prometheus beside it that counts.

`Server(pods=5000, namespaces=200)` starts it; `took()` tells what was asked since the last time. By hand:

python benchmarks/cluster.py --pods 5000 --namespaces 200
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]


class Server:
    """The handle on the process."""

    def __init__(self, *, pods: int, namespaces: int, strict: bool = False) -> None:
        """Start it and wait until it serves."""
        argv = [sys.executable, str(HERE / "cluster.py"), "--pods", str(pods), "--namespaces", str(namespaces)]
        argv += ["--strict"] if strict else []
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        first = self._line()
        self.url: str = first["url"]
        self.series: int = first["series"]
        self._folder = tempfile.TemporaryDirectory(prefix="rollout-benchmark-")
        self.kubeconfig = Path(self._folder.name) / "kubeconfig"
        self.kubeconfig.write_text(first["kubeconfig"], encoding="utf-8")
        self.home = self._folder.name

    def _line(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def took(self) -> dict[str, Any]:
        """Requests by kind, seconds that they took inside the server, and the same of Prometheus; then zero again."""
        assert self._process.stdin is not None
        self._process.stdin.write("took\n")
        self._process.stdin.flush()
        found: dict[str, Any] = self._line()
        return found

    def __enter__(self) -> Server:
        """Return itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._folder.cleanup()


class Counted:
    """What was asked, and for how long it was worked on."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.requests: Counter[str] = Counter()
        self.seconds = {"api": 0.0, "prometheus": 0.0}

    def around(self, part: str, name: str, work: Callable[[], Any]) -> Any:
        """Do the work, and count it."""
        begun = time.perf_counter()
        try:
            return work()
        finally:
            with self.lock:
                self.requests[name] += 1
                self.seconds[part] += time.perf_counter() - begun

    def take(self) -> dict[str, Any]:
        """All of it, and begin anew."""
        with self.lock:
            found = {"requests": dict(self.requests), "seconds": self.seconds}
            self.clear()
        return found


def kind_of(method: str, path: str, query: dict[str, list[str]]) -> str:
    """`list pods`, `dry run`, `discovery`, `access review`."""
    if "dryRun" in query:
        return "dry run"
    if path.endswith(("accessreviews", "rulesreviews", "subjectreviews")):
        return "review"
    parts = [part for part in path.split("/") if part]
    inner = parts[2:] if parts[:1] == ["api"] else parts[3:]
    if inner[:1] == ["namespaces"] and len(inner) > 2:
        inner = inner[2:]
    if not inner:
        return "discovery"
    return f"{'list' if len(inner) == 1 else 'get'} {inner[0]}" if method == "GET" else f"{method} {inner[0]}"


def serve(pods: int, namespaces: int, *, strict: bool) -> None:
    """Build the cluster, serve it, answer questions on standard input until it ends."""
    import mesh

    from rollout.lab.api.store import Store
    from rollout.lab.clock import VirtualClock
    from rollout.lab.prometheus import Prometheus
    from rollout.lab.server import LabServer

    now = datetime.now(UTC)
    clock = VirtualClock(now)
    store = Store(clock.now)
    storage = mesh.metrics(mesh.fill(store, mesh.Size(pods, namespaces, strict)), now)
    counted = Counted()
    prometheus = Prometheus(storage, clock.now)

    class Face:
        def handle(self, method: str, path: str, query: Any, headers: Any, body: bytes) -> Any:
            name = "prometheus " + path.rpartition("/")[2]
            answer = lambda: prometheus.handle(method, path, query, headers, body)  # noqa: E731
            return counted.around("prometheus", name, answer)

    with LabServer(store, clock, prometheus=Face()) as server:
        answer = server.api.answer
        server.api.answer = lambda request: counted.around(  # type: ignore[method-assign]
            "api", kind_of(request.method, request.path, request.query), lambda: answer(request)
        )
        first = {"url": server.url, "kubeconfig": server.kubeconfig(), "series": len(storage)}
        print(json.dumps(first), flush=True)
        for _ in sys.stdin:
            print(json.dumps(counted.take()), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--namespaces", type=int, default=200)
    parser.add_argument("--strict", action="store_true")
    asked = parser.parse_args()
    serve(asked.pods, asked.namespaces, strict=asked.strict)
