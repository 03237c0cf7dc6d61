"""RBAC's own rule: nobody gives rights that he does not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rollout.lab.api import User

RBAC = "rbac.authorization.k8s.io"
ROLES = f"/apis/{RBAC}/v1/namespaces/default/roles"
BINDINGS = f"/apis/{RBAC}/v1/namespaces/default/rolebindings"
#: What ops may do: write roles and bindings, and read pods, and one Secret.
HELD = [
    {
        "apiGroups": [RBAC],
        "resources": ["roles", "rolebindings", "clusterroles"],
        "verbs": ["create", "patch", "get"],
    },
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["one"], "verbs": ["get"]},
    {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
]


def rule(resource: str, *verbs: str, group: str = "", names: tuple[str, ...] = ()) -> dict[str, Any]:
    """One rule."""
    found: dict[str, Any] = {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
    return {**found, "resourceNames": list(names)} if names else found


def role(*rules: dict[str, Any], name: str = "r", kind: str = "Role") -> dict[str, Any]:
    """One role."""
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": {"name": name}, "rules": list(rules)}


def bind(name: str, kind: str = "Role") -> dict[str, Any]:
    """A binding of a role to somebody."""
    subject = {"kind": "User", "apiGroup": RBAC, "name": "bob"}
    ref = {"apiGroup": RBAC, "kind": kind, "name": name}
    document = {"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": {"name": f"b-{name}"}}
    return {**document, "subjects": [subject], "roleRef": ref}


@pytest.fixture
def ask(make_lab: Callable[..., Any]) -> Callable[..., tuple[int, Any]]:
    """Sends a request as ops, who holds HELD, and more where the test stores it."""
    lab = make_lab(tokens={"t-ops": User("ops", ("devs",))})
    held = role(*HELD, name="held", kind="ClusterRole")
    lab.store.create(held)
    subject = {"kind": "User", "apiGroup": RBAC, "name": "ops"}
    ref = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "held"}
    document = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "held"}}
    lab.store.create({**document, "subjects": [subject], "roleRef": ref})
    lab.store.create(
        {**role(rule("pods", "list"), name="small"), "metadata": {"name": "small", "namespace": "default"}}
    )
    lab.store.create({**role(rule("pods", "delete"), name="big"), "metadata": {"name": "big", "namespace": "default"}})

    def send(method: str, path: str, body: Any, *more: dict[str, Any]) -> tuple[int, Any]:
        if more:
            rules = [*HELD, *more]
            lab.store.patch(f"{RBAC}/v1", "ClusterRole", "held", {"rules": rules})
        answer: tuple[int, Any] = lab(method, path, body, Authorization="Bearer t-ops")
        return answer

    return send


@pytest.mark.parametrize(
    "rules",
    [
        (),
        (rule("pods", "list"),),
        (rule("pods", "get", "list"), rule("secrets", "get", names=("one",))),
        (rule("pods", "list", names=("a", "b")),),
    ],
)
def test_what_is_held_may_be_given(ask: Callable[..., tuple[int, Any]], rules: tuple[dict[str, Any], ...]) -> None:
    """Any part of it."""
    assert 201 == ask("POST", ROLES, role(*rules))[0]


@pytest.mark.parametrize(
    ("rules", "missing"),
    [
        ((rule("pods", "list", "delete"),), '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}'),
        ((rule("pods/log", "get"),), '{APIGroups:[""], Resources:["pods/log"], Verbs:["get"]}'),
        ((rule("pods", "*"),), '{APIGroups:[""], Resources:["pods"], Verbs:["*"]}'),
        ((rule("pods", "get", group="*"),), '{APIGroups:["*"], Resources:["pods"], Verbs:["get"]}'),
        ((rule("secrets", "get"),), '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}'),
        (
            (rule("secrets", "get", names=("one", "two")),),
            '{APIGroups:[""], Resources:["secrets"], ResourceNames:["two"], Verbs:["get"]}',
        ),
        (
            (rule("leases", "get", "patch", group="coordination.k8s.io"), rule("jobs", "list", group="batch")),
            (
                '{APIGroups:["batch"], Resources:["jobs"], Verbs:["list"]}\n'
                '{APIGroups:["coordination.k8s.io"], Resources:["leases"], Verbs:["get" "patch"]}'
            ),
        ),
    ],
)
def test_what_is_not_held_is_named(
    ask: Callable[..., tuple[int, Any]], rules: tuple[dict[str, Any], ...], missing: str
) -> None:
    """All of it, in the server's form."""
    status, said = ask("POST", f"{ROLES}?dryRun=All", role(*rules))
    assert (403, "Forbidden") == (status, said["reason"])
    assert (
        f'roles.{RBAC} "r" is forbidden: user "ops" (groups=["devs" "system:authenticated"]) is attempting to grant '
        f"RBAC permissions not currently held:\n{missing}"
    ) == said["message"]


def test_a_patch_is_asked_as_well(ask: Callable[..., tuple[int, Any]]) -> None:
    """Into a role, and of a role that has more than its writer."""
    assert 403 == ask("PATCH", f"{ROLES}/small", {"rules": [rule("pods", "delete")]})[0]
    assert 403 == ask("PATCH", f"{ROLES}/big", {"metadata": {"labels": {"a": "b"}}})[0]
    assert 200 == ask("PATCH", f"{ROLES}/big", {"rules": [rule("pods", "get")]})[0]


def test_paths_are_rights_too(ask: Callable[..., tuple[int, Any]]) -> None:
    """Of ClusterRoles."""
    path = f"/apis/{RBAC}/v1/clusterroles"
    held = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}
    assert 201 == ask("POST", path, role(held, kind="ClusterRole"))[0]
    status, said = ask("POST", path, role({**held, "nonResourceURLs": ["/logs"]}, name="s", kind="ClusterRole"))
    assert 403 == status
    assert '{NonResourceURLs:["/logs"], Verbs:["get"]}' in said["message"]


def test_a_binding_gives_its_roles_rights(ask: Callable[..., tuple[int, Any]]) -> None:
    """A role that is not there cannot be compared: 404."""
    assert 201 == ask("POST", BINDINGS, bind("small"))[0]
    assert 403 == ask("POST", BINDINGS, bind("big"))[0]
    assert 403 == ask("POST", BINDINGS, bind("cluster-admin", "ClusterRole"))[0]
    status, said = ask("POST", BINDINGS, bind("none"))
    assert (404, f'roles.{RBAC} "none" not found') == (status, said["message"])


def test_escalate_and_bind_let_it_pass(ask: Callable[..., tuple[int, Any]]) -> None:
    """On roles, and on the one role that is bound."""
    assert 201 == ask("POST", ROLES, role(rule("pods", "delete")), rule("roles", "escalate", group=RBAC))[0]
    more = rule("roles", "bind", group=RBAC, names=("big", "none"))
    assert 201 == ask("POST", BINDINGS, bind("big"), more)[0]
    assert 201 == ask("POST", BINDINGS, bind("none"), more)[0]
