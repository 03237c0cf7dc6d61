"""What the server knows about the inside of built-in objects: which lists are keyed, which maps are whole.

Two readers: strategic merge patch (merge keys) and managedFields (associative lists, atomic maps, and the parts
that a Go struct always has, which are therefore never "added"). Kinds that are not here are treated like a custom
resource: lists are atomic, maps are granular.
"""

from __future__ import annotations

MERGE_KEYS: dict[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "podIPs": "ip",
    "hostIPs": "ip",
    "conditions": "type",
    "secrets": "name",
    "ownerReferences": "uid",
    "addresses": "type",
    "webhooks": "name",
    "resourceClaims": "name",
}
"""Field name of a list -> the key that strategic merge patch merges it by (the names are unambiguous)."""

PORT_KEYS = {"containers": "containerPort", "initContainers": "containerPort", "spec": "port"}
"""`ports` is keyed by what it stands in: a container's by containerPort, a Service's by port."""

PRIMITIVE_MERGE = frozenset({"finalizers"})

SET_LISTS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "podIPs": ("ip",),
    "hostIPs": ("ip",),
    "conditions": ("type",),
    "secrets": ("name",),
    "ownerReferences": ("uid",),
    "addresses": ("type",),
    "webhooks": ("name",),
}
"""Field name of an associative list -> its keys in managedFields."""

ATOMIC = frozenset(
    {
        "selector",
        "nodeSelector",
        "roleRef",
        "involvedObject",
        "fieldRef",
        "secretKeyRef",
        "configMapKeyRef",
        "resourceFieldRef",
        "labelSelector",
        "namespaceSelector",
        "objectSelector",
        "podSelector",
        "targetRef",
        "claimRef",
    }
)
"""Maps that are owned as a whole; the items of `ownerReferences` are too."""

_POD_SPEC = {"containers": None}
_TEMPLATE = {"metadata": {}, "spec": _POD_SPEC}

ALWAYS: dict[str, dict[str, object]] = {
    "Pod": {"spec": _POD_SPEC, "status": {}},
    "Deployment": {"spec": {"selector": None, "template": _TEMPLATE, "strategy": {}}, "status": {}},
    "ReplicaSet": {"spec": {"selector": None, "template": _TEMPLATE}, "status": {}},
    "StatefulSet": {"spec": {"selector": None, "template": _TEMPLATE, "updateStrategy": {}}, "status": {}},
    "DaemonSet": {"spec": {"selector": None, "template": _TEMPLATE, "updateStrategy": {}}, "status": {}},
    "Job": {"spec": {"template": _TEMPLATE}, "status": {}},
    "CronJob": {"spec": {"jobTemplate": {"metadata": {}, "spec": {"template": _TEMPLATE}}}, "status": {}},
    "Service": {"spec": {}, "status": {"loadBalancer": {}}},
    "Node": {"spec": {}, "status": {"daemonEndpoints": {"kubeletEndpoint": {}}, "nodeInfo": {}}},
    "Event": {
        "involvedObject": None,
        "source": {},
        "firstTimestamp": None,
        "lastTimestamp": None,
        "eventTime": None,
        "reportingComponent": "",
        "reportingInstance": "",
    },
    "Role": {"rules": None},
    "ClusterRole": {"rules": None},
    "RoleBinding": {"roleRef": {}},
    "ClusterRoleBinding": {"roleRef": {}},
    "EndpointSlice": {"endpoints": None, "ports": None},
    "CustomResourceDefinition": {"spec": {"names": {}}, "status": {}},
}
"""Kind -> the parts that its Go struct has even when empty."""

_PLAIN: dict[str, object] = {"spec": {}, "status": {}}


def always(kind: str) -> dict[str, object]:
    """The parts of a built-in object that are there before anybody writes them."""
    return ALWAYS.get(kind, _PLAIN)


def port_keys(path: tuple[str, ...]) -> tuple[str, ...] | None:
    """The managedFields keys of a list named `ports` that stands at `path`; None when it is atomic."""
    if path[:2] == ("f:spec", "f:ports"):
        return ("port", "protocol")
    if any(word in path for word in ("f:containers", "f:initContainers", "f:ephemeralContainers")):
        return ("containerPort", "protocol")
    return None
