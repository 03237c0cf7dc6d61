"""Which updates are refused whatever they change: another object's name, a stale revision, another life."""

from __future__ import annotations

from rollout.lab.api.kinds import Resource
from rollout.lab.api.objects import name_of
from rollout.lab.api.status import ApiError, Json, bad_request, bad_value, conflict, forbidden_value, invalid

_POD_WORDS = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_POD_FREE = ("containers", "initContainers", "activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")
_WORKLOADS = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")


def check_update(resource: Resource, old: Json, obj: Json, *, patch: bool) -> None:
    """Compare an update with what is stored.

    Raises:
        ApiError: 400, 409 or 422.
    """
    meta, before = obj["metadata"], old["metadata"]
    name = name_of(old)
    if patch:
        _check_patched(resource, meta, before)
    _check_revision(resource, meta, before, patch=patch)
    uid = meta.get("uid")
    if uid and uid != before["uid"] and not patch:
        why = (
            f"StorageError: invalid object, Code: 4, Key: /registry/{resource.plural}/"
            f"{before.get('namespace', '')}/{name}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: "
            f"UID in precondition: {uid}, UID in object meta: {before['uid']}"
        )
        raise conflict(resource.plural, resource.group, name, why)
    if resource.kind == "Pod":
        _check_pod(name, old, obj)
    elif resource.kind in _WORKLOADS:
        _check_selector(resource, name, old, obj)


def _check_patched(resource: Resource, meta: Json, before: Json) -> None:
    if (meta.get("name") or "") != before["name"]:
        given = meta.get("name") or ""
        raise bad_request(f"the name of the object ({given}) does not match the name on the URL ({before['name']})")
    for word in ("uid", "deletionTimestamp"):
        value = meta.get(word)
        if value and value != before.get(word):
            cause = bad_value(f"metadata.{word}", value, "field is immutable")
            causes = [cause] if resource.custom else [cause, cause]
            raise invalid(resource.kind, resource.group, before["name"], causes)


def _check_revision(resource: Resource, meta: Json, before: Json, *, patch: bool) -> None:
    given = meta.get("resourceVersion") or ""
    if given and not given.isdigit():
        raise ApiError(500, "", f'strconv.ParseUint: parsing "{given}": invalid syntax')
    if given in ("", "0"):
        if not patch and not resource.free_put:
            cause = bad_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(resource.plural, resource.group, before["name"], [cause])
    elif given != before["resourceVersion"]:
        raise conflict(resource.plural, resource.group, before["name"])


def _check_pod(name: str, old: Json, obj: Json) -> None:
    before, after = old.get("spec") or {}, obj.get("spec") or {}
    for words in ("containers", "initContainers"):
        if len(before.get(words) or []) != len(after.get(words) or []):
            why = f"pod updates may not add or remove {'containers' if words == 'containers' else 'init containers'}"
            raise invalid("Pod", "", name, [forbidden_value(f"spec.{words}", why)])
    admission = ("priority", "preemptionPolicy")
    fixed_before = {k: v for k, v in before.items() if k not in (*_POD_FREE, *admission)}
    fixed_after = {k: v for k, v in after.items() if k not in (*_POD_FREE, *admission)}
    if fixed_before != fixed_after or _without_images(before) != _without_images(after):
        raise invalid("Pod", "", name, [forbidden_value("spec", _POD_WORDS)])


def _without_images(spec: Json) -> list[Json]:
    free = ("image", "imagePullPolicy")
    return [
        {key: value for key, value in container.items() if key not in free}
        for words in ("containers", "initContainers")
        for container in spec.get(words) or []
    ]


def _check_selector(resource: Resource, name: str, old: Json, obj: Json) -> None:
    selector = (obj.get("spec") or {}).get("selector")
    if selector == (old.get("spec") or {}).get("selector"):
        return
    labels = obj["spec"].get("template", {}).get("metadata", {}).get("labels") or {}
    causes = [bad_value("spec.selector", selector, "field is immutable")]
    wanted = (selector or {}).get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        text = "`selector` does not match template `labels`"
        causes.insert(0, bad_value("spec.template.metadata.labels", labels, text))
    raise invalid(resource.kind, resource.group, name, causes)
