"""The suite for a real kube-apiserver does what it says: tried whole, on programs that take a real one's flags.

What is proven here: binaries are found, certificates made, both servers started, waited for and stopped; definitions
installed; the contract replayed over TLS with tokens, compaction and load; scenarios driven; pods loaded. What a real
server alone can show is what it answers.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rollout.lab.api.kinds import ISTIO
from rollout.lab.remote.served import definition
from tests.real.apiserver.server import Unavailable, find_binaries, istio_definitions

ROOT = Path(__file__).parents[2]
SUITE = "tests/real/apiserver"


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    """A folder like setup-envtest's."""
    folder = tmp_path / "assets"
    folder.mkdir()
    for program in ("kube-apiserver", "etcd"):
        path = folder / program
        command = f'exec "{sys.executable}" -m tests.lab.fake_kube_apiserver {program} "$@"'
        path.write_text(f'#!/bin/sh\ncd "{ROOT}"\nPYTHONPATH="{ROOT}" {command}\n', encoding="utf-8")
        path.chmod(0o755)
    return folder


@pytest.fixture
def crds(tmp_path: Path) -> Path:
    """Istio's definitions, as far as the lab knows them."""
    path = tmp_path / "crds.yaml"
    path.write_text(yaml.safe_dump_all([definition(resource) for resource in ISTIO]), encoding="utf-8")
    return path


def suite(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run tests of the suite in a process of their own."""
    kept = {k: v for k, v in os.environ.items() if k not in ("KUBEBUILDER_ASSETS", "ISTIO_CRDS", "CI")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-rs", *argv]
    return subprocess.run(
        command, cwd=ROOT, env={**kept, **environment}, capture_output=True, text=True, timeout=1500, check=False
    )


def counted(done: subprocess.CompletedProcess[str], word: str) -> int:
    """How many tests passed, failed, …"""
    found = re.search(rf"(\d+) {word}", done.stdout.splitlines()[-1])
    return int(found[1]) if found else 0


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl binary")


@needs_openssl
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_contract_is_replayed(assets: Path, crds: Path) -> None:
    """Topics with load, compaction, watches and rights; the others differ in nothing that the suite does."""
    topics = ["expired", "overload", "watch", "impersonation", "peer-authentication", "webhooks"]
    chosen = " or ".join(f"[{topic}]" for topic in topics)
    done = suite(
        f"{SUITE}/test_contract.py", "-k", chosen,
        KUBEBUILDER_ASSETS=str(assets), ISTIO_CRDS=str(crds), ROLLOUT_TEST_STANDIN="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    assert counted(done, "passed") == len(topics)


@needs_openssl
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_scenarios_are_driven(assets: Path, crds: Path) -> None:
    """A policy that refuses, a user with few rights, another version of the API, and then the usual one again."""
    chosen = "undo-refused or state-namespace-needed or older-istio or oldest-policy-wins"
    done = suite(f"{SUITE}/test_scenarios.py", "-k", chosen, KUBEBUILDER_ASSETS=str(assets), ISTIO_CRDS=str(crds))
    assert done.returncode == 0, done.stdout[-5000:]
    assert counted(done, "passed") == 4


@needs_openssl
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_pods_are_planned(assets: Path, crds: Path) -> None:
    """With fewer of them."""
    done = suite(
        f"{SUITE}/test_many_pods.py",
        KUBEBUILDER_ASSETS=str(assets), ISTIO_CRDS=str(crds), KUBE_APISERVER_PODS="100",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    assert counted(done, "passed") == 1


def test_without_a_binary_it_is_skipped_with_its_name() -> None:
    """And how to get it, whatever CI says."""
    done = suite(f"{SUITE}/test_scenarios.py", "-k", "healthy", CI="true")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "no kube-apiserver: KUBEBUILDER_ASSETS is not set" in done.stdout
    assert "setup-envtest use" in done.stdout
    assert counted(done, "skipped") == 1


@needs_openssl
def test_a_binary_that_does_not_start_fails(assets: Path) -> None:
    """With the end of its log; the etcd that was started for it is stopped."""
    (assets / "kube-apiserver").write_text("#!/bin/sh\necho out of order\nexit 3\n", encoding="utf-8")
    done = suite(f"{SUITE}/test_scenarios.py", "-k", "healthy", KUBEBUILDER_ASSETS=str(assets))
    assert done.returncode == 1
    assert "kube-apiserver ended with 3: out of order" in done.stdout


def test_what_is_named_must_be_there(tmp_path: Path) -> None:
    """A folder without the binary, and definitions that are none, are mistakes and no reason to skip."""
    with pytest.raises(Unavailable, match="setup-envtest"):
        find_binaries({})
    with pytest.raises(RuntimeError, match="no executable kube-apiserver"):
        find_binaries({"KUBEBUILDER_ASSETS": str(tmp_path)})
    (tmp_path / "kube-apiserver").touch(mode=0o755)
    with pytest.raises(RuntimeError, match="no executable etcd"):
        find_binaries({"KUBEBUILDER_ASSETS": str(tmp_path), "PATH": str(tmp_path / "none")})
    (tmp_path / "none.yaml").write_text("kind: ConfigMap\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match="no CustomResourceDefinition"):
        istio_definitions({"ISTIO_CRDS": str(tmp_path)})
    (tmp_path / "some.yaml").write_text("kind: CustomResourceDefinition\n---\n---\nkind: Pod\n", encoding="utf-8")
    assert [{"kind": "CustomResourceDefinition"}] == istio_definitions({"ISTIO_CRDS": str(tmp_path)})
