"""A scripted HTTP server, and a cluster that is a dict."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from rollout.adapters.journal import ConfigMapJournal
from rollout.adapters.kubernetes import KubernetesCluster, connect
from rollout.errors import Conflict, Exists, NotFound, Rejected, Unreachable
from rollout.model.kubernetes import Object
from rollout.ports import Identity, Right
from tests.adapters.connecting import CORE, kubeconfig
from tests.adapters.journals import started
from tests.loopback import Handler, serving

T = TypeVar("T", bound=Object)


class Seen(msgspec.Struct, frozen=True):
    """A request; the headers' names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Reply(msgspec.Struct, frozen=True):
    """An answer; `body` as it goes out."""

    body: bytes | str | dict[str, Any] = b""
    status: int = 200
    headers: dict[str, str] = {}
    hang_up: bool = False
    wait: threading.Event | None = None


Answer = Reply | Callable[[Seen], Reply]


class Script:
    """Answers by `METHOD /path`, one after the other; the last one stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.seen: list[Seen] = []
        self.url = ""

    def on(self, what: str, *answers: Answer) -> None:
        self.answers[what] = list(answers)

    def reply(self, seen: Seen) -> Reply:
        self.seen.append(seen)
        left = self.answers.get(f"{seen.method} {seen.path}")
        if not left:
            return Reply("404 page not found\n", 404, {"Content-Type": "text/plain"})
        answer = left.pop(0) if len(left) > 1 else left[0]
        return answer(seen) if callable(answer) else answer


class Scripted(Handler):
    """A connection to a script."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    script: Script

    def serve(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.script.reply(Seen(self.command, parts.path, query, headers, self.body()))
        if reply.wait is not None:
            reply.wait.wait(10)
        if reply.hang_up:
            self.close_connection = True
            return
        data = json.dumps(reply.body).encode() if isinstance(reply.body, dict) else reply.body
        data = data.encode() if isinstance(data, str) else data
        self.send(reply.status, data, {"Content-Type": "application/json", **reply.headers})


@pytest.fixture
def script() -> Iterator[Script]:
    """A server on a free port that does what its script says."""
    found = Script()
    with serving(Scripted, script=found) as port:
        found.url = f"http://127.0.0.1:{port}"
        yield found


@pytest.fixture
def slept() -> list[float]:
    """What was slept, without sleeping."""
    return []


@pytest.fixture
def connected(script: Script, tmp_path: Path, slept: list[float]) -> Iterator[KubernetesCluster]:
    """The Kubernetes adapter before the script."""
    script.on("GET /api/v1", Reply(CORE))
    made = connect(kubeconfig(tmp_path, script.url), None, sleep=slept.append, read_timeout=5)
    yield made
    made.close()


@pytest.fixture
def reply() -> type[Reply]:
    """The type of an answer."""
    return Reply


@pytest.fixture
def status() -> Callable[..., Reply]:
    """A Kubernetes Status as an answer."""

    def build(code: int, reason: str = "", message: str = "", **headers: str) -> Reply:
        body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
        return Reply({**body, "code": code}, code, {k.replace("_", "-"): v for k, v in headers.items()})

    return build


class DictCluster:
    """`ports.Cluster` without a server: resourceVersions, conflicts, lost answers, and outages on demand."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.version = 100
        self.down = False
        self.lose_answers = 0
        self.limit = 1_048_576
        self.before_write: list[Callable[[], None]] = []
        self.writes: list[tuple[str, str]] = []

    def identity(self) -> Identity:
        return Identity("test", "https://test")

    def served(self, resource: Any) -> str:
        return str(resource.versions[0])

    def allowed(self, right: Right) -> bool:
        return True

    def list(self, kind: type[T], *, namespace: str = "", selector: str = "") -> tuple[T, ...]:
        self._reach()
        found = [o for (k, ns, _), o in self.objects.items() if k == kind.RESOURCE.kind and namespace in ("", ns)]
        for term in filter(None, selector.split(",")):
            key, _, value = term.partition("=")
            labels = [(o, o["metadata"].get("labels", {})) for o in found]
            found = [o for o, has in labels if key in has and value in ("", has[key])]
        return tuple(msgspec.convert(o, kind) for o in found)

    def get(self, kind: type[T], namespace: str, name: str) -> T:
        self._reach()
        return msgspec.convert(self._raw(kind, namespace, name), kind)

    def create(self, kind: type[T], namespace: str, body: Mapping[str, Any], *, dry_run: bool = False) -> T:
        self._reach()
        key = (kind.RESOURCE.kind, namespace, body["metadata"]["name"])
        if key in self.objects:
            raise Exists(f"{key} already exists")
        self.version += 1
        metadata = {**body["metadata"], "namespace": namespace, "resourceVersion": str(self.version)}
        metadata["uid"] = f"uid-{self.version}"
        metadata["creationTimestamp"] = f"2026-01-01T00:{self.version % 3600 // 60:02d}:{self.version % 60:02d}Z"
        self.objects[key] = json.loads(json.dumps({**body, "metadata": metadata}))
        return self._answer(kind, key)

    def patch(self, kind: type[T], namespace: str, name: str, body: Mapping[str, Any], *, dry_run: bool = False) -> T:
        self._reach()
        if self.before_write:
            self.before_write.pop(0)()
        found = self._raw(kind, namespace, name)
        wanted = body.get("metadata", {}).get("resourceVersion")
        if wanted is not None and wanted != found["metadata"]["resourceVersion"]:
            raise Conflict("the object has been modified")
        key = (kind.RESOURCE.kind, namespace, name)
        if len(json.dumps(merged(found, body))) > self.limit:
            raise Rejected("Too long")
        self.version += 1
        self.objects[key] = merged(found, body)
        self.objects[key]["metadata"]["resourceVersion"] = str(self.version)
        self.writes.append((kind.RESOURCE.kind, name))
        return self._answer(kind, key)

    def delete(self, kind: type[T], namespace: str, name: str, *, uid: str = "", dry_run: bool = False) -> None:
        self._reach()
        found = self._raw(kind, namespace, name)
        assert uid in ("", found["metadata"]["uid"])
        del self.objects[(kind.RESOURCE.kind, namespace, name)]

    def _raw(self, kind: type[Object], namespace: str, name: str) -> dict[str, Any]:
        try:
            return self.objects[(kind.RESOURCE.kind, namespace, name)]
        except KeyError:
            raise NotFound(f"{kind.RESOURCE.name} {name!r} not found") from None

    def _answer(self, kind: type[T], key: tuple[str, str, str]) -> T:
        if self.lose_answers:
            self.lose_answers -= 1
            raise Unreachable("the answer was lost")
        return msgspec.convert(self.objects[key], kind)

    def _reach(self) -> None:
        if self.down:
            raise Unreachable("the API server is away")


def merged(a: dict[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7386."""
    new = dict(a)
    for key, value in b.items():
        if value is None:
            new.pop(key, None)
        elif isinstance(value, Mapping):
            new[key] = merged(new.get(key) or {}, value)
        else:
            new[key] = value
    return new


@pytest.fixture(scope="session")
def new_cluster() -> type[DictCluster]:
    """Makes clusters, one for each history."""
    return DictCluster


@pytest.fixture
def cluster() -> DictCluster:
    """A cluster that is a dict."""
    return DictCluster()


@pytest.fixture
def journal(cluster: Any, tmp_path: Path) -> ConfigMapJournal:
    """A journal with one run that has begun."""
    made = ConfigMapJournal(cluster, tmp_path)
    made.create(started())
    return made
