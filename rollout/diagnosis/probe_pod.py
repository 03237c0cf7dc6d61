"""The probe's own pod: like the caller to the mesh, like nobody to Services, and dead by itself after three minutes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from rollout.diagnosis.question import Pair
from rollout.mesh.injection import DATAPLANE_MODE, INJECT, REVISION, STATUS_ANNOTATION, gateway, proxy_container
from rollout.model.kubernetes import Pod

#: A pinned release of curl's own image; it has curl and sleep.
IMAGE = "docker.io/curlimages/curl:8.11.1"
CONTAINER = "probe"
MANAGED_BY, RUN_ID, COMPONENT = "app.kubernetes.io/managed-by", "rollout.dev/run-id", "app.kubernetes.io/component"
#: Finds the pods of every run.
LABELS: Mapping[str, str] = {MANAGED_BY: "rollout", COMPONENT: "diagnose-probe"}
SELECTOR = ",".join(f"{name}={value}" for name, value in sorted(LABELS.items()))
#: Seconds: to become Ready, until its own process ends, until the kubelet ends it.
READY, SLEEPS, LIFE = 60, 150, 180
#: Nobody's: not root, and not 1337, whose calls iptables lets pass by the sidecar.
_USER = 65532
_LABELS = (INJECT, REVISION, DATAPLANE_MODE)
_ANNOTATIONS = ("sidecar.istio.io/", "traffic.sidecar.istio.io/", "inject.istio.io/", "proxy.istio.io/config")
_PAST = timedelta(seconds=2 * LIFE)


def name(run: str) -> str:
    """Of a run's pod."""
    return f"rollout-probe-{run}"


def cannot(client: Pod) -> str:
    """Why no pod of ours can stand for this caller; '' where one can."""
    if gateway(client):
        return "the caller is a gateway: its proxy calls by itself, and no pod can call as it does"
    if client.spec.host_network:
        return "the caller is on its node's network, and a probe there would need rights on the node; try --probe=exec"
    return ""


def body(client: Pod, pair: Pair, run: str, image: str, by: str) -> dict[str, Any]:
    """The manifest, without apiVersion and kind.

    It has the caller's service account and all that decides on injection, but no other label of the caller's: with
    them a Service might send it traffic. A caller without a sidecar gets a probe without one, whatever the namespace
    says by now.

    Args:
        client: the caller.
        pair: what is asked.
        run: a word that nobody else has, of lower case letters and digits.
        image: has curl and sleep.
        by: who asks, for people who find the pod.
    """
    own = {key: client.labels[key] for key in _LABELS if key in client.labels}
    if proxy_container(client) is None:
        own[INJECT] = "false"
    told = {
        key: value
        for key, value in client.annotations.items()
        if key.startswith(_ANNOTATIONS) and key != STATUS_ANNOTATION
    }
    why = {
        "rollout.dev/made-by": by,
        "rollout.dev/why": f"a test call of {pair} (rollout diagnose --probe); deleted when it ends",
    }
    return {
        "metadata": {
            "name": name(run),
            "namespace": client.namespace,
            "labels": {**own, **LABELS, RUN_ID: run},
            "annotations": {**told, **why},
        },
        "spec": _spec(client, image),
    }


def _spec(client: Pod, image: str) -> dict[str, Any]:
    return {
        "serviceAccountName": client.spec.service_account_name or "default",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "activeDeadlineSeconds": LIFE,
        "terminationGracePeriodSeconds": 1,
        "containers": [_container(image)],
    }


def _container(image: str) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", str(SLEEPS)],
        "resources": {
            "requests": {"cpu": "10m", "memory": "16Mi"},
            "limits": {"cpu": "100m", "memory": "64Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def unlike(client: Pod, made: Pod) -> str:
    """How the pod that came out differs from the caller to the mesh; '' where it does not."""
    has, wants = proxy_container(made) is not None, proxy_container(client) is not None
    if has == wants:
        return ""
    got = "got a sidecar, and the caller has none" if has else "got no sidecar, and the caller has one"
    return f"the probe's pod {got}: its result does not stand for the caller; --probe=exec asks from the caller itself"


def stuck(made: Pod) -> str:
    """Why a pod is not Ready, in the kubelet's or the scheduler's words; '' where nobody says."""
    for status in (*made.status.init_container_statuses, *made.status.container_statuses):
        waiting = status.state.waiting
        if waiting is not None and waiting.reason not in ("", "PodInitializing", "ContainerCreating"):
            return f"container {status.name}: {waiting.reason} {waiting.message}".strip()
    unmet = (c for c in made.status.conditions if c.type == "PodScheduled" and c.status == "False")
    return next((f"{c.reason} {c.message}".strip() for c in unmet), "")


def left_over(made: Pod, now: datetime, *, alive: bool | None) -> bool:
    """Nobody waits for this pod any more.

    Args:
        made: with `LABELS`.
        now: the time.
        alive: whether the process that made it runs; None: another machine's.
    """
    if made.metadata.deletion_timestamp is not None:
        return False
    if alive is not None:
        return not alive
    born = made.metadata.creation_timestamp
    return made.status.phase in ("Succeeded", "Failed") or (born is not None and now > born + _PAST)
