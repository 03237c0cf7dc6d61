"""The kinds that a scenario's cluster serves, on a server that may serve more, fewer, or other versions of them.

Istio's own definitions are there where the server was given them; what is missing gets one without a schema. A version
that the scenario's cluster does not know is switched off, and on again for the next scenario.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rollout.errors import UsageError
from rollout.lab.api.kinds import Kinds, Resource
from rollout.lab.api.status import ApiError
from rollout.lab.remote.connection import Remote
from rollout.lab.remote.paths import path_of

Json = dict[str, Any]

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_PATIENCE = 30.0
_TRIES = 5
_NOT_YET = (404, 429, 503)


def served_versions(remote: Remote, resource: Resource) -> set[str]:
    """The versions in which a kind is served now, by discovery."""
    found = set()
    for version in _group_versions(remote, resource.group):
        try:
            listed = remote.ask("GET", f"/apis/{resource.group}/{version}").get("resources") or ()
        except ApiError as error:
            if error.code != 404:
                raise
            continue
        if any(entry["name"] == resource.plural for entry in listed):
            found.add(version)
    return found


def serve(
    remote: Remote,
    kinds: Kinds,
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Have the server serve the custom kinds of a cluster in exactly their versions.

    Raises:
        UsageError: it does not serve them half a minute later.
        ApiError: it does not take their definitions.
    """
    waiting = [r for r in kinds.resources if r.custom and served_versions(remote, r) != set(r.versions)]
    for resource in waiting:
        _define(remote, resource)
    deadline = monotonic() + _PATIENCE
    while waiting := [r for r in waiting if not _serves(remote, r)]:
        if monotonic() > deadline:
            names = ", ".join(f"{r.plural}.{r.group} {'/'.join(r.versions)}" for r in waiting)
            raise UsageError(f"the API server does not serve {names}", limit=f"{_PATIENCE:.0f} s", where=remote.url)
        sleep(0.1)


def _serves(remote: Remote, resource: Resource) -> bool:
    """Whether a kind is there in exactly its versions, and answers: a definition takes effect in several places."""
    try:
        if served_versions(remote, resource) != set(resource.versions):
            return False
        for version in resource.versions:
            remote.ask("GET", path_of(resource, version=version), limit="1")
    except ApiError as error:
        if error.code not in _NOT_YET:
            raise
        return False
    return True


def _group_versions(remote: Remote, group: str) -> list[str]:
    try:
        found = remote.ask("GET", f"/apis/{group}")
    except ApiError as error:
        if error.code != 404:
            raise
        return []
    return [entry["version"] for entry in found.get("versions") or ()]


def _define(remote: Remote, resource: Resource) -> None:
    """Create the definition, or change its versions; somebody else (its controller) may write between two tries."""
    for attempt in range(_TRIES):
        try:
            _defined(remote, resource)
        except ApiError as error:
            if error.code != 409 or attempt == _TRIES - 1:
                raise
        else:
            return


def _defined(remote: Remote, resource: Resource) -> None:
    name = f"{resource.plural}.{resource.group}"
    try:
        found = remote.ask("GET", f"{_CRDS}/{name}")
    except ApiError as error:
        if error.code != 404:
            raise
        remote.ask("POST", _CRDS, definition(resource))
        return
    known = [version["name"] for version in found["spec"]["versions"]]
    for version in found["spec"]["versions"]:
        version["served"] = version["name"] in resource.versions
    fresh = definition(resource)["spec"]["versions"]
    found["spec"]["versions"] += [{**v, "storage": False} for v in fresh if v["name"] not in known]
    remote.ask("PUT", f"{_CRDS}/{name}", found)


def definition(resource: Resource) -> Json:
    """A CustomResourceDefinition for a kind, that takes every field."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    status: Json = {"subresources": {"status": {}}} if "status" in resource.subresources else {}
    stored = resource.stored if resource.stored in resource.versions else resource.versions[0]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": {
                "plural": resource.plural,
                "singular": resource.singular,
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "shortNames": list(resource.short_names),
                "categories": list(resource.categories),
            },
            "versions": [
                {"name": v, "served": True, "storage": v == stored, "schema": schema, **status}
                for v in resource.versions
            ],
        },
    }
