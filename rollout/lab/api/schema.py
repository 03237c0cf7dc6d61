"""Schemas, written by hand, for what `rollout` itself writes: PeerAuthentication, ConfigMap, Lease.

A schema here is a small part of a structural OpenAPI schema: `type`, `properties`, `additional` (the schema of a
map's values), `enum`, `min`, `open` (unknown fields are kept). It says which fields exist (unknown ones are pruned,
or refused when the writer asked for that) and what they may hold. Kinds without a schema are stored as they come.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any

from rollout.lab.api.names import label_key_problems
from rollout.lab.api.status import Cause, Json, bad_value, required, too_long, unsupported
from rollout.lab.api.webhooks import webhook_causes

Schema = dict[str, Any]

_STRING: Schema = {"type": "string"}
_MODE: Schema = {"type": "string", "enum": ("UNSET", "DISABLE", "PERMISSIVE", "STRICT")}
_MTLS: Schema = {"type": "object", "properties": {"mode": _MODE}}
_LABELS: Schema = {"type": "object", "additional": {"type": "string", "max": 63}}

PEER_AUTHENTICATION: Schema = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "mtls": _MTLS,
                "portLevelMtls": {"type": "object", "additional": _MTLS, "min": 1},
                "selector": {"type": "object", "properties": {"matchLabels": _LABELS}},
            },
        },
        "status": {"type": "object", "open": True},
    },
}
CONFIG_MAP: Schema = {
    "type": "object",
    "properties": {
        "data": {"type": "object", "additional": _STRING},
        "binaryData": {"type": "object", "additional": {"type": "string", "format": "byte"}},
        "immutable": {"type": "boolean"},
    },
}
_MICRO: Schema = {"type": "string", "format": "micro"}
LEASE: Schema = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "go": "LeaseSpec",
            "properties": {
                "holderIdentity": _STRING,
                "leaseDurationSeconds": {"type": "integer"},
                "acquireTime": _MICRO,
                "renewTime": _MICRO,
                "leaseTransitions": {"type": "integer"},
                "strategy": _STRING,
                "preferredHolder": _STRING,
            },
        },
    },
}
NAMESPACE: Schema = {
    "type": "object",
    "properties": {
        "spec": {"type": "object", "properties": {"finalizers": {"type": "array"}}},
        "status": {"type": "object", "open": True},
    },
}
SCHEMAS: dict[str, Schema] = {
    "PeerAuthentication": PEER_AUTHENTICATION,
    "ConfigMap": CONFIG_MAP,
    "Lease": LEASE,
    "Namespace": NAMESPACE,
}
#: The fields of metadata, in the order in which a server writes them.
META_ORDER = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
]
_META = frozenset(META_ORDER)
_CONFIG_LIMIT = 1048576
_STOPPERS = ("FieldValueTypeInvalid", "FieldValueNotSupported", "FieldValueTooLong")
_UNCHECKED = Cause(
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing"
    " errors to complete validation",
    "<nil>",
)


def without_nulls(value: Any) -> Any:
    """A copy without null members: to the server they are not there (two timestamps apart, which are shown)."""
    if isinstance(value, dict):
        return {
            key: without_nulls(item)
            for key, item in value.items()
            if item is not None or key in ("lastProbeTime", "$patch")
        }
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def without_empties(obj: Json) -> Json:
    """The object without what Go leaves out when it is empty: maps and lists of metadata, a ConfigMap's data.

    The argument is changed.
    """
    meta = obj["metadata"]
    for key in ("labels", "annotations", "finalizers", "ownerReferences", "managedFields"):
        if key in meta and not meta[key]:
            del meta[key]
    for key in ("data", "binaryData"):
        if obj.get(key) == {}:
            del obj[key]
    return obj


def unknown_fields(kind: str, obj: Json) -> list[str]:
    """Paths of fields that the schema does not have, metadata first, in the order of a real server."""
    found = [f"metadata.{key}" for key in sorted(obj.get("metadata") or {}) if key not in _META]
    schema = SCHEMAS.get(kind)
    if schema is not None:
        rest = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}
        found += _unknown(schema, rest, "")
    return found


def _unknown(schema: Schema, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict) or schema.get("open"):
        return
    properties, additional = schema.get("properties"), schema.get("additional")
    for key in sorted(value):
        where = f"{path}.{key}" if path else key
        if properties is not None and key in properties:
            yield from _unknown(properties[key], value[key], where)
        elif additional is not None:
            yield from _unknown(additional, value[key], where)
        elif properties is not None:
            yield where


def pruned(kind: str, obj: Json) -> Json:
    """A copy with only the fields that exist."""
    schema = SCHEMAS.get(kind)
    meta = {key: value for key, value in (obj.get("metadata") or {}).items() if key in _META}
    rest = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}
    return {"metadata": meta, **(_prune(schema, rest) if schema is not None else rest)}


def _prune(schema: Schema, value: Any) -> Any:
    if not isinstance(value, dict) or schema.get("open"):
        return value
    properties, additional = schema.get("properties"), schema.get("additional")
    if additional is not None:
        return {key: _prune(additional, item) for key, item in value.items()}
    if properties is None:
        return value
    return {key: _prune(properties[key], item) for key, item in value.items() if key in properties}


def custom_causes(kind: str, obj: Json) -> list[Cause]:
    """What is wrong with a custom resource, as its CRD's validation says it."""
    schema = SCHEMAS.get(kind)
    if schema is None:
        return []
    causes = [cause for key in schema["properties"] for cause in _check(schema["properties"][key], obj.get(key), key)]
    causes.sort(key=lambda cause: cause.reason != "FieldValueTypeInvalid")
    if any(cause.reason in _STOPPERS for cause in causes):
        return [*causes, _UNCHECKED]
    return causes or (list(_peer_rules(obj.get("spec") or {})) if kind == "PeerAuthentication" else [])


def unchecked() -> Cause:
    """The sentence that a CRD's validation adds when it gave up half-way."""
    return _UNCHECKED


def _check(schema: Schema, value: Any, path: str) -> Iterator[Cause]:
    if value is None:
        return
    actual = json_type(value)
    if actual != schema["type"]:
        text = f'Invalid value: "{actual}": {path} in body must be of type {schema["type"]}: "{actual}"'
        yield Cause("FieldValueTypeInvalid", text, path)
    if "enum" in schema and value not in schema["enum"]:
        yield unsupported(path, value, schema["enum"])
    if isinstance(value, str) and len(value) > schema.get("max", len(value)):
        yield too_long(path, schema["max"])
    if not isinstance(value, dict):
        return
    if len(value) < schema.get("min", 0):
        yield bad_value(path, len(value), f"{path} in body should have at least {schema['min']} properties")
    for key in sorted(value):
        below = (schema.get("properties") or {}).get(key) or schema.get("additional")
        if below is not None:
            yield from _check(below, value[key], f"{path}.{key}")


def json_type(value: Any) -> str:
    """The JSON Schema name of a value's type."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "array"
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else "string"


def _rule(path: str, message: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {message}", path)


def _peer_rules(spec: Json) -> Iterator[Cause]:
    """The rules that Istio's CRD states in CEL."""
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    ports = spec.get("portLevelMtls")
    if "" in labels:
        yield _rule("spec.selector.matchLabels", "key must not be empty")
    for key in sorted(labels):
        where = f"spec.selector.matchLabels[{key}]"
        if "*" in key:
            yield _rule("spec.selector.matchLabels", "wildcard not allowed in label key match")
        if "*" in labels[key]:
            yield bad_value(where, labels[key], "wildcard not allowed in label value match")
    if ports is not None and not labels:
        yield _rule("spec", "portLevelMtls requires selector")
    if ports is not None:
        yield from _port_rules(ports)


def _port_rules(ports: Json) -> Iterator[Cause]:
    where = "spec.portLevelMtls"
    if any(not re.fullmatch(r"[+-]?\d+", port) for port in ports):
        why = "type conversion error from 'string' to 'int' evaluating rule: port must be between 1-65535"
        yield bad_value(where, "object", why)
    elif any(not 0 < int(port) <= 65535 for port in ports):
        yield _rule(where, "port must be between 1-65535")


def builtin_causes(kind: str, obj: Json, old: Json | None) -> list[Cause]:
    """What is wrong with a built-in object; `old` is what an update replaces."""
    rules: dict[str, Callable[[Json], list[Cause]]] = {
        "ConfigMap": _config_map,
        "Event": _event,
        "Lease": _lease,
        "Pod": _pod,
        "MutatingWebhookConfiguration": webhook_causes,
        "ValidatingWebhookConfiguration": webhook_causes,
    }
    causes = rules[kind](obj) if kind in rules else []
    if kind == "ConfigMap" and old is not None and old.get("immutable"):
        causes += _immutable(obj, old)
    return causes


def _config_map(obj: Json) -> list[Cause]:
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    why = (
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',"
        "  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
    )
    causes: list[Cause] = []
    for where, values in (("data", data), ("binaryData", binary)):
        for key in sorted(values):
            if not re.fullmatch(r"[-._a-zA-Z0-9]+", key):
                causes.append(bad_value(f"{where}[{key}]", key, why))
            if where == "data" and key in binary:
                causes.append(bad_value(f"data[{key}]", key, "duplicate of key present in binaryData"))
    if sum(len(value.encode()) for value in data.values()) + sum(map(len, binary.values())) > _CONFIG_LIMIT:
        causes.append(too_long("[]", _CONFIG_LIMIT))
    return causes


def _immutable(obj: Json, old: Json) -> list[Cause]:
    why = "Forbidden: field is immutable when `immutable` is set"
    fields = [key for key in ("data", "binaryData") if (obj.get(key) or {}) != (old.get(key) or {})]
    if not obj.get("immutable"):
        fields.insert(0, "immutable")
    return [Cause("FieldValueForbidden", why, field) for field in fields]


def _lease(obj: Json) -> list[Cause]:
    spec = obj.get("spec") or {}
    causes: list[Cause] = []
    duration, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if duration is not None and duration <= 0:
        causes.append(bad_value("spec.leaseDurationSeconds", duration, "must be greater than 0"))
    if transitions is not None and transitions < 0:
        causes.append(bad_value("spec.leaseTransitions", transitions, "must be greater than or equal to 0"))
    return causes


def _event(obj: Json) -> list[Cause]:
    """An event lives beside what it is about; one about a cluster-scoped object lives in `default`."""
    about = str((obj.get("involvedObject") or {}).get("namespace") or "")
    if (about or "default") != obj["metadata"].get("namespace"):
        return [bad_value("involvedObject.namespace", about, "does not match event.namespace")]
    return _strict_event(obj) if obj.get("eventTime") else []


def _strict_event(obj: Json) -> list[Cause]:
    """The rules of events.k8s.io, which an eventTime brings with it."""
    reporter = obj.get("reportingComponent") or ""
    causes = [] if reporter else [required("reportingComponent")]
    causes += [bad_value("reportingComponent", reporter, why) for why in label_key_problems(reporter)]
    causes += [required(field) for field in ("reportingInstance", "action", "reason") if not obj.get(field)]
    return causes


def _pod(obj: Json) -> list[Cause]:
    spec = obj.get("spec") or {}
    containers = spec.get("containers") or []
    if not containers:
        return [Cause("FieldValueRequired", "Required value", "spec.containers")]
    causes = [
        Cause("FieldValueRequired", "Required value", f"spec.containers[{index}].{field}")
        for index, container in enumerate(containers)
        for field in ("name", "image")
        if not container.get(field)
    ]
    addresses = (obj.get("status") or {}).get("podIPs") or []
    causes += [
        bad_value(
            f"status.podIPs[{at}]", item.get("ip"), "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        )
        for at, item in enumerate(addresses)
        if not _is_address(item.get("ip"))
    ]
    policy = spec.get("restartPolicy", "Always")
    if policy not in ("Always", "OnFailure", "Never"):
        causes.append(unsupported("spec.restartPolicy", policy, ("Always", "OnFailure", "Never")))
    selector = spec.get("nodeSelector") or {}
    causes += [bad_value("spec.nodeSelector", key, why) for key in selector for why in label_key_problems(key)]
    return causes


def _is_address(text: Any) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
