"""A pair's whole diagnosis asks as much of a cluster of 5,000 pods as of one of 50: certificates and logs, too."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout.cli import main
from rollout.lab.api import Faults, Store
from rollout.lab.api.exec import Executed
from rollout.lab.clock import VirtualClock
from rollout.lab.mesh.loggers import Levels
from rollout.lab.server import LabServer
from tests.diagnosis.makers import NOW
from tests.diagnosis.pki import LEDGER, WEB, Authority, secrets

Json = dict[str, Any]
ROOT = Authority()
DUMPS = {app: secrets(ROOT.leaf(uri)[0], ROOT.pem) for app, uri in (("web", WEB), ("ledger", LEDGER))}
CHAIN = {
    "filter_chain_match": {"transport_protocol": "tls"},
    "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": {"require_client_certificate": True}},
}
INBOUND = {"name": "virtualInbound", "active_state": {"listener": {"filter_chains": [CHAIN]}}}
STRICT = {
    "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
    "metadata": {"name": "default", "namespace": "payments"}, "spec": {"mtls": {"mode": "STRICT"}},
}  # fmt: skip


class Counting(Faults):
    """No fault, and every request but those for time."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: Counter[str] = Counter()

    def hit(self, method: str, target: str, now: datetime, token: str = "") -> None:
        if not target.startswith("/lab/"):
            self.requests[f"{method} {target}"] += 1


def fill(store: Store, pods: int) -> None:
    """web-1 and two ledgers, with sidecars, and so many others beside them in both namespaces."""
    for name in ("shop", "payments", "istio-system"):
        labels = {"istio-injection": "enabled"}
        store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    spec = {"selector": {"app": "ledger"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    metadata = {"name": "ledger", "namespace": "payments"}
    store.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    store.create(STRICT)
    for name, namespace in (("web-1", "shop"), ("ledger-0", "payments"), ("ledger-1", "payments")):
        pod(store, name, namespace, name.partition("-")[0])
    for number in range(pods):
        pod(store, f"other-{number}", ("shop", "payments")[number % 2], "other")


def pod(store: Store, name: str, namespace: str, app: str) -> None:
    """A pod that runs, as the injector leaves it."""
    labels = {"app": app, "security.istio.io/tlsMode": "istio"}
    metadata = {"name": name, "namespace": namespace, "labels": labels,
                "annotations": {"sidecar.istio.io/status": "{}"}}  # fmt: skip
    containers = [
        {"name": "app", "image": "app", "ports": [{"containerPort": 8080}]},
        {"name": "istio-proxy", "image": "proxyv2", "args": ["proxy", "sidecar"]},
    ]
    spec = {"nodeName": "node-1", "serviceAccountName": app, "containers": containers}
    status = {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    store.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status})


def asked(pods: int) -> tuple[Counter[str], Counter[str], int]:
    """The requests of a diagnosis with certificates and logs, the commands in containers, and the exit status."""
    clock, faults = VirtualClock(NOW), Counting()
    store = Store(clock.now)
    fill(store, pods)
    commands: Counter[str] = Counter()
    levels = {name: Levels() for name in ("web-1", "ledger-0", "ledger-1")}

    def run(namespace: str, pod: str, container: str, command: Sequence[str], stdin: Callable[[], bytes]) -> Executed:
        commands[f"{pod} {' '.join(command[2:])}"] += 1
        target = command[3]
        if target.startswith("logging"):
            if "?" in target:
                levels[pod].change(target.partition("?")[2], 0)
            return Executed(out=levels[pod].shown().encode())
        if target.endswith("dynamic_listeners"):
            return Executed(out=json.dumps({"configs": [INBOUND]}).encode())
        return Executed(out=DUMPS[pod.partition("-")[0]])

    written = [(NOW + timedelta(seconds=1), "info all is well")]
    server = LabServer(store, clock, faults=faults, exec_=run, logs=lambda *_: written)
    server.start()
    clock.start()
    pair = ["--from", "web-1.shop", "--to", "ledger.payments:80"]
    try:
        code = main(["diagnose", *pair, "--logs", "5s", "--lab", server.url])
    finally:
        clock.close()
        server.stop()
    return faults.requests, commands, code


def test_as_many_requests_and_commands_in_a_cluster_of_5000_pods_as_in_one_of_50(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The very same ones: of each proxy its certificates, listener, levels (read and set, twice), and its log."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    requests, commands, code = asked(50)
    shown = capsys.readouterr().out
    assert 0 == code, shown
    assert "mutual TLS works here, all layers pass (skipped: analyze)" in " ".join(shown.split())
    assert (requests, commands, code) == asked(5000)
    assert {"web-1", "ledger-0", "ledger-1"} == {command.partition(" ")[0] for command in commands}
    kinds = Counter(command.partition(" ")[2].partition("=")[0].partition("?")[0] for command in commands.elements())
    assert {"GET config_dump": 6, "POST logging": 12} == dict(kinds)
    logs = [request for request in requests.elements() if "/log?" in request]
    assert [3, 3, 3] == [sum(word in each for each in logs) for word in ("tailLines=1", "follow=true", "limitBytes")]
    lists = [request for request in requests if "/pods?" in request]
    assert all("labelSelector=" in request for request in lists)
    assert sum(requests.values()) < 80
