"""What the server says about itself: its paths, versions, groups and resources."""

from __future__ import annotations

import base64
import hashlib

from rollout.lab.api.http import HttpAnswer, HttpRequest, json_answer, text_answer
from rollout.lab.api.kinds import Kinds, Resource
from rollout.lab.api.openapi import openapi
from rollout.lab.api.represent import clauses, not_acceptable
from rollout.lab.api.status import Json, method_not_allowed, no_such_path, page_not_found

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_STATUS_VERBS = ["get", "patch", "update"]
_HEALTH = ("/healthz", "/livez", "/readyz")
_PROXY_VERBS = ["create", "delete", "get", "patch", "update"]
_SUB_VERBS = {
    "status": _STATUS_VERBS,
    "scale": _STATUS_VERBS,
    "finalize": ["update"],
    "binding": ["create"],
    "log": ["get"],
    "exec": ["create", "get"],
    "eviction": ["create"],
    "proxy": _PROXY_VERBS,
}
_SUB_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "binding": ("", "", "Binding"),
    "eviction": ("policy", "v1", "Eviction"),
    "proxy": ("", "", "ServiceProxyOptions"),
    "exec": ("", "", "PodExecOptions"),
}
_CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
VERSION: Json = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.2",
    "gitCommit": "0" * 40,
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "go1.26.0",
    "compiler": "gc",
    "platform": "linux/amd64",
}


class Discovery:
    """Answers every path that is no object.

    Args:
        kinds: what is served.
        address: host and port of the server.
    """

    def __init__(self, kinds: Kinds, address: str) -> None:
        """Describe these kinds."""
        self.kinds = kinds
        self.address = address

    def answer(self, request: HttpRequest) -> HttpAnswer | None:
        """The answer, or None when the path names objects.

        Raises:
            ApiError: 404, 405 or 406.
        """
        path = request.path.rstrip("/") or "/"
        words = path.strip("/").split("/")
        if path in _HEALTH:
            return text_answer(200, "ok")
        if path in ("/", "/version"):
            if request.method != "GET":
                raise method_not_allowed()
            return json_answer(200, VERSION if path == "/version" else {"paths": self._paths()}, pretty=True)
        if words[0] == "openapi":
            return openapi(self.kinds, request)
        if path in ("/api", "/apis"):
            return self._roots(request, path)
        if words[0] == "api" and len(words) == 2:
            if words[1] != "v1":
                raise no_such_path()
            return json_answer(200, self._resources("", "v1"))
        if words[0] == "apis" and len(words) in (2, 3):
            return self._group(words[1], words[2] if len(words) == 3 else "")
        if words[0] not in ("api", "apis") or (words[0] == "apis" and words[1] not in self.kinds.groups):
            raise page_not_found()
        return None

    def _roots(self, request: HttpRequest, path: str) -> HttpAnswer:
        accept = ",".join(request.headers.get("accept", [])) or "*/*"
        for media, wanted in clauses(accept):
            if media not in ("application/json", "*/*", "application/*"):
                continue
            if not wanted.get("as"):
                return json_answer(200, self._versions() if path == "/api" else self._groups())
            if wanted.get("as") == "APIGroupDiscoveryList" and wanted.get("v") == "v2":
                return self._aggregated(request, core=path == "/api")
        raise not_acceptable(accept, watch=False, reading=False)

    def _paths(self) -> list[str]:
        """The index: what a browser at the root is shown."""
        found = ["/api", "/apis", "/apis/", *_HEALTH, "/openapi/v3", "/openapi/v3/", "/version"]
        for group, versions in self.kinds.groups.items():
            root = f"/apis/{group}" if group else "/api"
            found += [root, *(f"{root}/{version}" for version in versions)]
        return sorted(set(found))

    def _versions(self) -> Json:
        addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": self.address}]
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}

    def _groups(self) -> Json:
        found = [self._group_document(group) for group in self.kinds.groups if group]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}

    def _group_document(self, group: str) -> Json:
        versions = [{"groupVersion": f"{group}/{v}", "version": v} for v in self.kinds.groups[group]]
        return {"name": group, "versions": versions, "preferredVersion": versions[0]}

    def _group(self, group: str, version: str) -> HttpAnswer:
        if group not in self.kinds.groups:
            raise page_not_found()
        if not version:
            return json_answer(200, {"kind": "APIGroup", "apiVersion": "v1", **self._group_document(group)})
        if version not in self.kinds.groups[group]:
            raise page_not_found() if self.kinds.custom_group(group) else no_such_path()
        return json_answer(200, self._resources(group, version))

    def _resources(self, group: str, version: str) -> Json:
        head: Json = {"kind": "APIResourceList"}
        if group:
            head |= {"apiVersion": "v1", "groupVersion": f"{group}/{version}"}
        else:
            head |= {"groupVersion": version}
        found: list[Json] = []
        for resource in self.kinds.in_version(group, version):
            found.append(_plain(resource))
            found += [_plain_sub(resource, sub) for sub in resource.subresources]
        return {**head, "resources": found}

    def _aggregated(self, request: HttpRequest, *, core: bool) -> HttpAnswer:
        items = [self._aggregate(group) for group in self.kinds.groups if (group == "") is core]
        document = {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": items,
        }
        answer = json_answer(200, document)
        etag = '"' + hashlib.sha512(answer.body).hexdigest().upper() + '"'
        answer.headers += [("Etag", etag), ("Vary", "Accept")]
        answer.content_type = _AGGREGATED
        if request.header("if-none-match") == etag:
            return HttpAnswer(304, b"", "", answer.headers)
        return answer

    def _aggregate(self, group: str) -> Json:
        versions = [
            {
                "version": version,
                "resources": [_rich(resource, version) for resource in self.kinds.in_version(group, version)],
                "freshness": "Current",
            }
            for version in self.kinds.groups[group]
        ]
        return {"metadata": {"name": group} if group else {}, "versions": versions}


def _plain(resource: Resource) -> Json:
    entry: Json = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(_CUSTOM_VERBS if resource.custom else resource.verbs),
    }
    entry |= _also_called(resource)
    if resource.verbs != ("create",):
        entry["storageVersionHash"] = _storage_hash(resource)
    return entry


def _also_called(resource: Resource) -> Json:
    """What kubectl takes for it beside its name."""
    names = {"shortNames": list(resource.short_names), "categories": list(resource.categories)}
    return {key: value for key, value in names.items() if value}


def _storage_hash(resource: Resource) -> str:
    """A digest of group, stored version and kind, by which clients notice a storage migration."""
    digest = hashlib.sha256(f"{resource.group}/{resource.stored}/{resource.kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def _plain_sub(resource: Resource, sub: str) -> Json:
    group, version, kind = _SUB_KINDS.get(sub, ("", "", resource.kind))
    entry: Json = {
        "name": f"{resource.plural}/{sub}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": kind,
        "verbs": _SUB_VERBS[sub],
    }
    return entry | ({"group": group, "version": version} if group else {})


def _rich(resource: Resource, version: str) -> Json:
    custom = {"group": resource.group, "version": version} if resource.custom else {"group": "", "version": ""}
    entry: Json = {
        "resource": resource.plural,
        "responseKind": {**custom, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(_CUSTOM_VERBS if resource.custom else resource.verbs),
    }
    entry |= _also_called(resource)
    if resource.subresources:
        entry["subresources"] = [_rich_sub(resource, sub, custom) for sub in resource.subresources]
    return entry


def _rich_sub(resource: Resource, sub: str, custom: dict[str, str]) -> Json:
    if sub in _SUB_KINDS:
        group, version, kind = _SUB_KINDS[sub]
        response = {"group": group, "version": version, "kind": kind}
    else:
        response = {**custom, "kind": resource.kind}
    return {"subresource": sub, "responseKind": response, "verbs": _SUB_VERBS[sub]}
