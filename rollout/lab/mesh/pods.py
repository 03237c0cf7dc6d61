"""Pods as their controllers make them, scheduled and running: the shapes that a cluster's API shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from rollout.lab.mesh.inject import inject, wants_injection

Json = dict[str, Any]


def stamp(ms: int) -> str:
    """Milliseconds since the epoch as an API timestamp (whole seconds)."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def suffix(text: str, length: int = 5) -> str:
    """A generated name's tail: the same text gives the same one."""
    alphabet = "bcdfghjklmnpqrstvwxz2456789"
    digest = hashlib.sha256(text.encode()).digest()
    return "".join(alphabet[byte % len(alphabet)] for byte in digest[:length])


def template_hash(template: Mapping[str, Any]) -> str:
    """What tells two pod templates apart."""
    return suffix(json.dumps(template, sort_keys=True), 10)


def owner_reference(owner: Mapping[str, Any]) -> Json:
    """The controlling owner's reference."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"].get("uid", ""),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def make_pod(
    name: str,
    owner: Mapping[str, Any],
    template: Mapping[str, Any],
    namespace: Mapping[str, Any],
    *,
    workload: tuple[str, str],
    version: str,
    labels: Mapping[str, str],
    created: int,
    ready: bool,
    injector: bool = True,
) -> Json:
    """A pod from a template, injected where the webhook would do it.

    Args:
        name: of the pod.
        owner: its controller.
        template: `spec.template`.
        namespace: the Namespace object.
        workload: kind and name of what Istio calls its workload.
        version: Istio's, for the proxy's image.
        labels: what the controller adds.
        created: milliseconds since the epoch.
        ready: whether its containers are Ready.
        injector: False while istiod, and so the injector, is away.
    """
    pod = _from_template(name, owner, template, namespace["metadata"]["name"], labels)
    pod["spec"].setdefault("serviceAccountName", "default")
    if injector and wants_injection(namespace, pod):
        pod = _injected(pod, workload, version)
    pod["spec"]["nodeName"] = f"node-{int(hashlib.sha256(name.encode()).hexdigest(), 16) % 3 + 1}"
    pod["status"] = running(pod, created, ready=ready)
    return pod


def _from_template(
    name: str, owner: Mapping[str, Any], template: Mapping[str, Any], namespace: str, labels: Mapping[str, str]
) -> Json:
    meta = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {**(meta.get("labels") or {}), **labels},
            "annotations": dict(meta.get("annotations") or {}),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": deepcopy(template["spec"]),
    }


def _injected(pod: Json, workload: tuple[str, str], version: str) -> Json:
    kind, name = workload
    group = "batch/v1" if kind in ("Job", "CronJob") else "apps/v1"
    return inject(
        pod,
        workload=name,
        owner=f"kubernetes://apis/{group}/namespaces/{pod['metadata']['namespace']}/{kind.lower()}s/{name}",
        version=version,
        gateway="gateway" in pod["metadata"]["annotations"].get("inject.istio.io/templates", ""),
    )


def running(pod: Mapping[str, Any], created: int, *, ready: bool) -> Json:
    """The status of a running pod."""
    digest = hashlib.sha256(f"{pod['metadata']['namespace']}/{pod['metadata']['name']}".encode()).digest()
    return {
        "phase": "Running",
        "startTime": stamp(created),
        "hostIP": "192.168.10.11",
        "podIP": f"10.244.{digest[0] % 250}.{digest[1] % 250 + 2}",
        "qosClass": "Burstable",
        "conditions": conditions(created, ready=ready),
        "containerStatuses": [_container(c, created, ready=ready) for c in pod["spec"]["containers"]],
        "initContainerStatuses": [_init(c, created) for c in pod["spec"].get("initContainers") or ()],
    }


def conditions(since: int, *, ready: bool) -> list[Json]:
    """Pod conditions, changed at `since`."""

    def one(kind: str, *, true: bool) -> Json:
        return {"type": kind, "status": "True" if true else "False", "lastTransitionTime": stamp(since)}

    return [
        one("PodReadyToStartContainers", true=True),
        one("Initialized", true=True),
        one("Ready", true=ready),
        one("ContainersReady", true=ready),
        one("PodScheduled", true=True),
    ]


def succeeded(pod: Mapping[str, Any], at: int, *, failed: bool) -> Json:
    """The status of a Job's pod that has run to its end."""
    phase, code = ("Failed", 1) if failed else ("Succeeded", 0)
    ended = {"terminated": {"exitCode": code, "reason": "Error" if failed else "Completed", "finishedAt": stamp(at)}}
    old = pod["status"].get("containerStatuses") or []
    statuses = [{**c, "ready": False, "started": False, "state": ended} for c in old]
    return {"phase": phase, "conditions": conditions(at, ready=False), "containerStatuses": statuses}


def _container(container: Mapping[str, Any], since: int, *, ready: bool) -> Json:
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": ready or container["name"] == "istio-proxy",
        "started": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": stamp(since)}},
    }


def _init(container: Mapping[str, Any], since: int) -> Json:
    if container.get("restartPolicy") == "Always":
        return _container(container, since, ready=True)
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": stamp(since)}}
    return {**_container(container, since, ready=True), "started": False, "state": ended}
