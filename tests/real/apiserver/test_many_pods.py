"""`rollout plan -A` on 5,000 pods: it ends, names every namespace, and writes nothing."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rollout.lab.api import ApiError
from rollout.lab.lab import Lab
from rollout.lab.mesh.pods import make_pod
from rollout.lab.remote import Remote
from tests.real.apiserver.server import KubeApiserver

pytestmark = [pytest.mark.kube_apiserver, pytest.mark.slow, pytest.mark.timeout(3600)]

PODS = int(os.environ.get("KUBE_APISERVER_PODS", "5000"))
NAMESPACES = 10
MEGABYTES = 1500


def test_a_plan_of_everything(fresh: Any, tmp_path: Path, record_property: Any) -> None:
    """Its time and memory are recorded; of a Prometheus that knows none of the pods it says that it cannot see."""
    server: KubeApiserver = fresh()
    names = [f"load-{number:02}" for number in range(NAMESPACES)]
    began = time.monotonic()
    load(server.remote, names)
    loaded = time.monotonic() - began
    before = revisions(server.remote, names)
    with Lab.start("no-traffic", start=datetime.now(UTC)) as lab:
        began = time.monotonic()
        command = [sys.executable, "-m", "rollout", "plan", "-A", "--kubeconfig", str(server.kubeconfig)]
        done = subprocess.run(
            [*command, "--prometheus", lab.prometheus_url],
            env={**os.environ, "XDG_STATE_HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        took = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    record_property("many pods", {"pods": PODS, "loaded": loaded, "plan": took, "peak of a child, MB": peak})
    said = done.stdout + done.stderr
    assert done.returncode in (3, 4), said[-3000:]
    assert "Traceback" not in said
    assert [] == [name for name in names if name not in said]
    assert before == revisions(server.remote, names)


def load(remote: Remote, names: list[str]) -> None:
    """Namespaces with sidecar injection, and pods in them: each with its proxy, running and ready."""
    for name in names:
        meta = {"name": name, "labels": {"istio-injection": "enabled"}}
        remote.ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: _pod(remote, names, number), range(PODS)))


def _pod(remote: Remote, names: list[str], number: int) -> None:
    namespace, workload = names[number % len(names)], f"app-{number // len(names) // 20:03}"
    pod = make_pod(
        f"{workload}-{number:05}",
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": f"{workload}-1", "uid": "1"}},
        {"metadata": {"labels": {"app": workload}}, "spec": {"containers": [{"name": "app", "image": "example:1"}]}},
        {"metadata": {"name": namespace, "labels": {"istio-injection": "enabled"}}},
        workload=("Deployment", workload), version="1.27.3", labels={}, created=round(time.time() * 1000), ready=True,
    )  # fmt: skip
    status = {key: value for key, value in pod.pop("status").items() if key != "qosClass"}
    path = f"/api/v1/namespaces/{namespace}/pods"
    remote.ask("POST", path, pod)
    media = "application/merge-patch+json"
    remote.ask("PATCH", f"{path}/{pod['metadata']['name']}/status", {"status": status}, media=media)


def revisions(remote: Remote, names: list[str]) -> str:
    """The newest revision of what a run might write, to see that nobody did."""
    found = []
    for name in names:
        for path in (
            f"/api/v1/namespaces/{name}/configmaps",
            f"/apis/coordination.k8s.io/v1/namespaces/{name}/leases",
            f"/apis/security.istio.io/v1/namespaces/{name}/peerauthentications",
        ):
            try:
                found += [item["metadata"] for item in remote.ask("GET", path)["items"]]
            except ApiError as error:
                if error.code != 404:
                    raise
    return json.dumps(found)
