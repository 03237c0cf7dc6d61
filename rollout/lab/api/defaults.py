"""What the server fills in when a built-in object is written.

Only the kinds that a mesh is made of: pods and what holds their template, services, namespaces, roles' bindings.
`defaulted` happens before managedFields are worked out (the writer owns the defaults), `admitted` after (nobody does).
"""

from __future__ import annotations

from typing import Any

from rollout.lab.api.shapes import always
from rollout.lab.api.status import Json
from rollout.lab.api.webhooks import webhook_defaults

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_TOLERATIONS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_COUNTS: dict[str, Json] = {
    "ReplicaSet": {"replicas": 0},
    "StatefulSet": {"replicas": 0, "availableReplicas": 0},
    "DaemonSet": {
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 0,
        "numberReady": 0,
    },
}
_ROLLING = {"maxUnavailable": "25%", "maxSurge": "25%"}


def defaulted(kind: str, obj: Json) -> Json:
    """The object with its schema's defaults; the argument is changed."""
    spec = obj.get("spec")
    webhook_defaults(kind, obj)
    match kind:  # type: ignore[exhaustive-match]
        case "Namespace":
            meta = obj["metadata"]
            name = meta.get("name")
            if name:
                meta["labels"] = {**(meta.get("labels") or {}), "kubernetes.io/metadata.name": name}
        case "Pod" if isinstance(spec, dict):
            _pod_spec(spec, pod=True)
            _pod_status(obj.setdefault("status", {}))
        case "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" if isinstance(spec, dict):
            _workload(kind, spec)
            obj["status"] = {**_COUNTS.get(kind, {}), **(obj.get("status") or {})}
        case "Job" | "CronJob" if isinstance(spec, dict):
            inner = spec if kind == "Job" else spec.get("jobTemplate", {}).get("spec", {})
            _template(inner)
            obj.setdefault("status", {})
        case "Service" if isinstance(spec, dict):
            _service(spec)
            obj.setdefault("status", {"loadBalancer": {}})
        case "Secret":
            obj.setdefault("type", "Opaque")
        case "Event":
            for word, value in always("Event").items():
                obj.setdefault(word, {} if word in ("source", "involvedObject") else value)
        case "Lease":
            obj.setdefault("spec", {})
        case "Role" | "ClusterRole":
            obj.setdefault("rules", None)
    return obj


def admitted(kind: str, obj: Json) -> Json:
    """The object with what admission adds to a new one; the argument is changed."""
    if kind == "Pod" and isinstance(obj.get("spec"), dict):
        spec = obj["spec"]
        spec.setdefault("priority", 0)
        spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
        tolerations = list(spec.get("tolerations") or [])
        for key in _TOLERATIONS:
            if not any(item.get("key") == key for item in tolerations):
                effect = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
                tolerations.append({"key": key, **effect})
        spec["tolerations"] = tolerations
        obj["status"] = {"phase": "Pending", "qosClass": _qos(spec)}
    elif kind == "Namespace":
        obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
        obj["status"] = {"phase": "Active"}
    return obj


def _pod_status(status: Json) -> None:
    status.setdefault("phase", "Pending")
    for states in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for state in status.get(states) or []:
            state.setdefault("state", {})
            state.setdefault("lastState", {})
    for condition in status.get("conditions") or []:
        condition.setdefault("lastProbeTime", None)


def _workload(kind: str, spec: Json) -> None:
    if kind != "DaemonSet":
        spec.setdefault("replicas", 1)
    _template(spec)
    if kind == "Deployment":
        strategy = spec.setdefault("strategy", {})
        strategy.setdefault("type", "RollingUpdate")
        if strategy["type"] == "RollingUpdate":
            strategy["rollingUpdate"] = {**_ROLLING, **(strategy.get("rollingUpdate") or {})}
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)


def _template(spec: Json) -> None:
    template = spec.get("template")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        template.setdefault("metadata", {})
        _pod_spec(template["spec"], pod=False)


def _pod_spec(spec: Json, *, pod: bool) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    if pod:
        spec.setdefault("enableServiceLinks", True)
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in (*(spec.get("initContainers") or []), *(spec.get("containers") or [])):
        if isinstance(container, dict):
            _container(container, host_network=bool(spec.get("hostNetwork")))
    for volume in spec.get("volumes") or []:
        if isinstance(volume, dict):
            _volume(volume)


def _container(container: Json, *, host_network: bool) -> None:
    container.setdefault("resources", {})
    _requests(container["resources"])
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", _pull_policy(container.get("image") or ""))
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
        if host_network and "containerPort" in port:
            port.setdefault("hostPort", port["containerPort"])
    for name in _PROBES:
        probe = container.get(name)
        if isinstance(probe, dict):
            _probe(probe)
    lifecycle = container.get("lifecycle") or {}
    for handler in lifecycle.values():
        if isinstance(handler, dict) and "httpGet" in handler:
            _http_get(handler["httpGet"])
    for variable in container.get("env") or []:
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if isinstance(reference, dict):
            reference.setdefault("apiVersion", "v1")


def _requests(resources: Json) -> None:
    limits = resources.get("limits") or {}
    missing = {name: value for name, value in limits.items() if name not in (resources.get("requests") or {})}
    if missing:
        resources["requests"] = {**missing, **(resources.get("requests") or {})}


def _pull_policy(image: str) -> str:
    tail = image.rpartition("/")[2]
    if "@" in tail:
        return "IfNotPresent"
    tag = tail.partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _probe(probe: Json) -> None:
    probe.setdefault("timeoutSeconds", 1)
    probe.setdefault("periodSeconds", 10)
    probe.setdefault("successThreshold", 1)
    probe.setdefault("failureThreshold", 3)
    if isinstance(probe.get("httpGet"), dict):
        _http_get(probe["httpGet"])
    if isinstance(probe.get("grpc"), dict):
        probe["grpc"].setdefault("service", "")


def _http_get(action: Json) -> None:
    action.setdefault("path", "/")
    action.setdefault("scheme", "HTTP")


def _volume(volume: Json) -> None:
    for source in ("configMap", "secret", "projected", "downwardAPI"):
        if isinstance(volume.get(source), dict):
            volume[source].setdefault("defaultMode", 420)
    if set(volume) == {"name"}:
        volume["emptyDir"] = {}


def _service(spec: Json) -> None:
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        if spec["type"] != "ExternalName":
            port.setdefault("targetPort", port.get("port"))


def _qos(spec: Json) -> str:
    resources: list[Any] = [
        container.get("resources") or {}
        for container in (*(spec.get("initContainers") or []), *(spec.get("containers") or []))
    ]
    if not any(item.get("requests") or item.get("limits") for item in resources):
        return "BestEffort"
    whole = all(
        set(item.get("limits") or {}) >= {"cpu", "memory"} and item.get("requests") == item.get("limits")
        for item in resources
    )
    return "Guaranteed" if whole else "Burstable"
