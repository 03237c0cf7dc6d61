"""curl in the lab's containers ends as it does on a real mesh (observed.md a, d, e, i), and both ends count it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from rollout.lab.api.exec import Executed
from rollout.lab.lab import Lab

Json = dict[str, Any]
TOLD = "\n%{http_code} %{size_download}"


def caller(lab: Lab, name: str, namespace: str = "production", *, sidecar: bool = True) -> None:
    """A pod with curl in it, Ready."""
    labels = {"sidecar.istio.io/inject": str(sidecar).lower()}
    containers = [
        {"name": "app", "image": "registry.example/curl:1", "command": ["sleep", "86400"]},
        {"name": "bare", "image": "registry.example/app:1"},
    ]
    meta = {"name": name, "namespace": namespace, "labels": labels}
    pod: Json = {"apiVersion": "v1", "kind": "Pod", "metadata": meta,
                 "spec": {"serviceAccountName": "web", "containers": containers}}  # fmt: skip
    if sidecar:
        pod = lab.simulation.bare.admit("Pod", pod)
    lab.store.create(pod)


def run(
    lab: Lab, pod: str, url: str, container: str = "app", program: str = "curl", namespace: str = "production"
) -> Executed:
    """The command in a container."""
    command = [program, "--silent", "--write-out", TOLD, "--url", url]
    return lab._agents.run(namespace, pod, container, command, bytes)


def told(found: Executed) -> tuple[int, str, str]:
    """Exit status, HTTP code, and the answer's or curl's words."""
    body, _, measured = found.out.decode().rpartition("\n")
    return found.code, measured.split()[0], body or found.err.decode().strip()


@pytest.fixture
def lab() -> Iterator[Lab]:
    """orders takes web's calls; `in` has a sidecar, `out` has none."""
    with Lab.start("rbac-denial") as started:
        caller(started, "in")
        caller(started, "out", sidecar=False)
        started.advance(timedelta(seconds=30))
        yield started


def strict(lab: Lab, mode: str = "STRICT", namespace: str = "production") -> None:
    """A mode for everything, known to all proxies."""
    lab.store.create({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": namespace}, "spec": {"mtls": {"mode": mode}},
    })  # fmt: skip
    lab.advance(timedelta(minutes=2))


def rule(lab: Lab, mode: str) -> None:
    """A DestinationRule for orders."""
    lab.store.create({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": "r", "namespace": "production"},
        "spec": {"host": "orders", "trafficPolicy": {"tls": {"mode": mode}}},
    })  # fmt: skip
    lab.advance(timedelta(minutes=1))


ORDERS = "http://orders.production.svc:8080/"
RESET = (56, "000", "curl: (56) Recv failure: Connection reset by peer")
CUT = "upstream connect error or disconnect/reset before headers. "


def test_from_a_sidecar(lab: Lab) -> None:
    """200; 503 UC where a rule sends plaintext to STRICT, URX,UF where it sends TLS to DISABLE."""
    assert (0, "200", "ok") == told(run(lab, "in", ORDERS))
    strict(lab)
    assert (0, "200", "ok") == told(run(lab, "in", ORDERS))
    rule(lab, "DISABLE")
    assert (0, "503", f"{CUT}reset reason: connection termination") == told(run(lab, "in", ORDERS))
    lab.store.patch("networking.istio.io/v1", "DestinationRule", "r",
                    {"spec": {"trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}}, namespace="production")  # fmt: skip
    lab.store.patch("security.istio.io/v1", "PeerAuthentication", "default", {"spec": {"mtls": {"mode": "DISABLE"}}},
                    namespace="production")  # fmt: skip
    lab.advance(timedelta(minutes=2))
    why = "retried and the latest reset reason: remote connection failure"
    assert (0, "503", f"{CUT}{why}") == told(run(lab, "in", ORDERS))


def test_without_a_sidecar(lab: Lab) -> None:
    """403 where a policy wants a name; a reset by STRICT, whose handshake wants a certificate of the mesh."""
    assert (0, "403", "RBAC: access denied") == told(run(lab, "out", ORDERS))
    strict(lab)
    assert RESET == told(run(lab, "out", ORDERS))
    assert (16, "000", "curl: (16) SSL alert: certificate required") == told(
        run(lab, "out", ORDERS.replace("http", "https"))
    )


def test_own_tls_on_a_port_that_is_http(lab: Lab) -> None:
    """PERMISSIVE refuses it already (observed.md g)."""
    found = told(run(lab, "out", ORDERS.replace("http:", "https:")))
    assert (35, "000", "curl: (35) Recv failure: Connection reset by peer") == found


def test_by_address(lab: Lab) -> None:
    """A sidecar knows no pods and sends plaintext; of an address that nobody has nothing is known."""
    pod = next(p for p in lab.store.list("v1", "Pod", "production") if p["metadata"]["name"].startswith("orders"))
    url = f"http://{pod['status']['podIP']}:8080/"
    assert (0, "403", "RBAC: access denied") == told(run(lab, "in", url))
    strict(lab)
    assert "503" == told(run(lab, "in", url))[1]
    assert RESET == told(run(lab, "out", url))
    assert (6, "000", "curl: (6) Could not resolve host: nobody.production.svc") == told(
        run(lab, "in", "http://nobody.production.svc:80/")
    )
    other = next(p for p in lab.store.list("v1", "Pod", "production") if p["metadata"]["name"] == "out")
    assert (0, "200", "ok") == told(run(lab, "out", f"http://{other['status']['podIP']}:9000/"))


def service(lab: Lab, name: str, app: str, *ports: Json) -> None:
    """A Service in production, known to all proxies."""
    spec = {"selector": {"app": app}, "ports": list(ports)}
    meta = {"name": name, "namespace": "production"}
    lab.store.create({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
    lab.advance(timedelta(seconds=30))


def test_a_service_without_endpoints(lab: Lab) -> None:
    """503 UH at a sidecar; nobody listens for others."""
    service(lab, "empty", "nobody", {"name": "http", "port": 80}, {"name": "tcp", "port": 81})
    assert (0, "503", "no healthy upstream") == told(run(lab, "in", "http://empty.production.svc:80/"))
    assert 7 == run(lab, "out", "http://empty.production.svc:80/").code
    assert RESET == told(run(lab, "in", "http://empty.production.svc:81/"))


def test_bytes(lab: Lab) -> None:
    """A TCP application sends back what it gets; a refused connection is reset, a denied one is closed."""
    service(lab, "raw", "orders", {"name": "tcp-raw", "port": 90, "targetPort": 9090})
    url = "http://raw.production.svc:90/"
    assert (0, "000", "GET / HTTP/1.1") == told(run(lab, "in", url))
    assert (52, "000", "curl: (52) Empty reply from server") == told(run(lab, "out", url))
    strict(lab)
    assert RESET == told(run(lab, "out", url))


def test_programs_and_pods_that_are_not_there(lab: Lab) -> None:
    """An image without curl, another program, a pod that does not run."""
    for found in (run(lab, "in", ORDERS, container="bare"), run(lab, "in", ORDERS, program="sh")):
        assert "executable file not found" in found.failure
    caller(lab, "late")
    assert "is not running" in run(lab, "late", ORDERS).failure


def test_both_ends_count_it(lab: Lab) -> None:
    """As any other call, under the caller's name."""
    run(lab, "in", ORDERS)
    lab.advance(timedelta(minutes=1))
    counted = [
        (labels, value)
        for proxy in lab.simulation.proxies.values()
        for name, labels, value in proxy.meter.values(lab.simulation.now)
        if name == "istio_requests_total" and ("source_workload", "in") in labels
    ]
    reported = {
        dict(labels)["reporter"]: (dict(labels)["connection_security_policy"], value) for labels, value in counted
    }
    assert {"source": ("unknown", 1.0), "destination": ("mutual_tls", 1.0)} == reported
