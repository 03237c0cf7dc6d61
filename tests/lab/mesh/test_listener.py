"""The filter chains against the tables of observed.md a, b, e, g and j."""

from __future__ import annotations

import pytest

from rollout.lab.mesh.listener import (
    APP_TLS,
    MESH_TLS,
    PLAINTEXT,
    Answer,
    Drain,
    Hello,
    Listener,
    Protocol,
    answer,
    build_listener,
    compare,
)
from rollout.lab.mesh.policy import Mode, PodModes

DECLARED = {8080: Protocol.HTTP, 9000: Protocol.TCP, 7070: Protocol.AUTO}
HTTP, TCP, AUTO, UNDECLARED = 8080, 9000, 7070, 6060
SILENT = Hello(waits=True)
CERTIFICATE_ONLY = Hello(tls=True, certificate=True)
ALPN_ONLY = Hello(tls=True, istio_alpn=True)


def listener(mode: str, **ports: str) -> Listener:
    named = {int(port.removeprefix("p")): Mode(value) for port, value in ports.items()}
    return build_listener(PodModes(Mode(mode), named), DECLARED)


@pytest.mark.parametrize(
    ("mode", "port", "hello", "expected"),
    [
        ("PERMISSIVE", HTTP, PLAINTEXT, Answer.PLAIN),
        ("PERMISSIVE", HTTP, MESH_TLS, Answer.MUTUAL_TLS),
        ("PERMISSIVE", TCP, PLAINTEXT, Answer.PLAIN),
        ("PERMISSIVE", TCP, MESH_TLS, Answer.MUTUAL_TLS),
        ("PERMISSIVE", AUTO, PLAINTEXT, Answer.PLAIN),
        ("PERMISSIVE", UNDECLARED, PLAINTEXT, Answer.PLAIN),
        # a
        ("STRICT", HTTP, PLAINTEXT, Answer.NO_CHAIN),
        ("STRICT", TCP, PLAINTEXT, Answer.NO_CHAIN),
        ("STRICT", AUTO, PLAINTEXT, Answer.NO_CHAIN),
        ("STRICT", UNDECLARED, PLAINTEXT, Answer.NO_CHAIN),
        ("STRICT", HTTP, MESH_TLS, Answer.MUTUAL_TLS),
        ("STRICT", UNDECLARED, MESH_TLS, Answer.MUTUAL_TLS),
        ("PERMISSIVE", TCP, SILENT, Answer.HANGS),
        ("STRICT", TCP, SILENT, Answer.HANGS),
        ("DISABLE", TCP, SILENT, Answer.PLAIN),
        # e
        ("DISABLE", HTTP, PLAINTEXT, Answer.PLAIN),
        ("DISABLE", HTTP, MESH_TLS, Answer.TLS_TO_PLAINTEXT),
        ("DISABLE", TCP, MESH_TLS, Answer.TLS_TO_PLAINTEXT),
        # g
        ("PERMISSIVE", HTTP, APP_TLS, Answer.NO_CHAIN),
        ("PERMISSIVE", TCP, APP_TLS, Answer.PLAIN),
        ("PERMISSIVE", AUTO, APP_TLS, Answer.PLAIN),
        ("PERMISSIVE", UNDECLARED, APP_TLS, Answer.PLAIN),
        ("STRICT", HTTP, APP_TLS, Answer.NO_CERTIFICATE),
        ("STRICT", TCP, APP_TLS, Answer.NO_CERTIFICATE),
        ("STRICT", UNDECLARED, APP_TLS, Answer.NO_CERTIFICATE),
        ("PERMISSIVE", HTTP, ALPN_ONLY, Answer.NO_CERTIFICATE),
        ("PERMISSIVE", TCP, ALPN_ONLY, Answer.NO_CERTIFICATE),
        ("PERMISSIVE", HTTP, CERTIFICATE_ONLY, Answer.NO_CHAIN),
        ("STRICT", HTTP, CERTIFICATE_ONLY, Answer.MUTUAL_TLS),
        ("PERMISSIVE", TCP, CERTIFICATE_ONLY, Answer.PLAIN),
        ("STRICT", TCP, CERTIFICATE_ONLY, Answer.MUTUAL_TLS),
    ],
)
def test_a_connection_is_answered_as_observed(mode: str, port: int, hello: Hello, expected: Answer) -> None:
    """Policy, port and client decide."""
    http = port != TCP
    assert expected == answer(listener(mode), port, hello, http=http)


@pytest.mark.parametrize(
    ("old", "new", "drain", "ports"),
    [
        (listener("PERMISSIVE"), listener("STRICT"), Drain.WHOLE, set()),
        (listener("STRICT"), listener("PERMISSIVE"), Drain.WHOLE, set()),
        (listener("PERMISSIVE"), listener("DISABLE"), Drain.WHOLE, set()),
        (listener("DISABLE"), listener("PERMISSIVE"), Drain.WHOLE, set()),
        (listener("PERMISSIVE"), listener("PERMISSIVE", p8080="STRICT"), Drain.PORTS, {8080}),
        (listener("STRICT"), listener("STRICT", p8080="PERMISSIVE"), Drain.PORTS, {8080}),
        (listener("STRICT"), listener("STRICT", p9000="PERMISSIVE"), Drain.PORTS, {9000}),
        (listener("PERMISSIVE"), listener("PERMISSIVE", p7070="STRICT"), Drain.WHOLE, set()),
        (listener("STRICT"), listener("STRICT", p7070="PERMISSIVE"), Drain.WHOLE, set()),
        (listener("STRICT"), listener("STRICT", p6060="PERMISSIVE"), Drain.WHOLE, set()),
        (listener("STRICT"), listener("STRICT"), Drain.NOTHING, set()),
        (listener("PERMISSIVE"), listener("PERMISSIVE", p8080="PERMISSIVE"), Drain.NOTHING, set()),
    ],
)
def test_an_update_drains_as_observed(old: Listener, new: Listener, drain: Drain, ports: set[int]) -> None:
    """Inspectors that change replace the whole listener; else only the changed port's chains drain (b)."""
    update = compare(old, new)
    assert (drain, ports) == (update.drain, set(update.ports))


def test_a_port_level_change_drains_the_number_of_chains_that_were_seen() -> None:
    """Two chains of an HTTP port leave with STRICT, one of STRICT's with PERMISSIVE (b)."""
    assert compare(listener("PERMISSIVE"), listener("PERMISSIVE", p8080="STRICT")).chains == 2
    assert compare(listener("STRICT"), listener("STRICT", p8080="PERMISSIVE")).chains == 1
