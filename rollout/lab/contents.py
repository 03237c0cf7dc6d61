"""What stands in a scenario's cluster when its history begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rollout.lab.api.status import ApiError
from rollout.lab.mesh.cluster import Cluster, Json
from rollout.lab.mesh.identity import Identities
from rollout.lab.mesh.instants import to_moment
from rollout.lab.mesh.manifests import Workload, cluster_objects
from rollout.lab.scenario import Scenario

_DAY = 86_400_000
_ISTIOD = Workload(
    name="istiod",
    namespace="istio-system",
    replicas=1,
    sidecar="none",
    ports={"https-dns": 15012, "https-webhook": 443, "http-monitoring": 15014},
    targets={"https-webhook": 15017},
)


def populate(cluster: Cluster, scenario: Scenario, begin: int) -> None:
    """Create namespaces, Istio, the workloads and the manifests, each as old as the scenario says.

    Args:
        cluster: an empty one.
        scenario: what is to be in it.
        begin: when history begins, in milliseconds.

    Raises:
        ApiError: an object is refused.
    """
    old = to_moment(begin - 30 * _DAY)
    namespaces: dict[str, Any] = {"istio-system": {}, scenario.root: {}, **scenario.namespaces}
    for name, value in namespaces.items():
        cluster.create(_namespace(name, value), created=old)
    for obj in cluster_objects(scenario.version, scenario.root, scenario.drain, scenario.access_log):
        cluster.create(obj, created=old, manager="istio-installer")
    for obj in _istiod(scenario.version):
        cluster.create(obj, created=to_moment(begin - _ISTIOD.age))
    for workload in scenario.workloads:
        with _of(f"workload {workload.namespace}/{workload.name}"):
            for obj in workload.objects():
                cluster.create(obj, created=to_moment(begin - workload.age))
    ages = scenario.ages
    made = {i: to_moment(begin - ages[i]) if i in ages else old for i in range(len(scenario.objects))}
    for index in sorted(made, key=made.__getitem__):  # on a real server the first one written is the oldest
        manager = scenario.managers.get(index, "kubectl")
        with _of(f"manifests[{index}]"):
            cluster.create(scenario.objects[index], created=made[index], manager=manager)


@contextmanager
def _of(place: str) -> Iterator[None]:
    """An object that is refused says from which place of the file it is."""
    try:
        yield
    except ApiError as error:
        error.add_note(place)
        raise


def publish_root(cluster: Cluster, identities: Identities) -> None:
    """Put the mesh's root into each namespace of the scenario, as istiod does (istio.md 12).

    Raises:
        ApiError: an object is refused.
    """
    data, labels = {"root-cert.pem": identities.root.pem.decode()}, {"istio.io/config": "true"}
    for namespace in cluster.list("v1", "Namespace"):
        name = namespace["metadata"]["name"]
        meta = {"name": "istio-ca-root-cert", "namespace": name, "labels": labels}
        document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
        if name != "default" and not name.startswith("kube-"):
            cluster.create(document, created=to_moment(identities.begin), manager="pilot-discovery")


def label_late(cluster: Cluster, scenario: Scenario) -> None:
    """Label the namespaces whose pods were there before injection was switched on.

    Raises:
        ApiError: the patch is refused.
    """
    for name, value in scenario.namespaces.items():
        if value.get("injection") == "late":
            change = {"metadata": {"labels": {"istio-injection": "enabled"}}}
            cluster.patch("v1", "Namespace", name, change)


def _istiod(version: str) -> list[Json]:
    objects = _ISTIOD.objects()
    for obj in objects:
        if obj["kind"] == "Deployment":
            container = obj["spec"]["template"]["spec"]["containers"][0]
            container.update(name="discovery", image=f"docker.io/istio/pilot:{version}")
    return objects


def _namespace(name: str, value: Mapping[str, Any]) -> Json:
    labels = {"istio-injection": "enabled"} if value.get("injection") == "enabled" else {}
    meta = {"name": name, "labels": {**labels, **(value.get("labels") or {})}}
    if "annotations" in value:
        meta["annotations"] = dict(value["annotations"])
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}
