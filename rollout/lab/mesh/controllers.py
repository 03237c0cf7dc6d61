"""What a cluster's controllers do to Deployments, StatefulSets and CronJobs, as far as a migration sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rollout.lab.api.status import ApiError
from rollout.lab.mesh.catalog import Catalog, milliseconds
from rollout.lab.mesh.cluster import Cluster
from rollout.lab.mesh.cron import next_run
from rollout.lab.mesh.instants import to_moment
from rollout.lab.mesh.pods import Json, make_pod, owner_reference, stamp, succeeded, suffix, template_hash

APPS, BATCH = "apps/v1", "batch/v1"
STARTUP = 12_000
_HISTORY = 3
_REVISION = "deployment.kubernetes.io/revision"

Schedule = Callable[[int, Callable[[int], None]], None]


class Controllers:
    """Deployment, StatefulSet and CronJob controller in one.

    Args:
        store: the API's objects.
        catalog: the same, as the mesh has heard of them.
        schedule: calls back at a time.
        job_fails: whether the calls of a Job's pod are refused, so that it ends as failed.
        version: Istio's, for injected pods.
    """

    def __init__(
        self, store: Cluster, catalog: Catalog, schedule: Schedule, job_fails: Callable[[str, str], bool], version: str
    ) -> None:
        """Look after nothing yet."""
        self._store, self._catalog, self._schedule, self._job_fails = store, catalog, schedule, job_fails
        self.version = version
        self.injector = True
        self.job_takes: dict[tuple[str, str], int] = {}
        self._serial = 0
        self._cron: dict[tuple[str, str], str] = {}

    def changed(self, obj: Mapping[str, Any], before: Mapping[str, Any] | None, now: int) -> None:
        """An object was written: act when its spec changed."""
        same = before is not None and before.get("spec") == obj.get("spec")
        if not same and obj["kind"] in ("Deployment", "StatefulSet"):
            self.reconcile(obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"], now)
        elif not same and obj["kind"] == "CronJob":
            self._arm(obj, now)

    def reconcile(self, kind: str, namespace: str, name: str, now: int) -> None:
        """Bring a workload's pods nearer to its spec."""
        obj = self._catalog.get(kind, namespace, name)
        ns = self._catalog.get("Namespace", "", namespace)
        if obj is None or ns is None:
            return
        owner = self._replica_set(obj, now) if kind == "Deployment" else obj
        hashed = template_hash(obj["spec"]["template"])
        want = int(obj["spec"].get("replicas", 1))
        pods = self._pods_of(kind, namespace, name)
        new = [p for p in pods if self._hash(p) == hashed]
        old = [p for p in pods if self._hash(p) != hashed]
        if kind == "StatefulSet":
            self._stateful(obj, ns, hashed, new=new, old=old, now=now)
        elif len(new) < want:
            for _ in range(1 if old else want - len(new)):
                self._start(obj, owner, ns, f"{owner['metadata']['name']}-{self._tail()}", hashed=hashed, now=now)
        elif all(_ready(p) for p in new):
            for pod in (old or new[want:])[:1]:
                self._store.delete("v1", "Pod", pod["metadata"]["name"], namespace)
            if len(old) + len(new) - want > 1:
                self._schedule(now + 2000, lambda at: self.reconcile(kind, namespace, name, at))
        self.report(kind, namespace, name, now)

    def report(self, kind: str, namespace: str, name: str, now: int) -> None:
        """Write the workload's status."""
        obj = self._store.get(APPS, kind, name, namespace)
        if obj is None:
            return
        hashed = template_hash(obj["spec"]["template"])
        pods = self._pods_of(kind, namespace, name)
        ready = sum(_ready(p) for p in pods)
        status: Json = {
            "observedGeneration": obj["metadata"].get("generation", 1),
            "replicas": len(pods),
            "updatedReplicas": sum(self._hash(p) == hashed for p in pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
        }
        if kind == "Deployment":
            self._report_sets(namespace, name, pods)
            want = int(obj["spec"].get("replicas", 1))
            status["unavailableReplicas"] = max(0, want - ready) or None
            status["conditions"] = [
                {
                    "type": "Available",
                    "status": "True" if ready >= want else "False",
                    "reason": "MinimumReplicasAvailable" if ready >= want else "MinimumReplicasUnavailable",
                    "lastTransitionTime": stamp(now),
                    "lastUpdateTime": stamp(now),
                }
            ]
        old = obj.get("status") or {}
        if any(old.get(k) != v for k, v in status.items() if k != "conditions"):
            self._patch(APPS, kind, name, namespace, {"status": status})

    def ready(self, namespace: str, name: str, now: int) -> None:
        """A pod's readiness changed: its workload's status, and the next step of a rollout, follow."""
        pod = self._catalog.pod(namespace, name)
        if pod is not None and pod.workload_kind in ("Deployment", "StatefulSet"):
            self.reconcile(pod.workload_kind, namespace, pod.workload, now)

    def _stateful(
        self, obj: Mapping[str, Any], ns: Mapping[str, Any], hashed: str, *, new: list[Json], old: list[Json], now: int
    ) -> None:
        name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
        want = int(obj["spec"].get("replicas", 1))
        names = {p["metadata"]["name"] for p in [*new, *old]}
        missing = [f"{name}-{i}" for i in range(want) if f"{name}-{i}" not in names]
        if missing:
            for pod in missing if self._young(obj, now) else missing[:1]:
                self._start(obj, obj, ns, pod, hashed=hashed, now=now)
        elif all(_ready(p) for p in new) and (old or len(new) > want):
            last = max(old or new, key=lambda p: int(p["metadata"]["name"].rpartition("-")[2]))
            self._store.delete("v1", "Pod", last["metadata"]["name"], namespace)
            self._schedule(now + 2000, lambda at: self.reconcile("StatefulSet", namespace, name, at))

    def _start(
        self,
        obj: Mapping[str, Any],
        owner: Mapping[str, Any],
        ns: Mapping[str, Any],
        name: str,
        *,
        hashed: str,
        now: int,
    ) -> None:
        # what was created in the past has long started; what a person creates now takes its time
        old = self._young(obj, now)
        created = milliseconds(obj["metadata"]["creationTimestamp"]) if old else now
        label = "pod-template-hash" if obj["kind"] == "Deployment" else "controller-revision-hash"
        pod = make_pod(
            name, owner, obj["spec"]["template"], ns, workload=(obj["kind"], obj["metadata"]["name"]),
            version=self.version, labels={label: hashed}, created=created, ready=old, injector=self.injector,
        )  # fmt: skip
        self._store.create(pod, created=to_moment(created), manager="kube-controller-manager")

    def _young(self, obj: Mapping[str, Any], now: int) -> bool:
        """Whether this is the first sight of a workload from before the lab's time."""
        first = (obj.get("status") or {}).get("observedGeneration") is None
        return first and milliseconds(obj["metadata"]["creationTimestamp"]) < now - STARTUP

    def _replica_set(self, obj: Mapping[str, Any], now: int) -> Mapping[str, Any]:
        hashed = template_hash(obj["spec"]["template"])
        name, namespace = f"{obj['metadata']['name']}-{hashed}", obj["metadata"]["namespace"]
        found = self._store.get(APPS, "ReplicaSet", name, namespace)
        if found is not None:
            return found
        labels = {**(obj["spec"]["template"]["metadata"].get("labels") or {}), "pod-template-hash": hashed}
        created = milliseconds(obj["metadata"]["creationTimestamp"]) if self._young(obj, now) else now
        revision = {_REVISION: str(1 + len(self._sets_of(namespace, obj["metadata"]["name"])))}
        self._patch(APPS, "Deployment", obj["metadata"]["name"], namespace, {"metadata": {"annotations": revision}})
        replica_set = {
            "apiVersion": APPS,
            "kind": "ReplicaSet",
            "metadata": {
                "name": name, "namespace": namespace, "labels": labels, "annotations": revision,
                "ownerReferences": [owner_reference(obj)],
            },
            "spec": {
                "replicas": obj["spec"].get("replicas", 1),
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {**obj["spec"]["template"]["metadata"], "labels": labels},
                    "spec": obj["spec"]["template"]["spec"],
                },
            },
        }  # fmt: skip
        return self._store.create(replica_set, created=to_moment(created), manager="kube-controller-manager")

    def _arm(self, cron: Mapping[str, Any], now: int) -> None:
        key = (cron["metadata"]["namespace"], cron["metadata"]["name"])
        schedule = str(cron["spec"]["schedule"])
        if self._cron.get(key) == schedule or cron["spec"].get("suspend"):
            return
        self._cron[key] = schedule
        self._schedule(next_run(schedule, now), lambda at: self._run(key, schedule, at))

    def _run(self, key: tuple[str, str], schedule: str, now: int) -> None:
        cron = self._catalog.get("CronJob", *key)
        if cron is None or cron["spec"].get("suspend") or str(cron["spec"]["schedule"]) != schedule:
            return
        self._schedule(next_run(schedule, now), lambda at: self._run(key, schedule, at))
        namespace, name = key
        ns = self._catalog.get("Namespace", "", namespace)
        if ns is None:
            return
        job_name = f"{name}-{now // 60_000}"
        template = cron["spec"]["jobTemplate"]["spec"]["template"]
        labels = {"batch.kubernetes.io/job-name": job_name, "job-name": job_name}
        job = self._store.create(
            {
                "apiVersion": BATCH,
                "kind": "Job",
                "metadata": {"name": job_name, "namespace": namespace, "ownerReferences": [owner_reference(cron)]},
                "spec": {**cron["spec"]["jobTemplate"]["spec"], "completions": 1, "parallelism": 1},
                "status": {"active": 1, "startTime": stamp(now)},
            },
            created=to_moment(now),
            manager="kube-controller-manager",
        )
        pod = make_pod(
            f"{job_name}-{self._tail()}", job, template, ns, workload=("CronJob", name), version=self.version,
            labels=labels, created=now, ready=True, injector=self.injector,
        )  # fmt: skip
        made = self._store.create(pod, created=to_moment(now), manager="kube-controller-manager")
        pod_name = made["metadata"]["name"]
        self._patch(BATCH, "CronJob", name, namespace, {"status": {"lastScheduleTime": stamp(now)}})
        done = now + self.job_takes.get(key, 180_000)
        self._schedule(done, lambda at: self._end(namespace, name, job_name, pod_name, at))

    def _end(self, namespace: str, cron: str, job: str, pod: str, now: int) -> None:
        stored = self._store.get("v1", "Pod", pod, namespace)
        if stored is None:
            return
        failed = self._job_fails(namespace, pod)
        status = succeeded(stored, now, failed=failed)
        self._store.patch("v1", "Pod", pod, {"status": status}, namespace=namespace, manager="kubelet")
        ends = ("FailureTarget", "Failed") if failed else ("SuccessCriteriaMet", "Complete")  # a server wants both
        met = [{"type": kind, "status": "True", "lastTransitionTime": stamp(now)} for kind in ends]
        result: Json = {"active": None, "conditions": met, ("failed" if failed else "succeeded"): 1}
        if not failed:
            result["completionTime"] = stamp(now)
        self._patch(BATCH, "Job", job, namespace, {"status": result})
        if not failed:
            self._patch(BATCH, "CronJob", cron, namespace, {"status": {"lastSuccessfulTime": stamp(now)}})
        self._forget_old(namespace, cron)

    def _forget_old(self, namespace: str, cron: str) -> None:
        jobs = [
            j
            for j in self._catalog.objects("Job")
            if j["metadata"]["namespace"] == namespace and _owned(j, "CronJob", cron)
        ]
        for job in sorted(jobs, key=lambda j: str(j["metadata"]["creationTimestamp"]))[:-_HISTORY]:
            name = job["metadata"]["name"]
            for pod in self._catalog.objects("Pod"):
                if pod["metadata"]["namespace"] == namespace and _owned(pod, "Job", name):
                    self._discard("v1", "Pod", pod["metadata"]["name"], namespace)
            self._discard(BATCH, "Job", name, namespace)

    def _patch(self, version: str, kind: str, name: str, namespace: str, change: Json) -> None:
        with _unless_gone():
            self._store.patch(version, kind, name, change, namespace=namespace, manager="kube-controller-manager")

    def _discard(self, version: str, kind: str, name: str, namespace: str) -> None:
        with _unless_gone():
            self._store.delete(version, kind, name, namespace)

    def _pods_of(self, kind: str, namespace: str, name: str) -> list[Json]:
        pods = self._store.list("v1", "Pod", namespace)
        if kind == "StatefulSet":
            return [p for p in pods if _owned(p, kind, name)]
        sets = {r["metadata"]["name"] for r in self._sets_of(namespace, name)}
        return [p for p in pods if any(_owned(p, "ReplicaSet", s) for s in sets)]

    def _sets_of(self, namespace: str, deployment: str) -> list[Json]:
        found = self._store.list(APPS, "ReplicaSet", namespace)
        return [r for r in found if _owned(r, "Deployment", deployment)]

    def _report_sets(self, namespace: str, deployment: str, pods: list[Json]) -> None:
        for replica_set in self._sets_of(namespace, deployment):
            name = replica_set["metadata"]["name"]
            own = [p for p in pods if _owned(p, "ReplicaSet", name)]
            ready = sum(_ready(p) for p in own)
            status = {"replicas": len(own), "readyReplicas": ready, "availableReplicas": ready}
            old = replica_set.get("status") or {}
            if any(old.get(key) != value for key, value in status.items()):
                change = {"spec": {"replicas": len(own)}, "status": status}
                self._patch(APPS, "ReplicaSet", name, namespace, change)

    def _hash(self, pod: Mapping[str, Any]) -> str:
        labels = pod["metadata"].get("labels") or {}
        return str(labels.get("pod-template-hash") or labels.get("controller-revision-hash") or "")

    def _tail(self) -> str:
        self._serial += 1
        return suffix(f"pod {self._serial}")


@contextmanager
def _unless_gone() -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        if error.code != 404:  # somebody else was quicker
            raise


def _owned(obj: Mapping[str, Any], kind: str, name: str) -> bool:
    owners = obj["metadata"].get("ownerReferences") or ()
    return any(o["kind"] == kind and o["name"] == name for o in owners)


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
