"""The forms in which istioctl's versions print `proxy-status` (istio.md 8.2), read by names, never by position.

From 1.27 on it prints JSON: one DiscoveryResponse per istiod, one after the other. Before that there is a table, whose
columns and words changed with every few versions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from rollout.model.kubernetes import Ref
from rollout.model.synchronization import Difference, ProxySync, Sync

#: The resource's own name ends the type URL.
_SHORT = {
    "Cluster": "CDS",
    "Listener": "LDS",
    "RouteConfiguration": "RDS",
    "ClusterLoadAssignment": "EDS",
    "TypedExtensionConfig": "ECDS",
    "Secret": "SDS",
}
#: Without these two columns a table says nothing of policies (listeners) or of what clients send (clusters).
_NEEDED = ("LDS", "CDS")
_HEADING = re.compile(r"\S+(?: \S+)*")
_WORDS = {word.value: word for word in Sync}
#: What stands behind a word: `SYNCED (5m24s)`, `STALE (Never Acknowledged)`, `SYNCED (100%)`.
_BEHIND = re.compile(r"\s*\(.*\)$")
_MATCH = re.compile(r"^(Clusters|Listeners|Routes) Match\b")
_DIFFER = re.compile(r"^--- (?:Istiod|Pilot) (Clusters|Listeners|Routes)\b")
#: Changed lines that are shown of each part, and how much of one.
_EXAMPLES, _WIDTH = 3, 100
_FIELD = re.compile(r'"(?P<key>[^"]+)": *(?P<value>.*)')
#: Texts that are shown: others may be tokens and keys that somebody wrote into a filter.
_HARMLESS = frozenset(
    {"name", "transportProtocol", "routeConfigName", "clusterName", "cluster", "sni", "exact", "prefix"}
)


class _Config(msgspec.Struct, frozen=True, rename="camel"):
    type_url: str = ""
    config_status: str = ""
    last_updated: datetime | None = None
    error_state: dict[str, Any] = {}


class _Node(msgspec.Struct, frozen=True):
    id: str = ""
    metadata: dict[str, Any] = {}


class _Client(msgspec.Struct, frozen=True, rename="camel"):
    node: _Node = _Node()
    generic_xds_configs: tuple[_Config, ...] = ()


class _Plane(msgspec.Struct, frozen=True):
    identifier: str = ""


class _Response(msgspec.Struct, frozen=True, rename="camel"):
    resources: tuple[_Client, ...] = ()
    control_plane: _Plane = _Plane()


def documents(out: bytes) -> tuple[ProxySync, ...] | None:
    """The proxies of all documents; None: not its JSON."""
    text = out.decode(errors="replace").strip()
    found: list[ProxySync] = []
    decoder, at = json.JSONDecoder(), 0
    try:
        while at < len(text):
            raw, at = decoder.raw_decode(text, at)
            if not isinstance(raw, dict) or "resources" not in raw:
                return None
            response = msgspec.convert(raw, _Response)
            found += [_of_client(client, response.control_plane) for client in response.resources]
            at += len(text[at:]) - len(text[at:].lstrip())
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return None
    return tuple(found) if text and all(proxy.pod.name for proxy in found) else None


def _of_client(client: _Client, plane: _Plane) -> ProxySync:
    types: dict[str, Sync] = {}
    sent: dict[str, datetime] = {}
    errors: list[str] = []
    for config in client.generic_xds_configs:
        name = _SHORT.get(config.type_url.rpartition(".")[2])
        word = _sync(config.config_status)
        if name is None:
            continue
        if word is not None:
            types[name] = word
        if config.last_updated is not None:
            sent[name] = config.last_updated
        if config.error_state:
            errors.append(f"{name}: {config.error_state.get('details') or 'rejected'}")
    return ProxySync(
        pod=_pod(client.node.id),
        types=types,
        sent=sent,
        cluster=str(client.node.metadata.get("CLUSTER_ID") or ""),
        istiod=_istiod(plane.identifier),
        version=str(client.node.metadata.get("ISTIO_VERSION") or ""),
        error="; ".join(errors)[:300],
    )


def _istiod(identifier: str) -> str:
    """A JSON text in the JSON; its ID is the pod."""
    try:
        return str(json.loads(identifier).get("ID") or "")
    except (ValueError, AttributeError):
        return ""


def _pod(identity: str) -> Ref:
    """`orders-1.production`; some versions give the whole `sidecar~ADDRESS~orders-1.production~DOMAIN`."""
    parts = identity.split("~")
    name, dot, namespace = (parts[2] if len(parts) == 4 else identity).rpartition(".")
    return Ref("Pod", namespace, name if dot else "")


def _sync(word: str) -> Sync | None:
    """None for a word that is not known, which is not the same as any that is."""
    plain = _BEHIND.sub("", word.strip()).replace("_", " ").upper()
    return Sync.IGNORED if plain == "UNKNOWN" else _WORDS.get(plain)


def table(out: bytes) -> tuple[ProxySync, ...] | None:
    """The rows of its table; None where it has not the columns that count."""
    lines = [line for line in out.decode(errors="replace").splitlines() if line.strip()]
    start = next((n for n, line in enumerate(lines) if line.split()[:1] == ["NAME"]), None)
    if start is None:
        return None
    columns = list(_columns(lines[start]))
    if not all(name in (column for column, _, _ in columns) for name in _NEEDED):
        return None
    rows = [{name: line[first:last].strip() for name, first, last in columns} for line in lines[start + 1 :]]
    found = tuple(_of_row(row) for row in rows)
    return found if all(proxy.pod.name and proxy.pod.namespace for proxy in found) else None


def _columns(heading: str) -> Iterator[tuple[str, int, int | None]]:
    """Name, first and last place of each: cells begin where their heading does, and may hold blanks."""
    found = list(_HEADING.finditer(heading))
    for here, after in zip(found, [*found[1:], None], strict=True):
        yield here.group(), here.start(), after.start() if after else None


def _of_row(row: Mapping[str, str]) -> ProxySync:
    words = {name: _sync(row[name]) for name in _SHORT.values() if name in row}
    return ProxySync(
        pod=_pod(row["NAME"]),
        types={name: word for name, word in words.items() if word is not None},
        cluster=row.get("CLUSTER", ""),
        istiod=row.get("ISTIOD") or row.get("PILOT", ""),
        version=row.get("VERSION", "").removesuffix("*"),
    )


def differences(out: bytes) -> tuple[Difference, ...]:
    """The parts that it names; () where it names none: then it compared nothing."""
    found: dict[str, Difference] = {}
    changed: dict[str, list[str]] = {}
    part = ""
    for line in out.decode(errors="replace").splitlines():
        same, other = _MATCH.match(line), _DIFFER.match(line)
        if same:
            part, found[same[1]] = "", Difference(part=same[1], matches=True)
        elif other:
            part = other[1]
            changed[part] = []
        elif part:
            changed[part].append(line)
    return (*found.values(), *(_different(part, lines) for part, lines in changed.items()))


def _different(part: str, lines: Iterable[str]) -> Difference:
    changed = [line for line in lines if line[:1] in ("-", "+") and not line.startswith("+++ Envoy")]
    shown = [text for line in changed if (text := _shown(line))]
    missing = sum(line[0] == "-" for line in changed)
    return Difference(
        part=part,
        matches=False,
        missing=missing,
        extra=len(changed) - missing,
        examples=tuple(shown[:_EXAMPLES]),
    )


def _shown(line: str) -> str:
    """Its sign and field, with the value where that is no secret; '' for a brace."""
    found = _FIELD.match(line[1:].strip())
    if found is None:
        return ""
    secret = found["value"].startswith('"') and found["key"] not in _HARMLESS
    value = "…" if secret else found["value"].rstrip(", ")[:_WIDTH]
    return f"{line[0]} {found['key']}: {value}"
