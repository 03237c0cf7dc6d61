"""Compact workloads of a scenario as the Kubernetes objects that people write: uninjected, with a Service beside."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rollout.lab.mesh.inject import NATIVE

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload as a scenario writes it.

    Attributes:
        kind: Deployment, StatefulSet or CronJob.
        sidecar: native, classic, none, ambient, or '' for what the namespace says.
        ports: Service port names and numbers; the container has the same.
        targets: container ports that differ from the Service's, by port name.
        probes: `readiness` and `liveness`, each `http PORT`, `tcp PORT`, `grpc PORT` or `exec`.
        rewrite: whether the injector may rewrite probes; None leaves that to its default.
        schedule, takes: of a CronJob; `takes` in milliseconds.
        age: milliseconds before history begins.
    """

    name: str
    namespace: str
    kind: str = "Deployment"
    replicas: int = 2
    sidecar: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    targets: Mapping[str, int] = field(default_factory=dict)
    probes: Mapping[str, str] = field(default_factory=dict)
    rewrite: bool | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    args: tuple[str, ...] = ()
    image: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    headless: bool = False
    gateway: bool = False
    schedule: str = ""
    takes: int = 180_000
    age: int = 30 * 86_400_000

    def objects(self) -> list[Json]:
        """ServiceAccount, the workload, and its Service when it has ports."""
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": self._meta()}
        found: list[Json] = [account, self._cron_job() if self.kind == "CronJob" else self._workload()]
        return [*found, self._service()] if self.ports else found

    def _meta(self) -> Json:
        return {"name": self.name, "namespace": self.namespace, "labels": {"app": self.name}}

    def _workload(self) -> Json:
        spec: Json = {
            "replicas": self.replicas,
            "selector": {"matchLabels": {"app": self.name}},
            "template": self._template(),
        }
        if self.kind == "StatefulSet":
            spec["serviceName"] = self.name
        return {"apiVersion": "apps/v1", "kind": self.kind, "metadata": self._meta(), "spec": spec}

    def _cron_job(self) -> Json:
        template = self._template()
        template["spec"]["restartPolicy"] = "Never"
        return {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": self._meta(),
            "spec": {
                "schedule": self.schedule,
                "successfulJobsHistoryLimit": 3,
                "jobTemplate": {"spec": {"template": template, "backoffLimit": 0}},
            },
        }

    def _template(self) -> Json:
        labels = {"app": self.name, **self.labels}
        annotations = dict(self.annotations)
        match self.sidecar:  # '' leaves it to the namespace
            case "native" | "classic":
                labels["sidecar.istio.io/inject"] = "true"
                annotations[NATIVE] = "true" if self.sidecar == "native" else "false"
            case "none":
                labels["sidecar.istio.io/inject"] = "false"
            case "ambient":
                labels["istio.io/dataplane-mode"] = "ambient"
                annotations["ambient.istio.io/redirection"] = "enabled"
            case _:
                pass
        if self.gateway:
            labels |= {"istio": "ingressgateway", "sidecar.istio.io/inject": "true"}
            annotations["inject.istio.io/templates"] = "gateway"
        if self.rewrite is not None:
            annotations["sidecar.istio.io/rewriteAppHTTPProbers"] = str(self.rewrite).lower()
        return {
            "metadata": {"labels": labels, **({"annotations": annotations} if annotations else {})},
            "spec": {"serviceAccountName": self.name, "containers": [self._container()]},
        }

    def _container(self) -> Json:
        container: Json = {
            "name": "istio-proxy" if self.gateway else self.name,
            "image": "auto" if self.gateway else self.image or f"registry.example/{self.namespace}/{self.name}:41",
            "ports": [{"name": n, "containerPort": self.targets.get(n, p)} for n, p in self.ports.items()],
        }
        if self.args:
            container["args"] = list(self.args)
        if self.env:
            container["env"] = [{"name": name, "value": value} for name, value in self.env.items()]
        for role, text in self.probes.items():
            container[f"{role}Probe"] = _probe(text)
        return container

    def _service(self) -> Json:
        ports = [{"name": n, "port": p, "targetPort": self.targets.get(n, p)} for n, p in self.ports.items()]
        digest = hashlib.sha256(f"{self.namespace}/{self.name}".encode()).digest()
        address = "None" if self.headless else f"10.96.{digest[0]}.{digest[1] % 254 + 1}"
        spec: Json = {"selector": {"app": self.name}, "ports": ports, "clusterIP": address, "type": "ClusterIP"}
        return {"apiVersion": "v1", "kind": "Service", "metadata": self._meta(), "spec": spec}


def cluster_objects(version: str, root: str, drain: str, access_log: str = "off") -> list[Json]:
    """Nodes, and Istio as an installation leaves it: MeshConfig, the injector's webhook; istiod is a workload.

    Args:
        version: Istio's.
        root: MeshConfig.rootNamespace.
        drain: ProxyConfig.drainDuration.
        access_log: text, json or off.
    """
    mesh = (
        f"defaultConfig:\n  discoveryAddress: istiod.istio-system.svc:15012\n  drainDuration: {drain}\n"
        f"enablePrometheusMerge: true\nrootNamespace: {root}\ntrustDomain: cluster.local\n"
    )
    if access_log != "off":
        mesh += f"accessLogFile: /dev/stdout\naccessLogEncoding: {access_log.upper()}\n"
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system", "labels": {"istio.io/rev": "default"}},
        "data": {"mesh": mesh, "meshNetworks": "networks: {}"},
    }
    return [*(_node(number) for number in (1, 2, 3)), config, _injector(version)]


def _node(number: int) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"node-{number}", "labels": {"kubernetes.io/hostname": f"node-{number}"}},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": "v1.34.1", "operatingSystem": "linux"},
            "addresses": [{"type": "InternalIP", "address": f"192.168.10.{10 + number}"}],
        },
    }


def _injector(version: str) -> Json:
    def hook(prefix: str, namespaces: list[Json], objects: list[Json]) -> Json:
        return {
            "name": f"{prefix}.sidecar-injector.istio.io",
            "clientConfig": {
                "service": {"name": "istiod", "namespace": "istio-system", "path": "/inject", "port": 443}
            },
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "namespaceSelector": {"matchExpressions": namespaces},
            "objectSelector": {"matchExpressions": objects},
        }

    def one(key: str, operator: str, *values: str) -> Json:
        return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}

    inject, injection, rev = "sidecar.istio.io/inject", "istio-injection", "istio.io/rev"
    absent = [one(injection, "DoesNotExist"), one(rev, "DoesNotExist")]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {
            "name": "istio-sidecar-injector",
            "labels": {"istio.io/rev": "default", "app": "sidecar-injector", "operator.istio.io/version": version},
        },
        "webhooks": [
            hook(
                "rev.namespace",
                [one(rev, "In", "default"), one(injection, "DoesNotExist")],
                [one(inject, "NotIn", "false")],
            ),
            hook("rev.object", absent, [one(inject, "NotIn", "false"), one(rev, "In", "default")]),
            hook("namespace", [one(injection, "In", "enabled")], [one(inject, "NotIn", "false")]),
            hook("object", absent, [one(inject, "In", "true"), one(rev, "DoesNotExist")]),
        ],
    }


def _probe(text: str) -> Json:
    how, _, port = text.partition(" ")
    timing = {"periodSeconds": 10, "failureThreshold": 3}
    match how:
        case "http":
            return {"httpGet": {"path": "/healthz", "port": int(port)}, **timing}
        case "tcp":
            return {"tcpSocket": {"port": int(port)}, **timing}
        case "grpc":
            return {"grpc": {"port": int(port)}, **timing}
        case _:
            return {"exec": {"command": ["/bin/true"]}, **timing}
