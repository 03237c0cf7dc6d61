"""The truth table: every kind of client against every kind of server, and objects that lead to each kind."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.diagnosis.policy import overall, verdicts
from rollout.diagnosis.table import CELLS, SENDS, Client, Outcome, Sends, Server, cell
from rollout.model.gateways import VirtualService
from rollout.model.istio import MeshConfig
from rollout.model.kubernetes import Object, ServicePort
from tests.diagnosis.makers import found, peers, pod, routes, rule, service, space

MESH = MeshConfig()
#: Per kind of client: STRICT, PERMISSIVE, DISABLE, not captured, ambient or gateway. `mutual` and `plaintext` work,
#: `refused` does not, `app` depends on the app, `open` on what is not read here.
PLAINTEXT = "refused plaintext plaintext plaintext open"
EXPECTED = {
    Client.AUTO: "mutual mutual refused refused open",
    Client.ISTIO_MUTUAL: "mutual mutual refused refused open",
    Client.DISABLE: PLAINTEXT,
    Client.SIMPLE: "refused app app app open",
    Client.MUTUAL: "open app app app open",
    Client.NO_SIDECAR: PLAINTEXT,
    Client.PAST_SIDECAR: PLAINTEXT,
    Client.POD_ADDRESS: PLAINTEXT,
    Client.AUTO_OFF: PLAINTEXT,
    Client.NAMESPACE_DISABLED: PLAINTEXT,
    Client.PORT_DISABLED: PLAINTEXT,
    Client.HEADLESS_MIXED: PLAINTEXT,
    Client.NO_LABEL: PLAINTEXT,
    Client.AMBIENT: "open open open open open",
    Client.HAND_MADE: "open open open open open",
}
WORDS = {
    "mutual": (Outcome.WORKS, True),
    "plaintext": (Outcome.WORKS, False),
    "refused": (Outcome.REFUSED, False),
    "app": (Outcome.DEPENDS, False),
    "open": (Outcome.DEPENDS, None),
}
ROWS = [
    (client, server, word) for client in Client for server, word in zip(Server, EXPECTED[client].split(), strict=True)
]


def test_no_cell_is_missing() -> None:
    """Each client sends something, each pair of what is sent and what listens has a verdict."""
    assert set(Client) == set(SENDS) == set(EXPECTED)
    assert {(sends, server) for sends in Sends for server in Server} == set(CELLS)


@pytest.mark.parametrize(("client", "server", "word"), ROWS, ids=lambda value: str(value))
def test_a_cell(client: Client, server: Server, word: str) -> None:
    """The verdict, and by what one recognises it."""
    judged = cell(client, server)
    assert WORDS[word] == (judged.outcome, judged.mutual)
    assert judged.seen


SHOP = pod("web-1", "shop")
EXCLUDED = "traffic.sidecar.istio.io/excludeOutboundPorts"
STRICT = peers("STRICT")
#: Objects that make a client or a server of a kind; keywords of `case` below.
CLIENTS: list[tuple[str, Client, dict[str, Any]]] = [
    ("a sidecar", Client.AUTO, {}),
    ("a rule without tls", Client.AUTO, {"objects": [rule(None)]}),
    ("ISTIO_MUTUAL", Client.ISTIO_MUTUAL, {"objects": [rule("ISTIO_MUTUAL")]}),
    ("DISABLE", Client.DISABLE, {"objects": [rule("DISABLE")]}),
    ("SIMPLE", Client.SIMPLE, {"objects": [rule("SIMPLE")]}),
    ("MUTUAL", Client.MUTUAL, {"objects": [rule("MUTUAL")]}),
    (
        "DISABLE for another port",
        Client.AUTO,
        {
            "objects": [
                rule(
                    None,
                    trafficPolicy={"portLevelSettings": [{"port": {"number": 81}, "tls": {"mode": "DISABLE"}}]},
                )
            ]
        },
    ),
    (
        "DISABLE for another client",
        Client.AUTO,
        {"objects": [rule("DISABLE", workloadSelector={"matchLabels": {"app": "other"}})]},
    ),
    (
        "DISABLE for this client, before ISTIO_MUTUAL for all",
        Client.DISABLE,
        {
            "objects": [
                rule("ISTIO_MUTUAL", name="all"),
                rule("DISABLE", workloadSelector={"matchLabels": {"app": "web"}}),
            ]
        },
    ),
    ("no sidecar", Client.NO_SIDECAR, {"client": pod("web-1", "shop", sidecar=False)}),
    (
        "the interface excluded",
        Client.PAST_SIDECAR,
        {"client": pod("web-1", "shop", annotations={"traffic.sidecar.istio.io/excludeInterfaces": "eth0"})},
    ),
    ("the port excluded", Client.PAST_SIDECAR, {"client": pod("web-1", "shop", annotations={EXCLUDED: "80"})}),
    (
        "the port excluded for the mesh",
        Client.PAST_SIDECAR,
        {"client": pod("web-1", "shop", init=[{"name": "istio-init", "args": ["-o", "80"]}])},
    ),
    (
        "the container's port of a headless Service excluded",
        Client.PAST_SIDECAR,
        {
            "client": pod("web-1", "shop", annotations={EXCLUDED: "8080"}),
            "to": service(clusterIP="None"),
        },
    ),
    (
        "nothing captured",
        Client.PAST_SIDECAR,
        {"client": pod("web-1", "shop", annotations={"sidecar.istio.io/interceptionMode": "NONE"})},
    ),
    ("a gateway", Client.AUTO, {"client": pod("web-1", "shop", role="router", annotations={EXCLUDED: "80"})}),
    ("the pod's address", Client.POD_ADDRESS, {"to": None}),
    ("auto mTLS off", Client.AUTO_OFF, {"mesh": MeshConfig(enable_auto_mtls=False)}),
    ("the namespace DISABLE", Client.NAMESPACE_DISABLED, {"objects": [peers("DISABLE")], "policies": []}),
    (
        "the workload DISABLE",
        Client.PORT_DISABLED,
        {"objects": [peers("DISABLE", name="own", selector={"app": "ledger"})]},
    ),
    (
        "the port DISABLE",
        Client.PORT_DISABLED,
        {"objects": [peers("STRICT", name="own", selector={"app": "ledger"}, ports={"8080": "DISABLE"})]},
    ),
    (
        "a headless Service of like pods",
        Client.AUTO,
        {"to": service(clusterIP="None")},
    ),
    (
        "a headless Service of unlike pods",
        Client.HEADLESS_MIXED,
        {"to": service(clusterIP="None"), "servers": [pod(), pod("ledger-2", sidecar=False)]},
    ),
    ("a server without the label", Client.NO_LABEL, {"servers": [pod(labels={"security.istio.io/tlsMode": "off"})]}),
    (
        "ambient",
        Client.AMBIENT,
        {"client": pod("web-1", "shop", sidecar=False, annotations={"ambient.istio.io/redirection": "enabled"})},
    ),
    (
        "an ambient namespace",
        Client.AMBIENT,
        {
            "client": pod("web-1", "shop", sidecar=False),
            "objects": [
                space("shop", **{"istio.io/dataplane-mode": "ambient"}),
                space("payments"),
            ],
        },
    ),
    ("no selector", Client.HAND_MADE, {"to": service(selector={})}),
    ("ExternalName", Client.HAND_MADE, {"to": service(type="ExternalName", externalName="ledger.example.com")}),
]


@pytest.mark.parametrize(("client", "case"), [row[1:] for row in CLIENTS], ids=[row[0] for row in CLIENTS])
def test_objects_that_make_a_client(client: Client, case: dict[str, Any]) -> None:
    """Under STRICT, except where the policy itself is the point."""
    judged = verdicts(
        found(
            *case.get("objects", []),
            *case.get("policies", [STRICT]),
            client=case.get("client", SHOP),
            to=case.get("to", service()),
            servers=case.get("servers", [pod()]),
        ),
        ServicePort(port=80 if case.get("to", True) else 8080, target_port=8080, name="http"),
        case.get("mesh", MESH),
    )
    assert client is judged[0].sent.client
    assert judged[0].sent.because
    mutual = judged[0].cell.mutual
    assert mutual is not False or judged[0].sent.fix, "what is no mutual TLS has a fix"


def test_every_client_has_objects() -> None:
    """No kind that nothing leads to."""
    assert set(Client) == {row[1] for row in CLIENTS}


SERVERS: list[tuple[Server, dict[str, Any]]] = [
    (Server.STRICT, {"objects": [peers("STRICT")]}),
    (Server.PERMISSIVE, {}),
    (Server.DISABLE, {"objects": [peers("DISABLE")]}),
    (Server.UNCAPTURED, {"servers": [pod(annotations={"traffic.sidecar.istio.io/excludeInboundPorts": "8080"})]}),
    (Server.UNCAPTURED, {"servers": [pod(sidecar=False)]}),
    (Server.OTHER, {"servers": [pod(role="router")]}),
    (
        Server.OTHER,
        {"servers": [pod(sidecar=False, annotations={"ambient.istio.io/redirection": "enabled"})]},
    ),
]


@pytest.mark.parametrize(("server", "case"), SERVERS)
def test_objects_that_make_a_server(server: Server, case: dict[str, Any]) -> None:
    """What listens on the port."""
    objects = found(*case.get("objects", []), client=SHOP, to=service(), servers=case.get("servers", [pod()]))
    judged = verdicts(objects, service().spec.ports[0], MESH)
    assert [server] == [verdict.server for verdict in judged]


def test_every_server_has_objects() -> None:
    """No kind that nothing leads to."""
    assert set(Server) == {row[0] for row in SERVERS}


def test_replicas_that_differ() -> None:
    """The verdict depends on which one answers; finished pods and pods without that port do not."""
    servers = [
        pod(),
        pod("ledger-2", annotations={"traffic.sidecar.istio.io/excludeInboundPorts": "8080"}),
        pod("ledger-3", phase="Succeeded"),
    ]
    judged = verdicts(found(client=SHOP, to=service(), servers=servers), service().spec.ports[0], MESH)
    assert [Outcome.WORKS, Outcome.REFUSED] == [verdict.cell.outcome for verdict in judged]
    assert overall(judged) is Outcome.DEPENDS
    assert overall(judged[:1]) is Outcome.WORKS
    named = ServicePort(port=80, target_port="nobody")
    assert () == verdicts(found(client=SHOP, to=service(), servers=servers), named, MESH)


def test_a_subset_is_a_second_answer() -> None:
    """It counts where a VirtualService routes to it; one that says the same adds nothing."""
    subsets = [
        {"name": "v1", "trafficPolicy": {"tls": {"mode": "DISABLE"}}},
        {"name": "v2", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}},
    ]
    both = [("", Client.ISTIO_MUTUAL), ("v1", Client.DISABLE)]
    cases: list[tuple[list[VirtualService], dict[type[Object], str] | None, list[tuple[str, Client]]]] = [
        ([routes("v1"), routes("v2")], None, both),
        ([routes("v2"), routes("v1", "other")], None, both[:1]),
        ([], None, both[:1]),
        ([], {VirtualService: "no right to list them"}, both),
    ]
    for there, forbidden, expected in cases:
        everything = (rule("ISTIO_MUTUAL", subsets=subsets), *there)
        objects = found(*everything, client=SHOP, to=service(), servers=[pod()], unreadable=forbidden)
        judged = verdicts(objects, service().spec.ports[0], MESH)
        assert expected == [(v.sent.subset, v.sent.client) for v in judged]
