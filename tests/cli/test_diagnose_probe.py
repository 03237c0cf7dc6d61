"""`rollout diagnose --probe`: what a test call says beside the layers, and that nothing of it stays behind."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.cli import main
from rollout.diagnosis.probe_pod import LABELS
from rollout.lab.api import Effect, Fault
from rollout.lab.lab import Lab
from rollout.lab.scenario import SHIPPED
from tests.cli.conftest import Terminal

Json = dict[str, Any]
PAIR = ("--from", "web-0.production", "--to", "orders.production:8080")
REFUSED = ("--from", "ledger-0.production", "--to", "orders.production:8080")
FORBIDDEN = json.dumps({"kind": "Status", "reason": "Forbidden", "message": "pods is forbidden: no", "code": 403})


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def lab() -> Iterator[Lab]:
    """web may call orders, ledger may not."""
    with Lab.start("rbac-denial") as started:
        yield started
        assert [] == started._serving().failures


def strict(namespace: str) -> Json:
    """Everything of it requires mutual TLS."""
    return {
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": namespace}, "spec": {"mtls": {"mode": "STRICT"}},
    }  # fmt: skip


def enforce(lab: Lab, namespace: str) -> None:
    """STRICT, known to every proxy."""
    lab.store.create(strict(namespace))
    lab.advance(timedelta(minutes=2))


def left(lab: Lab) -> list[str]:
    """Pods of probes that nobody has deleted."""
    return [
        pod["metadata"]["name"]
        for pod in lab.store.list("v1", "Pod")
        if LABELS.items() <= (pod["metadata"].get("labels") or {}).items()
        and not pod["metadata"].get("deletionTimestamp")
    ]


def probed(lab: Lab, capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, Json, str]:
    """Exit status, the probe's layer, and what was said beside the JSON."""
    code = main(["diagnose", *argv, "--probe", "--yes", "-o", "json", "--lab", lab.api_url])
    out, err = capsys.readouterr()
    return code, layer(json.loads(out), "probe"), err


def layer(shown: Json, name: str) -> Json:
    """One of a diagnosis."""
    return next(dict(each) for each in shown["layers"] if each["layer"] == name)


def named(lab: Lab, name: str, namespace: str) -> str:
    """A pod whose name begins so, as the command line wants it."""
    pods = lab.store.list("v1", "Pod", namespace)
    return next(str(p["metadata"]["name"]) for p in pods if p["metadata"]["name"].startswith(name)) + f".{namespace}"


def test_a_healthy_pair(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """200, over mutual TLS as the servers count it; the pod is made and deleted, and that is all."""
    enforce(lab, "production")
    before = len(lab.store.writes)
    code, found, err = probed(lab, capsys, *PAIR)
    assert (0, "ok") == (code, found["status"])
    told = "probe: HTTP 200, 3 of 3 calls over mutual TLS (so counted by the server's proxy: 3 of 3)"
    assert f"expected: will work (layer 2); {told}" == found["lines"][0]
    assert ["create", "delete"] == [w.verb for w in lab.store.writes[before:] if w.resource == "pods"]
    assert [] == [w for w in lab.store.writes[before:] if w.resource not in ("pods", "selfsubjectaccessreviews")]
    assert "it is deleted afterwards in every case" in err
    assert [] == left(lab)
    lab.advance(timedelta(seconds=5))
    assert [] == [p for p in lab.store.list("v1", "Pod") if "probe" in p["metadata"]["name"]]


def test_the_pod_is_the_caller_to_the_mesh_and_nobody_to_services(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Injected at admission, with the caller's account; it says who made it and why."""
    before = len(lab.store.writes)
    probed(lab, capsys, *PAIR)
    body = next(w.body for w in lab.store.writes[before:] if w.verb == "create" and w.resource == "pods")
    assert "web" == body["spec"]["serviceAccountName"]
    assert "app" not in body["metadata"]["labels"]
    assert "web-0.production to orders.production:8080" in body["metadata"]["annotations"]["rollout.dev/why"]


def test_result_stands_beside_the_verdict(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """In layer 2, right below it."""
    assert 0 == main(["diagnose", *PAIR, "--probe", "--yes", "-o", "json", "--lab", lab.api_url])
    policy = layer(json.loads(capsys.readouterr().out), "peer-authentication")
    assert ["web-0.production to orders.production:8080: will work", "probe: HTTP 200, 3 of 3 calls"] == policy[
        "lines"
    ][:2]


def test_what_the_servers_do_not_tell(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Then the layer says it, and that no client sees it."""
    lab.faults.add(Fault(Effect.STATUS, path="/exec.*stats", status=403, body=FORBIDDEN))
    code, found, _ = probed(lab, capsys, *PAIR)
    assert (0, "ok") == (code, found["status"])
    assert found["lines"][0].endswith("3 of 3 calls over mutual TLS (layer 2 says so; a client cannot see it)")


def test_an_rbac_denial(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Layer 5 says so, and the probe agrees."""
    code, found, _ = probed(lab, capsys, *REFUSED)
    assert (3, "ok") == (code, found["status"])
    assert "expected: will be refused (layer 5); probe: 403 RBAC: access denied, 3 of 3 calls" in found["lines"][0]


def test_a_caller_without_a_sidecar(capsys: pytest.CaptureFixture[str]) -> None:
    """Its plaintext is refused by STRICT: the pod that stands for it has none either, in a namespace with injection."""
    with Lab.start("missing-sidecar") as lab:
        enforce(lab, "production")
        client = named(lab, "legacy-export", "production")
        code, found, _ = probed(lab, capsys, "--from", client, "--to", "orders.production:8080")
        assert (3, "ok") == (code, found["status"])
        assert "expected: will be refused (layer 2); probe: connection reset" in found["lines"][0]
        assert "so STRICT refuses plaintext" in found["lines"][1]


def test_a_destination_rule_that_turns_tls_off(capsys: pytest.CaptureFixture[str]) -> None:
    """503 UC, by the client's own sidecar."""
    with Lab.start("destination-rule-disable") as lab:
        enforce(lab, "payments")
        client = named(lab, "web", "shop")
        code, found, _ = probed(lab, capsys, "--from", client, "--to", "ledger.payments:8080")
        assert (3, "ok") == (code, found["status"])
        assert "probe: 503 UC (connection termination), 3 of 3 calls" in found["lines"][0]


def test_an_expired_certificate(capsys: pytest.CaptureFixture[str]) -> None:
    """New handshakes fail, which layer 3 says beforehand."""
    with Lab.start("expired-certificate") as lab:
        code, found, _ = probed(lab, capsys, *PAIR)
        assert (3, "ok") == (code, found["status"])
        assert "expected: will be refused (layer 3); probe: 503 URX,UF" in found["lines"][0]


def test_a_disagreement_is_the_cause(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """The layers see nothing; what the call meets is a change that is still on its way."""
    rule = {
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": "plain", "namespace": "production"},
        "spec": {"host": "orders", "trafficPolicy": {"tls": {"mode": "DISABLE"}}},
    }  # fmt: skip
    lab.store.create(rule)
    enforce(lab, "production")
    lab.faults.add(Fault(Effect.STATUS, path="/destinationrules", status=200, body='{"metadata":{},"items":[]}'))
    code, found, _ = probed(lab, capsys, *PAIR)
    assert (3, "failed") == (code, found["status"])
    (finding,) = found["findings"]
    assert "the probe disagrees with the layers: 503 UC (connection termination), 3 of 3 calls" == finding["measured"]
    assert "expected: will work (layer 2)" == finding["limit"]


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault(Effect.STATUS, method="POST", path="/pods\\?", status=403, body=FORBIDDEN), "pods is forbidden"),
        (Fault(Effect.STATUS, path="/exec", status=403, body=FORBIDDEN), "pods is forbidden"),
    ],
    ids=["create", "exec"],
)
def test_what_is_forbidden_is_a_sentence(lab: Lab, fault: Fault, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The layer is unknown, the others go on, and no pod stays."""
    lab.faults.add(fault)
    code, found, _ = probed(lab, capsys, *PAIR)
    assert (4, "unknown", True) == (code, found["status"], why in found["reason"]), found
    assert [] == left(lab)


def test_a_pod_that_never_becomes_ready(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """After a minute, with the kubelet's words; deleted."""
    before = lab.clock.now()
    code, found, _ = probed(lab, capsys, *PAIR, "--probe-image", "registry.invalid/curl:1")
    assert (4, "unknown") == (code, found["status"])
    assert "was not Ready within 60 s: container probe: ImagePullBackOff" in found["reason"]
    assert lab.clock.now() - before < timedelta(seconds=90)
    assert [] == left(lab)


def test_a_pod_that_is_not_injected_as_the_caller_is(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """The namespace's label is gone since: the result does not stand for the caller."""
    lab.store.patch("v1", "Namespace", "production", {"metadata": {"labels": {"istio-injection": None}}})
    lab.advance(timedelta(seconds=1))
    _, found, _ = probed(lab, capsys, *PAIR)
    assert "unknown" == found["status"]
    assert "got no sidecar, and the caller has one" in found["reason"]
    assert [] == left(lab)


def caller(lab: Lab, **labels: str) -> str:
    """A pod of a person's, with curl in it; started, and Ready."""
    lab.store.create(
        {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "shell", "namespace": "production", "labels": labels},
            "spec": {"serviceAccountName": "web", "containers": [
                {"name": "tools", "image": "registry.example/curl:1", "command": ["sleep", "3600"]},
                {"name": "other", "image": "registry.example/other:1"},
            ]},
        }
    )  # fmt: skip
    lab.advance(timedelta(seconds=20))
    return "shell.production"


def test_from_a_container_of_the_callers(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """No pod is made."""
    client = caller(lab, **{"sidecar.istio.io/inject": "false"})
    enforce(lab, "production")
    before = len(lab.store.writes)
    argv = ["--from", client, "--to", "orders.production:8080", "--probe=exec", "--yes", "-o", "json"]
    assert 3 == main(["diagnose", *argv, "--lab", lab.api_url])
    found = layer(json.loads(capsys.readouterr().out), "probe")
    assert ("ok", True) == (found["status"], "probe: connection reset" in found["lines"][0]), found
    assert "from container tools of Pod production/shell" in found["lines"]
    assert [] == [w for w in lab.store.writes[before:] if w.resource == "pods"]


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["--probe=exec", "--probe-container", "istio-proxy"], 2, "go past the proxy (its user 1337"),
        (["--probe=exec", "--probe-container", "nope"], 2, "has no container nope"),
        (["--probe-container", "tools"], 2, "a container is for a probe in it"),
        (["--probe", "--probe-container", "tools"], 2, "a container is for a probe in it"),
        (["--probe", "--method", "POST"], 2, "might change something in the application"),
        (["--probe=exec"], 4, "the image has no curl"),
    ],
)
def test_what_cannot_be_meant(
    lab: Lab, argv: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sentence, and nothing is made."""
    before = len(lab.store.writes)
    assert code == main(["diagnose", *PAIR, *argv, "--yes", "--lab", lab.api_url])
    shown = capsys.readouterr()
    assert words in " ".join((shown.err + shown.out).split())
    assert [] == [w for w in lab.store.writes[before:] if w.resource == "pods"]


@pytest.mark.parametrize("asked", [["production", "--probe"], [*PAIR, "--probe"]])
def test_nobody_is_there_to_be_asked(lab: Lab, asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A pair and a yes are needed."""
    assert 2 == main(["diagnose", *asked, "--lab", lab.api_url])
    assert "a test call needs its two ends" in (err := capsys.readouterr().err) or "nobody is there" in err


@pytest.mark.parametrize(("answer", "code", "made"), [(b"no\n", 2, 0), (b"\n", 2, 0), (b"yes\n", 0, 1)])
def test_a_person_is_asked(
    lab: Lab, terminal: Callable[..., Terminal], tmp_path: Path, answer: bytes, code: int, made: int
) -> None:
    """At a terminal, after it was said what is going to be done."""
    before = len(lab.store.writes)
    shown = terminal(100, 100)
    os.write(shown.master, answer)
    assert code == shown.run("diagnose", *PAIR, "--probe", "--lab", lab.api_url, state=tmp_path)
    text = " ".join(" ".join(shown.seen()).split())
    assert "it is deleted afterwards in every case" in text
    assert "Type 'yes' to go on:" in text
    assert made == len([w for w in lab.store.writes[before:] if (w.resource, w.verb) == ("pods", "create")])


def test_a_pod_by_its_address(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """A sidecar knows no pods, and sends plaintext, which PERMISSIVE takes; web's name is not known then: 403."""
    server = named(lab, "orders", "production")
    code, found, _ = probed(lab, capsys, "--from", "web-0.production", "--to", f"{server}:8080")
    assert 3 == code
    assert "probe: 403 RBAC: access denied, 3 of 3 calls in plaintext" in found["lines"][0]


def test_bytes_to_a_tcp_port(capsys: pytest.CaptureFixture[str]) -> None:
    """A connect alone proves nothing under STRICT; so bytes are sent, and it is said."""
    with Lab.start("headless-mixed") as lab:
        servers = {s["metadata"]["name"]: s["spec"] for s in lab.store.list("v1", "Service", "production")}
        port = servers["queue"]["ports"][0]["port"]
        client = next(p for p in lab.store.list("v1", "Pod", "production") if "queue" not in p["metadata"]["name"])
        argv = ["--from", f"{client['metadata']['name']}.production", "--to", f"queue.production:{port}"]
        _, found, _ = probed(lab, capsys, *argv)
        assert any("a connect alone succeeds and proves nothing, so bytes were sent" in line for line in found["lines"])
        assert "bytes came back" in found["lines"][0]


def test_logs_are_read_while_the_call_is_made(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """The probe's own denial is among what the server's proxy writes, in the seconds of the probe."""
    for flow in list(lab.simulation.flows):
        lab.simulation.act(lambda _, flow=flow: lab.simulation.remove(flow))  # type: ignore[misc]
    assert 3 == main(["diagnose", *REFUSED, "--probe", "--yes", "--logs", "30s", "-o", "json", "--lab", lab.api_url])
    out, err = capsys.readouterr()
    logs = layer(json.loads(out), "logs")
    assert ["rbac-denied"] == sorted({finding["check"] for finding in logs["findings"]})
    assert "rbac-denied" not in err


@pytest.mark.parametrize(
    ("left_out", "reason"),
    [("", None), ("create", "not permitted: create pods in production"), ("delete", "not permitted: delete pods")],
)
def test_the_printed_rights_suffice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], left_out: str, reason: str | None
) -> None:
    """With `rbac --for probe` the call is made; what could not be deleted is not made."""
    assert 0 == main(["rbac", "--user", "ana", "--namespace", "production", "--for", "probe"])
    roles = list(yaml.safe_load_all(capsys.readouterr().out))
    for rule in (rule for role in roles for rule in role.get("rules", []) if rule["resources"] == ["pods"]):
        rule["verbs"] = [verb for verb in rule["verbs"] if verb != left_out]
    document = yaml.safe_load((SHIPPED / "rbac-denial.yaml").read_text())
    path = tmp_path / "ana.yaml"
    path.write_text(yaml.safe_dump({**document, "user": "ana", "manifests": [*document["manifests"], *roles]}))
    main(["diagnose", *PAIR, "--probe", "--yes", "-o", "json", "--lab", str(path)])
    found = layer(json.loads(capsys.readouterr().out), "probe")
    assert ("ok" if reason is None else "unknown", True) == (found["status"], (reason or "") in found["reason"]), found
