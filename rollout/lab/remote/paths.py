"""Where a kind's objects are on an API server."""

from __future__ import annotations

from rollout.lab.api.kinds import Resource


def path_of(resource: Resource, namespace: str = "", name: str = "", subresource: str = "", version: str = "") -> str:
    """The URL's path of a collection, an object, or a part of it; '' as namespace: of the whole cluster."""
    version = version or resource.versions[0]
    root = f"/apis/{resource.group}/{version}" if resource.group else f"/api/{version}"
    scope = f"/namespaces/{namespace}" if resource.namespaced and namespace else ""
    tail = "".join(f"/{part}" for part in (name, subresource) if part)
    return f"{root}{scope}/{resource.plural}{tail}"
