"""The evidence of a look-back on a real Prometheus: how many queries, how long each takes, how big the answers are.

10,000 request series of 500 pods in 20 namespaces over eight days, written by remote write in the order of time, one
sample in five minutes: 23 million samples. (At 30 s it would be ten times as many; what the tool asks is the same, and
a range query's cost rises with the samples that it touches.) Needs the Prometheus of `tests/real/prometheus`.

python benchmarks/evidence.py [--series 10000] [--days 8]
"""

from __future__ import annotations

import argparse
import struct
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rollout.adapters.prometheus_source import connect_metrics
from rollout.cli.looking import Looking
from rollout.lab.remote_write import _block, _snappy, _varint
from rollout.model.traffic import Evidence
from rollout.report.looking import told
from rollout.world.collector import collect
from rollout.world.reads import Read, Traffic
from rollout.world.world import World
from tests.real.prometheus.server import RealPrometheus, find_binary
from tests.world.mesh_fakes import FakeCluster, NoAnalyzer, pod

STEP = 300
PODS, NAMESPACES = 25, 20


def labels(series: int) -> Iterator[bytes]:
    """The labels of the series, encoded: requests first, then a sign of life of each pod."""
    for n in range(series + NAMESPACES * PODS):
        place = n % (NAMESPACES * PODS)
        namespace, name = f"team-{place % NAMESPACES:02d}", f"svc-{place // NAMESPACES:02d}"
        found = {"__name__": "envoy_server_uptime", "namespace": namespace, "pod": f"{name}-7d9-abc"}
        if n < series:
            found |= {
                "__name__": "istio_requests_total", "reporter": "destination",
                "source_workload": f"caller-{n // 500:03d}",
                "source_workload_namespace": "web", "source_principal": f"spiffe://cluster.local/ns/web/sa/{n // 500}",
                "destination_workload": name, "destination_workload_namespace": namespace,
                "destination_service": f"{name}.{namespace}.svc.cluster.local", "response_code": "200",
                "connection_security_policy": "mutual_tls",
            }  # fmt: skip
        yield b"".join(_block(1, _block(1, k.encode()) + _block(2, found[k].encode())) for k in sorted(found))


def write(server: RealPrometheus, series: int, start: datetime, count: int) -> None:
    """All series, two hours at a time; every one has the same values."""
    heads = list(labels(series))
    for first in range(0, count, 24):
        samples = b"".join(
            _block(2, b"\x09" + struct.pack("<d", 100.0 * n) + b"\x10" + _varint(_ms(start) + n * STEP * 1000))
            for n in range(first, min(first + 24, count))
        )
        for low in range(0, len(heads), 5000):
            body = b"".join(_block(1, head + samples) for head in heads[low : low + 5000])
            request = urllib.request.Request(f"{server.url}/api/v1/write", data=_snappy(body), headers={
                "Content-Encoding": "snappy", "Content-Type": "application/x-protobuf",
                "X-Prometheus-Remote-Write-Version": "0.1.0"})  # fmt: skip
            with urllib.request.urlopen(request, timeout=120):
                pass


def _ms(at: datetime) -> int:
    return int(at.timestamp()) * 1000


class Timed:
    """The metrics port, with a stop-watch."""

    def __init__(self, inner: Any) -> None:
        """Around the real one."""
        self.inner, self.took = inner, list[tuple[float, str]]()

    def past(self) -> Any:
        """Itself: the look-back's queries are those that count."""
        return self

    def __getattr__(self, name: str) -> Any:
        """`query`, `query_range`, `now`."""
        method = getattr(self.inner, name)

        def timed(*args: Any) -> Any:
            begun = time.perf_counter()
            try:
                return method(*args)
            finally:
                self.took.append((time.perf_counter() - begun, f"{name} {str(args[0])[:90] if args else ''}"))

        return timed


def main(series: int, days: float) -> None:
    """Write, ask, print."""
    count = int(days * 86400 / STEP) + 13
    start = datetime.now(UTC) - timedelta(seconds=(count - 1) * STEP)
    with tempfile.TemporaryDirectory() as folder, RealPrometheus(find_binary(), Path(folder)) as server:
        begun = time.perf_counter()
        write(server, series, start, count)
        print(f"{series} series, {count * series / 1e6:.1f} M samples written in {time.perf_counter() - begun:.0f} s")
        metrics = Timed(connect_metrics(server.url, sleep=time.sleep))
        names = [f"team-{n:02d}" for n in range(NAMESPACES)]
        pods = [pod(f"svc-{n:02d}-7d9-abc", name, workload=f"svc-{n:02d}", created=start) for name in names
                for n in range(PODS)]  # fmt: skip
        for asked in (names[:1], names):
            metrics.took.clear()
            reads: list[Read] = [Traffic(name, days * 86400) for name in asked]
            begun = time.perf_counter()
            looking = Looking(print)
            now = datetime.now(UTC)
            answers = collect(reads, FakeCluster(*pods), metrics, NoAnalyzer(), World(), now, announce=looking)
            wall = time.perf_counter() - begun
            print(*told(looking.looks), sep="\n")
            found = [answers[read].value for read in reads]
            edges = sum(len(e.edges) for e in found if isinstance(e, Evidence))
            ends = sorted({str(e.verdict if isinstance(e, Evidence) else e.reason) for e in found})
            print(
                f"{len(asked)} namespaces: {len(metrics.took)} queries, {wall:.1f} s, {edges} edges, {ends}; longest:"
            )
            for seconds, text in sorted(metrics.took, reverse=True)[:4]:
                print(f"  {seconds:6.2f} s  {text}")


if __name__ == "__main__":
    wanted = argparse.ArgumentParser(description=__doc__)
    wanted.add_argument("--series", type=int, default=10_000)
    wanted.add_argument("--days", type=float, default=8)
    given = wanted.parse_args()
    main(given.series, given.days)
