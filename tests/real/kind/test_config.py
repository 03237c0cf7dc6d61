"""What `make kind` feeds to kind and kubectl, as far as it can be checked without Docker."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from rollout.lab.lab import Lab
from tests.real.kind.fields import mistakes

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "kind"
SCHEMA = json.loads((Path(__file__).parent / "v1alpha4.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def config() -> dict[str, Any]:
    """kind-config.yaml."""
    found = yaml.safe_load((ROOT / "kind-config.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_the_config_is_one_that_kind_reads() -> None:
    """Three nodes, of which one may be drained in a watch."""
    VALIDATOR.validate(config())
    assert ["control-plane", "worker", "worker"] == [node["role"] for node in config()["nodes"]]
    assert "rollout" == config()["name"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"apiVersion": "kind.x-k8s.io/v1alpha3"},
        {"nodes": [{"role": "worker"}]},
        {"nodes": [{"role": "control-plane"}, {"role": "agent"}]},
        {"nodes": [{"role": "control-plane", "extraPortMappings": [{"containerPort": "80"}]}]},
        {"networking": {"ipFamily": "IPv4"}},
        {"featureGates": {"SidecarContainers": "true"}},
        {"node": []},
    ],
)
def test_the_schema_refuses_what_kind_refuses(wrong: dict[str, Any]) -> None:
    """Unknown fields, roles and types."""
    assert not VALIDATOR.is_valid({**config(), **wrong})


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder of programs that write down what they were asked, and nothing else on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "dirname", "grep", "sleep"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def fake(folder: Path, name: str, *, code: int = 0) -> None:
    """One program."""
    path = folder / name
    path.write_text(f'#!/usr/bin/env bash\necho "{name} $*" >> "$CALLS"\nexit {code}\n', encoding="utf-8")
    path.chmod(0o755)


def up(tools: Path) -> tuple[int, str, list[str]]:
    """docs/kind/up with these tools: exit code, what it says, what it calls."""
    calls = tools.parent / "calls"
    calls.touch()
    done = subprocess.run(
        ["/usr/bin/env", "bash", str(FOLDER / "up"), "rollout"],
        env={"PATH": f"{tools}", "CALLS": str(calls), "EVIDENCE_SECONDS": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr, calls.read_text(encoding="utf-8").splitlines()


def test_every_missing_tool_is_named_with_where_to_get_it(tools: Path) -> None:
    """All at once, and nothing is created."""
    code, said, calls = up(tools)
    assert 2 == code, said
    assert ["docker", "kind", "kubectl", "istioctl or helm"] == [
        line.removeprefix("missing: ").partition("   ")[0] for line in said.splitlines() if line.startswith("missing")
    ]
    assert all("https://" in line for line in said.splitlines() if line.startswith("missing"))
    assert [] == calls


def test_a_docker_that_does_not_run_is_said(tools: Path) -> None:
    """Only asked for when everything is there."""
    for name in ("kind", "kubectl", "helm"):
        fake(tools, name)
    fake(tools, "docker", code=1)
    code, said, calls = up(tools)
    assert (2, ["docker info"]) == (code, calls)
    assert "missing: a running Docker" in said


@pytest.mark.parametrize(("plan", "end"), [(0, 0), (3, 0), (4, 4)])
@pytest.mark.parametrize("installer", ["istioctl", "helm"])
def test_cluster_mesh_prometheus_workloads_plan(tools: Path, installer: str, plan: int, end: int) -> None:
    """In this order; a plan that is blocked is the answer, one that cannot see is a failure."""
    for name in ("docker", "kind", "kubectl", installer):
        fake(tools, name)
    fake(tools, "rollout", code=plan)
    code, said, calls = up(tools)
    assert end == code, said
    order = [
        "kind create cluster --config kind-config.yaml",
        installer,
        "kubectl --context kind-rollout apply -f docs/kind/prometheus.yaml",
        "kubectl --context kind-rollout apply -f docs/kind/workloads.yaml",
        "kubectl --context kind-rollout -n production wait",
        "rollout plan production --context kind-rollout --prometheus prometheus.monitoring:9090",
    ]
    places = [next(i for i, call in enumerate(calls) if call.startswith(wanted)) for wanted in order]
    assert sorted(places) == places


def applied(manifests: Path, folder: Path) -> tuple[int, str, int]:
    """`kubectl apply --validate=strict` on the lab: exit code, errors, and how many objects it speaks of."""
    kubectl = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert kubectl is not None, "pip install --group dev brings kubectl"
    with Lab.start("oldest-policy-wins") as lab:
        config = folder / "config"
        config.write_text(lab.kubeconfig, encoding="utf-8")
        argv = [kubectl, "--kubeconfig", str(config), "--cache-dir", str(folder / "cache")]
        argv += ["apply", "--validate=strict", "-f", str(manifests)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stderr, len(done.stdout.splitlines())


@pytest.mark.parametrize("name", ["prometheus.yaml", "workloads.yaml"])
def test_the_manifests_are_accepted_by_an_api_server(name: str, tmp_path: Path) -> None:
    """kubectl applies them on the lab, with its own validation."""
    wanted = list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))
    code, said, lines = applied(FOLDER / name, tmp_path)
    assert 0 == code, said
    assert len(wanted) == lines


@pytest.mark.parametrize("name", ["prometheus.yaml", "workloads.yaml"])
def test_no_manifest_has_a_field_that_kubernetes_does_not_know(name: str) -> None:
    """Field by field and type by type, by the models of the official client."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert [] == [wrong for document in yaml.safe_load_all(text) for wrong in mistakes(document)]
    broken = text.replace("readinessProbe:", "readynessProbe:").replace("port: 9090", "port: '9090'")
    assert [wrong for document in yaml.safe_load_all(broken) for wrong in mistakes(document)]


def test_every_image_is_pinned() -> None:
    """A tag at least, and never `latest`."""
    found = []
    for name in ("prometheus.yaml", "workloads.yaml"):
        lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
        found += [line.partition("image: ")[2] for line in lines if "image: " in line]
    assert found
    tags = [image.partition("@")[0].rpartition("/")[2].partition(":")[2] for image in found]
    assert all(tag and tag != "latest" for tag in tags), found


def test_the_story_is_the_labs() -> None:
    """`production` has a caller without a sidecar that names its service, `shop` has none."""
    documents = list(yaml.safe_load_all((FOLDER / "workloads.yaml").read_text(encoding="utf-8")))
    labels = {d["metadata"]["name"]: d["metadata"].get("labels", {}) for d in documents if d["kind"] == "Namespace"}
    injected = {name for name, found in labels.items() if found.get("istio-injection") == "enabled"}
    assert {"production", "shop"} == injected
    (job,) = [d for d in documents if d["kind"] == "CronJob"]
    assert job["metadata"]["namespace"] not in injected
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert "orders.production" in container["env"][0]["value"]
