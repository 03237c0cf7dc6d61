"""The same on real Kubernetes, Istio and Prometheus: `make kind`, then this suite. It takes about a quarter of an hour.

It works on a cluster that `docs/kind/up` makes (named `rollout`), and leaves it there for a look.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CONTEXT = "kind-rollout"
FLAGS = ["--context", CONTEXT, "--prometheus", "prometheus.monitoring:9090", "--playbook", "docs/kind/playbook.yaml"]

pytestmark = [pytest.mark.kind, pytest.mark.slow, pytest.mark.timeout(2400)]


def lacking() -> str:
    """What this machine has not got, '' when the suite can run."""
    missing = [name for name in ("docker", "kind", "kubectl") if shutil.which(name) is None]
    if not (shutil.which("istioctl") or shutil.which("helm")):
        missing.append("istioctl or helm")
    if missing:
        return f"needs {', '.join(missing)} (`make kind` says where to get them)"
    asked = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=60)
    return "" if asked.returncode == 0 else "needs a running Docker"


def run(*argv: str, limit: int = 1200) -> tuple[int, str]:
    """One program in the repository's folder: exit code, and what it said."""
    done = subprocess.run(
        argv, cwd=ROOT, env={**os.environ, "NO_COLOR": "1"}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, timeout=limit,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def rollout(*argv: str) -> tuple[int, str]:
    """The tool, on the kind cluster."""
    return run(sys.executable, "-m", "rollout", *argv, *FLAGS)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> None:
    """docs/kind/up, with this interpreter's rollout."""
    if why := lacking():
        pytest.skip(why)
    tool = tmp_path_factory.mktemp("bin") / "rollout"
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m rollout "$@"\n', encoding="utf-8")
    tool.chmod(0o755)
    code, said = run("docs/kind/up", str(tool))
    assert 0 == code, said


@pytest.mark.usefixtures("cluster")
def test_a_caller_without_a_sidecar_blocks() -> None:
    """The same words as on the lab: the edge without a name, and the CronJob that is suspected."""
    code, said = rollout("plan", "production")
    assert 3 == code, said
    assert "unknown -> production/orders" in said
    assert "billing/invoicer" in said


@pytest.mark.usefixtures("cluster")
def test_a_job_in_the_cluster_takes_a_namespace_to_strict() -> None:
    """The image, the manifests, the ServiceAccount's rights and in-cluster credentials, with no process here."""
    image = "rollout:kind"
    for argv in (["docker", "build", "-t", image, "."], ["kind", "load", "docker-image", image, "--name", "rollout"]):
        code, said = run(*argv)
        assert 0 == code, said
    kubectl = ["kubectl", "--context", CONTEXT, "-n", "rollout"]
    run(*kubectl, "delete", "job/migrate-shop", "--ignore-not-found", "--wait")
    code, said = rollout("job", "shop", "--apply", "--yes", "--image", image)
    assert 0 == code, said
    end = time.monotonic() + 1200
    state = ""
    while state not in ("Complete", "Failed") and time.monotonic() < end:
        time.sleep(5)
        _, state = run(*kubectl, "get", "job", "migrate-shop", "-o", "jsonpath={.status.conditions[-1:].type}")
    _, log = run(*kubectl, "logs", "job/migrate-shop")
    assert "Complete" == state, log
    _, mode = run("kubectl", "--context", CONTEXT, "-n", "shop", "get", "peerauthentication", "-o", "yaml")
    assert "mode: STRICT" in mode
    code, said = run(sys.executable, "-m", "rollout", "rollback", "shop", *FLAGS[:4])
    assert 5 == code, said
