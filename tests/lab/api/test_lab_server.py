"""The server: the clock over HTTP, faults, the service proxy, Prometheus, and a clean stop."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest

from rollout.lab.api import Effect, Fault, User

HOUR = timedelta(hours=1)
CONFIG = "/api/v1/namespaces/default/configmaps"
SLEEPER = """
import http.client, json, sys
c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
c.request("POST", "/lab/clock/attach")
c.getresponse().read()
print("attached", flush=True)
if sys.argv[2]:
    c.request("POST", "/lab/clock/sleep", json.dumps({"until": sys.argv[2]}))
    c.getresponse().read()
sys.stdin.read()
"""


def now(lab: Any) -> datetime:
    """The lab's time, as a client reads it."""
    return datetime.fromisoformat(lab("GET", "/lab/clock")[1]["now"])


def until(moment: datetime) -> dict[str, str]:
    """The body of a sleep."""
    return {"until": moment.isoformat()}


def test_a_client_sleeps_through_hours_at_once(lab: Any) -> None:
    """Attach, sleep, and the answer comes with the exact time."""
    client = lab.client()
    _, answer = client("POST", "/lab/clock/attach")
    wanted = datetime.fromisoformat(answer["now"]) + HOUR
    assert client("POST", "/lab/clock/sleep", until(wanted)) == (200, {"now": wanted.strftime("%Y-%m-%dT%H:%M:%S.%fZ")})
    assert now(lab) == wanted


def test_a_sleep_needs_an_attached_connection(lab: Any) -> None:
    """Another connection's attachment does not count."""
    lab.client()("POST", "/lab/clock/attach")
    assert lab("POST", "/lab/clock/sleep", until(now(lab)))[0] == 409


@pytest.mark.parametrize("body", [b"", b"{}", b'{"until": "soon"}', b'{"until": "2027-01-01T00:00:00"}'])
def test_a_sleep_until_nonsense_is_refused(lab: Any, body: bytes) -> None:
    """400, and time stands."""
    client = lab.client()
    client("POST", "/lab/clock/attach")
    assert client("POST", "/lab/clock/sleep", body)[0] == 400


def test_a_closed_connection_drops_out(lab: Any) -> None:
    """A client that ends in an orderly way holds nobody up."""
    first, second = lab.client(), lab.client()
    first("POST", "/lab/clock/attach")
    _, answer = second("POST", "/lab/clock/attach")
    first.connection.close()
    wanted = datetime.fromisoformat(answer["now"]) + HOUR
    assert second("POST", "/lab/clock/sleep", until(wanted))[0] == 200


@pytest.mark.parametrize("asleep", [False, True])
def test_a_killed_process_drops_out(lab: Any, asleep: bool) -> None:
    """Awake or asleep: SIGKILL leaves nobody waiting."""
    me = lab.client()
    _, answer = me("POST", "/lab/clock/attach")
    start = datetime.fromisoformat(answer["now"])
    wanted = (start + HOUR / 2).isoformat() if asleep else ""
    arguments = [sys.executable, "-c", SLEEPER, str(lab.server.port), wanted]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"attached\n"
        other.send_signal(signal.SIGKILL)
        other.wait(10)
    assert me("POST", "/lab/clock/sleep", until(start + HOUR))[0] == 200
    assert now(lab) == start + HOUR


def test_a_reset_connection_drops_out_of_its_sleep(lab: Any) -> None:
    """A connection that is reset while its answer is held does not hold time at its wish."""
    me = lab.client()
    _, answer = me("POST", "/lab/clock/attach")
    start = datetime.fromisoformat(answer["now"])
    raw = socket.create_connection(("127.0.0.1", lab.server.port))
    raw.sendall(b"POST /lab/clock/attach HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert raw.recv(9) == b"HTTP/1.1 "
    body = json.dumps(until(start + HOUR / 2)).encode()
    raw.sendall(b"POST /lab/clock/sleep HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()
    assert me("POST", "/lab/clock/sleep", until(start + HOUR))[0] == 200


def test_objects_carry_the_virtual_time(lab: Any) -> None:
    """creationTimestamp and managedFields come from the clock."""
    client = lab.client()
    _, answer = client("POST", "/lab/clock/attach")
    client("POST", "/lab/clock/sleep", until(datetime.fromisoformat(answer["now"]) + 10 * HOUR))
    stamp = (datetime.fromisoformat(answer["now"]) + 10 * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")
    _, made = client("POST", CONFIG, {"metadata": {"name": "x"}, "data": {"a": "b"}})
    assert made["metadata"]["creationTimestamp"] == stamp
    assert made["metadata"]["managedFields"][0]["time"] == stamp


def test_an_overloaded_server_answers_in_plain_text(lab: Any) -> None:
    """429 with Retry-After and no Status, for the requests that were meant only."""
    lab.server.faults.add(Fault(Effect.OVERLOADED, method="PATCH", path="configmaps/x", skip=1, count=1, retry_after=3))
    lab("POST", CONFIG, {"metadata": {"name": "x"}})
    answers = [lab("PATCH", f"{CONFIG}/x", {"data": {"n": str(n)}})[0] for n in range(4)]
    assert answers == [200, 429, 200, 200]
    lab.server.faults.add(Fault(Effect.OVERLOADED, retry_after=3))
    client = lab.client()
    client.connection.request("GET", CONFIG)
    answer = client.connection.getresponse()
    assert (answer.status, answer.headers["Retry-After"], answer.headers["Content-Type"]) == (
        429,
        "3",
        "text/plain; charset=utf-8",
    )
    assert answer.read().startswith(b"Too many requests")


def test_one_users_load_is_shed_alone(make_lab: Any) -> None:
    """A fault with a token leaves everybody else alone."""
    lab = make_lab(tokens={"busy": User("busy", ("system:masters",)), "calm": User("calm", ("system:masters",))})
    status, _ = lab("POST", "/lab/faults", {"effect": "overloaded", "token": "busy"})
    answers = [lab("GET", CONFIG, Authorization=f"Bearer {token}")[0] for token in ("busy", "calm")]
    assert (201, [429, 200]) == (status, answers)


def test_a_webhook_that_nobody_would_call_is_not_taken(lab: Any) -> None:
    """501 with the reason, since a write that it should refuse would pass."""
    base = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    hook = {"name": "a.example.com", "sideEffects": "None", "clientConfig": {"url": "https://example.com/v"}}
    status, answer = lab("POST", base, {"metadata": {"name": "v"}, "webhooks": [hook]})
    assert (501, True) == (status, "webhooks[0].clientConfig.url" in answer["message"])
    assert lab("GET", f"{base}/v")[0] == 404
    hook["clientConfig"] = {"service": {"namespace": "default", "name": "v"}}
    status, made = lab("POST", base, {"metadata": {"name": "v"}, "webhooks": [hook]})
    assert (201, 443) == (status, made["webhooks"][0]["clientConfig"]["service"]["port"])


def test_a_pod_is_seen_terminating_before_it_is_gone(lab: Any) -> None:
    """Also one that is deleted without any delay."""
    pods = "/api/v1/namespaces/default/pods"
    spec = {"containers": [{"name": "a", "image": "a:1"}], "nodeName": "n"}
    _, made = lab("POST", pods, {"metadata": {"name": "p"}, "spec": spec})
    lab("DELETE", f"{pods}/p?gracePeriodSeconds=0")
    since = made["metadata"]["resourceVersion"]
    _, text = lab("GET", f"{pods}?watch=1&timeoutSeconds=1&resourceVersion={since}")
    events = [json.loads(line) for line in text.splitlines()]
    graces = [(event["type"], event["object"]["metadata"]["deletionGracePeriodSeconds"]) for event in events]
    assert [("MODIFIED", 0), ("DELETED", 0)] == graces


def test_the_root_is_an_index(lab: Any) -> None:
    """What a browser is shown: the paths that there are, and each of them answers."""
    status, index = lab("GET", "/")
    assert (200, True) == (status, "/apis/security.istio.io/v1" in index["paths"])
    assert {200} == {lab("GET", path)[0] for path in index["paths"]}


def test_a_connection_dropped_before_the_effect_wrote_nothing(lab: Any) -> None:
    """The client cannot tell, the store can."""
    lab.server.faults.add(Fault(Effect.DROP_BEFORE, count=1))
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        lab("POST", CONFIG, {"metadata": {"name": "x"}})
    assert lab("GET", f"{CONFIG}/x")[0] == 404


def test_a_connection_dropped_after_the_effect_wrote_it(lab: Any) -> None:
    """The same for the client, and the object is there."""
    lab.server.faults.add(Fault(Effect.DROP_AFTER, method="POST", count=1))
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        lab("POST", CONFIG, {"metadata": {"name": "x"}})
    assert lab("GET", f"{CONFIG}/x")[0] == 200


def test_a_conflict_on_demand_names_the_object(lab: Any) -> None:
    """409 with reason Conflict, as if somebody had written first."""
    lab("POST", CONFIG, {"metadata": {"name": "x"}})
    lab.server.faults.add(Fault(Effect.CONFLICT, method="PATCH", count=1))
    status, answer = lab("PATCH", f"{CONFIG}/x", {"data": {"a": "b"}})
    assert (status, answer["reason"], answer["details"]["name"]) == (409, "Conflict", "x")


def test_a_token_expires_at_a_virtual_time(lab: Any) -> None:
    """401 from then on, for everything."""
    client = lab.client()
    _, answer = client("POST", "/lab/clock/attach")
    expiry = datetime.fromisoformat(answer["now"]) + HOUR
    status, _ = lab("POST", "/lab/faults", {"effect": "unauthorized", "since": expiry.isoformat()})
    assert (status, lab("GET", CONFIG)[0]) == (201, 200)
    client("POST", "/lab/clock/sleep", until(expiry))
    assert lab("GET", CONFIG)[0] == 401
    lab("DELETE", "/lab/faults")
    assert lab("GET", CONFIG)[0] == 200


def test_any_status_can_be_asked_for(lab: Any) -> None:
    """Over HTTP, with a body."""
    lab("POST", "/lab/faults", [{"effect": "status", "status": 503, "body": "gateway", "path": "/version"}])
    assert lab("GET", "/version") == (503, "gateway")


def test_a_slow_answer_is_slow_and_right(lab: Any) -> None:
    """Latency delays, and changes nothing."""
    lab.server.faults.add(Fault(Effect.LATENCY, seconds=0.01))
    assert lab("GET", CONFIG)[0] == 200


@pytest.mark.parametrize("fault", [{"effect": "nonsense"}, {"effect": "status", "pth": "x"}, {}, 3])
def test_a_fault_with_a_typo_is_refused(lab: Any, fault: Any) -> None:
    """A fault that never strikes would make a test pass for nothing."""
    assert lab("POST", "/lab/faults", fault)[0] == 400


class Prometheus:
    """Answers with what it was asked."""

    def handle(self, method: str, path: str, query: Any, headers: Any, body: bytes) -> tuple[int, str, bytes]:
        """Echo."""
        asked = {"method": method, "path": path, "query": query, "agent": headers["user-agent"], "body": body.decode()}
        return 200, "application/json", json.dumps(asked).encode()


def test_prometheus_stands_below_its_path(make_lab: Any) -> None:
    """The handler sees a path of its own, the parsed query and the body."""
    lab = make_lab(prometheus=Prometheus())
    _, answer = lab("POST", "/prometheus/api/v1/query?query=up%7B%7D&time=1", b"x=y")
    assert answer == {
        "method": "POST",
        "path": "/api/v1/query",
        "query": {"query": ["up{}"], "time": ["1"]},
        "agent": "test/1",
        "body": "x=y",
    }
    assert make_lab()("GET", "/prometheus/api/v1/query")[0] == 404


@pytest.mark.parametrize("name", ["prometheus:9090", "http:prometheus:9090"])
def test_the_service_proxy_reaches_a_service(lab: Any, name: str) -> None:
    """With and without a scheme; a service that is not there is a 503."""
    lab.server.services["prometheus.istio-system:9090"] = Prometheus().handle
    base = "/api/v1/namespaces/istio-system/services"
    status, answer = lab("GET", f"{base}/{name}/proxy/api/v1/query?query=up")
    assert (status, answer["path"], answer["query"]) == (200, "/api/v1/query", {"query": ["up"]})
    assert lab("GET", f"{base}/nosuch:80/proxy/x")[0] == 503


def test_rights_come_from_stored_roles(make_lab: Any) -> None:
    """A user may what a binding gives, nothing else; an admin impersonates."""
    lab = make_lab(tokens={"t-ops": User("ops"), "t-root": User("root", ("system:masters",))})
    rbac = "rbac.authorization.k8s.io/v1"
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    lab.store.create({"apiVersion": rbac, "kind": "Role", "metadata": {"name": "r"}, "rules": rules})
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    subjects = [{"kind": "User", "name": "ops"}]
    lab.store.create(
        {"apiVersion": rbac, "kind": "RoleBinding", "metadata": {"name": "r"}, "roleRef": ref, "subjects": subjects}
    )
    assert lab("GET", CONFIG, Authorization="Bearer t-ops")[0] == 200
    assert lab("GET", "/api/v1/namespaces/kube-system/configmaps", Authorization="Bearer t-ops")[0] == 403
    assert lab("GET", CONFIG, Authorization="Bearer wrong")[0] == 401
    assert lab("GET", CONFIG)[0] == 403
    assert lab("POST", CONFIG, {"metadata": {"name": "x"}}, Authorization="Bearer t-root")[0] == 201
    as_ops = {"Authorization": "Bearer t-root", "Impersonate_User": "ops"}
    assert lab("POST", CONFIG, {"metadata": {"name": "y"}}, **as_ops)[0] == 403


def test_apply_is_refused_with_415(lab: Any) -> None:
    """No silent merge where server-side apply was meant."""
    status, answer = lab(
        "PATCH", f"{CONFIG}/x?fieldManager=a", {"metadata": {"name": "x"}}, Content_Type="application/apply-patch+yaml"
    )
    assert (status, answer["reason"]) == (415, "UnsupportedMediaType")


def test_a_stop_ends_an_open_watch(make_lab: Any) -> None:
    """The server stops while a client watches and another sleeps, and leaves no thread."""
    lab = make_lab()
    before = threading.active_count()
    client = lab.client()
    client.connection.request("GET", f"{CONFIG}?watch=1")
    assert client.connection.getresponse().status == 200
    lab.server.stop()
    assert threading.active_count() < before
    with pytest.raises(OSError):  # noqa: PT011 - whichever way the system refuses
        lab("GET", CONFIG)


def test_a_watch_may_expire(lab: Any) -> None:
    """After the history is gone, a watch from before it gets 410 in its stream."""
    _, listed = lab("GET", CONFIG)
    revision = listed["metadata"]["resourceVersion"]
    lab("POST", CONFIG, {"metadata": {"name": "x"}})
    lab.store.compact()
    status, event = lab("GET", f"{CONFIG}?watch=1&timeoutSeconds=5&resourceVersion={revision}")
    assert (status, event["type"], event["object"]["code"]) == (200, "ERROR", 410)


def test_a_chunked_body_is_read(lab: Any) -> None:
    """Clients that stream their bodies are understood."""
    client = lab.client()
    body = iter([b'{"metadata": ', b'{"name": "x"}}'])
    headers = {"Content-Type": "application/json"}
    client.connection.request("POST", CONFIG, body, headers, encode_chunked=True)
    answer = client.connection.getresponse()
    assert (answer.status, json.loads(answer.read())["metadata"]["name"]) == (201, "x")
