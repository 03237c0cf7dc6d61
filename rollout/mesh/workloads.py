"""Which workload a pod belongs to, named as Istio's metrics name it, and how to make its pods anew."""

from __future__ import annotations

import re
import shlex

from rollout.model.kubernetes import Pod, Ref

#: A CronJob names its Jobs after itself and the scheduled minute; Istio recognises them in the same way.
_OF_CRON_JOB = re.compile(r"(?P<cron>.+)-\d{8,}")
_RESTARTABLE = frozenset({"Deployment", "StatefulSet", "DaemonSet"})
#: Kinds whose pod template stands at spec.template and may be changed.
_PATCHABLE = _RESTARTABLE | {"ReplicaSet", "Rollout", "DeploymentConfig"}


def workload(pod: Pod) -> Ref:
    """Deployment (through the ReplicaSet's pod-template-hash), Rollout, CronJob, another controller, or the pod."""
    owner = next((owner for owner in pod.metadata.owner_references if owner.controller), None)
    if owner is None:
        return pod.ref
    kind, name = owner.kind, owner.name
    if kind == "ReplicaSet":
        kind, name = _above_replica_set(pod, name)
    elif kind == "ReplicationController" and (config := pod.labels.get("deploymentconfig")):
        kind, name = "DeploymentConfig", config
    elif kind == "Job" and (match := _OF_CRON_JOB.fullmatch(name)):
        kind, name = "CronJob", match["cron"]
    return Ref(kind, pod.namespace, name)


def _above_replica_set(pod: Pod, name: str) -> tuple[str, str]:
    for label, kind in (("pod-template-hash", "Deployment"), ("rollouts-pod-template-hash", "Rollout")):
        value = pod.labels.get(label)
        if value and name.endswith(f"-{value}"):
            return kind, name.removesuffix(f"-{value}")
    return "ReplicaSet", name


def restart(owner: Ref) -> str:
    """The command that makes the workload's pods anew from its present template."""
    where = f"-n {owner.namespace}"
    match owner.kind:
        case kind if kind in _RESTARTABLE:
            return f"kubectl rollout restart {kind.lower()}/{owner.name} {where}"
        case "Rollout":
            return f"kubectl argo rollouts restart {owner.name} {where}"
        case "DeploymentConfig":
            return f"oc rollout latest dc/{owner.name} {where}"
        case "CronJob":
            return f"kubectl create job {owner.name}-again --from=cronjob/{owner.name} {where}"
        case "Pod":
            return f"kubectl get pod {owner.name} {where} -o yaml | kubectl replace --force -f -"
        case kind:
            return f"delete the pods of {kind.lower()}/{owner.name} {where}, so that it makes them anew"


def patch_template(owner: Ref, section: str, key: str, value: str | None) -> str:
    """The command that sets (None: removes) a label or annotation of the workload's pod template.

    `section` is `labels` or `annotations`. A bare pod is changed itself and then made anew, as injection needs it. A
    sentence where no command fits: a Job (its template cannot be changed), a kind of some operator.
    """
    if owner.kind == "Pod":
        deed = f"{key}-" if value is None else f"{shlex.quote(f'{key}={value}')} --overwrite"
        verb = "label" if section == "labels" else "annotate"
        return f"kubectl {verb} pod {owner.name} -n {owner.namespace} {deed} && {restart(owner)}"
    if owner.kind != "CronJob" and owner.kind not in _PATCHABLE:
        deed = f"without the {section[:-1]} {key}" if value is None else f'with the {section[:-1]} {key}: "{value}"'
        return f"make the pods of {owner} anew {deed} in their template"
    quoted = "null" if value is None else f'"{value}"'
    metadata = f'{{"metadata":{{"{section}":{{"{key}":{quoted}}}}}}}'
    if owner.kind == "CronJob":
        body = f'{{"spec":{{"jobTemplate":{{"spec":{{"template":{metadata}}}}}}}}}'
    else:
        body = f'{{"spec":{{"template":{metadata}}}}}'
    return f"kubectl patch {owner.kind.lower()} {owner.name} -n {owner.namespace} --type merge -p '{body}'"
