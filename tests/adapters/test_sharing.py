"""Pods of one workload share what is equal in them."""

from typing import Any

import msgspec

from rollout.adapters.sharing import Shared
from rollout.model.kubernetes import Pod, Service


def _pod(name: str, **labels: str) -> Pod:
    container: dict[str, Any] = {
        "name": "app",
        "env": [{"name": "URL", "value": "http://orders"}],
        "livenessProbe": {"exec": {"command": ["true"]}},
    }
    body = {
        "metadata": {"name": name, "namespace": "production", "labels": {"app": "orders", **labels}},
        "spec": {"containers": [container], "nodeName": f"node-of-{name}"},
        "status": {"podIP": f"ip-of-{name}"},
    }
    return msgspec.convert(body, Pod)


def test_what_comes_out_is_equal_to_what_went_in() -> None:
    """In every field, in its order, and other kinds are left alone."""
    pods = [_pod("a"), _pod("b"), _pod("c", version="v2")]
    assert pods == Shared().page(pods)
    services = [Service()]
    assert Shared().page(services)[0] is services[0]


def test_replicas_share_containers_and_labels_over_all_pages() -> None:
    """What tells them apart stays their own."""
    shared = Shared()
    (first, other), (second,) = shared.page([_pod("a"), _pod("b", version="v2")]), shared.page([_pod("c")])
    assert first.spec.containers is second.spec.containers
    assert first.spec.containers is other.spec.containers
    assert first.metadata.labels is second.metadata.labels
    assert first.metadata.labels is not other.metadata.labels
    assert [first.spec.node_name, second.status.pod_ip] == ["node-of-a", "ip-of-c"]


def test_a_pod_keeps_no_managed_fields() -> None:
    """They are a third of it, and nobody asks who wrote a pod."""
    body = {"metadata": {"name": "a", "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}]}}
    assert not hasattr(msgspec.convert(body, Pod).metadata, "managed_fields")
