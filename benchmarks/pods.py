"""Pods as an API server stores them after injection: about 15 kB of JSON each, a third of it managedFields.

Structure that all pods share is made once and shared between them; what tells them apart is made for each.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

Json = dict[str, Any]

CREATED = "2026-01-05T08:00:00Z"
_RESOURCES = {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "128Mi"}}
_PROXY_VOLUMES = {
    "workload-socket": "/var/run/secrets/workload-spiffe-uds",
    "credential-socket": "/var/run/secrets/credential-uds",
    "workload-certs": "/var/run/secrets/workload-spiffe-credentials",
    "istiod-ca-cert": "/var/run/secrets/istio",
    "istio-data": "/var/lib/istio/data",
    "istio-envoy": "/etc/istio/proxy",
    "istio-token": "/var/run/secrets/tokens",
    "istio-podinfo": "/etc/istio/pod",
}
_APP_ENV = {f"SETTING_{number:02d}": f"value of setting number {number}" for number in range(18)}


def pod(namespace: str, workload: str, number: int, *, ip: str, bare: bool = False, rewritten: bool = True) -> Json:
    """One pod of a Deployment; `bare` has no sidecar, `rewritten` False leaves its HTTP probe as people wrote it."""
    name = f"{workload}-7d9f8b6c5d-{number:05x}"
    labels = {"app": workload, "version": "v1", "pod-template-hash": "7d9f8b6c5d"}
    annotations = {"kubectl.kubernetes.io/restartedAt": CREATED, "checksum/config": "9b1c" * 16}
    if not bare:
        labels |= {
            "security.istio.io/tlsMode": "istio",
            "service.istio.io/canonical-name": workload,
            "service.istio.io/canonical-revision": "v1",
        }
        annotations |= _injected_annotations(workload)
    return {
        "metadata": {
            "name": name,
            "generateName": f"{workload}-7d9f8b6c5d-",
            "namespace": namespace,
            "uid": uid(f"{namespace}/{name}"),
            "creationTimestamp": CREATED,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": f"{workload}-7d9f8b6c5d",
                    "uid": uid(workload),
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
            "managedFields": _MANAGED_BARE if bare else _MANAGED,
        },
        "spec": _spec(namespace, workload, name, bare=bare, rewritten=rewritten),
        "status": _status(ip, bare=bare),
    }


def uid(text: str) -> str:
    """A stable one."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, text))


def _injected_annotations(workload: str) -> Json:
    status = {
        "initContainers": ["istio-init", "istio-proxy"],
        "containers": None,
        "volumes": sorted(_PROXY_VOLUMES),
        "imagePullSecrets": None,
        "revision": "default",
    }
    return {
        "istio.io/rev": "default",
        "kubectl.kubernetes.io/default-container": workload,
        "prometheus.io/path": "/stats/prometheus",
        "prometheus.io/port": "15020",
        "prometheus.io/scrape": "true",
        "sidecar.istio.io/status": json.dumps(status, separators=(",", ":")),
    }


def _spec(namespace: str, workload: str, name: str, *, bare: bool, rewritten: bool) -> Json:
    access = f"kube-api-access-{uid(name)[:5]}"  # every pod's own
    token = {"name": access, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
             "readOnly": True}  # fmt: skip
    spec = {
        "serviceAccountName": workload,
        "serviceAccount": workload,
        "nodeName": "node-1",
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority",
        "enableServiceLinks": True,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {},
        "tolerations": [
            {"key": f"node.kubernetes.io/{why}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            for why in ("not-ready", "unreachable")
        ],
        "containers": [_app(workload, token, rewritten=rewritten and not bare)],
        "volumes": [*(_VOLUMES_BARE if bare else _VOLUMES), {"name": access, **_TOKEN}],
    }
    if not bare:
        spec["initContainers"] = [_INIT, _proxy(namespace, workload, token)]
    return spec


def _app(workload: str, token: Json, *, rewritten: bool) -> Json:
    port: int = 15020 if rewritten else 8080
    path = f"/app-health/{workload}/{{}}" if rewritten else "/healthz/{}"

    def probe(kind: str) -> Json:
        return {
            "httpGet": {"path": path.format(kind), "port": port, "scheme": "HTTP"},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        }

    return {
        "name": workload,
        "image": f"registry.example.com/shop/{workload}:1.14.2",
        "imagePullPolicy": "IfNotPresent",
        "args": ["--listen=:8080", "--log-format=json", f"--service={workload}"],
        "ports": [
            {"name": "http", "containerPort": 8080, "protocol": "TCP"},
            {"name": "admin", "containerPort": 9000, "protocol": "TCP"},
        ],
        "env": [
            *({"name": key, "value": value} for key, value in _APP_ENV.items()),
            {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": f"{workload}-db", "key": "password"}}},
        ],
        "envFrom": [{"configMapRef": {"name": f"{workload}-config"}}],
        "readinessProbe": probe("readyz"),
        "livenessProbe": probe("livez"),
        "resources": _RESOURCES,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": [{"name": "config", "mountPath": "/etc/config", "readOnly": True},
                         {"name": "tmp", "mountPath": "/tmp"}, token],
    }  # fmt: skip


def _field(name: str, path: str) -> Json:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _proxy(namespace: str, workload: str, token: Json) -> Json:
    ports = [{"name": "http", "containerPort": 8080, "protocol": "TCP"},
             {"name": "admin", "containerPort": 9000, "protocol": "TCP"}]  # fmt: skip
    health = {f"/app-health/{workload}/{kind}": {"httpGet": {"path": f"/healthz/{kind}", "port": 8080}}
              for kind in ("readyz", "livez")}  # fmt: skip
    return {
        "name": "istio-proxy",
        "image": "docker.io/istio/proxyv2:1.28.0",
        "imagePullPolicy": "IfNotPresent",
        "restartPolicy": "Always",
        "args": ["proxy", "sidecar", "--domain", f"{namespace}.svc.cluster.local", "--proxyLogLevel=warning",
                 "--proxyComponentLogLevel=misc:error", "--log_output_level=default:info"],
        "ports": [{"name": "http-envoy-prom", "containerPort": 15090, "protocol": "TCP"}],
        "env": [
            *_PROXY_ENV,
            {"name": "ISTIO_META_APP_CONTAINERS", "value": workload},
            {"name": "ISTIO_META_WORKLOAD_NAME", "value": workload},
            {"name": "ISTIO_META_OWNER",
             "value": f"kubernetes://apis/apps/v1/namespaces/{namespace}/deployments/{workload}"},
            {"name": "ISTIO_META_POD_PORTS", "value": json.dumps(ports)},
            {"name": "ISTIO_KUBE_APP_PROBERS", "value": json.dumps(health)},
        ],
        "startupProbe": {"httpGet": {"path": "/healthz/ready", "port": 15021, "scheme": "HTTP"}, "timeoutSeconds": 3,
                         "periodSeconds": 1, "successThreshold": 1, "failureThreshold": 600},
        "readinessProbe": {"httpGet": {"path": "/healthz/ready", "port": 15021, "scheme": "HTTP"}, "timeoutSeconds": 3,
                           "periodSeconds": 15, "successThreshold": 1, "failureThreshold": 4},
        "resources": _RESOURCES,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "privileged": False,
                            "readOnlyRootFilesystem": True, "runAsNonRoot": True, "runAsGroup": 1337,
                            "runAsUser": 1337},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": [*_PROXY_MOUNTS, token],
    }  # fmt: skip


_PROXY_ENV = [
    {"name": "PILOT_CERT_PROVIDER", "value": "istiod"},
    {"name": "CA_ADDR", "value": "istiod.istio-system.svc:15012"},
    _field("POD_NAME", "metadata.name"),
    _field("POD_NAMESPACE", "metadata.namespace"),
    _field("INSTANCE_IP", "status.podIP"),
    _field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
    _field("HOST_IP", "status.hostIP"),
    {"name": "ISTIO_CPU_LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "0"}}},
    {"name": "GOMEMLIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "0"}}},
    {"name": "PROXY_CONFIG", "value": "{}"},
    {"name": "ISTIO_META_CLUSTER_ID", "value": "Kubernetes"},
    {"name": "ISTIO_META_INTERCEPTION_MODE", "value": "REDIRECT"},
    {"name": "ISTIO_META_MESH_ID", "value": "cluster.local"},
    {"name": "TRUST_DOMAIN", "value": "cluster.local"},
]
_PROXY_MOUNTS = [{"name": name, "mountPath": path} for name, path in _PROXY_VOLUMES.items()]
_INIT = {
    "name": "istio-init",
    "image": "docker.io/istio/proxyv2:1.28.0",
    "imagePullPolicy": "IfNotPresent",
    "args": ["istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x", "",
             "-b", "*", "-d", "15090,15021,15020", "--log_output_level=default:info"],
    "resources": _RESOURCES,
    "securityContext": {"allowPrivilegeEscalation": False, "privileged": False, "readOnlyRootFilesystem": False,
                        "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
                        "runAsGroup": 0, "runAsNonRoot": False, "runAsUser": 0},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}  # fmt: skip
_VOLUMES_BARE: list[Json] = [
    {"name": "config", "configMap": {"name": "settings", "defaultMode": 420}},
    {"name": "tmp", "emptyDir": {}},
]
_TOKEN: Json = {"projected": {"defaultMode": 420, "sources": [
    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1",
                                                                    "fieldPath": "metadata.namespace"}}]}},
]}}  # fmt: skip
_VOLUMES: list[Json] = [
    *({"name": name, "emptyDir": {}} for name in _PROXY_VOLUMES if name not in ("istio-token", "istiod-ca-cert")),
    {"name": "istio-token", "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"audience": "istio-ca", "expirationSeconds": 43200, "path": "istio-token"}}]}},
    {"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert", "defaultMode": 420}},
    *_VOLUMES_BARE,
]  # fmt: skip


def _status(ip: str, *, bare: bool) -> Json:
    def container(name: str) -> Json:
        return {
            "name": name,
            "image": f"registry.example.com/shop/{name}:1.14.2",
            "imageID": "registry.example.com/shop@sha256:" + "c0ffee" * 10,
            "containerID": "containerd://" + "ab12" * 16,
            "ready": True,
            "started": True,
            "restartCount": 0,
            "lastState": {},
            "state": {"running": {"startedAt": CREATED}},
        }

    status = {
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "hostIP": "192.168.10.11",
        "hostIPs": [{"ip": "192.168.10.11"}],
        "qosClass": "Burstable",
        "startTime": CREATED,
        "conditions": [
            {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": CREATED}
            for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
        ],
        "containerStatuses": [container("app")],
    }
    if not bare:
        status["initContainerStatuses"] = [container("istio-init"), container("istio-proxy")]
    return status


def _managed(*, bare: bool) -> list[Json]:
    """What a ReplicaSet's manager, the webhook and the kubelet leave: one f: entry for each field that they set."""

    def container(name: str, env: int) -> Json:
        return {
            ".": {},
            "f:name": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:args": {}, "f:resources": {},
            "f:securityContext": {".": {}, "f:allowPrivilegeEscalation": {}, "f:capabilities": {".": {}, "f:drop": {}}},
            "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {},
            "f:env": {".": {}, **{f'k:{{"name":"{name}_{n:02d}"}}': {".": {}, "f:name": {}, "f:value": {}}
                                  for n in range(env)}},
            "f:ports": {".": {}, 'k:{"containerPort":8080,"protocol":"TCP"}':
                        {".": {}, "f:containerPort": {}, "f:name": {}, "f:protocol": {}}},
            "f:readinessProbe": {".": {}, "f:failureThreshold": {}, "f:periodSeconds": {}, "f:httpGet":
                                 {".": {}, "f:path": {}, "f:port": {}, "f:scheme": {}}},
            "f:volumeMounts": {".": {}, 'k:{"mountPath":"/etc/config"}':
                               {".": {}, "f:mountPath": {}, "f:name": {}, "f:readOnly": {}}},
        }  # fmt: skip

    containers = {'k:{"name":"app"}': container("SETTING", 18)}
    spec: Json = {"f:containers": containers, "f:dnsPolicy": {}, "f:enableServiceLinks": {}, "f:restartPolicy": {},
                  "f:schedulerName": {}, "f:securityContext": {}, "f:serviceAccount": {}, "f:serviceAccountName": {},
                  "f:terminationGracePeriodSeconds": {}, "f:volumes": {".": {}}}  # fmt: skip
    if not bare:
        spec["f:initContainers"] = {'k:{"name":"istio-proxy"}': container("ISTIO_META", 12)}
    conditions = {f'k:{{"type":"{kind}"}}': {".": {}, "f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:status": {},
                                             "f:type": {}}
                  for kind in ("ContainersReady", "Initialized", "PodReadyToStartContainers", "Ready")}  # fmt: skip
    head = {"apiVersion": "v1", "time": CREATED, "fieldsType": "FieldsV1"}
    labels = {".": {}, "f:app": {}, "f:pod-template-hash": {}, "f:version": {}}
    owner = {".": {}, 'k:{"uid":"0f9b1c7e-3c1d-4e43-9d0a-0b1c2d3e4f5a"}': {}}
    return [
        {**head, "manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {
            "f:metadata": {"f:annotations": {".": {}, "f:checksum/config": {}}, "f:generateName": {},
                           "f:labels": labels, "f:ownerReferences": owner}, "f:spec": spec}},
        {**head, "manager": "kubelet", "operation": "Update", "subresource": "status", "fieldsV1": {
            "f:status": {"f:conditions": conditions, "f:containerStatuses": {}, "f:hostIP": {}, "f:hostIPs": {},
                         "f:initContainerStatuses": {}, "f:phase": {}, "f:podIP": {}, "f:podIPs":
                         {".": {}, 'k:{"ip":"10.0.0.1"}': {".": {}, "f:ip": {}}}, "f:startTime": {}}}},
    ]  # fmt: skip


_MANAGED_BARE = _managed(bare=True)
_MANAGED = _managed(bare=False)
