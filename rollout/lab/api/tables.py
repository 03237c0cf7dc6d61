"""Tables: what `kubectl get` prints. Column definitions are wire data, in columns.json."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from rollout.lab.api.kinds import Resource
from rollout.lab.api.represent import partial
from rollout.lab.api.selectors import field_value
from rollout.lab.api.status import Json, bad_request


@cache
def _columns() -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = json.loads((Path(__file__).parent / "columns.json").read_text(encoding="utf-8"))
    return found


def columns(resource: Resource) -> list[Json]:
    """The column definitions of a kind; name and age where nothing better is known."""
    known = _columns().get(resource.plural)
    if known is not None:
        return known
    name, age = _columns()["configmaps"][0], _columns()["configmaps"][-1]
    if resource.plural.endswith("webhookconfigurations"):
        about = "Webhooks indicates the number of webhooks registered in this configuration"
        return [name, {"name": "Webhooks", "type": "integer", "format": "", "description": about, "priority": 0}, age]
    extra = [
        {"name": title, "type": "string", "format": "", "description": title, "priority": 0}
        for title, _ in _EXTRA.get(resource.plural, ())
    ]
    return [name, *extra, age]


_EXTRA: dict[str, tuple[tuple[str, str], ...]] = {
    "services": (("Type", "spec.type"), ("Cluster-IP", "spec.clusterIP")),
    "deployments": (("Ready", "status.readyReplicas"), ("Up-to-date", "status.updatedReplicas")),
    "statefulsets": (("Ready", "status.readyReplicas"),),
    "nodes": (("Version", "status.nodeInfo.kubeletVersion"),),
    "secrets": (("Type", "type"),),
    "jobs": (("Succeeded", "status.succeeded"),),
    "cronjobs": (("Schedule", "spec.schedule"), ("Suspend", "spec.suspend")),
    "rolebindings": (("Role", "roleRef.name"),),
    "clusterrolebindings": (("Role", "roleRef.name"),),
}


def table(
    resource: Resource, items: Iterable[Json], meta: Json, *, now: datetime, include: str, version: str = "v1"
) -> Json:
    """The table of some stored objects.

    Args:
        resource: their kind.
        items: stored objects.
        meta: metadata of the list.
        now: for ages.
        include: includeObject of the request: '' or Metadata, Object, None.
        version: of the table's form.

    Raises:
        ApiError: 400.
    """
    if include not in ("", "Metadata", "Object", "None"):
        why = f"includeObject: Invalid value: \"{include}\": must be 'Metadata', 'Object', 'None', or empty"
        raise bad_request(f"Unable to convert to Table as requested: {why}")
    rows = [
        {"cells": _cells(resource, obj, now), "object": _row_object(resource, obj, include, version)} for obj in items
    ]
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": meta,
        "columnDefinitions": columns(resource),
        "rows": rows,
    }


def _row_object(resource: Resource, obj: Json, include: str, version: str) -> Json | None:
    if include == "None":
        return None
    if include == "Object":
        return {"kind": resource.kind, "apiVersion": resource.api_version(), **obj}
    return partial(obj, version)


def _cells(resource: Resource, obj: Json, now: datetime) -> list[Any]:
    name, age = obj["metadata"]["name"], _age(obj["metadata"].get("creationTimestamp"), now)
    match resource.plural:
        case "pods":
            return [name, *_pod_cells(obj, age)]
        case "configmaps":
            return [name, len(obj.get("data") or {}) + len(obj.get("binaryData") or {}), age]
        case "namespaces":
            return [name, field_value(obj, "status.phase"), age]
        case "peerauthentications":
            return [name, field_value(obj, "spec.mtls.mode"), age]
        case "destinationrules":
            return [name, field_value(obj, "spec.host"), age]
        case "leases":
            return [name, field_value(obj, "spec.holderIdentity"), age]
        case "mutatingwebhookconfigurations" | "validatingwebhookconfigurations":
            return [name, len(obj.get("webhooks") or []), age]
        case "customresourcedefinitions":
            return [name, obj["metadata"].get("creationTimestamp")]
        case "events":
            return _event_cells(obj, now)
        case _:
            return [name, *(field_value(obj, path) or "<none>" for _, path in _EXTRA.get(resource.plural, ())), age]


def _pod_cells(obj: Json, age: str) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    sidecars = [item["name"] for item in spec.get("initContainers") or [] if item.get("restartPolicy") == "Always"]
    states = [*(status.get("containerStatuses") or [])]
    states += [item for item in status.get("initContainerStatuses") or [] if item.get("name") in sidecars]
    total = len(spec.get("containers") or []) + len(sidecars)
    ready = sum(bool(item.get("ready")) for item in states)
    restarts = sum(item.get("restartCount") or 0 for item in states)
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "Unknown")
    ip, node = status.get("podIP") or "<none>", spec.get("nodeName") or "<none>"
    return [f"{ready}/{total}", phase, str(restarts), age, ip, node, "<none>", "<none>"]


def _event_cells(obj: Json, now: datetime) -> list[Any]:
    about, source = obj.get("involvedObject") or {}, obj.get("source") or {}
    who = ", ".join(filter(None, (obj.get("reportingComponent") or source.get("component"), source.get("host"))))
    subject = f"{str(about.get('kind') or '').lower()}/{about.get('name') or ''}"
    last = obj.get("lastTimestamp") or obj.get("eventTime") or obj["metadata"].get("creationTimestamp")
    first = obj.get("firstTimestamp") or last
    return [
        _age(last, now),
        obj.get("type") or "",
        obj.get("reason") or "",
        subject,
        about.get("fieldPath") or "",
        who,
        (obj.get("message") or "").strip(),
        _age(first, now),
        obj.get("count") or 1,
        obj["metadata"]["name"],
    ]


def _age(stamp: str | None, now: datetime) -> str:
    if not stamp:
        return "<unknown>"
    try:
        born = datetime.fromisoformat(stamp)
    except ValueError:
        return "<invalid>"
    return human(now.astimezone(UTC) - born)


def human(span: timedelta) -> str:
    """A duration as kubectl shows it: 12s, 3m4s, 5h6m, 7d."""
    seconds = max(int(span.total_seconds()), 0)
    if seconds < 120:
        return f"{seconds}s"
    minutes = seconds // 60
    if minutes < 10:
        return _and_rest(f"{minutes}m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return _and_rest(f"{hours}h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return _and_rest(f"{days}d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    return f"{days // 365}y"


def _and_rest(whole: str, rest: int, unit: str) -> str:
    return f"{whole}{rest}{unit}" if rest else whole
