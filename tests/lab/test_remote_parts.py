"""The parts by which the simulator lives on another API server, one by one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.errors import ClusterError, UsageError
from rollout.lab.api import ApiError, Kinds
from rollout.lab.api.kinds import CORE
from rollout.lab.lab import Lab
from rollout.lab.mesh.manifests import cluster_objects
from rollout.lab.remote import Remote, RemoteStore
from rollout.lab.remote.policies import conditions, enforce, policy_documents
from rollout.lab.remote.served import serve, served_versions
from rollout.lab.scenario import SHIPPED
from tests.lab.standin import StandIn
from tests.loopback import needs_openssl, self_signed

Json = dict[str, Any]
NOW = datetime.now(UTC) + timedelta(days=9)
PEER = Kinds().of("security.istio.io/v1", "PeerAuthentication")
RULE = {
    "kind": "PeerAuthentication", "namespace": "shop", "when": {"spec": {"mtls": {"mode": "PERMISSIVE"}}},
    "webhook": "validate.example", "message": "no way back",
}  # fmt: skip


@pytest.fixture
def standin() -> Iterator[StandIn]:
    """An empty server."""
    with StandIn(["ana"]) as running:
        yield running


@pytest.fixture
def remote(standin: StandIn, tmp_path: Path) -> Iterator[Remote]:
    """The way to it."""
    made = Remote.of_kubeconfig(standin.kubeconfig(tmp_path))
    yield made
    made.close()


@pytest.fixture
def store(remote: Remote) -> Iterator[RemoteStore]:
    """The simulator's door to it, with a namespace."""
    made = RemoteStore(remote, lambda: NOW)
    made.create(thing("v1", "Namespace", "shop", ""))
    yield made
    made.leave()


def thing(version: str, kind: str, name: str, namespace: str = "shop", **more: Any) -> Json:
    """A manifest."""
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": version, "kind": kind, "metadata": meta, **more}


def policy(name: str, mode: str) -> Json:
    """A PeerAuthentication."""
    return thing("security.istio.io/v1", "PeerAuthentication", name, spec={"mtls": {"mode": mode}})


def heard_by(store: RemoteStore) -> list[tuple[str, str, str]]:
    """What a subscriber is told: event, kind, name."""
    told: list[tuple[str, str, str]] = []
    store.subscribe(lambda event, obj: told.append((event, obj["kind"], obj["metadata"]["name"])))
    return told


def test_what_others_write_is_heard_at_the_next_look(store: RemoteStore, standin: StandIn) -> None:
    """Once each, in the order of the writes; own writes are heard at once and not again."""
    told = heard_by(store)
    store.create(policy("own", "PERMISSIVE"))
    assert [("ADDED", "PeerAuthentication", "own")] == told
    standin.store.create(thing("v1", "ConfigMap", "theirs", data={"a": "b"}))
    standin.store.patch("security.istio.io/v1", "PeerAuthentication", "own", {"spec": {"mtls": {"mode": "STRICT"}}},
                        namespace="shop")  # fmt: skip
    assert [] == told[1:]
    store.look()
    store.look()
    assert [("ADDED", "ConfigMap", "theirs"), ("MODIFIED", "PeerAuthentication", "own")] == told[1:]
    seen = store.get("security.istio.io/v1", "PeerAuthentication", "own", "shop")
    assert seen is not None
    assert "STRICT" == seen["spec"]["mtls"]["mode"]


def test_an_object_that_was_made_again_is_another_one(store: RemoteStore, standin: StandIn) -> None:
    """Deleted and created between two looks: gone, then there."""
    standin.store.create(policy("default", "PERMISSIVE"))
    store.look()
    told = heard_by(store)
    standin.store.delete("security.istio.io/v1", "PeerAuthentication", "default", "shop")
    standin.store.create(policy("default", "STRICT"))
    store.look()
    assert ["DELETED", "ADDED"] == [event for event, _, _ in told]
    standin.store.delete("security.istio.io/v1", "PeerAuthentication", "default", "shop")
    store.look()
    assert ["DELETED", "ADDED", "DELETED"] == [event for event, _, _ in told]
    assert [] == store.list("security.istio.io/v1", "PeerAuthentication")


def test_a_status_is_written_through_its_subresource(store: RemoteStore, standin: StandIn) -> None:
    """Of a new pod too, without what the server sets itself; whoever listens hears of the whole pod once."""
    told = heard_by(store)
    pod = thing(
        "v1", "Pod", "web", spec={"containers": [{"name": "web", "image": "web:1"}]},
        status={"phase": "Running", "podIP": "10.244.0.9", "qosClass": "Burstable"},
    )  # fmt: skip
    made = store.create(pod, created=NOW - timedelta(days=3), manager="kube-controller-manager")
    assert [("ADDED", "Pod", "web")] == told
    assert ("Running", "BestEffort") == (made["status"]["phase"], made["status"]["qosClass"])
    parts = {(entry["manager"], entry.get("subresource", "")) for entry in made["metadata"]["managedFields"]}
    assert {("kube-controller-manager", ""), ("kube-controller-manager", "status")} == parts
    store.patch(
        "v1", "Pod", "web", {"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Failed"}}, namespace="shop"
    )
    stored = standin.store.get("v1", "Pod", "web", "shop")
    assert stored is not None
    assert ({"a": "b"}, "Failed") == (stored["metadata"]["labels"], stored["status"]["phase"])


def test_an_object_is_as_old_as_the_scenario_says_to_the_simulator_alone(store: RemoteStore, standin: StandIn) -> None:
    """The server stamps it with the real time."""
    born = NOW - timedelta(days=200)
    made = store.create(thing("v1", "ConfigMap", "old"), created=born)
    assert born.strftime("%Y-%m-%dT%H:%M:%SZ") == made["metadata"]["creationTimestamp"]
    stored = standin.store.get("v1", "ConfigMap", "old", "shop")
    assert stored is not None
    stamped = datetime.fromisoformat(stored["metadata"]["creationTimestamp"])
    assert abs(stamped - datetime.now(UTC)) < timedelta(minutes=1)


def test_two_ages_never_share_a_second(remote: Remote, standin: StandIn) -> None:
    """Where the oldest object decides, the server has them in the scenario's order; equal ages may share one."""
    slept: list[float] = []
    stamps = iter(
        ["2026-03-02T10:00:00Z", *["2026-03-02T10:00:00Z"] * 2, "2026-03-02T10:00:01Z", "2026-03-02T10:00:01Z"]
    )
    store = RemoteStore(remote, lambda: NOW, sleep=slept.append)
    store.create(thing("v1", "Namespace", "shop", ""))
    answered = remote.ask

    def ask(method: str, path: str, body: Any = None, **more: Any) -> Json:
        found = answered(method, path, body, **more)
        if method == "POST" and path.endswith("peerauthentications"):
            found["metadata"]["creationTimestamp"] = next(stamps)
        return found

    remote.ask = ask  # type: ignore[method-assign]
    store.create(policy("first", "STRICT"), created=NOW - timedelta(days=9))
    store.create(policy("second", "STRICT"), created=NOW - timedelta(days=3))
    store.create(policy("twin", "STRICT"), created=NOW - timedelta(days=3))
    assert 2 == len(slept)
    assert 3 == len(standin.store.list("security.istio.io/v1", "PeerAuthentication"))
    store.leave()


def test_a_server_that_does_not_answer_is_asked_again(store: RemoteStore, standin: StandIn) -> None:
    """What was known stays, and why is said; a refusal of a write is the caller's."""
    standin.store.create(thing("v1", "ConfigMap", "one"))
    store.look()
    store.remote.ask = _refusing(store.remote.ask, 503)  # type: ignore[method-assign]
    store.look()
    assert "503" in store.trouble
    assert store.get("v1", "ConfigMap", "one", "shop") is not None
    with pytest.raises(ApiError, match="503"):
        store.create(thing("v1", "ConfigMap", "two"))
    del store.remote.ask
    store.look()
    assert "" == store.trouble


def _refusing(ask: Callable[..., Json], code: int) -> Callable[..., Json]:
    def refuse(method: str, path: str, *args: Any, **more: Any) -> Json:
        raise ApiError(code, "ServiceUnavailable", f"{method} {path}")

    return refuse


def test_a_namespace_goes_with_everything_in_it(store: RemoteStore, standin: StandIn) -> None:
    """No controller empties or finalizes it there."""
    kept = thing("v1", "ConfigMap", "kept")
    kept["metadata"]["finalizers"] = ["example.org/never"]
    store.create(kept)
    told = heard_by(store)
    store.delete("v1", "Namespace", "shop")
    assert {("DELETED", "ConfigMap", "kept"), ("DELETED", "Namespace", "shop")} == set(told)
    assert standin.store.get("v1", "Namespace", "shop") is None
    with pytest.raises(ApiError, match="404"):
        store.delete("v1", "Namespace", "shop")


def test_a_server_in_use_is_never_touched(remote: Remote, standin: StandIn) -> None:
    """A namespace or a node of somebody else: nothing is written, nothing deleted."""
    standin.store.create(thing("v1", "Namespace", "payments", ""))
    before = standin.objects()
    with pytest.raises(UsageError, match="in use: namespace payments"):
        RemoteStore(remote, lambda: NOW)
    assert before == standin.objects()
    assert [] == standin.store.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")


def test_webhooks_are_stored_and_never_called(store: RemoteStore, standin: StandIn) -> None:
    """Nothing listens at their addresses: a real server would refuse every write that they concern."""
    hooks = next(obj for obj in cluster_objects("1.27.3", "istio-system", "45s") if "webhooks" in obj)
    store.create(hooks)
    (stored,) = standin.store.list("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration")
    assert {"false"} == {hook["matchConditions"][0]["expression"] for hook in stored["webhooks"]}
    assert "matchConditions" not in hooks["webhooks"][0]


def test_the_server_serves_the_scenarios_kinds_in_their_versions(remote: Remote, standin: StandIn) -> None:
    """Missing ones are defined, a version is switched off and on again."""
    assert set() == served_versions(remote, PEER)
    serve(remote, Kinds())
    assert {"v1", "v1beta1"} == served_versions(remote, PEER)
    serve(remote, Kinds().without("security.istio.io/v1"))
    assert {"v1beta1"} == served_versions(remote, PEER)
    serve(remote, Kinds())
    assert {"v1", "v1beta1"} == served_versions(remote, PEER)


def test_a_kind_that_is_never_served_is_named(remote: Remote, standin: StandIn) -> None:
    """After half a minute."""
    standin.api._serve_defined = lambda: None  # type: ignore[method-assign]
    clock = iter(range(0, 1000, 10))
    with pytest.raises(UsageError, match=r"does not serve .*peerauthentications\.security\.istio\.io v1/v1beta1"):
        serve(remote, Kinds((*CORE, PEER)), sleep=lambda _: None, monotonic=lambda: float(next(clock)))


def test_a_refusal_is_a_policy_of_the_server() -> None:
    """Each field is looked for before it is read; names that are no identifiers, or reserved, stand in brackets."""
    made, bound = policy_documents("lab-1", PEER, RULE)
    (validation,) = made["spec"]["validations"]
    there = "has(object.spec) && has(object.spec.mtls) && has(object.spec.mtls.mode)"
    holds = f'{there} && object.spec.mtls.mode == "PERMISSIVE"'
    assert {"expression": f"!({holds})", "message": "no way back"} == validation
    constraints = made["spec"]["matchConstraints"]
    assert {"kubernetes.io/metadata.name": "shop"} == constraints["namespaceSelector"]["matchLabels"]
    (rule,) = constraints["resourceRules"]
    assert (["security.istio.io"], ["peerauthentications"], ["CREATE", "UPDATE"]) == (
        rule["apiGroups"], rule["resources"], rule["operations"],
    )  # fmt: skip
    assert {"policyName": "lab-1", "validationActions": ["Deny"]} == bound["spec"]
    wanted = {"metadata": {"annotations": {"a.b/c": "x"}, "namespace": "y"}}
    assert [
        "has(object.metadata)", "has(object.metadata.annotations)", '"a.b/c" in object.metadata.annotations',
        'object.metadata.annotations["a.b/c"] == "x"', '"namespace" in object.metadata',
        'object.metadata["namespace"] == "y"',
    ] == conditions("object", wanted)  # fmt: skip
    everything, _ = policy_documents("lab-2", PEER, {"message": "no"})
    assert "false" == everything["spec"]["validations"][0]["expression"]
    assert "DELETE" in everything["spec"]["matchConstraints"]["resourceRules"][0]["operations"]


def test_a_policy_is_waited_for(store: RemoteStore, standin: StandIn) -> None:
    """Two writes slip through first; when it returns every write is refused, and other namespaces' are not."""
    store.create(thing("v1", "Namespace", "other", ""))
    store.refuse(RULE)
    with pytest.raises(ApiError, match="no way back"):
        store.create(policy("default", "PERMISSIVE"))
    store.create(policy("default", "STRICT"))
    elsewhere = policy("default", "PERMISSIVE")
    elsewhere["metadata"]["namespace"] = "other"
    store.create(elsewhere)


def test_a_policy_that_is_not_enforced_is_said(store: RemoteStore, standin: StandIn) -> None:
    """A lab whose refusals do not refuse would show another story."""
    standin.api.slow = 10**9
    clock = iter(range(0, 1000, 5))
    with pytest.raises(UsageError, match="does not enforce the policy never"):
        enforce(store.remote, PEER, RULE, "never", sleep=lambda _: None, monotonic=lambda: float(next(clock)))


def test_a_scenarios_user_needs_credentials(standin: StandIn, tmp_path: Path) -> None:
    """Said before anything is written."""
    with pytest.raises(UsageError, match="no credentials for the scenario's user platform"):
        Lab.start("no-right-to-undo", api=standin.kubeconfig(tmp_path))
    assert 4 == len(standin.objects())


def test_a_server_that_is_gone_is_said(tmp_path: Path) -> None:
    """At the start, and at the end: a sentence with its address, no traceback."""
    with StandIn() as server:
        access = server.kubeconfig(tmp_path)
        store = RemoteStore(Remote.of_kubeconfig(access), lambda: NOW)
    with pytest.raises(ClusterError, match=r"not emptied: .*refused"):
        store.leave()
    with pytest.raises(ClusterError, match=r"does not take the scenario: .*refused"):
        Lab.start("no-traffic", api=access)


def test_a_scenario_that_the_server_refuses_leaves_nothing(standin: StandIn, tmp_path: Path) -> None:
    """What was written until then is taken away."""
    scenario = yaml.safe_load((SHIPPED / "no-traffic.yaml").read_text(encoding="utf-8"))
    scenario["manifests"] = [policy("default", "STRICTEST")]
    scenario["manifests"][0]["metadata"]["namespace"] = "attic"
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(scenario), encoding="utf-8")
    with pytest.raises(ClusterError, match=r"does not take the scenario: .*STRICTEST"):
        Lab.start(tmp_path / "bad.yaml", api=standin.kubeconfig(tmp_path))
    assert 4 == len(standin.objects())


def test_a_lab_on_another_server_says_where_the_api_is(standin: StandIn, tmp_path: Path) -> None:
    """Its own socket has time and Prometheus; a request for objects is told, not answered."""
    with Lab.start("no-traffic", api=standin.kubeconfig(tmp_path)) as lab:
        assert (standin.server.url, standin.server.url) == (
            lab.cluster_url,
            json.loads(lab.kubeconfig)["clusters"][0]["cluster"]["server"],
        )
        here = Remote({"server": lab.api_url}, {"": {}}, "")
        with pytest.raises(ApiError, match=r"421.*kubeconfig is at"):
            here.ask("GET", "/api/v1/pods")
        here.close()
        lab.advance(timedelta(minutes=1))
        assert {"attic"} <= {pod["metadata"]["namespace"] for pod in lab.cluster.list("v1", "Pod")}
    assert 4 == len(standin.objects())


@needs_openssl
def test_a_kubeconfig_with_files_becomes_one_with_data(tmp_path: Path) -> None:
    """So that it may be handed on; a token in a file as well."""
    self_signed(tmp_path)
    (tmp_path / "token").write_text("secret\n", encoding="utf-8")
    document = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1", "certificate-authority": "cert.pem"}}],
        "users": [
            {"name": "me", "user": {"client-certificate": "cert.pem", "client-key": "key.pem"}},
            {"name": "ana", "user": {"tokenFile": "token"}},
        ],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "me"}}],
        "current-context": "x",
    }
    (tmp_path / "config").write_text(json.dumps(document), encoding="utf-8")
    found = Remote.of_kubeconfig(tmp_path / "config")
    mine = json.loads(found.kubeconfig())
    encoded = base64.b64encode((tmp_path / "cert.pem").read_bytes()).decode()
    assert encoded == mine["clusters"][0]["cluster"]["certificate-authority-data"]
    assert {"client-certificate-data", "client-key-data"} == set(mine["users"][0]["user"])
    assert {"token": "secret"} == json.loads(found.kubeconfig("ana"))["users"][0]["user"]
    assert "tokenFile" not in found.kubeconfig("ana")


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", "a: [", '{"contexts": [], "current-context": "x"}',
        json.dumps({
            "clusters": [{"name": "c", "cluster": {"server": "nowhere"}}], "users": [{"name": "u", "user": None}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}], "current-context": "x",
        }),
        json.dumps({
            "clusters": [{"name": "c", "cluster": {"server": "https://h", "certificate-authority-data": "e30="}}],
            "users": [{"name": "u"}], "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }),
    ],
)  # fmt: skip
def test_what_is_no_kubeconfig_is_said(text: str, tmp_path: Path) -> None:
    """A sentence, whatever is wrong with it."""
    (tmp_path / "config").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError):
        Remote.of_kubeconfig(tmp_path / "config")
