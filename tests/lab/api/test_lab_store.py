"""The store's door, its admission, and its record of what clients wrote."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from rollout.lab.api import AdmissionRequest, ApiError, Kinds, Store, denied, failing

NOW = datetime(2027, 3, 4, 5, 6, 7, tzinfo=UTC)
PA = "/apis/security.istio.io/v1/namespaces/default/peerauthentications"
V1 = "security.istio.io/v1"


def policy(mode: str = "PERMISSIVE", name: str = "default") -> dict[str, Any]:
    """A namespace's PeerAuthentication."""
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": V1, "kind": "PeerAuthentication", "metadata": meta, "spec": {"mtls": {"mode": mode}}}


@pytest.fixture
def store() -> Store:
    """A store at a fixed time."""
    return Store(lambda: NOW)


def test_a_seeded_object_has_what_a_servers_object_has(store: Store) -> None:
    """uid, resourceVersion, creationTimestamp as asked, generation, managedFields."""
    created = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    meta = store.create(policy(), created=created, manager="argocd")["metadata"]
    assert meta["creationTimestamp"] == "2026-01-02T03:04:05Z"
    assert (meta["generation"], len(meta["uid"]), int(meta["resourceVersion"]) > 0) == (1, 36, True)
    entry = meta["managedFields"][0]
    assert (entry["manager"], entry["operation"], entry["time"]) == ("argocd", "Update", "2026-01-02T03:04:05Z")
    assert entry["fieldsV1"] == {"f:spec": {".": {}, "f:mtls": {".": {}, "f:mode": {}}}}


def test_the_door_changes_owners_of_fields(store: Store) -> None:
    """Who writes a field last is its manager."""
    store.create(policy(), manager="argocd")
    changed = store.patch(
        V1,
        "PeerAuthentication",
        "default",
        {"spec": {"mtls": {"mode": "STRICT"}}},
        namespace="default",
        manager="rollout",
    )
    owners = {entry["manager"]: entry["fieldsV1"] for entry in changed["metadata"]["managedFields"]}
    assert owners["rollout"] == {"f:spec": {"f:mtls": {"f:mode": {}}}}
    assert owners["argocd"] == {"f:spec": {".": {}, "f:mtls": {}}}
    assert changed["metadata"]["generation"] == 2


def test_a_copy_from_the_door_is_nobody_elses(store: Store) -> None:
    """Changing what `get` returned changes nothing in the store."""
    store.create(policy())
    mine = store.get(V1, "PeerAuthentication", "default", "default")
    assert mine is not None
    mine["spec"]["mtls"]["mode"] = "STRICT"
    again = store.get(V1, "PeerAuthentication", "default", "default")
    assert again is not None
    assert again["spec"]["mtls"]["mode"] == "PERMISSIVE"


def test_subscribers_hear_of_each_committed_write(store: Store) -> None:
    """ADDED, MODIFIED, DELETED, and nothing for a write that changes nothing."""
    heard: list[tuple[str, str]] = []
    store.subscribe(lambda kind, obj: heard.append((kind, obj["metadata"]["name"])))
    store.create(policy())
    store.patch(V1, "PeerAuthentication", "default", {"spec": {"mtls": {"mode": "STRICT"}}}, namespace="default")
    store.patch(V1, "PeerAuthentication", "default", {"spec": {"mtls": {"mode": "STRICT"}}}, namespace="default")
    store.delete(V1, "PeerAuthentication", "default", "default")
    assert heard == [("ADDED", "default"), ("MODIFIED", "default"), ("DELETED", "default")]


def test_a_subscriber_may_write_again(store: Store) -> None:
    """A simulator that answers a write with a write does not lock itself out."""

    def echo(kind: str, obj: dict[str, Any]) -> None:
        if kind == "ADDED" and obj["kind"] == "PeerAuthentication":
            store.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "echo"}})

    store.subscribe(echo)
    store.create(policy())
    assert store.get("v1", "ConfigMap", "echo", "default") is not None


def test_an_unknown_kind_is_not_found(store: Store) -> None:
    """A scenario with a typo is told at once."""
    with pytest.raises(ApiError, match='no matches for kind "PeerAuthn"'):
        store.create({"apiVersion": V1, "kind": "PeerAuthn", "metadata": {"name": "x"}})


def test_a_cluster_without_istio_answers_404(make_lab: Any) -> None:
    """As a real one does: plain text, for there is no such group."""
    lab = make_lab(kinds=Kinds().without("security.istio.io", "networking.istio.io", "telemetry.istio.io"))
    assert lab("GET", PA) == (404, "404 page not found\n")
    groups = [group["name"] for group in lab("GET", "/apis")[1]["groups"]]
    assert [name for name in groups if "istio" in name] == []


def test_a_cluster_may_serve_only_the_beta(make_lab: Any) -> None:
    """v1 is unknown, v1beta1 works."""
    lab = make_lab(kinds=Kinds().without("security.istio.io/v1"))
    assert lab("GET", PA)[0] == 404
    beta = PA.replace("/v1/", "/v1beta1/")
    body = {**policy(), "apiVersion": "security.istio.io/v1beta1"}
    assert lab("POST", beta, body)[0] == 201
    assert lab("GET", "/apis/security.istio.io")[1]["preferredVersion"]["version"] == "v1beta1"


def test_a_dry_run_is_recorded_and_writes_nothing(lab: Any) -> None:
    """The record tells dry runs and writes apart."""
    lab.store.create(policy())
    path = f"{PA}/default"
    status, answer = lab("PATCH", f"{path}?dryRun=All&fieldManager=rollout", {"spec": {"mtls": {"mode": "STRICT"}}})
    assert (status, answer["metadata"]["generation"]) == (200, 2)
    assert lab("GET", path)[1]["spec"]["mtls"]["mode"] == "PERMISSIVE"
    lab("PATCH", f"{path}?fieldManager=rollout", {"spec": {"mtls": {"mode": "STRICT"}}})
    lab("PATCH", path, {"spec": {"mtls": {"mode": "FOO"}}})
    writes = [(write.verb, write.name, write.manager, write.dry_run) for write in lab.store.writes]
    assert writes == [("patch", "default", "rollout", True), ("patch", "default", "rollout", False)]
    assert lab.store.writes[1].body == {"spec": {"mtls": {"mode": "STRICT"}}}


def test_a_webhook_refuses_dry_runs_too(lab: Any) -> None:
    """A Kyverno-like refusal reaches the client with its words."""

    def no_permissive(asked: AdmissionRequest) -> str | None:
        mode = ((asked.obj or {}).get("spec") or {}).get("mtls", {}).get("mode")
        return denied("validate.kyverno.svc-fail", "PERMISSIVE is forbidden") if mode == "PERMISSIVE" else None

    lab.store.admission.append(no_permissive)
    status, answer = lab("POST", f"{PA}?dryRun=All", policy())
    assert status == 400
    assert answer["message"] == (
        'admission webhook "validate.kyverno.svc-fail" denied the request: PERMISSIVE is forbidden'
    )
    assert lab("POST", PA, policy("STRICT"))[0] == 201


def test_a_failing_webhook_is_an_internal_error(lab: Any) -> None:
    """A webhook that cannot be called and fails closed."""
    lab.store.admission.append(lambda asked: failing("gate.example.org", "context deadline exceeded"))
    status, answer = lab("POST", PA, policy())
    assert (status, answer["reason"]) == (500, "InternalError")
    assert "failed calling webhook" in answer["message"]


def test_a_deleted_namespace_goes_with_its_content(lab: Any) -> None:
    """The namespace controller's work, done at once."""
    lab("POST", "/api/v1/namespaces", {"metadata": {"name": "shop"}})
    lab("POST", "/api/v1/namespaces/shop/configmaps", {"metadata": {"name": "one"}})
    assert lab("DELETE", "/api/v1/namespaces/shop")[1]["status"]["phase"] == "Terminating"
    assert lab("GET", "/api/v1/namespaces/shop")[0] == 404
    assert lab("GET", "/api/v1/namespaces/shop/configmaps/one")[0] == 404


def test_five_thousand_pods_come_in_pages(lab: Any) -> None:
    """Ten pages of five hundred, each pod once, from one moment."""
    for index in range(5000):
        pod = {"metadata": {"name": f"p-{index:04}"}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}}
        lab.store.create({"apiVersion": "v1", "kind": "Pod", **pod})
    client, names, token, pages = lab.client(), [], "", 0
    while True:
        _, page = client("GET", f"/api/v1/pods?limit=500&continue={token}")
        names += [item["metadata"]["name"] for item in page["items"]]
        pages += 1
        if pages == 1:
            lab.store.delete("v1", "Pod", "p-4999", "default")
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert (pages, len(names), len(set(names))) == (10, 5000, 5000)


def test_a_status_is_not_written_with_the_object(lab: Any) -> None:
    """POST and PUT on the object leave the status alone; only its subresource writes it."""
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}}
    spec = {"selector": {"matchLabels": {"app": "a"}}, "template": template}
    path = "/apis/apps/v1/namespaces/default/replicasets"
    body = {"metadata": {"name": "a"}, "spec": spec, "status": {"replicas": 7}}
    assert lab("POST", path, body)[1]["status"] == {"replicas": 0}
    _, written = lab("PATCH", f"{path}/a/status", {"status": {"replicas": 1}, "spec": {"replicas": 9}})
    assert (written["status"]["replicas"], written["spec"]["replicas"]) == (1, 1)


def test_a_lost_race_is_a_conflict_for_exactly_one(lab: Any) -> None:
    """Of many writers that hold the same resourceVersion, one wins."""
    from concurrent.futures import ThreadPoolExecutor

    path = "/api/v1/namespaces/default/configmaps"
    _, made = lab("POST", path, {"metadata": {"name": "x"}})
    held = {"resourceVersion": made["metadata"]["resourceVersion"]}
    clients = [lab.client() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(
            lambda index: clients[index]("PATCH", f"{path}/x", {"metadata": held, "data": {"by": str(index)}})[0],
            range(8),
        )
        assert sorted(answers) == [200] + [409] * 7
