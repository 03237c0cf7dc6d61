"""Who asks, and what they may do: bearer tokens, impersonation, and RBAC from the stored roles and bindings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rollout.lab.api.http import HttpRequest
from rollout.lab.api.status import ApiError, Json, details, qualified, unauthorized

if TYPE_CHECKING:
    from rollout.lab.api.store import Store

_RBAC = "rbac.authorization.k8s.io"
_MASTERS = "system:masters"
_READ = ["get"]
_DISCOVERY = [
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
]
_PUBLIC = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
_VIEW = ["get", "list", "watch"]
_EDIT = ["create", "delete", "deletecollection", "patch", "update"]
_WORK = [
    {"apiGroups": [""], "resources": ["configmaps", "endpoints", "pods", "services", "serviceaccounts", "events"]},
    {"apiGroups": ["apps"], "resources": ["daemonsets", "deployments", "replicasets", "statefulsets"]},
    {"apiGroups": ["batch"], "resources": ["cronjobs", "jobs"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]},
    {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses", "networkpolicies"]},
]


@dataclass(frozen=True)
class User:
    """A user as the server sees one."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, list[str]] = field(default_factory=dict)


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
ADMIN = User("admin", (_MASTERS, "system:authenticated"), "admin-uid")


@dataclass(frozen=True)
class Attributes:
    """What is asked for: a verb on a resource, or on a path that is none (`path`)."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full(self) -> str:
        """`pods`, or `pods/status`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def bootstrap_roles() -> dict[str, list[Json]]:
    """The cluster roles that a server has of itself, when nobody stored one of that name."""
    everything = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]
    view = [{**rule, "verbs": _VIEW} for rule in _WORK]
    edit = [{**rule, "verbs": [*_VIEW, *_EDIT]} for rule in _WORK]
    edit.append({"apiGroups": [""], "resources": ["secrets"], "verbs": [*_VIEW, *_EDIT]})
    roles = {"apiGroups": [_RBAC], "resources": ["roles", "rolebindings"], "verbs": [*_VIEW, *_EDIT]}
    return {"cluster-admin": everything, "view": view, "edit": edit, "admin": [*edit, roles]}


_BASIC: list[Json] = [
    {
        "verbs": ["create"],
        "apiGroups": ["authorization.k8s.io"],
        "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
    },
    {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]},
]


class Authorizer:
    """Finds the user of a request and decides.

    Args:
        store: where roles and bindings are.
        tokens: bearer token -> user; None: everybody is admin (and may impersonate).
    """

    def __init__(self, store: Store, tokens: Mapping[str, User] | None = None) -> None:
        """Rest on the stored objects."""
        self.store = store
        self.tokens = tokens

    def user_of(self, request: HttpRequest, asked: Attributes) -> User:
        """Who asks, impersonation included; `asked` is what the request then is about.

        Raises:
            ApiError: 400, 401 or 403.
        """
        user = self._authenticated(request)
        return self._impersonated(request, user, asked)

    def _authenticated(self, request: HttpRequest) -> User:
        scheme, _, token = request.header("authorization").partition(" ")
        if self.tokens is None:
            return ADMIN
        if scheme.lower() != "bearer" or not token.strip():
            return ANONYMOUS
        user = self.tokens.get(token.strip())
        if user is None:
            raise unauthorized()
        if "system:authenticated" in user.groups:
            return user
        return User(user.name, (*user.groups, "system:authenticated"), user.uid, user.extra)

    def _impersonated(self, request: HttpRequest, user: User, asked: Attributes) -> User:
        name = request.header("impersonate-user")
        groups = tuple(request.headers.get("impersonate-group", ()))
        uid = request.header("impersonate-uid")
        prefix = "impersonate-extra-"
        extra = {key.removeprefix(prefix): list(v) for key, v in request.headers.items() if key.startswith(prefix)}
        if not name:
            if groups or uid or extra:
                nosniff = {"X-Content-Type-Options": "nosniff"}
                raise ApiError(400, "BadRequest", _nameless(uid, groups), headers=nosniff)
            return user
        for kind, value in (("users", name), *(("groups", group) for group in groups)):
            if not self.allows(user, Attributes("impersonate", "", kind, name=value))[0]:
                mode = "serviceaccount" if name.startswith("system:serviceaccount:") else "user-info"
                raise forbidden(user, replace(asked, verb=f"impersonate-on:{mode}:{asked.verb}"))
        if name == ANONYMOUS.name:
            return User(name, groups or ANONYMOUS.groups, uid, extra)
        if not groups and name.startswith("system:serviceaccount:"):
            groups = ("system:serviceaccounts", "system:serviceaccounts:" + name.split(":")[2])
        return User(name, (*groups, "system:authenticated"), uid, extra)

    def require(self, user: User, asked: Attributes) -> None:
        """Refuse what RBAC does not allow.

        Raises:
            ApiError: 403.
        """
        if not self.allows(user, asked)[0]:
            raise forbidden(user, asked)

    def allows(self, user: User, asked: Attributes) -> tuple[bool, str]:
        """Whether, and RBAC's reason."""
        if _MASTERS in user.groups:
            return True, ""
        for rule, reason in self.rules(user, asked.namespace):
            if covers(rule, asked):
                return True, reason
        return False, ""

    def rules(self, user: User, namespace: str) -> Iterator[tuple[Json, str]]:
        """Every rule that holds for a user in a namespace ('' for the cluster), with the reason."""
        yield from _own_rules(user)
        for binding in self.store.storage.select((_RBAC, "clusterrolebindings")):
            subject = _subject(binding, user)
            if subject:
                name, role = binding["metadata"]["name"], binding["roleRef"]["name"]
                reason = f'RBAC: allowed by ClusterRoleBinding "{name}" of ClusterRole "{role}" to {subject}'
                yield from ((rule, reason) for rule in self.role("", binding["roleRef"]) or [])
        if not namespace:
            return
        for binding in self.store.storage.select((_RBAC, "rolebindings"), namespace):
            subject = _subject(binding, user)
            if subject:
                name, ref = binding["metadata"]["name"], binding["roleRef"]
                where = f'RoleBinding "{name}/{namespace}" of {ref["kind"]} "{ref["name"]}"'
                reason = f"RBAC: allowed by {where} to {subject}"
                yield from ((rule, reason) for rule in self.role(namespace, ref) or [])

    def role(self, namespace: str, ref: Json) -> list[Json] | None:
        """The rules that a roleRef means; None where there is no such role."""
        if ref["kind"] == "Role":
            found = self.store.storage.get((_RBAC, "roles"), namespace, ref["name"])
        else:
            found = self.store.storage.get((_RBAC, "clusterroles"), "", ref["name"])
            if found is None:
                return bootstrap_roles().get(ref["name"])
        return None if found is None else found.get("rules") or []


def _nameless(uid: str, groups: tuple[str, ...]) -> str:
    words = ", ".join(f'"{group}"' for group in groups)
    shown = f"[]string{{{words}}}" if groups else "[]string(nil)"
    return (
        f'requested &user.DefaultInfo{{Name:"", UID:"{uid}", Groups:{shown}, Extra:map[string][]string(nil)}} without '
        "impersonating a user name"
    )


def _own_rules(user: User) -> Iterator[tuple[Json, str]]:
    def why(name: str, group: str) -> str:
        return f'RBAC: allowed by ClusterRoleBinding "{name}" of ClusterRole "{name}" to Group "{group}"'

    if _MASTERS in user.groups:
        for rule in bootstrap_roles()["cluster-admin"]:
            yield rule, why("cluster-admin", _MASTERS)
    if "system:authenticated" in user.groups:
        for rule in _BASIC:
            yield rule, why("system:basic-user", "system:authenticated")
        yield {"verbs": _READ, "nonResourceURLs": _DISCOVERY}, why("system:discovery", "system:authenticated")
    for group in ("system:authenticated", "system:unauthenticated"):
        if group in user.groups:
            yield {"verbs": _READ, "nonResourceURLs": _PUBLIC}, why("system:public-info-viewer", group)


def _subject(binding: Json, user: User) -> str:
    for subject in binding.get("subjects") or []:
        kind, name = subject.get("kind"), subject.get("name")
        if kind == "User" and name == user.name:
            return f'User "{name}"'
        if kind == "Group" and name in user.groups:
            return f'Group "{name}"'
        if kind == "ServiceAccount":
            namespace = subject.get("namespace") or ""
            if user.name == f"system:serviceaccount:{namespace}:{name}":
                return f'ServiceAccount "{name}/{namespace}"'
    return ""


def covers(rule: Json, asked: Attributes) -> bool:
    """Whether one rule gives this right."""
    verbs = rule.get("verbs") or []
    if "*" not in verbs and asked.verb not in verbs:
        return False
    if asked.path:
        return any(
            url in ("*", asked.path) or (url.endswith("*") and asked.path.startswith(url[:-1]))
            for url in rule.get("nonResourceURLs") or []
        )
    groups, resources = rule.get("apiGroups") or [], rule.get("resources") or []
    if "*" not in groups and asked.group not in groups:
        return False
    star = f"*/{asked.subresource}" if asked.subresource else asked.resource
    if not {"*", asked.full, star} & set(resources):
        return False
    names = rule.get("resourceNames") or []
    return not names or asked.name in names


def forbidden(user: User, asked: Attributes) -> ApiError:
    """403 with the sentence that names user, verb, resource and place."""
    headers = {"X-Content-Type-Options": "nosniff"}
    if asked.path:
        text = f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"'
        return ApiError(403, "Forbidden", text, {}, headers=headers)
    place = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    subject = qualified(asked.resource, asked.group)
    if asked.name:
        subject += f' "{asked.name}"'
    text = (
        f'{subject} is forbidden: User "{user.name}" cannot {asked.verb} resource "{asked.full}" in API group '
        f'"{asked.group}" {place}'
    )
    return ApiError(403, "Forbidden", text, details(asked.name, asked.group, asked.resource), headers=headers)
