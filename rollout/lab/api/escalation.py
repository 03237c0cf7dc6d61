"""Nobody gives rights that he does not have: what RBAC asks when a role or a binding is written.

After the API server's RBAC registry: `escalate` on the role, or `bind` on the role that is bound, lets it pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from rollout.lab.api.kinds import Resource
from rollout.lab.api.rbac import Attributes, Authorizer, User, covers
from rollout.lab.api.status import ApiError, Json, details, not_found, qualified

_RBAC = "rbac.authorization.k8s.io"
_ROLES = {"Role": "roles", "ClusterRole": "clusterroles"}


def confirmed(
    authorizer: Authorizer, user: User, resource: Resource, namespace: str, make: Callable[[Json], Json]
) -> Callable[[Json], Json]:
    """The same change of an object, refused where what it makes gives too much."""

    def made(old: Json) -> Json:
        new = make(old)
        confirm(authorizer, user, resource, namespace, new)
        return new

    return made


def confirm(authorizer: Authorizer, user: User, resource: Resource, namespace: str, document: Json) -> None:
    """Refuse a role with rights, or a binding of a role with rights, that the user lacks.

    Raises:
        ApiError: 403; 404 for a binding of a role that is not there, unless the user may bind anything.
    """
    if resource.group != _RBAC:
        return
    name = str((document.get("metadata") or {}).get("name") or "")
    if resource.kind in _ROLES:
        asked = Attributes("escalate", _RBAC, resource.plural, namespace=namespace, name=name)
        granted: list[Json] = document.get("rules") or []
    else:
        ref = document.get("roleRef") or {}
        plural = _ROLES.get(str(ref.get("kind")), "")
        asked = Attributes("bind", _RBAC, plural, namespace=namespace, name=str(ref.get("name") or ""))
        granted = [] if authorizer.allows(user, asked)[0] else _bound(authorizer, asked, ref)
    if authorizer.allows(user, asked)[0]:
        return
    held = [rule for rule, _ in authorizer.rules(user, namespace)]
    missing = [single for single in _singles(granted) if not any(covers(rule, single) for rule in held)]
    if missing:
        raise _refused(user, resource, name, missing)


def _bound(authorizer: Authorizer, asked: Attributes, ref: Json) -> list[Json]:
    rules = authorizer.role(asked.namespace, ref)
    if rules is None:
        raise not_found(asked.resource, _RBAC, asked.name)
    return rules


def _singles(rules: list[Json]) -> Iterator[Attributes]:
    """Each verb on each resource of each group, under each name."""
    for rule in rules:
        for verb in rule.get("verbs") or []:
            for path in rule.get("nonResourceURLs") or []:
                yield Attributes(verb, path=path)
            for group in rule.get("apiGroups") or []:
                for full in rule.get("resources") or []:
                    plural, _, sub = full.partition("/")
                    for name in rule.get("resourceNames") or [""]:
                        yield Attributes(verb, group, plural, sub, name=name)


def _refused(user: User, resource: Resource, name: str, missing: list[Attributes]) -> ApiError:
    verbs: dict[tuple[str, str, str, str], list[str]] = {}
    for single in missing:
        verbs.setdefault((single.group, single.full, single.name, single.path), []).append(single.verb)
    lines = sorted(_compact(*key, found) for key, found in verbs.items())
    groups = _quoted(user.groups)
    text = (
        f'{qualified(resource.plural, resource.group)} "{name}" is forbidden: user "{user.name}" (groups={groups}) is '
        "attempting to grant RBAC permissions not currently held:\n" + "\n".join(lines)
    )
    return ApiError(403, "Forbidden", text, details(name, resource.group, resource.plural))


def _compact(group: str, full: str, name: str, path: str, verbs: list[str]) -> str:
    if path:
        return f"{{NonResourceURLs:{_quoted([path])}, Verbs:{_quoted(verbs)}}}"
    names = f", ResourceNames:{_quoted([name])}" if name else ""
    return f"{{APIGroups:{_quoted([group])}, Resources:{_quoted([full])}{names}, Verbs:{_quoted(verbs)}}}"


def _quoted(words: Any) -> str:
    """A list of strings as Go prints it."""
    return "[" + " ".join(f'"{word}"' for word in words) + "]"
