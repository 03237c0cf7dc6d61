"""The simulator's objects on another API server: the same small door as the lab's own store.

What others wrote is looked for by lists, right before time passes (`look`), and not by watches: virtual time may jump
half an hour in the moment that an event takes to arrive, and the mesh would hear of a write long after it was made.

Two things of a server cannot be had from outside, and are handled here: its stamps (an object's creation lies in the
simulator's time, as the scenario says, while the server and its clients see the real time of writing; objects whose
order of age means something are written in that order, a second apart), and controllers, of which none are needed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from datetime import datetime

from rollout.errors import ClusterError
from rollout.lab.api.kinds import Kinds, Resource
from rollout.lab.api.objects import namespace_of, stamp
from rollout.lab.api.status import ApiError, Json
from rollout.lab.api.store import Admission, Mutation
from rollout.lab.remote import policies, served, tidy
from rollout.lab.remote.connection import NO_ANSWER, Remote
from rollout.lab.remote.paths import path_of

Key = tuple[str, str]
Name = tuple[str, str]
Heard = tuple[str, Json]
Told = list[Heard]
Listed = list[Json]

FOLLOWED = frozenset(
    ("ConfigMap", "CronJob", "Deployment", "DestinationRule", "Job", "MutatingWebhookConfiguration", "Namespace",
     "PeerAuthentication", "Pod", "ReplicaSet", "Service", "StatefulSet", "ValidatingWebhookConfiguration")
)  # fmt: skip
"""The kinds that the simulator reads, and so hears of."""
_HOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_MERGE = "application/merge-patch+json"
_PAGE = "500"


class RemoteStore:
    """All objects of a cluster, as `Cluster` has them.

    Args:
        remote: the server; it must be empty, and is emptied by `leave`.
        now: the virtual time.
        kinds: what the scenario's cluster serves.
        follow: further kinds whose changes are to be heard.
        sleep: of real time.

    Attributes:
        trouble: why the last look saw nothing, '' when it did.

    Raises:
        UsageError: the server is in use, or does not serve the kinds.
        ApiError: it refuses what is needed.
    """

    def __init__(
        self,
        remote: Remote,
        now: Callable[[], datetime],
        kinds: Kinds | None = None,
        *,
        follow: Iterable[str] = (),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Begin on the empty server."""
        tidy.refuse_unless_empty(remote)
        self.remote, self.now, self.kinds = remote, now, kinds or Kinds()
        served.serve(remote, self.kinds, sleep=sleep)
        self.mutating: list[Mutation] = []  # nor is the injector asked there
        self.admission: list[Admission] = []  # never asked: the server does not know the simulated network
        self.trouble = ""
        self._sleep = sleep
        wanted = FOLLOWED | set(follow)
        self._followed = [r for r in self.kinds.resources if r.kind in wanted and "list" in r.verbs]
        self._known: dict[Key, dict[Name, Json]] = {resource.key: {} for resource in self._followed}
        self._born: dict[str, str] = {}
        self._last: dict[Key, tuple[str, str]] = {}
        self._cluster_wide: list[tuple[Resource, str]] = []
        self._policies = 0
        self._subscribers: list[Callable[[str, Json], None]] = []
        self._lock = threading.RLock()
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="lab-look")
        self.look()

    def create(self, obj: Json, *, created: datetime | None = None, manager: str = "kubectl") -> Json:
        """Create an object and its status; `created` is when the simulator takes it to have been made.

        Raises:
            ApiError: the server refuses it.
        """
        resource = self.kinds.of_object(obj)
        version = str(obj["apiVersion"]).rpartition("/")[2]
        namespace = resource.within(str(obj["metadata"].get("namespace") or "default"))
        document, status = _for_creation(resource, obj)
        born = stamp(created or self.now())
        with self._lock:
            made = self._created(path_of(resource, namespace, version=version), document, manager, resource, born)
            self._born[made["metadata"]["uid"]] = born
            if not resource.namespaced:
                self._cluster_wide.append((resource, made["metadata"]["name"]))
            if status:
                name = made["metadata"]["name"]
                made = self._merged(resource, namespace, name, {"status": status}, "status", manager)
            return deepcopy(self._take(resource, made))

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Json | None:
        """A copy of an object, or None; of a followed kind as it was at the last look."""
        resource = self.kinds.of(api_version, kind)
        namespace = resource.within(namespace)
        if resource.key in self._known:
            with self._lock:
                return deepcopy(self._known[resource.key].get((namespace, name)))
        try:
            return self._dated(resource, self.remote.ask("GET", path_of(resource, namespace, name)))
        except ApiError as error:
            if error.code != 404:
                raise
            return None

    def list(self, api_version: str, kind: str, namespace: str = "") -> Listed:
        """All objects of a kind; of a followed one as they were at the last look, not to be changed."""
        resource = self.kinds.of(api_version, kind)
        if resource.key in self._known:
            with self._lock:
                known = self._known[resource.key]
                return [known[name] for name in sorted(known) if not namespace or name[0] == namespace]
        return [self._dated(resource, item) for item in self._items(resource, namespace)]

    def patch(
        self,
        api_version: str,
        kind: str,
        name: str,
        change: Json,
        *,
        namespace: str = "",
        manager: str = "kubectl",
        subresource: str = "",
    ) -> Json:
        """Merge-patch an object and its status: two requests where both change.

        Raises:
            ApiError: the server refuses it.
        """
        resource = self.kinds.of(api_version, kind)
        namespace = resource.within(namespace)
        apart = "status" in resource.subresources and not subresource
        rest = {key: value for key, value in change.items() if not (apart and key == "status")}
        with self._lock:
            made: Json = {}
            if rest:
                made = self._merged(resource, namespace, name, rest, subresource, manager)
            if apart and "status" in change:
                status = _status_of(resource, change["status"])
                made = self._merged(resource, namespace, name, {"status": status}, "status", manager)
            return deepcopy(self._take(resource, made))

    def delete(self, api_version: str, kind: str, name: str, namespace: str = "") -> None:
        """Take an object away at once, whatever its finalizers say; a namespace with everything in it.

        Raises:
            ApiError: 404.
        """
        resource = self.kinds.of(api_version, kind)
        namespace = resource.within(namespace)
        with self._lock:
            meta = self.remote.ask("GET", path_of(resource, namespace, name))["metadata"]
            if resource.kind == "Namespace":
                tidy.drop_namespace(self.remote, self.kinds, name, self._pool)
                self.look()
                return
            tidy.discard(self.remote, resource, meta)
            if resource.key in self._known:
                self._tell(self._without(resource, (namespace, name)))

    def refuse(self, rule: Json) -> None:
        """Have the server refuse writes of a kind, as a scenario's `refuse` says, from now on.

        Raises:
            ApiError, UsageError: it does not.
        """
        resource = next(r for r in self.kinds.resources if r.kind == rule["kind"])
        self._policies += 1
        policies.enforce(self.remote, resource, rule, f"rollout-lab-{self._policies}", sleep=self._sleep)

    def subscribe(self, callback: Callable[[str, Json], None]) -> None:
        """Call back with ADDED, MODIFIED or DELETED and the object, in the thread that writes or looks."""
        self._subscribers.append(callback)

    def look(self) -> None:
        """Tell of everything that others wrote since the last look, in the order of its revisions.

        A server that does not answer is asked again at the next look, as a watch would be opened again.
        """
        with self._lock:
            try:
                found = [*self._pool.map(self._items, self._followed)]
            except (*NO_ANSWER, ApiError) as error:
                self.trouble = f"{type(error).__name__}: {error}"
                return
            self.trouble = ""
            gone: Told = []
            for resource, items in zip(self._followed, found, strict=True):
                there = {_name(item) for item in items}
                for name in [name for name in self._known[resource.key] if name not in there]:
                    gone += self._without(resource, name)
            self._tell(gone)
            fresh = [(r, item) for r, items in zip(self._followed, found, strict=True) for item in items]
            for resource, item in sorted(fresh, key=lambda pair: _revision(pair[1])):
                self._take(resource, item)

    def leave(self) -> None:
        """Delete everything that is on the server.

        Raises:
            ClusterError: it does not let itself be emptied.
        """
        with self._lock:
            try:
                for number in range(1, self._policies + 1):
                    policies.withdraw(self.remote, f"rollout-lab-{number}")
                tidy.wipe(self.remote, self.kinds, self._cluster_wide, self._pool)
            except (*NO_ANSWER, ApiError) as error:
                said = f"the API server is not emptied: {type(error).__name__}: {error}"
                raise ClusterError(said, where=self.remote.url, next="throw its etcd away") from error
            finally:
                self._pool.shutdown()
                self.remote.close()

    def _created(self, path: str, document: Json, manager: str, resource: Resource, born: str) -> Json:
        """Create, and where age decides which object counts do not let two ages share one second."""
        before, second = self._last.get(resource.key, ("", ""))
        while True:
            made = self.remote.ask("POST", path, document, fieldManager=manager)
            real = str(made["metadata"]["creationTimestamp"])
            if not resource.custom or born == before or real != second:
                self._last[resource.key] = (born, real)
                return made
            meta = made["metadata"]
            tidy.discard(self.remote, resource, meta)
            self._sleep(0.3)

    def _merged(self, resource: Resource, namespace: str, name: str, change: Json, part: str, manager: str) -> Json:
        path = path_of(resource, namespace, name, part)
        return self.remote.ask("PATCH", path, change, media=_MERGE, fieldManager=manager)

    def _items(self, resource: Resource, namespace: str = "") -> Listed:
        """All objects of a kind, page by page; of one that is not served there are none."""
        items: Listed = []
        query = {"limit": _PAGE}
        while True:
            try:
                page = self.remote.ask("GET", path_of(resource, namespace), **query)
            except ApiError as error:
                if error.code == 404:
                    return []
                if error.code != 410:
                    raise
                items, query = [], {"limit": _PAGE}
                continue
            items += page.get("items") or ()
            if not (token := page["metadata"].get("continue")):
                return items
            query = {"limit": _PAGE, "continue": token}

    def _take(self, resource: Resource, obj: Json) -> Json:
        """Know an object as it is now, and tell of it if that is new; returns it as the simulator sees it."""
        shown = self._dated(resource, obj)
        if resource.key not in self._known:
            return shown
        name = _name(shown)
        known = self._known[resource.key].get(name)
        if known is not None and known["metadata"]["uid"] != shown["metadata"]["uid"]:
            self._tell(self._without(resource, name))
            known = None
        if known is not None and _revision(known) >= _revision(shown):
            return known
        self._known[resource.key][name] = shown
        self._tell([("MODIFIED" if known else "ADDED", shown)])
        return shown

    def _without(self, resource: Resource, name: Name) -> Told:
        obj = self._known[resource.key].pop(name, None)
        return [] if obj is None else [("DELETED", obj)]

    def _tell(self, heard: Iterable[Heard]) -> None:
        for event, obj in heard:
            for callback in self._subscribers:
                callback(event, obj)

    def _dated(self, resource: Resource, obj: Json) -> Json:
        """The object as the simulator sees it: complete, and as old as the scenario says."""
        meta = dict(obj["metadata"])
        meta["creationTimestamp"] = self._born.setdefault(meta["uid"], stamp(self.now()))
        return {"apiVersion": resource.api_version(), "kind": resource.kind, **obj, "metadata": meta}


def _for_creation(resource: Resource, obj: Json) -> tuple[Json, Json]:
    """What is sent to create an object, and the status that follows."""
    document = deepcopy(obj)
    for word in ("uid", "resourceVersion", "creationTimestamp"):
        document["metadata"].pop(word, None)
    status = document.pop("status", None) if "status" in resource.subresources else None
    if resource.kind == "Service" and document["spec"].get("clusterIP") != "None":
        document["spec"].pop("clusterIP", None)  # the server knows which are free
    if resource.kind in _HOOKS:
        for hook in document.get("webhooks") or ():
            hook["matchConditions"] = [{"name": "rollout-lab-never", "expression": "false"}]
    return document, _status_of(resource, status or {})


def _status_of(resource: Resource, status: Json) -> Json:
    """What may be written of a status: a pod's class of service is the server's own."""
    return {key: value for key, value in status.items() if not (resource.kind == "Pod" and key == "qosClass")}


def _name(obj: Json) -> Name:
    return (namespace_of(obj), str(obj["metadata"]["name"]))


def _revision(obj: Json) -> int:
    return int(obj["metadata"]["resourceVersion"])
