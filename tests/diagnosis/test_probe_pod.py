"""The probe's own pod: what it takes from the caller, and when nobody waits for it any more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from rollout.adapters.configmap import MANAGED_BY, RUN_ID
from rollout.diagnosis import probe_pod
from rollout.diagnosis.probe_pod import LABELS, LIFE, READY, SELECTOR, SLEEPS, body, cannot, left_over, stuck, unlike
from rollout.model.kubernetes import Pod
from tests.diagnosis.answers import pair
from tests.diagnosis.makers import NOW, pod


def changed(base: Pod, **status: Any) -> Pod:
    """A pod with this in it."""
    return msgspec.convert({**msgspec.to_builtins(base), **status}, Pod)


def made(**case: Any) -> dict[str, Any]:
    """The manifest for a caller."""
    return body(pod("web-1", "shop", **case), pair(), "ab12", "curl:1", "rollout 1, ana@laptop")


def test_what_it_is() -> None:
    """Found by labels, explained by annotations, with no right of its own, and an end."""
    found = made()
    meta, spec = found["metadata"], found["spec"]
    assert ("rollout-probe-ab12", "shop") == (meta["name"], meta["namespace"])
    assert LABELS.items() <= meta["labels"].items()
    assert "ab12" == meta["labels"]["rollout.dev/run-id"]
    assert "ana@laptop" in meta["annotations"]["rollout.dev/made-by"]
    assert "web-1.shop to ledger.payments:80" in meta["annotations"]["rollout.dev/why"]
    assert (LIFE, "Never", False) == (
        spec["activeDeadlineSeconds"], spec["restartPolicy"], spec["automountServiceAccountToken"],
    )  # fmt: skip
    (container,) = spec["containers"]
    assert ("curl:1", ["sleep", str(SLEEPS)]) == (container["image"], container["command"])
    security = container["securityContext"]
    assert (True, False, True) == (
        security["runAsNonRoot"], security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"],
    )  # fmt: skip
    assert ({"drop": ["ALL"]}, {"type": "RuntimeDefault"}) == (security["capabilities"], security["seccompProfile"])
    assert security["runAsUser"] not in (0, 1337)
    assert READY < SLEEPS < LIFE


def test_labels_are_those_of_other_objects_of_ours() -> None:
    """One spelling."""
    assert (MANAGED_BY, RUN_ID) == (probe_pod.MANAGED_BY, probe_pod.RUN_ID)
    assert "app.kubernetes.io/component=diagnose-probe,app.kubernetes.io/managed-by=rollout" == SELECTOR


def test_what_it_takes_from_the_caller() -> None:
    """All that decides on injection, and nothing by which a Service or a Deployment would take it for its own."""
    labels = {"app": "web", "istio.io/rev": "canary", "sidecar.istio.io/inject": "true", "pod-template-hash": "x"}
    annotations = {
        "traffic.sidecar.istio.io/excludeOutboundPorts": "5432",
        "sidecar.istio.io/status": "{}",
        "proxy.istio.io/config": "x",
        "proxy.istio.io/overrides": "y",
        "kubectl.kubernetes.io/restartedAt": "z",
    }
    base = pod("web-1", "shop")
    meta = {**msgspec.to_builtins(base.metadata), "labels": labels, "annotations": annotations}
    found = body(changed(base, metadata=meta), pair(), "ab12", "curl:1", "me")["metadata"]
    mine = {*LABELS, "rollout.dev/run-id"}
    assert {"istio.io/rev": "canary", "sidecar.istio.io/inject": "true"} == {
        key: value for key, value in found["labels"].items() if key not in mine
    }
    assert ["proxy.istio.io/config", "traffic.sidecar.istio.io/excludeOutboundPorts"] == sorted(
        key for key in found["annotations"] if "istio.io" in key
    )


def test_a_caller_without_a_sidecar_gets_a_probe_without_one() -> None:
    """Whatever the namespace says by now."""
    assert "false" == made(sidecar=False)["metadata"]["labels"]["sidecar.istio.io/inject"]
    assert "sidecar.istio.io/inject" not in made()["metadata"]["labels"]


def test_who_cannot_be_stood_for() -> None:
    """A gateway's proxy calls by itself; a pod on the node's network has no network of its own."""
    base = pod("web-1", "shop")
    assert "" == cannot(base)
    spec = {**msgspec.to_builtins(base.spec), "hostNetwork": True}
    assert "on its node's network" in cannot(changed(base, spec=spec))
    router = {"containers": [{"name": "istio-proxy", "args": ["proxy", "router"]}]}
    assert "is a gateway" in cannot(changed(base, spec=router))


def test_how_it_came_out() -> None:
    """What the injector made of it, against what the caller has."""
    with_one, without = pod("a", "shop"), pod("b", "shop", sidecar=False)
    assert ("", "") == (unlike(with_one, with_one), unlike(without, without))
    assert "got no sidecar, and the caller has one" in unlike(with_one, without)
    assert "got a sidecar, and the caller has none" in unlike(without, with_one)


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    """The status of a pod whose container does not run."""
    return {"containerStatuses": [{"name": "probe", "state": {"waiting": {"reason": reason, "message": message}}}]}


UNBOUND = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "full"}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({}, ""),
        (waiting("ContainerCreating"), ""),
        (waiting("ErrImagePull", "no such image"), "container probe: ErrImagePull no such image"),
        ({"conditions": [UNBOUND]}, "Unschedulable full"),
    ],
)
def test_why_it_is_not_ready(status: dict[str, Any], said: str) -> None:
    """In the kubelet's or the scheduler's words."""
    assert said == stuck(changed(pod(), status=status))


@pytest.mark.parametrize(
    ("alive", "age", "phase", "gone"),
    [
        (True, 3600, "Running", False),
        (False, 1, "Running", True),
        (None, 1, "Running", False),
        (None, 1, "Succeeded", True),
        (None, 1, "Failed", True),
        (None, 3600, "Running", True),
    ],
)
def test_what_is_left_over(alive: bool | None, age: int, phase: str, gone: bool) -> None:
    """Of this machine by its process, of another by the pod's own end."""
    born = (NOW - timedelta(seconds=age)).isoformat()
    found = changed(
        pod(), metadata={"name": "x", "namespace": "shop", "creationTimestamp": born}, status={"phase": phase}
    )
    assert gone is left_over(found, NOW, alive=alive)
    dying = {"name": "x", "namespace": "shop", "deletionTimestamp": born}
    assert not left_over(changed(pod(), metadata=dying), NOW, alive=False)
    assert not left_over(changed(pod(), metadata={"name": "x"}, status={"phase": "Running"}), NOW, alive=None)
