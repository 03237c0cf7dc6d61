"""What becomes of a call: kind of client against mode of the server's port, as data.

Sources: istio.md 2.2, 3.2, 6.5, 7; observed.md a, e, g, i.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec


class Client(StrEnum):
    """Why a client sends what it sends; the values are for JSON."""

    AUTO = "auto mutual TLS"
    ISTIO_MUTUAL = "DestinationRule ISTIO_MUTUAL"
    DISABLE = "DestinationRule DISABLE"
    SIMPLE = "DestinationRule SIMPLE"
    MUTUAL = "DestinationRule MUTUAL"
    NO_SIDECAR = "no sidecar"
    PAST_SIDECAR = "past its sidecar"
    POD_ADDRESS = "the pod's own address"
    AUTO_OFF = "auto mutual TLS is off"
    NAMESPACE_DISABLED = "the server's namespace is DISABLE"
    PORT_DISABLED = "the server's port is DISABLE"
    HEADLESS_MIXED = "headless, not all pods can"
    NO_LABEL = "the server's tlsMode label is missing"
    AMBIENT = "ambient"
    HAND_MADE = "hand-made endpoints"


class Sends(StrEnum):
    """What arrives at the server."""

    MESH_TLS = "mutual TLS"
    PLAINTEXT = "plaintext"
    SIMPLE_TLS = "TLS without a client certificate"
    OWN_TLS = "TLS with a certificate of the DestinationRule's"
    UNKNOWN = "unknown"


class Server(StrEnum):
    """What listens: a sidecar in one of its modes, the app itself, or a proxy that PeerAuthentication is not for."""

    STRICT = "STRICT"
    PERMISSIVE = "PERMISSIVE"
    DISABLE = "DISABLE"
    UNCAPTURED = "not captured"
    OTHER = "ambient or gateway"


class Outcome(StrEnum):
    """The verdict on a call."""

    WORKS = "will work"
    REFUSED = "will be refused"
    DEPENDS = "depends"


class Cell(msgspec.Struct, frozen=True):
    """`mutual`: the call is mutual TLS; None where that depends too. `seen`: by what one recognises it."""

    outcome: Outcome
    mutual: bool | None
    seen: str


SENDS: Mapping[Client, Sends] = MappingProxyType(
    {
        Client.AUTO: Sends.MESH_TLS,
        Client.ISTIO_MUTUAL: Sends.MESH_TLS,
        Client.DISABLE: Sends.PLAINTEXT,
        Client.SIMPLE: Sends.SIMPLE_TLS,
        Client.MUTUAL: Sends.OWN_TLS,
        Client.NO_SIDECAR: Sends.PLAINTEXT,
        Client.PAST_SIDECAR: Sends.PLAINTEXT,
        Client.POD_ADDRESS: Sends.PLAINTEXT,
        Client.AUTO_OFF: Sends.PLAINTEXT,
        Client.NAMESPACE_DISABLED: Sends.PLAINTEXT,
        Client.PORT_DISABLED: Sends.PLAINTEXT,
        Client.HEADLESS_MIXED: Sends.PLAINTEXT,
        Client.NO_LABEL: Sends.PLAINTEXT,
        Client.AMBIENT: Sends.UNKNOWN,
        Client.HAND_MADE: Sends.UNKNOWN,
    }
)

_TO_THE_APP = Cell(Outcome.DEPENDS, False, "the app itself must speak TLS; no proxy takes part")
_OTHER = Cell(Outcome.DEPENDS, None, "PeerAuthentication does not decide there")
_UNKNOWN = Cell(Outcome.DEPENDS, None, "nothing that is read here tells what the client sends")
_WRONG_VERSION = Cell(
    Outcome.REFUSED, False, "the client's sidecar logs 503 URX,UF with WRONG_VERSION_NUMBER, or hangs until its timeout"
)
_PLAIN = Cell(Outcome.WORKS, False, "accepted as plaintext; connection_security_policy is none")
_NO_IDENTITY = Cell(
    Outcome.REFUSED, False, "503 UC at a sidecar, alert `certificate required` elsewhere; the server counts fail_verify"
)

CELLS: Mapping[tuple[Sends, Server], Cell] = MappingProxyType(
    {
        (Sends.MESH_TLS, Server.STRICT): Cell(Outcome.WORKS, True, "connection_security_policy is mutual_tls"),
        (Sends.MESH_TLS, Server.PERMISSIVE): Cell(Outcome.WORKS, True, "connection_security_policy is mutual_tls"),
        (Sends.MESH_TLS, Server.DISABLE): _WRONG_VERSION,
        (Sends.MESH_TLS, Server.UNCAPTURED): _WRONG_VERSION,
        (Sends.PLAINTEXT, Server.STRICT): Cell(
            Outcome.REFUSED,
            False,
            "503 UC at a sidecar, a reset (curl 56) without one, a hang where the client waits for the server's first "
            "bytes; the server logs NR filter_chain_not_found and counts nothing",
        ),
        (Sends.PLAINTEXT, Server.PERMISSIVE): _PLAIN,
        (Sends.PLAINTEXT, Server.DISABLE): Cell(Outcome.WORKS, False, "accepted as plaintext"),
        (Sends.PLAINTEXT, Server.UNCAPTURED): Cell(
            Outcome.WORKS, False, "accepted by the app itself; no metric of Istio's counts it"
        ),
        (Sends.SIMPLE_TLS, Server.STRICT): _NO_IDENTITY,
        (Sends.SIMPLE_TLS, Server.PERMISSIVE): Cell(
            Outcome.DEPENDS, False, "refused on a port declared http; passed on to the app on tcp and undeclared ports"
        ),
        (Sends.SIMPLE_TLS, Server.DISABLE): _TO_THE_APP,
        (Sends.SIMPLE_TLS, Server.UNCAPTURED): _TO_THE_APP,
        (Sends.OWN_TLS, Server.STRICT): Cell(
            Outcome.DEPENDS,
            None,
            "taken only where that certificate is of the mesh's root and trust domain, else as without one",
        ),
        (Sends.OWN_TLS, Server.PERMISSIVE): Cell(
            Outcome.DEPENDS, False, "refused on a port declared http; passed on to the app on tcp and undeclared ports"
        ),
        (Sends.OWN_TLS, Server.DISABLE): _TO_THE_APP,
        (Sends.OWN_TLS, Server.UNCAPTURED): _TO_THE_APP,
        **{(Sends.UNKNOWN, server): _UNKNOWN for server in Server if server is not Server.OTHER},
        **{(sends, Server.OTHER): _OTHER for sends in Sends},
    }
)


def cell(client: Client, server: Server) -> Cell:
    """The verdict on a client of this kind at a port of this kind."""
    return CELLS[SENDS[client], server]
