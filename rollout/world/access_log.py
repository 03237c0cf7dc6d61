"""Istio's access log lines, text and JSON, as records (istio.md 13), and which of them came without mesh TLS.

Neither paths nor headers are kept: they hold what no report may show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any

import msgspec

from rollout.model.callers import Wire
from rollout.model.traffic import Family

#: SNI of mesh TLS: outbound_.PORT_.SUBSET_.HOST.
_MESH_NAME = "outbound_."
_INBOUND = ("inbound|", "InboundPassthroughCluster")
_NO_CHAIN = "filter_chain_not_found"
#: Health, metrics and the agent of the sidecar itself, and its listeners.
_OWN_PORTS = frozenset({15001, 15006, 15008, 15020, 15021, 15090})
_PORT = len("65535")
_PEER = ("downstream_peer_uri_san", "downstream_peer_subject")
#: From the left as far as the path allows; from the right everything behind the last quote is without spaces.
_HEAD = re.compile(r'\[(?P<time>[^\]]+)\] "(?P<method>\S+) .*?" (?P<code>\d+) (?P<flags>\S+) (?P<details>\S+)')
_TAIL = re.compile(
    r'"(?P<agent>[^"]*)" "[^"]*" "[^"]*" "[^"]*" (?P<cluster>\S+) \S+ (?P<local>\S+) (?P<remote>\S+) (?P<name>\S+) \S+$'
)
_PRODUCT = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,39}")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One line: a request, a TCP connection, or a connection that was refused.

    `name` is the TLS server name, '' without one; `certificate` whether the format shows a peer's; `agent` the product
    of the User-Agent header; `forwarded` that the remote address was taken from X-Forwarded-For.
    """

    at: datetime
    cluster: str
    local: str
    port: int
    remote: str
    name: str = ""
    family: Family = Family.HTTP
    refused: bool = False
    certificate: bool = False
    agent: str = ""
    forwarded: bool = False

    @property
    def inbound(self) -> bool:
        """It came in at an application's port; calls of the pod itself and of its agent are something else."""
        mine = self.refused or self.cluster.startswith(_INBOUND)
        return mine and self.port not in _OWN_PORTS and not _loopback(self.remote)

    @property
    def wire(self) -> Wire | None:
        """What the caller sent; None for mesh TLS."""
        if self.certificate or self.name.startswith(_MESH_NAME):
            return None
        return Wire.OWN_TLS if self.name else Wire.PLAINTEXT


def logged(line: str) -> bool:
    """It looks like an access log line; what Envoy and the agent say of themselves begins otherwise."""
    return line.startswith("[") or (line.startswith("{") and ('"start_time"' in line or "_remote_address" in line))


def parse(line: str) -> Record | None:
    """A line of Istio's default text format or of its JSON; None for any other format."""
    line = line.strip()
    return _json(line) if line.startswith("{") else _text(line)


def _text(line: str) -> Record | None:
    head, tail = _HEAD.match(line), _TAIL.search(line)
    if head is None or tail is None:
        return None
    return _record({**head.groupdict(), **tail.groupdict()})


def _json(line: str) -> Record | None:
    try:
        found = msgspec.json.decode(line)
    except (msgspec.MsgspecError, RecursionError):
        return None
    named = {
        "time": "start_time", "method": "method", "flags": "response_flags", "details": "response_code_details",
        "agent": "user_agent", "cluster": "upstream_cluster", "local": "downstream_local_address",
        "remote": "downstream_remote_address", "name": "requested_server_name",
    }  # fmt: skip
    fields: dict[str, Any] = {ours: found.get(theirs) for ours, theirs in named.items()}
    direct = found.get("downstream_direct_remote_address")
    if isinstance(direct, str) and _place(direct)[0]:
        fields["remote"] = direct
    fields["certificate"] = any(found.get(key) not in (None, "", "-") for key in _PEER)
    return _record(fields)


def _record(fields: Mapping[str, Any]) -> Record | None:
    said = {key: value if isinstance(value, str) and value != "-" else "" for key, value in fields.items()}
    at = _moment(said["time"])
    (local, port), (remote, remote_port) = _place(said["local"]), _place(said["remote"])
    if at is None or not local or not remote:
        return None
    refused = said["details"] == _NO_CHAIN and "NR" in said["flags"].split(",")
    product = _PRODUCT.match(said["agent"])
    return Record(
        at=at,
        cluster=said["cluster"],
        local=local,
        port=port,
        remote=remote,
        name=said["name"],
        family=Family.HTTP if said["method"] else Family.TCP,
        refused=refused,
        certificate=bool(fields.get("certificate")),
        agent=product.group() if product else "",
        # Envoy gives an address that it took from the header the port 0
        forwarded=remote_port == 0,
    )


def _moment(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else None


def _place(text: str) -> tuple[str, int]:
    """`10.2.3.4:51324` or `[fd00::4]:51324`; ('', 0) for anything else."""
    host, _, port = text.rpartition(":")
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return "", 0
    # a dual-stack listener sees IPv4 callers as ::ffff:10.2.3.4
    mapped = getattr(address, "ipv4_mapped", None)
    return (str(mapped or address), int(port)) if port.isdecimal() and len(port) <= _PORT else ("", 0)


def _loopback(address: str) -> bool:
    return ip_address(address).is_loopback
