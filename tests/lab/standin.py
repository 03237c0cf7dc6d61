"""A server of the lab in the place of a kube-apiserver: real time, no controllers, tokens, admission policies."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from rollout.lab.api import ADMIN, AdmissionRequest, Api, ApiError, Kinds, Store, User
from rollout.lab.api.discovery import Discovery
from rollout.lab.api.http import HttpAnswer, HttpRequest, json_answer
from rollout.lab.api.kinds import CORE
from rollout.lab.clock import VirtualClock
from rollout.lab.mesh.outside import refuse
from rollout.lab.remote.policies import RULE
from rollout.lab.server import LabServer

Json = dict[str, Any]
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"


class StandInApi(Api):
    """The lab's API, with what only a whole server has as far as the simulator needs it.

    Kinds of CustomResourceDefinitions are served while there is one, in the versions that it serves. Of an admission
    policy the rule is read from its annotation; its CEL is not evaluated here (`test_remote_parts.py` holds the text).
    """

    slow = 2
    """How many writes slip through before a policy is in force, as on a real server."""

    def __init__(self, store: Store, *, tokens: Mapping[str, User], address: str) -> None:
        super().__init__(store, tokens=tokens, address=address)
        self.policies: dict[str, Json] = {}
        self.bound: dict[str, int] = {}
        self.store.admission.append(self._decide)

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Policies and bindings; everything else as the lab does it."""
        name = request.path.rpartition("/")[2]
        match request.method, request.path:
            case "POST", path if path == POLICIES and RULE.encode() in request.body:
                document = json.loads(request.body)
                self.policies[document["metadata"]["name"]] = document
                return json_answer(201, document)
            case "POST", path if path == BINDINGS and json.loads(request.body)["spec"]["policyName"] in self.policies:
                document = json.loads(request.body)
                self.bound[document["spec"]["policyName"]] = self.slow
                return json_answer(201, document)
            case "DELETE", path if path.startswith((f"{POLICIES}/", f"{BINDINGS}/")) and name in self.policies:
                (self.policies if path.startswith(f"{POLICIES}/") else self.bound).pop(name)
                return json_answer(200, {"kind": "Status", "status": "Success"})
            case method, path:
                answer = super().answer(request)
                if method != "GET" and path.startswith(CRDS) and answer.status < 300:
                    self._serve_defined()
                return answer

    def _serve_defined(self) -> None:
        """Serve what the definitions say, and nothing else of custom kinds."""
        defined = {
            (crd["spec"]["group"], crd["spec"]["names"]["plural"]): {
                version["name"] for version in crd["spec"]["versions"] if version["served"]
            }
            for crd in self.store.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        }
        served = []
        for each in Kinds().resources:
            versions = tuple(v for v in each.versions if not each.custom or v in defined.get(each.key, ()))
            served += [replace(each, versions=versions)] if versions else []
        self.store.kinds = Kinds(served)
        self.discovery = Discovery(self.store.kinds, self.discovery.address)

    def _decide(self, request: AdmissionRequest) -> ApiError | None:
        for name, policy in self.policies.items():
            if name not in self.bound:
                continue
            rules = _Rules()
            rule = json.loads(policy["metadata"]["annotations"][RULE])
            refuse(rules, rule)
            if rules.admission[0](request) is None:
                continue
            if self.bound[name] == 0:
                return _refusal(request, name, rule["message"])
            self.bound[name] -= 1
        return None


class _Rules:
    def __init__(self) -> None:
        self.admission: list[Any] = []


def _refusal(request: AdmissionRequest, policy: str, message: str) -> ApiError:
    """As recorded (contract, webhooks, policy-denies)."""
    resource = request.resource
    said = f"ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: {message}"
    details = {"name": request.name, "group": resource.group, "kind": resource.plural, "causes": [{"message": said}]}
    text = f'{resource.plural}.{resource.group} "{request.name}" is forbidden: {said}'
    return ApiError(422, "Invalid", text, details)


class StandIn:
    """A running stand-in; use it as a context manager.

    Args:
        users: who has a token beside the administrator.
        more: further users by token.
        port: 0 for a free one.
    """

    def __init__(self, users: Iterable[str] = (), *, more: Mapping[str, User] | None = None, port: int = 0) -> None:
        self.users = [user for user in users if user]
        clock = VirtualClock(datetime.now(UTC))
        self.store = Store(clock.now, Kinds(CORE), namespace_controller=False)
        tokens = {f"{user}-token": User(user, ("system:authenticated",)) for user in self.users}
        tokens |= {"admin-token": ADMIN, **(more or {})}
        self.server = LabServer(self.store, clock, tokens=tokens, port=port)
        self.api = StandInApi(self.store, tokens=tokens, address=f"127.0.0.1:{self.server.port}")
        self.api.closed = self.server.stopping.is_set
        self.server._api = self.api

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.stop()
        assert [] == self.server.failures

    def objects(self) -> list[tuple[str, str, str]]:
        """Kind, namespace and name of everything that it holds but definitions of kinds."""
        return sorted(
            (resource.kind, *name)
            for resource in self.store.kinds.resources
            if resource.kind != "CustomResourceDefinition"
            for name in self.store.storage._objects.get(resource.key, {})
        )

    def kubeconfig(self, folder: Path) -> Path:
        """A file with the administrator as the current user, and each other user."""
        path = folder / "standin.kubeconfig"
        path.write_text(kubeconfig(self.server.url, self.users), encoding="utf-8")
        return path


def kubeconfig(url: str, users: Iterable[str], **cluster: str) -> str:
    """A kubeconfig with a token for each of these users, and for the administrator."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, **cluster}}],
        "users": [{"name": user, "user": {"token": f"{user}-token"}} for user in ("admin", *users)],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }
    return json.dumps(document)
