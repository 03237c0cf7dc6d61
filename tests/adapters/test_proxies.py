"""What is made of a proxy's pages: certificates without keys, levels, chains; and istioctl beside exec."""

from __future__ import annotations

import base64
import json
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.process import Finished
from rollout.adapters.proxies import PilotAgents, certificates_only
from rollout.adapters.websocket import Ran
from rollout.errors import Forbidden, Outcome, RolloutError
from rollout.model.kubernetes import Ref
from rollout.ports import InboundChain, Loggers, Proxies

POD = Ref("Pod", "production", "orders-1")
KEY = base64.b64encode(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----").decode()
CHAIN, ROOT = "Y2hhaW4=", "cm9vdA=="


def agents(*answers: Ran | RolloutError | bytes | str, **options: Any) -> tuple[PilotAgents, list[Sequence[str]]]:
    """Proxies that answer one after the other, and what they were asked."""
    asked: list[Sequence[str]] = []
    left = list(answers)

    def execute(pod: Ref, container: str, command: Sequence[str]) -> Ran:
        assert (POD, "istio-proxy", ["pilot-agent", "request"]) == (pod, container, list(command[:2]))
        asked.append(command[2:])
        answer = left.pop(0)
        if isinstance(answer, RolloutError):
            raise answer
        if isinstance(answer, Ran):
            return answer
        return Ran(0, answer.encode() if isinstance(answer, str) else answer, b"")

    return PilotAgents(execute, **options), asked


def secret(camel: bool = False, **more: Any) -> list[dict[str, Any]]:
    """The two secrets, with everything that must not be kept."""
    words = ["tls_certificate", "certificate_chain", "private_key", "inline_bytes", "validation_context", "trusted_ca",
             "last_updated", "session_ticket_keys"]  # fmt: skip
    if camel:
        words = [w.split("_")[0] + "".join(p.capitalize() for p in w.split("_")[1:]) for w in words]
    tls, chain, key, inline, context, ca, updated, tickets = words
    data = {inline: KEY, "inlineString": KEY}
    return [
        {"name": "default", updated: "2026-03-02T10:00:00Z", "secret": {"name": "default", tls: {
            chain: {inline: CHAIN}, key: data, "password": data}, tickets: {"keys": [data]}}, **more},
        {"name": "ROOTCA", "secret": {"name": "ROOTCA", context: {ca: {inline: ROOT}}}},
        {"name": "other", "secret": {"generic_secret": {"secret": data}}},
    ]  # fmt: skip


KEPT = {
    "dynamic_active_secrets": [
        {"name": "default", "last_updated": "2026-03-02T10:00:00Z",
         "secret": {"tls_certificate": {"certificate_chain": {"inline_bytes": CHAIN}}}},
        {"name": "ROOTCA", "last_updated": "",
         "secret": {"validation_context": {"trusted_ca": {"inline_bytes": ROOT}}}},
        {"name": "other", "last_updated": "", "secret": {}},
    ],
    "dynamic_warming_secrets": [],
}  # fmt: skip
DYNAMIC = "type.googleapis.com/envoy.admin.v3.SecretsConfigDump.DynamicSecret"


@pytest.mark.parametrize(
    "dump",
    [
        {"configs": [{"@type": DYNAMIC, **entry} for entry in secret()]},
        {"configs": [{"@type": "x.BootstrapConfigDump"}, {"@type": "x", "dynamic_active_secrets": secret()}]},
        {"dynamicActiveSecrets": secret(camel=True)},
    ],
    ids=["resource", "whole", "istioctl"],
)
def test_of_secrets_only_certificates_are_kept(dump: dict[str, Any]) -> None:
    """In all three shapes; keys, passwords and tickets are left out by what they are not, whatever they are called."""
    found = certificates_only(json.dumps(dump).encode())
    assert found is not None
    assert KEPT == json.loads(found)
    assert KEY.encode() not in found


@pytest.mark.parametrize("text", [b"not found in config dump", b"[]", b"{}", b'{"configs": [{"a": 1}]}', b"\xff"])
def test_what_holds_no_secrets_is_none(text: bytes) -> None:
    """Never an empty list of certificates."""
    assert certificates_only(text) is None


def test_a_proxy_without_secrets_yet_has_none() -> None:
    """Its answer to the question is an empty list."""
    found = certificates_only(b'{"configs": []}')
    assert {"dynamic_active_secrets": [], "dynamic_warming_secrets": []} == json.loads(found or b"")


def test_the_secrets_alone_are_asked_for() -> None:
    """The whole dump, which is large, only of an Envoy that does not know the question."""
    port: Proxies
    port, asked = agents(json.dumps({"configs": [{"@type": DYNAMIC, **secret()[0]}]}))
    assert CHAIN.encode() in port.config_dump(POD)
    assert [("GET", "config_dump?resource=dynamic_active_secrets")] == asked
    port, asked = agents("resource not found in config dump", json.dumps({"configs": [{"dynamic_active_secrets": []}]}))
    port.config_dump(POD)
    assert ("GET", "config_dump") == asked[1]
    port, _ = agents("nothing", "nothing")
    with pytest.raises(RolloutError, match="holds no secrets") as caught:
        port.config_dump(POD)
    assert (Outcome.CANNOT_SEE, str(POD)) == (caught.value.outcome, caught.value.where)


def test_a_failure_of_pilot_agent_is_its_first_line() -> None:
    """Without the pages of usage behind it."""
    err = b"Error: received unsuccessful status code 400: error: unknown logger name\n\nusage: ..."
    port, _ = agents(Ran(255, b"", err), Ran(1, b"", b""))
    with pytest.raises(RolloutError, match="exit status 255: received unsuccessful status code 400") as caught:
        port.set_levels(POD, {"tls": "debug"})
    assert "usage" not in caught.value.problem
    with pytest.raises(RolloutError, match="it said nothing"):
        port.certs(POD)


LOGGING = "active loggers:\n  admin: warning\n  conn_handler: warning\n  connection: {}\n  misc: error\n\n"


def test_levels_are_read_and_set_in_one_request_each() -> None:
    """And a proxy that says something else than what was asked for has failed."""
    port: Loggers
    port, asked = agents(LOGGING.format("warning"), LOGGING.format("debug"), LOGGING.format("info"), "LIVE")
    assert {"admin": "warning", "conn_handler": "warning", "connection": "warning", "misc": "error"} == port.levels(POD)
    port.set_levels(POD, {"connection": "debug", "conn_handler": "warning"})
    assert [("POST", "logging"), ("POST", "logging?paths=conn_handler:warning,connection:debug")] == asked
    with pytest.raises(RolloutError, match="did not change the levels of connection"):
        port.set_levels(POD, {"connection": "debug"})
    with pytest.raises(RolloutError, match="does not list its loggers"):
        port.levels(POD)


def chain(port: int | None = None, transport: str | None = None, client: bool | None = None) -> dict[str, Any]:
    match = {"destination_port": port, "transport_protocol": transport, "application_protocols": ["istio"]}
    made: dict[str, Any] = {"filter_chain_match": {k: v for k, v in match.items() if v is not None}, "filters": [{}]}
    if client is not None:
        config = {"require_client_certificate": client, "common_tls_context": {"tls_params": {}}}
        made["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": config}
    return made


def test_the_inbound_chains() -> None:
    """Of the listener that is in force; what else a dump holds is not looked at."""
    chains = [chain(8080, "tls", True), chain(8080, "raw_buffer"), chain(None, "tls", False), chain(), {}]
    listeners = [
        {"name": "virtualOutbound", "active_state": {"listener": {"filter_chains": [{}]}}},
        {"name": "virtualInbound", "warming_state": {}, "active_state": {"listener": {"filter_chains": chains}}},
    ]
    port, asked = agents(json.dumps({"configs": listeners}), json.dumps({"configs": listeners[:1]}), "LIVE")
    assert (
        InboundChain(port=8080, transport="tls", tls=True, client_certificate=True),
        InboundChain(port=8080, transport="raw_buffer"),
        InboundChain(transport="tls", tls=True),
        InboundChain(),
        InboundChain(),
    ) == port.inbound(POD)
    assert [("GET", "config_dump?resource=dynamic_listeners")] == asked
    with pytest.raises(RolloutError, match="no listener virtualInbound"):
        port.inbound(POD)
    with pytest.raises(RolloutError, match="no JSON of Envoy's"):
        port.inbound(POD)


SCRIPT = """#!{python}
import json, sys
argv = sys.argv[1:]
open({log!r}, "a").write(json.dumps(argv) + "\\n")
mode = {mode!r}
if mode == "good":
    print(open({answer!r}).read())
elif mode == "no-pod":
    print("error: unable to retrieve Pod: pods \\"orders-1\\" not found", file=sys.stderr)
    sys.exit(1)
elif mode == "old":
    print("Error: unknown flag: -o", file=sys.stderr)
    sys.exit(64)
elif mode == "table":
    print("RESOURCE NAME     TYPE           STATUS     VALID CERT")
"""


def istioctl(folder: Path, mode: str) -> str:
    """An executable that behaves as istioctl does (istio.md 8)."""
    answer, log, path = folder / "answer.json", folder / "log", folder / "istioctl"
    answer.write_text(json.dumps({"dynamicActiveSecrets": secret(camel=True)}))
    text = SCRIPT.format(python=sys.executable, log=str(log), mode=mode, answer=str(answer))
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_istioctl_is_asked_where_there_is_one(tmp_path: Path) -> None:
    """With the same cluster; no command runs in the pod."""
    port, asked = agents(istioctl=(istioctl(tmp_path, "good"), "--kubeconfig", "k", "--context", "c"))
    assert KEPT == json.loads(port.config_dump(POD))
    assert [] == asked
    argv = ["proxy-config", "secret", "orders-1.production", "-o", "json", "--kubeconfig", "k", "--context", "c"]
    assert argv == json.loads((tmp_path / "log").read_text())


@pytest.mark.parametrize("mode", ["no-pod", "old", "table", "silent", "absent"])
def test_exec_does_what_istioctl_cannot(tmp_path: Path, mode: str) -> None:
    """It fails, is too old for JSON, prints something else, nothing, or is not there."""
    binary = "/nowhere/istioctl" if mode == "absent" else istioctl(tmp_path, mode)
    port, asked = agents(json.dumps({"configs": [{"@type": DYNAMIC, **secret()[0]}]}), istioctl=(binary,))
    assert CHAIN.encode() in port.config_dump(POD)
    assert 1 == len(asked)


def test_an_istioctl_that_hangs_is_not_asked_for_the_next_pod() -> None:
    """Each would cost as much time."""
    started: list[str] = []

    def run(argv: Sequence[str]) -> Finished:
        started.append(argv[0])
        return Finished(None, b"", "")

    dump = json.dumps({"configs": [{"@type": DYNAMIC, **secret()[0]}]})
    port, _ = agents(dump, dump, dump, istioctl=("i",), run=run)
    for _ in range(3):
        assert CHAIN.encode() in port.config_dump(POD)
    assert ["i"] == started


def test_a_missing_right_stays_what_it_is() -> None:
    """So that its command can be named."""
    port, _ = agents(Forbidden('cannot create resource "pods/exec"'))
    with pytest.raises(Forbidden):
        port.certs(POD)
