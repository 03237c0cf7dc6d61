"""Pods that no controller made: injected at admission, bound to a node, run to their end, taken away when deleted.

A container whose command is `sleep N` ends after N seconds; `activeDeadlineSeconds` ends any. An image of a registry
under `.invalid` (RFC 2606: such a name never resolves) cannot be pulled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from typing import Any

from rollout.lab.api.status import ApiError
from rollout.lab.mesh.catalog import Catalog, milliseconds
from rollout.lab.mesh.cluster import Cluster
from rollout.lab.mesh.inject import inject, wants_injection
from rollout.lab.mesh.pods import running, stamp, succeeded

Json = dict[str, Any]
Schedule = Callable[[int, Callable[[int], None]], None]

_BIND = 500  # milliseconds until the scheduler has found a node


class BarePods:
    """The injector's webhook for what people create, and kubelet and scheduler for pods without an owner.

    Args:
        store: where pods are written.
        catalog: the objects, as the mesh has heard of them.
        schedule: calls back at a time.
        injects: whether the injector answers, and Istio's version.
    """

    def __init__(
        self, store: Cluster, catalog: Catalog, schedule: Schedule, injects: Callable[[], tuple[bool, str]]
    ) -> None:
        """Look after nothing yet."""
        self._store, self._catalog, self._schedule, self._injects = store, catalog, schedule, injects

    def admit(self, kind: str, obj: Json) -> Json:
        """A new pod with its sidecar, where the webhook is called for it."""
        if kind != "Pod":
            return obj
        namespace = self._catalog.get("Namespace", "", obj["metadata"]["namespace"])
        answers, version = self._injects()
        if namespace is None or not answers or not wants_injection(namespace, obj) or _has_proxy(obj):
            return obj
        name = obj["metadata"]["name"]
        return inject(
            obj,
            workload=name,
            owner=f"kubernetes://apis/v1/namespaces/{obj['metadata']['namespace']}/pods/{name}",
            version=version,
            gateway="gateway" in (obj["metadata"].get("annotations") or {}).get("inject.istio.io/templates", ""),
        )

    def changed(self, event: str, obj: Mapping[str, Any], now: int) -> None:
        """A pod was written."""
        if event == "DELETED" or obj["metadata"].get("ownerReferences"):
            return
        key, uid = (obj["metadata"]["namespace"], obj["metadata"]["name"]), obj["metadata"].get("uid")
        sentence = obj["metadata"].get("deletionTimestamp")
        if sentence:
            self._schedule(max(now, milliseconds(sentence)), lambda _: self._take_away(key, uid))
        elif event == "ADDED" and not obj["spec"].get("nodeName") and not obj.get("status", {}).get("podIP"):
            self._schedule(now + _BIND, lambda at: self._bind(key, uid, at))

    def _bind(self, key: tuple[str, str], uid: str | None, now: int) -> None:
        pod = self._current(key, uid)
        if pod is None:
            return
        node = f"node-{int(hashlib.sha256(key[1].encode()).hexdigest(), 16) % 3 + 1}"
        status = running(pod, now, ready=False)
        unpulled = {c["name"] for c in pod["spec"]["containers"] if _unreachable(c.get("image", ""))}
        if unpulled:
            status["phase"] = "Pending"
            for each in status["containerStatuses"]:
                if each["name"] in unpulled:
                    why = f'Back-off pulling image "{each["image"]}"'
                    each.update(
                        ready=False, started=False, state={"waiting": {"reason": "ImagePullBackOff", "message": why}}
                    )
        change = {"spec": {"nodeName": node}, "status": status}
        try:
            self._store.patch("v1", "Pod", key[1], change, namespace=key[0], manager="kubelet")
        except ApiError:  # a server of its own binds pods by its own scheduler
            return
        deadline = pod["spec"].get("activeDeadlineSeconds")
        if deadline:
            self._schedule(now + int(deadline) * 1000, lambda at: self._end(key, uid, at, late=True))
        slept = None if unpulled else _sleeps(pod)
        if slept is not None:
            self._schedule(now + slept * 1000, lambda at: self._end(key, uid, at, late=False))

    def _end(self, key: tuple[str, str], uid: str | None, now: int, *, late: bool) -> None:
        pod = self._current(key, uid)
        if pod is None or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return
        status = succeeded(pod, now, failed=late)
        if late:
            status |= {"reason": "DeadlineExceeded", "message": "Pod was active on the node longer than the specified "
                       "deadline", "startTime": (pod.get("status") or {}).get("startTime") or stamp(now)}  # fmt: skip
        self._store.patch("v1", "Pod", key[1], {"status": status}, namespace=key[0], manager="kubelet")

    def _take_away(self, key: tuple[str, str], uid: str | None) -> None:
        if self._current(key, uid) is not None:
            with suppress(ApiError):  # somebody else was quicker
                self._store.delete("v1", "Pod", key[1], key[0])

    def _current(self, key: tuple[str, str], uid: str | None) -> Json | None:
        pod = self._catalog.get("Pod", *key)
        return deepcopy(dict(pod)) if pod is not None and pod["metadata"].get("uid") == uid else None


def _has_proxy(pod: Mapping[str, Any]) -> bool:
    every = [*(pod["spec"].get("initContainers") or ()), *(pod["spec"].get("containers") or ())]
    return any(container["name"] == "istio-proxy" for container in every)


def _unreachable(image: str) -> bool:
    return image.partition("/")[0].partition(":")[0].endswith(".invalid")


def _sleeps(pod: Mapping[str, Any]) -> int | None:
    """Seconds until the last container has slept enough; None while one does something else, or a sidecar stays."""
    found = []
    for container in pod["spec"]["containers"]:
        command = [*(container.get("command") or ()), *(container.get("args") or ())]
        if len(command) != 2 or command[0] != "sleep" or not str(command[1]).isdigit():
            return None
        found.append(int(command[1]))
    return max(found, default=None)
