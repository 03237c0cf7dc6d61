"""What a Service reaches, and to which workload a pod belongs."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from rollout.mesh.services import Backends, host, reaching, selected, selects, target_ports
from rollout.mesh.workloads import patch_template, restart, workload
from rollout.model.kubernetes import Pod, Ref, Service, ServicePort

MakePod = Callable[..., Pod]
MakeService = Callable[..., Service]


def test_a_service_selects_live_pods_of_its_namespace(pod: MakePod, service: MakeService) -> None:
    """By all its labels."""
    mine, done = pod("a"), pod("b", phase="Failed")
    pods = (mine, done, pod("c", namespace="other"), pod("d", labels={"app": "web"}))
    assert selected(service(), pods) == (mine,)
    assert Backends(pods).of(service()) == (mine,)
    assert Backends(pods).of(service(selector={"app": "orders", "tier": "x"})) == ()
    assert Backends(pods).of(service(selector={})) == ()


def test_without_a_selector_or_with_an_external_name_it_selects_nothing(pod: MakePod, service: MakeService) -> None:
    """Their endpoints are somebody else's."""
    assert not selects(service(selector={}), pod())
    assert not selects(service(type="ExternalName"), pod())


@pytest.mark.parametrize(
    ("target", "expected"),
    [(None, 80), (0, 80), ("", 80), (8080, 8080), ("8080", 8080), ("http", 8080), ("native", 7000), ("gone", None)],
)
def test_target_ports_are_numbers_names_or_the_port_itself(
    pod: MakePod, target: int | str | None, expected: int | None
) -> None:
    """Names are looked up on the pod, native sidecars included."""
    made = pod(init=[{"name": "n", "ports": [{"containerPort": 7000, "name": "native"}]}])
    assert target_ports(ServicePort(port=80, target_port=target), made) == expected


def test_a_name_of_another_protocol_is_another_port(pod: MakePod) -> None:
    """A UDP port of the same name does not count."""
    assert target_ports(ServicePort(port=80, target_port="http", protocol="UDP"), pod()) is None


def test_reaching_names_the_services_that_lead_to_a_port(pod: MakePod, service: MakeService) -> None:
    """And which of their ports does."""
    both = service([{"port": 80, "targetPort": "http"}, {"port": 90, "targetPort": 9090}])
    other = service(selector={"app": "web"})
    assert [(s.name, p.port) for s, p in reaching((both, other), pod(), 8080)] == [("orders", 80)]


def test_the_host_is_the_full_name(service: MakeService) -> None:
    """As Istio and the metrics write it."""
    assert host(service()) == "orders.production.svc.cluster.local"


@pytest.mark.parametrize(
    ("owner", "labels", "kind", "name"),
    [
        (None, {}, "Pod", "orders-1"),
        (("ReplicaSet", "orders-6c5b"), {"pod-template-hash": "6c5b"}, "Deployment", "orders"),
        (("ReplicaSet", "orders-6c5b"), {"rollouts-pod-template-hash": "6c5b"}, "Rollout", "orders"),
        (("ReplicaSet", "orders-6c5b"), {}, "ReplicaSet", "orders-6c5b"),
        (("ReplicaSet", "orders"), {"pod-template-hash": "6c5b"}, "ReplicaSet", "orders"),
        (("ReplicationController", "orders-3"), {"deploymentconfig": "orders"}, "DeploymentConfig", "orders"),
        (("ReplicationController", "orders"), {}, "ReplicationController", "orders"),
        (("Job", "report-29012345"), {}, "CronJob", "report"),
        (("Job", "migrate-1"), {}, "Job", "migrate-1"),
        (("StatefulSet", "db"), {}, "StatefulSet", "db"),
    ],
)
def test_a_pod_belongs_to_what_istio_calls_its_workload(
    pod: MakePod, owner: tuple[str, str] | None, labels: dict[str, str], kind: str, name: str
) -> None:
    """So that it can be found in the metrics."""
    assert workload(pod(owner=owner, labels=labels)) == Ref(kind, "production", name)


def test_an_owner_that_does_not_control_is_no_workload(pod: MakePod) -> None:
    """Somebody else's reference."""
    made = pod(metadata={"ownerReferences": [{"kind": "Thing", "name": "x", "controller": False}]})
    assert workload(made) == made.ref


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("Deployment", "kubectl rollout restart deployment/a -n n"),
        ("Rollout", "kubectl argo rollouts restart a -n n"),
        ("DeploymentConfig", "oc rollout latest dc/a -n n"),
        ("CronJob", "kubectl create job a-again --from=cronjob/a -n n"),
        ("Pod", "kubectl get pod a -n n -o yaml | kubectl replace --force -f -"),
        ("Job", "delete the pods of job/a -n n, so that it makes them anew"),
    ],
)
def test_restart_is_the_kinds_own_command(kind: str, command: str) -> None:
    """Where there is one."""
    assert restart(Ref(kind, "n", "a")) == command


def test_a_template_is_patched_where_it_stands() -> None:
    """A CronJob's is deeper; None removes the key."""
    command, body = patch_template(Ref("Deployment", "n", "a"), "labels", "k", None).split(" -p ")
    assert command == "kubectl patch deployment a -n n --type merge"
    assert json.loads(body.strip("'")) == {"spec": {"template": {"metadata": {"labels": {"k": None}}}}}
    command, body = patch_template(Ref("CronJob", "n", "a"), "annotations", "k", "v").split(" -p ")
    assert command == "kubectl patch cronjob a -n n --type merge"
    template = json.loads(body.strip("'"))["spec"]["jobTemplate"]["spec"]["template"]
    assert template == {"metadata": {"annotations": {"k": "v"}}}


def test_a_bare_pod_is_changed_and_made_anew() -> None:
    """What it was created with is what a copy of it is created with."""
    ref = Ref("Pod", "n", "a")
    anew = "kubectl get pod a -n n -o yaml | kubectl replace --force -f -"
    assert f"kubectl label pod a -n n k- && {anew}" == patch_template(ref, "labels", "k", None)
    assert f"kubectl annotate pod a -n n k=v --overwrite && {anew}" == patch_template(ref, "annotations", "k", "v")
    assert "annotate pod a -n n 'k=[1, 2]' --overwrite" in patch_template(ref, "annotations", "k", "[1, 2]")


@pytest.mark.parametrize("kind", ["Job", "StrimziPodSet"])
def test_where_no_patch_is_possible_the_deed_is_said(kind: str) -> None:
    """A Job's template cannot be changed, an operator's kind may have none."""
    ref = Ref(kind, "n", "a")
    without = patch_template(ref, "labels", "k", None)
    assert without == f"make the pods of {ref} anew without the label k in their template"
    assert patch_template(ref, "labels", "k", "v").endswith('anew with the label k: "v" in their template')
