"""A lab's proxies when `pilot-agent request` asks them: their certificates, and what they write at debug."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from rollout.lab.api.exec import Executed
from rollout.lab.lab import Lab

KUBECTL = shutil.which("kubectl", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))

WORKLOADS = [
    {"name": "web", "namespace": "app", "kind": "StatefulSet", "replicas": 1, "ports": {"http": 8080}},
    {"name": "orders", "namespace": "app", "kind": "StatefulSet", "replicas": 1, "ports": {"http": 8080, "tcp": 9090}},
    {"name": "old", "namespace": "out", "kind": "StatefulSet", "replicas": 1, "sidecar": "none", "ports": {"http": 80}},
]
HTTP = {"from": "app/web", "to": "app/orders:8080", "rate": "60/m", "jitter": 0}
TCP = {"from": "app/web", "to": "app/orders:9090", "protocol": "tcp", "rate": "60/m", "jitter": 0}
Start = Callable[..., Any]


def ask(bench: Any, pod: str, *command: str, namespace: str = "app", container: str = "istio-proxy") -> Executed:
    done: Executed = bench.lab._agents.run(namespace, pod, container, command, bytes)
    return done


def page(bench: Any, pod: str, method: str, path: str) -> str:
    done = ask(bench, pod, "pilot-agent", "request", method, path)
    assert (0, b"", "") == (done.code, done.err, done.failure)
    return done.out.decode()


def levels(bench: Any, pod: str) -> dict[str, str]:
    lines = page(bench, pod, "POST", "logging").splitlines()
    return dict(line.strip().split(": ") for line in lines if line.startswith("  "))


def lines(bench: Any, pod: str) -> list[str]:
    return [text for _, text in bench.lab.simulation.written_by(("app", pod), None)]


def secrets(bench: Any, pod: str) -> dict[str, list[x509.Certificate]]:
    dump = json.loads(page(bench, pod, "GET", "config_dump?resource=dynamic_active_secrets"))
    found = {}
    for entry in dump["configs"]:
        secret = entry["secret"]
        part = secret.get("tls_certificate", {}).get("certificate_chain") or secret["validation_context"]["trusted_ca"]
        found[entry["name"]] = x509.load_pem_x509_certificates(base64.b64decode(part["inline_bytes"]))
    return found


def uri(certificate: x509.Certificate) -> str:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (found,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    return found


def test_what_a_proxy_answers(bench: Start) -> None:
    """Each page in Envoy's shape; a path that is none is printed and no failure, as pilot-agent has it."""
    lab = bench(workloads=WORKLOADS, traffic={"a": HTTP})
    info = json.loads(page(lab, "orders-0", "GET", "server_info"))
    assert ("LIVE", "sidecar~") == (info["state"], info["node"]["id"][:8])
    assert "listener_manager.lds_update_success: 1\n" in page(lab, "orders-0", "GET", "stats")
    assert "istio_requests_total{" in page(lab, "orders-0", "GET", "/stats/prometheus")
    assert "invalid path" in page(lab, "orders-0", "GET", "nothing")
    assert page(lab, "orders-0", "GET", "ready").startswith("LIVE")
    dump = json.loads(page(lab, "orders-0", "GET", "config_dump"))
    kinds = [each["@type"].rpartition(".")[2] for each in dump["configs"]]
    assert ["BootstrapConfigDump", "ListenersConfigDump", "SecretsConfigDump"] == kinds
    assert "PRIVATE KEY" not in json.dumps(dump)
    (certs,) = json.loads(page(lab, "orders-0", "GET", "certs"))["certificates"]
    leaf = certs["cert_chain"][0]
    assert "0" == leaf["days_until_expiration"]
    assert [{"uri": "spiffe://cluster.local/ns/app/sa/orders"}] == leaf["subject_alt_names"]


def test_what_does_not_run(bench: Start) -> None:
    """No shell anywhere, no pilot-agent in an app, an unknown command, a page that refuses."""
    lab = bench(workloads=WORKLOADS)
    assert 'exec: "sh": executable file not found' in ask(lab, "orders-0", "sh").failure
    assert "not found" in ask(lab, "orders-0", "pilot-agent", "request", "GET", "certs", container="orders").failure
    assert 255 == ask(lab, "orders-0", "pilot-agent", "wait").code
    refused = ask(lab, "orders-0", "pilot-agent", "request", "GET", "logging?connection=debug")
    assert (255, b"Error: received unsuccessful status code 405: Method Not Allowed\n") == (refused.code, refused.err)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("paths=tls:debug,connection:debug", "unknown logger name"),
        ("tls=debug", "unknown logger name"),
        ("connection=loud", "unknown logger level"),
        ("paths=connection", "empty logger name or empty logger level"),
        ("connection=debug&rbac=debug", "invalid number of parameters"),
    ],
)
def test_one_wrong_name_refuses_the_whole_set(bench: Start, query: str, why: str) -> None:
    """There is no logger `tls`; nothing is changed."""
    lab = bench(workloads=WORKLOADS)
    before = levels(lab, "orders-0")
    refused = ask(lab, "orders-0", "pilot-agent", "request", "POST", f"logging?{query}")
    assert 255 == refused.code
    assert f"received unsuccessful status code 400: error: {why}" in refused.err.decode()
    assert before == levels(lab, "orders-0")


def test_levels_are_each_proxys_own(bench: Start) -> None:
    """Several at once, one alone, all of them."""
    lab = bench(workloads=WORKLOADS)
    assert ("warning", "error") == (levels(lab, "web-0")["connection"], levels(lab, "web-0")["misc"])
    page(lab, "orders-0", "POST", "logging?paths=connection:debug,rbac:trace")
    page(lab, "orders-0", "POST", "logging?http=info")
    found = levels(lab, "orders-0")
    assert ("debug", "trace", "info", "warning") == tuple(found[n] for n in ("connection", "rbac", "http", "router"))
    assert "warning" == levels(lab, "web-0")["connection"]
    page(lab, "orders-0", "POST", "logging?level=off")
    assert {"off"} == set(levels(lab, "orders-0").values())


def test_certificates_are_of_the_mesh_and_renewed_at_half_of_their_life(bench: Start) -> None:
    """The root is that of the ConfigMap in every namespace."""
    lab = bench(workloads=WORKLOADS)
    leaf, root = secrets(lab, "orders-0")["default"]
    leaf.verify_directly_issued_by(root)
    (trusted,) = secrets(lab, "orders-0")["ROOTCA"]
    config = lab.lab.store.get("v1", "ConfigMap", "istio-ca-root-cert", "out")
    assert trusted == root == x509.load_pem_x509_certificate(config["data"]["root-cert.pem"].encode())
    assert "spiffe://cluster.local/ns/app/sa/orders" == uri(leaf)
    assert timedelta(hours=24, minutes=2) == leaf.not_valid_after_utc - leaf.not_valid_before_utc
    lab.wait(hours=13)
    fresh = secrets(lab, "orders-0")["default"][0]
    assert fresh.not_valid_after_utc >= leaf.not_valid_after_utc + timedelta(hours=12)


@pytest.mark.parametrize("flaw", ["expired", "foreign-root", "wrong-san"])
def test_a_flawed_certificate_is_flawed(bench: Start, flaw: str) -> None:
    """And nothing else of it is."""
    lab = bench(workloads=WORKLOADS, certificates={"app/orders": flaw})
    leaf, root = secrets(lab, "orders-0")["default"]
    (mesh,) = secrets(lab, "web-0")["ROOTCA"]
    leaf.verify_directly_issued_by(root)
    assert (flaw == "expired") == (leaf.not_valid_after_utc < lab.lab.clock.now())
    assert (flaw == "foreign-root") == (mesh != root)
    assert (flaw == "wrong-san") == (uri(leaf) == "spiffe://cluster.local/ns/app/sa/default")


FLAGS = "istio_requests_total"
CLIENT = {"expired": "certificate has expired", "foreign-root": "unable to get local issuer certificate",
          "wrong-san": "SAN matcher, certificate SANs are [spiffe://cluster.local/ns/app/sa/default]"}  # fmt: skip
ALERT = {"expired": "SSLV3_ALERT_CERTIFICATE_EXPIRED", "foreign-root": "TLSV1_ALERT_UNKNOWN_CA",
         "wrong-san": "SSLV3_ALERT_CERTIFICATE_UNKNOWN"}  # fmt: skip


@pytest.mark.parametrize("flaw", ["expired", "foreign-root", "wrong-san"])
def test_a_server_s_flaw_comes_out_with_the_next_handshake(bench: Start, flaw: str) -> None:
    """observed.md i: pooled requests go on until the flip; TCP fails at once, and each side's log has its own words."""
    lab = bench(workloads=WORKLOADS, traffic={"a": HTTP, "b": TCP}, certificates={"app/orders": flaw})
    for pod in ("web-0", "orders-0"):
        page(lab, pod, "POST", "logging?paths=connection:debug")
    lab.wait(seconds=60)
    assert {("200", "-")} == set(lab.moved(FLAGS, "response_code,response_flags", reporter="source"))
    family = "istio_tcp_connections_closed_total"
    assert {("UF,URX",)} == set(lab.moved(family, "response_flags", reporter="source"))
    assert {} == lab.moved(family, "response_flags", reporter="destination")
    assert any(CLIENT[flaw] in line and "CERTIFICATE_VERIFY_FAILED" in line for line in lines(lab, "web-0"))
    assert any(ALERT[flaw] in line for line in lines(lab, "orders-0"))
    lab.policy("STRICT")
    lab.wait(seconds=120)
    lab.wait(seconds=120)
    assert {("503", "URX,UF")} == set(lab.moved(FLAGS, "response_code,response_flags", reporter="source"))
    assert {} == lab.moved(FLAGS, "response_code", reporter="destination")


def test_a_client_s_expired_certificate_leaves_the_client_without_a_word(bench: Start) -> None:
    """503 UC and no TLS text at the source; the server knows why."""
    lab = bench(workloads=WORKLOADS, traffic={"a": HTTP, "b": TCP}, certificates={"app/web": "expired"})
    for pod in ("web-0", "orders-0"):
        page(lab, pod, "POST", "logging?paths=connection:debug")
    lab.policy("STRICT")
    lab.wait(seconds=120)
    lab.wait(seconds=120)
    assert {("503", "UC")} == set(lab.moved(FLAGS, "response_code,response_flags", reporter="source"))
    assert {} == lab.moved(FLAGS, "response_code", reporter="destination")
    assert [] == lines(lab, "web-0")
    assert any("certificate has expired" in line and "remote address:" in line for line in lines(lab, "orders-0"))


def test_debug_lines_begin_and_end_with_the_level(bench: Start) -> None:
    """What happened before and after is not written."""
    lab = bench(workloads=WORKLOADS, traffic={"b": TCP}, certificates={"app/orders": "expired"})
    lab.wait(seconds=30)
    assert [] == lines(lab, "web-0")
    page(lab, "web-0", "POST", "logging?connection=debug")
    lab.wait(seconds=30)
    page(lab, "web-0", "POST", "logging?connection=warning")
    first = len(lines(lab, "web-0"))
    lab.wait(seconds=30)
    assert 60 < first < 100  # thirty connections with three tries each
    assert first == len(lines(lab, "web-0"))


def test_strict_and_policies_at_debug(bench: Start) -> None:
    """`conn_handler` names who found no chain, `rbac` what was decided and by which rule."""
    plain = {"from": "out/old", "to": "app/orders:8080", "rate": "60/m", "jitter": 0}
    allow = {"from": [{"source": {"principals": ["cluster.local/ns/app/sa/web"]}}]}
    lab = bench(
        workloads=WORKLOADS,
        traffic={"a": HTTP, "old": plain},
        manifests=[
            {
                "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                "metadata": {"name": "web", "namespace": "app"}, "spec": {"rules": [allow]},
            }
        ],
    )  # fmt: skip
    page(lab, "orders-0", "POST", "logging?paths=rbac:debug,conn_handler:debug")
    lab.wait(seconds=60)
    codes = lab.moved(FLAGS, "response_code,source_workload", reporter="destination")
    assert {("200", "web"), ("403", "unknown")} == set(codes)
    written = "\n".join(lines(lab, "orders-0"))
    assert "enforced allowed, matched policy ns[app]-policy[web]-rule[0]" in written
    assert "enforced denied, matched policy none" in written
    assert "uriSanPeerCertificate: spiffe://cluster.local/ns/app/sa/web" in written
    assert "no matching filter chain" not in written
    lab.policy("STRICT")
    lab.wait(seconds=120)
    (old,) = (pod for pod in lab.pods("out").values())
    assert f"closing connection from {old['status']['podIP']}:" in "\n".join(lines(lab, "orders-0"))


def test_a_denied_probe_takes_the_pod_out_of_service(bench: Start) -> None:
    """And puts it back when a rule lets it through."""
    work = {**WORKLOADS[1], "kind": "Deployment", "rewrite": False, "probes": {"readiness": "http 8080"}}
    deny = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": "none", "namespace": "app"}, "spec": {}}  # fmt: skip
    lab = bench(workloads=[work])
    assert 1 == lab.ready("orders")
    lab.lab.store.create(deny)
    lab.wait(seconds=60)
    assert 0 == lab.ready("orders")
    events = [e["message"] for e in lab.lab.store.list("v1", "Event", "app")]
    assert "Readiness probe failed: HTTP probe failed with statuscode: 403" in events
    allow = {"spec": {"rules": [{"to": [{"operation": {"paths": ["/healthz"]}}]}]}}
    lab.lab.store.patch("security.istio.io/v1", "AuthorizationPolicy", "none", allow, namespace="app")
    lab.wait(seconds=60)
    assert 1 == lab.ready("orders")


@pytest.mark.skipif(KUBECTL is None, reason="needs kubectl")
def test_kubectl_asks_a_lab_s_proxy_as_the_guides_say(tmp_path: Path) -> None:
    """Over the socket; the guides' set with `tls` fails as a whole."""
    assert KUBECTL is not None
    config = tmp_path / "config"
    with Lab.start("stale-proxy") as lab:
        config.write_text(lab.kubeconfig)
        ask = [KUBECTL, "--kubeconfig", str(config), "exec", "web-0", "-n", "production", "-c", "istio-proxy", "--"]
        ask += ["pilot-agent", "request"]

        def run(*argv: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run([*ask, *argv], capture_output=True, text=True, timeout=60)

        (certs,) = json.loads(run("GET", "certs").stdout)["certificates"]
        assert "spiffe://cluster.local/ns/production/sa/web" == certs["cert_chain"][0]["subject_alt_names"][0]["uri"]
        refused = run("POST", "logging?paths=tls:debug,connection:debug")
        assert (255, True) == (refused.returncode, "unknown logger name" in refused.stderr)
        assert "connection: debug" in run("POST", "logging?connection=debug").stdout
        assert [] == lab._serving().failures
