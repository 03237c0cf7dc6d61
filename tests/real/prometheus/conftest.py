"""Fixtures around a real Prometheus: one server per session and worker, fresh ones on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.real.prometheus.parity import Question, differences
from tests.real.prometheus.remote_write import Samples
from tests.real.prometheus.server import ONE_BLOCK, RealPrometheus, binary_or_skip


@pytest.fixture(scope="session")
def prometheus_binary() -> Path:
    """The binary; without one the test is skipped, and fails where CI=true promises one."""
    return binary_or_skip()


@pytest.fixture(scope="session")
def real_prometheus(prometheus_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPrometheus]:
    """One server for the session: its users write series with a label of their own."""
    with RealPrometheus(prometheus_binary, tmp_path_factory.mktemp("prometheus"), flags=ONE_BLOCK) as server:
        yield server


@pytest.fixture
def fresh_prometheus(prometheus_binary: Path, tmp_path: Path) -> Iterator[Callable[[], RealPrometheus]]:
    """Starts empty servers (0.1 s each) that stop with the test."""
    servers: list[RealPrometheus] = []

    def start() -> RealPrometheus:
        servers.append(RealPrometheus(prometheus_binary, tmp_path / f"prometheus-{len(servers)}", flags=ONE_BLOCK))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def assert_parity(
    fresh_prometheus: Callable[[], RealPrometheus], capsys: pytest.CaptureFixture[str]
) -> Callable[[Sequence[Samples], Sequence[Question]], int]:
    """Fails where the lab and a real server answer differently; prints "N of N" and returns N."""

    def check(samples: Sequence[Samples], questions: Sequence[Question]) -> int:
        found = differences(fresh_prometheus(), samples, questions)
        with capsys.disabled():
            print(f"\nparity with Prometheus: {len(questions) - len(found)} of {len(questions)} equal")
        assert not found, f"{len(found)} of {len(questions)} differ:\n" + "\n".join(found[:40])
        return len(questions)

    return check
