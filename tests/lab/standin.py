"""A server of the lab in the place of a kube-apiserver: real time, no controllers, tokens, admission policies."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from rollout.lab.api import ADMIN, AdmissionRequest, Api, ApiError, Kinds, Store, User
from rollout.lab.api.http import HttpAnswer, HttpRequest, json_answer
from rollout.lab.clock import VirtualClock
from rollout.lab.mesh.outside import refuse
from rollout.lab.remote.policies import RULE
from rollout.lab.server import LabServer

Json = dict[str, Any]
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"


class PolicyApi(Api):
    """The lab's API, and admission policies of the lab's own making: the rule is read from their annotation.

    What the policies' CEL says is not evaluated here: `test_remote_policies.py` holds its text.
    """

    slow = 2
    """How many writes slip through before a policy is in force, as on a real server."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.policies: dict[str, Json] = {}
        self.bound: dict[str, int] = {}
        self.store.admission.append(self._decide)

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Policies and bindings; everything else as the lab does it."""
        name = request.path.rpartition("/")[2]
        match request.method, request.path:
            case "POST", path if path in (POLICIES, BINDINGS):
                document = json.loads(request.body)
                if path == POLICIES:
                    self.policies[document["metadata"]["name"]] = document
                else:
                    self.bound[document["spec"]["policyName"]] = self.slow
                return json_answer(201, document)
            case "DELETE", path if path.startswith((f"{POLICIES}/", f"{BINDINGS}/")):
                (self.policies if path.startswith(f"{POLICIES}/") else self.bound).pop(name)
                return json_answer(200, {"kind": "Status", "status": "Success"})
            case _:
                return super().answer(request)

    def _decide(self, request: AdmissionRequest) -> str | ApiError | None:
        for name, policy in self.policies.items():
            if name not in self.bound or self.bound[name] > 0:
                self.bound = {**self.bound, name: self.bound[name] - 1} if name in self.bound else self.bound
                continue
            rule = json.loads(policy["metadata"]["annotations"][RULE])
            asked = _Rules()
            refuse(asked, rule)
            if asked.admission[0](request) is not None:
                return _refusal(request, name, rule["message"])
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
        kinds: what it serves.
        users: who has a token beside the administrator.
    """

    def __init__(self, kinds: Kinds | None = None, *, users: Iterable[str] = (), port: int = 0) -> None:
        self.users = [user for user in users if user]
        clock = VirtualClock(datetime.now(UTC))
        self.store = Store(clock.now, kinds, namespace_controller=False)
        tokens = {f"{user}-token": User(user, ("system:authenticated",)) for user in self.users}
        tokens |= {"admin-token": ADMIN}
        self.server = LabServer(self.store, clock, tokens=tokens, port=port)
        self.api = PolicyApi(self.store, tokens=tokens, address=f"127.0.0.1:{self.server.port}")
        self.api.closed = self.server.stopping.is_set
        self.server._api = self.api

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.stop()
        assert [] == self.server.failures

    def objects(self) -> list[tuple[str, str, str]]:
        """Kind, namespace and name of everything that it holds."""
        return sorted(
            (resource.kind, *name)
            for resource in self.store.kinds.resources
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
