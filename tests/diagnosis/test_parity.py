"""Two readings of the same rules: the truth table against the lab, which builds filter chains and lets calls match."""

from __future__ import annotations

from itertools import product

import pytest

from rollout.diagnosis.policy import verdicts
from rollout.diagnosis.table import CELLS, SENDS, Outcome, Sends, Server
from rollout.lab.mesh.client import hello_towards, parse_rule
from rollout.lab.mesh.listener import APP_TLS, MESH_TLS, PLAINTEXT, Answer, Hello, Protocol, answer, build_listener
from rollout.lab.mesh.policy import Mode, PodModes
from rollout.model.istio import MeshConfig
from rollout.model.kubernetes import Object
from tests.diagnosis.makers import found, peers, pod, rule, service

HELLOS = {Sends.MESH_TLS: MESH_TLS, Sends.PLAINTEXT: PLAINTEXT, Sends.SIMPLE_TLS: APP_TLS}
MODES = (Mode.STRICT, Mode.PERMISSIVE, Mode.DISABLE)


def judged(given: Answer, hello: Hello) -> tuple[Outcome, bool]:
    """The lab's answer in the table's words; other TLS that is passed on depends on the app."""
    match given:
        case Answer.MUTUAL_TLS:
            return Outcome.WORKS, True
        case Answer.PLAIN | Answer.TLS_TO_PLAINTEXT if hello is APP_TLS:
            return Outcome.DEPENDS, False
        case Answer.PLAIN:
            return Outcome.WORKS, False
        case _:
            return Outcome.REFUSED, False


@pytest.mark.parametrize(("sends", "mode"), list(product(HELLOS, MODES)), ids=str)
def test_the_lab_agrees_on_a_cell(sends: Sends, mode: Mode) -> None:
    """On http, tcp and undeclared ports: the same, or the table says that it depends."""
    hello, cell = HELLOS[sends], CELLS[sends, Server(str(mode))]
    seen = set()
    for protocol in Protocol:
        listener = build_listener(PodModes(mode, {}), {8080: protocol})
        seen.add(judged(answer(listener, 8080, hello, http=protocol is Protocol.HTTP), hello))
    assert {cell.mutual} == {mutual for _, mutual in seen}
    outcomes = {outcome for outcome, _ in seen}
    assert {cell.outcome} == outcomes if len(outcomes) == 1 else cell.outcome is Outcome.DEPENDS


RULES = ("", "DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL")
CASES = list(product(RULES, MODES, MODES, (True, False), (True, False)))


@pytest.mark.parametrize(("tls", "wide", "own", "labelled", "auto"), CASES)
def test_the_lab_agrees_on_what_a_client_sends(tls: str, wide: Mode, own: Mode, labelled: bool, auto: bool) -> None:
    """Rule, the namespace's mode, the workload's, the label, and auto mutual TLS: all of their combinations."""
    labels = {} if labelled else {"security.istio.io/tlsMode": "disabled"}
    raw = {"metadata": {"name": "r", "namespace": "shop"}, "spec": {"trafficPolicy": {"tls": {"mode": tls}}}}
    hello = hello_towards(
        parse_rule(raw) if tls else None, 80, service_mode=wide, pod_mode=own, labelled=labelled, auto_mtls=auto
    )
    objects: list[Object] = [peers(str(wide)), peers(str(own), name="own", selector={"app": "ledger"})]
    objects += [rule(tls)] if tls else []
    made = found(*objects, client=pod("web-1", "shop"), to=service(), servers=[pod(labels=labels)])
    sent = verdicts(made, service().spec.ports[0], MeshConfig(enable_auto_mtls=auto))[0].sent
    wanted = Sends.OWN_TLS if tls == "MUTUAL" else next(sends for sends, each in HELLOS.items() if each == hello)
    assert wanted is SENDS[sent.client]
