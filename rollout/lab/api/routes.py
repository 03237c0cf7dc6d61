"""From a path to what is asked for: a verb on a resource, in a namespace, on a name, perhaps on a subresource."""

from __future__ import annotations

from dataclasses import dataclass

from rollout.lab.api.http import HttpRequest
from rollout.lab.api.rbac import Attributes

_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
    "OPTIONS": "",
}
_NAMESPACE_SUBS = ("status", "finalize")


@dataclass(frozen=True)
class Route:
    """A path below /api or /apis, taken apart; `rest` is what follows a subresource (a proxied path)."""

    verb: str
    group: str = ""
    version: str = ""
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    path: str = ""

    @property
    def attributes(self) -> Attributes:
        """What RBAC is asked."""
        if not self.plural:
            return Attributes(self.verb, path=self.path)
        return Attributes(self.verb, self.group, self.plural, self.subresource, self.namespace, self.name)


def route(request: HttpRequest) -> Route:
    """Take a request's path apart; without a resource in it, only verb and path."""
    method = request.method
    verb = _VERBS.get(method, method.lower())
    words = request.path.strip("/").split("/")
    if words[0] == "api" and len(words) > 2:
        group, version, tail = "", words[1], words[2:]
    elif words[0] == "apis" and len(words) > 3:
        group, version, tail = words[1], words[2], words[3:]
    else:
        return Route(verb, path=request.path)
    if "" in tail:
        return Route(verb, path=request.path)
    watch = tail[0] == "watch" and len(tail) > 1
    if watch:
        tail = tail[1:]
    namespace = ""
    if tail[0] == "namespaces" and len(tail) > 2 and not (len(tail) == 3 and tail[2] in _NAMESPACE_SUBS):
        namespace, tail = tail[1], tail[2:]
    plural, name, sub = tail[0], _at(tail, 1), _at(tail, 2)
    if tail[0] == "namespaces" and name:
        namespace = name
    return Route(
        _verb(request, verb, name, watch=watch),
        group,
        version,
        plural,
        namespace,
        name,
        sub,
        "/".join(tail[3:]),
        request.path,
    )


def _at(words: list[str], index: int) -> str:
    return words[index] if index < len(words) else ""


def _verb(request: HttpRequest, verb: str, name: str, *, watch: bool) -> str:
    if watch:
        return "watch"
    if verb == "get" and not name:
        asked = request.query.get("watch", ["0"])[0]
        return "list" if asked in ("0", "false", "") else "watch"
    if verb == "delete" and not name:
        return "deletecollection"
    return verb
