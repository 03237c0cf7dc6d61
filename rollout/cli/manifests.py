"""The manifests of `rollout job`: a pipeline's runner that lives in the cluster, and its dead-man's switch.

They live in a namespace of their own, not in the target: a runner's pod there would be a pod without a sidecar, which
the migration itself refuses, or one whose sidecar dies with the flip; and the target's quota and admission are not
made for it. One place also serves several targets.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rollout.adapters.configmap import MANAGED_BY
from rollout.cli.roles import PROXY, Json, binding, role, roles, service_account
from rollout.ports import Right

ACCOUNT = "rollout"
#: Where the image has its user, and a pod everything that it may write.
USER, STATE = 65532, "/var/lib/rollout"
BOOK, SECRETS = "/etc/rollout/playbook", "/etc/rollout/secrets"
#: Seconds from SIGTERM to SIGKILL. The undo, or the record that STRICT stays, is the first write after the signal;
#: what is left to verify then is the CronJob's.
GRACE = 60
#: Seconds that an ended Job stays to be read.
KEPT = 86_400
#: Seconds that a CronJob may start late; without a limit the controller gives up after 100 times missed.
LATE = 200


class Place(msgspec.Struct, frozen=True):
    """The Prometheus behind the API server's proxy: where a right is needed, and on which name."""

    namespace: str
    service: str


class Runner(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for.

    Args:
        name: of the Job, at most 45 characters.
        namespaces: to migrate.
        home: where Job and CronJob live; `own_home`: it is made for them.
        image: with `rollout` on its PATH.
        schedule: of the CronJob, five fields.
        migrate: the arguments of `rollout`.
        resume: the arguments of the CronJob's `rollout`.
        files: the playbook and files of variables, by name.
        secrets: (Secret, key, file under SECRETS).
        proxy: Prometheus is reached through the API server.
    """

    name: str
    namespaces: tuple[str, ...]
    home: str
    own_home: bool
    image: str
    schedule: str
    migrate: tuple[str, ...]
    resume: tuple[str, ...]
    state_namespace: str = ""
    files: dict[str, str] = {}
    secrets: tuple[tuple[str, str, str], ...] = ()
    proxy: Place | None = None


def manifests(wanted: Runner) -> list[Json]:
    """All of them, in the order in which they are created: the Job last, when everything that it needs is there."""
    documents = [_namespace(wanted.home)] if wanted.own_home else []
    account: Json = {"apiVersion": "v1", "kind": "ServiceAccount"}
    documents.append({**account, "metadata": {"name": ACCOUNT, "namespace": wanted.home}})
    rights = roles(wanted.namespaces, wanted.state_namespace)
    if wanted.proxy is not None:
        right = Right("get", PROXY, name=wanted.proxy.service)
        rights.append(role("Role", "rollout-prometheus", wanted.proxy.namespace, [right]))
    documents += rights
    subject = service_account(wanted.home, ACCOUNT)
    documents += [binding(r, subject, f"{r['metadata']['name']}-{wanted.home}") for r in rights]
    if wanted.files:
        documents.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": _meta(wanted), "data": wanted.files})
    documents += [_cron_job(wanted), _job(wanted)]
    for document in documents:
        document["metadata"] = {**document["metadata"], "labels": {
            MANAGED_BY: "rollout", **document["metadata"].get("labels", {})}}  # fmt: skip
    return documents


def _namespace(name: str) -> Json:
    """Its pods call the API server and Prometheus only, and fit the strictest of the pod security standards."""
    labels = {"istio-injection": "disabled", "pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _meta(wanted: Runner, suffix: str = "") -> Json:
    return {"name": wanted.name + suffix, "namespace": wanted.home}


def _job(wanted: Runner) -> Json:
    """One try: what a dead one leaves behind, the CronJob takes up from the record; a second try would begin anew."""
    pod = _pod(wanted, wanted.migrate, files=bool(wanted.files))
    spec = {"backoffLimit": 0, "ttlSecondsAfterFinished": KEPT, "template": pod}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": _meta(wanted), "spec": spec}


def _cron_job(wanted: Runner) -> Json:
    spec = {
        "schedule": wanted.schedule,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": LATE,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {"spec": {"backoffLimit": 0, "template": _pod(wanted, wanted.resume, files=False)}},
    }
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": _meta(wanted, "-resume"), "spec": spec}


def _pod(wanted: Runner, args: tuple[str, ...], *, files: bool) -> Json:
    """Without a sidecar: it would refuse to end with the Job, and die with it in the middle of a watch."""
    volumes, mounts = _storage(wanted, files=files)
    spec: dict[str, Any] = {
        "serviceAccountName": ACCOUNT,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(wanted.image, args, mounts)],
        "volumes": volumes,
    }
    labels = {MANAGED_BY: "rollout", "sidecar.istio.io/inject": "false"}
    annotations = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": spec}


def _storage(wanted: Runner, *, files: bool) -> tuple[list[Json], list[Json]]:
    """Volumes, and where they are mounted; only the emptyDirs can be written to."""
    volumes: list[Json] = [{"name": "state", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    mounts: list[Json] = [
        {"name": "state", "mountPath": STATE},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
    ]
    if files:
        volumes.append({"name": "playbook", "configMap": {"name": wanted.name}})
        mounts.append({"name": "playbook", "mountPath": BOOK, "readOnly": True})
    if wanted.secrets:
        sources = [
            {"secret": {"name": secret, "items": [{"key": key, "path": path}]}} for secret, key, path in wanted.secrets
        ]
        volumes.append({"name": "secrets", "projected": {"sources": sources}})
        mounts.append({"name": "secrets", "mountPath": SECRETS, "readOnly": True})
    return volumes, mounts


def _container(image: str, args: tuple[str, ...], mounts: list[Json]) -> Json:
    return {
        "name": "rollout",
        "image": image,
        "command": ["rollout"],
        "args": [word.replace("$", "$$") for word in args],  # the kubelet expands $(NAME), and $$ is one $
        "env": [{"name": "HOME", "value": STATE}, {"name": "XDG_STATE_HOME", "value": STATE}],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }
