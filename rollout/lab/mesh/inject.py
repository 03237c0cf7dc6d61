"""The sidecar injector: which pods get a proxy (istio.md 1.1) and what it leaves in them (istio.md 1.2, 4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

STATUS_PORT = 15020
NATIVE = "sidecar.istio.io/nativeSidecar"
_REWRITE = "sidecar.istio.io/rewriteAppHTTPProbers"
_PROBES = {"readinessProbe": "readyz", "livenessProbe": "livez", "startupProbe": "startupz"}
_NEVER = {"kube-system", "kube-public", "kube-node-lease", "local-path-storage"}
_VOLUMES = ["workload-socket", "credential-socket", "workload-certs", "istio-envoy", "istio-data", "istio-podinfo",
            "istio-token", "istiod-ca-cert"]  # fmt: skip


def wants_injection(namespace: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """Whether the default revision's webhook is called for this pod, and the injector agrees."""
    ns_labels = namespace["metadata"].get("labels") or {}
    meta, spec = pod["metadata"], pod["spec"]
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    asked = labels.get("sidecar.istio.io/inject")
    if spec.get("hostNetwork") or namespace["metadata"]["name"] in _NEVER or asked == "false":
        return False
    if "istio-injection" in ns_labels:
        called = ns_labels["istio-injection"] == "enabled"
    else:
        revision = ns_labels.get("istio.io/rev", labels.get("istio.io/rev"))
        called = revision == "default" or (revision is None and asked == "true")
    refused = asked is None and annotations.get("sidecar.istio.io/inject") == "false"
    return called and not refused


def inject(pod: Mapping[str, Any], *, workload: str, owner: str, version: str, gateway: bool = False) -> dict[str, Any]:
    """The pod with its sidecar.

    Args:
        pod: the pod as its controller made it.
        workload: Istio's name of its workload.
        owner: `kubernetes://apis/…` of it.
        version: of the proxy's image.
        gateway: the gateway template: a router instead of a sidecar.
    """
    result = deepcopy(dict(pod))
    meta, spec = result["metadata"], result["spec"]
    annotations = meta.setdefault("annotations", {})
    labels = meta.setdefault("labels", {})
    native = annotations.get(NATIVE, "true") == "true" and not gateway
    app = labels.get("app", workload)
    names = [c["name"] for c in spec["containers"] if c["name"] != "istio-proxy"]
    proxy = _proxy(result, workload, owner, version, native=native, gateway=gateway)
    if gateway:
        spec["containers"] = [proxy]
    else:
        if annotations.get(_REWRITE, "true") == "true":
            proxy["env"].append({"name": "ISTIO_KUBE_APP_PROBERS", "value": json.dumps(_rewrite(spec["containers"]))})
        start = [_init(version), proxy] if native else [_init(version)]
        user_init = spec.get("initContainers") or []
        spec["initContainers"] = [*start, *user_init] if native else [*user_init, *start]
        if not native:
            spec["containers"] = [*spec["containers"], proxy]
        annotations["kubectl.kubernetes.io/default-container"] = names[0]
    spec["volumes"] = [*(spec.get("volumes") or ()), *({"name": name, "emptyDir": {}} for name in _VOLUMES)]
    annotations |= _annotations(native=native, gateway=gateway)
    labels.setdefault("service.istio.io/canonical-name", app)
    labels.setdefault("service.istio.io/canonical-revision", labels.get("version", "latest"))
    labels.setdefault("security.istio.io/tlsMode", "istio")
    return result


def _annotations(*, native: bool, gateway: bool) -> dict[str, str]:
    inits = ["istio-init", "istio-proxy"] if native else ["istio-init"]
    status = {
        "initContainers": None if gateway else inits,
        "containers": None if native else ["istio-proxy"],
        "volumes": _VOLUMES,
        "imagePullSecrets": None,
        "revision": "default",
    }
    return {
        "istio.io/rev": "default",
        "prometheus.io/path": "/stats/prometheus",
        "prometheus.io/port": str(STATUS_PORT),
        "prometheus.io/scrape": "true",
        "sidecar.istio.io/status": json.dumps(status, separators=(",", ":")),
    }  # fmt: skip


def _rewrite(containers: list[dict[str, Any]]) -> dict[str, Any]:
    probers = {}
    for container in containers:
        for role, path in _PROBES.items():
            probe = container.get(role)
            if not probe or "exec" in probe:
                continue
            how = next(h for h in ("httpGet", "tcpSocket", "grpc") if h in probe)
            url = f"/app-health/{container['name']}/{path}"
            probers[url] = {how: probe.pop(how)}
            probe["httpGet"] = {"path": url, "port": STATUS_PORT, "scheme": "HTTP"}
    return probers


def _init(version: str) -> dict[str, Any]:
    args = ["istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x", "", "-b",
            "*", "-d", "15090,15021,15020"]  # fmt: skip
    return {"name": "istio-init", "image": f"docker.io/istio/proxyv2:{version}", "args": args}


def _proxy(
    pod: Mapping[str, Any], workload: str, owner: str, version: str, *, native: bool, gateway: bool
) -> dict[str, Any]:
    role = "router" if gateway else "sidecar"
    ports = [
        {"name": p.get("name"), "containerPort": p["containerPort"]}
        for c in pod["spec"]["containers"]
        for p in c.get("ports") or ()
    ]
    env = {
        "PILOT_CERT_PROVIDER": "istiod",
        "CA_ADDR": "istiod.istio-system.svc:15012",
        "PROXY_CONFIG": "{}\n",
        "ISTIO_META_POD_PORTS": json.dumps(ports),
        "ISTIO_META_APP_CONTAINERS": ",".join(c["name"] for c in pod["spec"]["containers"]),
        "ISTIO_META_CLUSTER_ID": "Kubernetes",
        "ISTIO_META_INTERCEPTION_MODE": "REDIRECT",
        "ISTIO_META_WORKLOAD_NAME": workload,
        "ISTIO_META_OWNER": owner,
        "ISTIO_META_MESH_ID": "cluster.local",
        "TRUST_DOMAIN": "cluster.local",
    }
    ready = {"path": "/healthz/ready", "port": 15021, "scheme": "HTTP"}
    container: dict[str, Any] = {
        "name": "istio-proxy",
        "image": f"docker.io/istio/proxyv2:{version}",
        "args": ["proxy", role, "--domain", "$(POD_NAMESPACE).svc.cluster.local", "--proxyLogLevel=warning"],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "ports": [{"name": "http-envoy-prom", "containerPort": 15090, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": ready, "periodSeconds": 15, "failureThreshold": 4, "timeoutSeconds": 3},
        "startupProbe": {"httpGet": ready, "periodSeconds": 1, "failureThreshold": 600, "timeoutSeconds": 3},
    }
    if native:
        container["restartPolicy"] = "Always"
    return container
