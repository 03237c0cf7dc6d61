"""Servers for the suite marked `kube_apiserver`; without a binary it is skipped, one that fails to start fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout.lab.lab import list_scenarios
from rollout.lab.scenario import load_scenario
from tests.real.apiserver.server import KubeApiserver, Unavailable, find_binaries, istio_definitions

STANDIN = os.environ.get("ROLLOUT_TEST_STANDIN") == "1"
"""The binary is the tests' own imitation of one (`tests/lab/fake_kube_apiserver.py`)."""


@pytest.fixture(scope="session")
def binaries() -> tuple[Path, Path]:
    """kube-apiserver and etcd."""
    try:
        return find_binaries()
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def definitions(binaries: tuple[Path, Path]) -> list[dict[str, Any]]:
    """Istio's definitions; without ISTIO_CRDS there are none."""
    return istio_definitions()


@pytest.fixture
def fresh(
    binaries: tuple[Path, Path], definitions: list[dict[str, Any]], tmp_path: Path
) -> Iterator[Callable[[], KubeApiserver]]:
    """Starts a server on an empty etcd, which is stopped after the test."""
    servers: list[KubeApiserver] = []

    def start() -> KubeApiserver:
        servers.append(KubeApiserver(binaries, tmp_path / f"server-{len(servers)}", definitions))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def shared(
    binaries: tuple[Path, Path], definitions: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KubeApiserver]:
    """One server for all scenarios of this worker: each finds it empty, and leaves it empty."""
    users = [load_scenario(name).user for name, _ in list_scenarios()]
    with KubeApiserver(binaries, tmp_path_factory.mktemp("server"), definitions, users) as server:
        yield server
