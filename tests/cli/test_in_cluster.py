"""As in a pod: no kubeconfig, the ServiceAccount's token and CA in files, HTTPS to KUBERNETES_SERVICE_HOST."""

import http.client
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.cli import main
from rollout.lab.lab import Lab
from tests.loopback import Handler, needs_openssl, self_signed, serving

ROOT = Path(__file__).parents[2]
QUICK = str(ROOT / "tests" / "lifecycle" / "quick.yaml")
SCENARIO = ROOT / "rollout" / "lab" / "scenarios" / "oldest-policy-wins.yaml"
#: The library has the pod's paths as constants; they are all that a pod has and this process has not.
POD = """
import sys
from kubernetes.config import incluster_config
incluster_config.SERVICE_TOKEN_FILENAME = sys.argv.pop(1)
incluster_config.SERVICE_CERT_FILENAME = sys.argv.pop(1)
from rollout.cli import main
sys.exit(main(sys.argv[1:]))
"""

pytestmark = needs_openssl


@pytest.fixture
def manifests(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What `rollout job` prints for a Prometheus behind the API server."""
    assert main(["job", "production", "--print", "--prometheus", "prometheus.monitoring:9090"]) == 0
    return list(yaml.safe_load_all(capsys.readouterr().out))


@pytest.fixture
def lab(tmp_path: Path, manifests: list[dict[str, Any]]) -> Iterator[Lab]:
    """A ready namespace, where the token is the ServiceAccount's and holds what the manifests give."""
    scenario = yaml.safe_load(SCENARIO.read_text(encoding="utf-8"))
    scenario["user"] = "system:serviceaccount:rollout:rollout"
    scenario["manifests"] += [document for document in manifests if "rbac" in document["apiVersion"]]
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump(scenario), encoding="utf-8")
    with Lab.start(path, start=datetime.now(UTC)) as started:
        yield started


class Forwarding(Handler):
    """Passes everything on to the server at `behind`, host and port."""

    protocol_version = "HTTP/1.1"
    behind: str

    def serve(self) -> None:
        behind = http.client.HTTPConnection(self.behind, timeout=60)
        behind.request(self.command, self.path, self.body(), {k: v for k, v in self.headers.items() if k != "Host"})
        answer = behind.getresponse()
        data = answer.read()
        behind.close()
        kept = ("Content-Type", "Content-Encoding", "Retry-After")
        self.send(answer.status, data, {name: value for name in kept if (value := answer.getheader(name))})


@pytest.fixture
def https(lab: Lab, tmp_path: Path) -> Iterator[int]:
    """The port of a TLS end in front of the lab; its certificate is `cert.pem`."""
    with serving(Forwarding, self_signed(tmp_path), behind=lab.api_url.removeprefix("http://")) as port:
        yield port


@pytest.fixture
def pod(https: int, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Runs `rollout` as a pod would: exit code, and what it says."""

    def run(*argv: str, token: str = "lab") -> tuple[int, str]:
        (tmp_path / "token").write_text(token, encoding="utf-8")
        env = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(https), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", POD, str(tmp_path / "token"), str(tmp_path / "cert.pem"), *argv],
            env={**env, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=90,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


def test_the_cron_jobs_arguments_in_a_pod(pod: Callable[..., tuple[int, str]], manifests: list[dict[str, Any]]) -> None:
    """As they stand in the manifest; every five minutes this is what it does."""
    (cron,) = [document for document in manifests if document["kind"] == "CronJob"]
    args = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert (0, "no run is waiting to be taken up\n") == pod(*args)


def test_a_plan_in_a_pod_reads_everything(pod: Callable[..., tuple[int, str]], lab: Lab) -> None:
    """With the account's rights alone, Prometheus through the API server included."""
    code, said = pod("plan", "production", "--prometheus", "prometheus.monitoring:9090", "--playbook", QUICK)
    assert 0 == code, said
    assert "context in-cluster" in said
    assert {"system:serviceaccount:rollout:rollout"} == {write.user for write in lab.store.writes}


def test_a_token_that_nobody_knows_is_a_sentence(pod: Callable[..., tuple[int, str]]) -> None:
    """A deleted ServiceAccount's."""
    code, said = pod("plan", "production", "--prometheus", "prometheus.monitoring:9090", token="gone")
    assert 4 == code, said
    assert "does not accept the credentials" in " ".join(said.split())
