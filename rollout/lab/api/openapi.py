"""The OpenAPI v3 documents, as far as kubectl needs them to write: which query parameters each write knows.

kubectl lets the server validate (`fieldValidation=Strict`) only when the document of a kind names that parameter.
There are no schemas in them: `kubectl explain` has nothing to show. OpenAPI v2 is protobuf, and not served.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from email.utils import format_datetime

from rollout.lab.api.http import HttpAnswer, HttpRequest, json_answer
from rollout.lab.api.kinds import Kinds
from rollout.lab.api.status import Json, page_not_found

_YEAR = 365 * 86_400
_BUILT = datetime(2026, 1, 1, tzinfo=UTC)
"""The documents are those of the program: they do not change while it runs."""


def openapi(kinds: Kinds, request: HttpRequest) -> HttpAnswer:
    """Answer below /openapi.

    Raises:
        ApiError: 404.
    """
    words = request.path.strip("/").split("/")
    if words[1:2] != ["v3"]:
        raise page_not_found()
    if len(words) == 2:
        return _index(kinds, request)
    version = words[-1]
    group = words[3] if words[2] == "apis" and len(words) == 5 else ""
    if version not in kinds.groups.get(group, ()):
        raise page_not_found()
    answer = json_answer(200, _document(kinds, group, version))
    if request.parameter("hash"):
        answer.headers.append(("Cache-Control", f"public, immutable, max-age={_YEAR}"))
    return answer


def _index(kinds: Kinds, request: HttpRequest) -> HttpAnswer:
    modified = format_datetime(_BUILT, usegmt=True)
    headers = [("Accept-Ranges", "bytes"), ("Last-Modified", modified)]
    if request.header("if-modified-since") == modified:
        return HttpAnswer(304, b"", "", headers)
    paths: Json = {}
    for group, versions in kinds.groups.items():
        for version in versions:
            key = f"apis/{group}/{version}" if group else f"api/{version}"
            digest = hashlib.sha512(json.dumps(_document(kinds, group, version)).encode()).hexdigest().upper()
            paths[key] = {"serverRelativeURL": f"/openapi/v3/{key}?hash={digest}"}
    body = json.dumps({"paths": dict(sorted(paths.items()))}, separators=(",", ":")).encode()
    return HttpAnswer(200, body, "text/plain; charset=utf-8", headers)


def _document(kinds: Kinds, group: str, version: str) -> Json:
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
        for name in ("dryRun", "fieldManager", "fieldValidation")
    ]
    paths: Json = {}
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    for resource in kinds.in_version(group, version):
        where = "/namespaces/{namespace}" if resource.namespaced else ""
        kind = {"group": group, "kind": resource.kind, "version": version}
        operation = {"parameters": parameters, "x-kubernetes-group-version-kind": kind, "responses": {}}
        paths[f"{root}{where}/{resource.plural}"] = {"post": operation}
        paths[f"{root}{where}/{resource.plural}/{{name}}"] = {"patch": operation, "put": operation}
    info = {"title": "Kubernetes", "version": "v1.36.2"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}
