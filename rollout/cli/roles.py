"""The least rights as manifests: what `rollout rbac` prints, and what `rollout job` gives its ServiceAccount."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rollout.model.kubernetes import ConfigMap, Resource
from rollout.ports import Right
from rollout.stages.rights import to_read, to_write

Json = dict[str, Any]
GROUP = "rbac.authorization.k8s.io"
#: Prometheus through the API server.
PROXY = Resource("", ("v1",), "services/proxy", "Service")


def roles(namespaces: Sequence[str], state_namespace: str = "") -> list[Json]:
    """To read, and to migrate these namespaces: one role a place. Without any, to plan only."""
    documents = [role("ClusterRole", "rollout-plan", "", [*to_read(), Right("get", ConfigMap.RESOURCE)])]
    if not namespaces:
        maps = ConfigMap.RESOURCE
        documents.append(role("ClusterRole", "rollout-record", "", [Right("list", maps), Right("get", maps)]))
    rights = [r for name in namespaces for r in to_write(name, state_namespace or name)]
    places = dict.fromkeys(r.namespace for r in rights)
    here = [role("Role", "rollout-migrate", place, [r for r in rights if r.namespace == place]) for place in places]
    return [*documents, *here]


def role(kind: str, name: str, namespace: str, rights: Iterable[Right]) -> Json:
    """A Role or ClusterRole, one rule a resource."""
    verbs: dict[tuple[str, str, str], list[str]] = {}
    for right in rights:
        verbs.setdefault((right.resource.group, right.resource.plural, right.name), []).append(right.verb)
    rules = [
        {"apiGroups": [g], "resources": [r], **({"resourceNames": [n]} if n else {}), "verbs": list(dict.fromkeys(v))}
        for (g, r, n), v in verbs.items()
    ]
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": metadata, "rules": rules}


def user(name: str) -> Json:
    """A subject."""
    return {"kind": "User", "apiGroup": GROUP, "name": name}


def service_account(namespace: str, name: str) -> Json:
    """A subject."""
    return {"kind": "ServiceAccount", "namespace": namespace, "name": name}


def binding(of: Json, subject: Json, name: str = "") -> Json:
    """Give a role to a subject; named like the role unless `name` says otherwise."""
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": f"{of['kind']}Binding",
        "metadata": {**of["metadata"], "name": name or of["metadata"]["name"]},
        "subjects": [subject],
        "roleRef": {"apiGroup": GROUP, "kind": of["kind"], "name": of["metadata"]["name"]},
    }
