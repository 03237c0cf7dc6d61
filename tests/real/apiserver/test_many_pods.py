"""`rollout plan -A` on 5,000 pods: it ends, names every namespace, and writes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rollout.lab.api import ApiError, Kinds
from rollout.lab.lab import Lab
from rollout.lab.mesh.pods import make_pod
from rollout.lab.remote import Remote
from rollout.lab.remote.served import serve
from tests.real.apiserver.server import KubeApiserver

pytestmark = [pytest.mark.kube_apiserver, pytest.mark.slow, pytest.mark.timeout(3600)]

PODS = int(os.environ.get("KUBE_APISERVER_PODS", "5000"))
NAMESPACES = 10
MEGABYTES = 1000
"""A runner of a pipeline has two gigabytes; a typed list of so many pods alone takes 1.2."""


def test_a_plan_of_everything(fresh: Any, tmp_path: Path, record_property: Any) -> None:
    """Its time and memory are recorded; of a Prometheus that knows none of the pods it says that it cannot see."""
    server: KubeApiserver = fresh()
    serve(server.remote, Kinds())
    names = [f"load-{number:02}" for number in range(NAMESPACES)]
    began = time.monotonic()
    load(server.remote, names)
    loaded = time.monotonic() - began
    before = revisions(server.remote, names)
    with Lab.start("no-traffic", start=datetime.now(UTC)) as lab:
        began = time.monotonic()
        command = [sys.executable, "-m", "rollout", "plan", "-A", "--kubeconfig", str(server.kubeconfig)]
        code, peak, said = measured([*command, "--prometheus", lab.prometheus_url], tmp_path)
        took = time.monotonic() - began
    record_property("many pods", {"pods": PODS, "loading, s": loaded, "plan, s": took, "plan, MB": peak})
    print(f"{PODS} pods: loaded in {loaded:.1f} s; planned in {took:.1f} s with {peak:.0f} MB")
    assert code in (3, 4), said[-3000:]
    assert "Traceback" not in said
    assert [] == [name for name in names if name not in said]
    assert before == revisions(server.remote, names)
    assert peak < MEGABYTES


def measured(command: list[str], folder: Path) -> tuple[int, float, str]:
    """Exit status, peak memory in MB, and what a command says."""
    log = folder / "said.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env={**os.environ, "XDG_STATE_HOME": str(folder)}, stdout=out, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss / 1024, log.read_text(encoding="utf-8")


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
