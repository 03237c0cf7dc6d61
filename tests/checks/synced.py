"""What istiod knows of proxies, of a case: a sentence for why not, or one entry per proxy that is connected.

An entry is `{pod: NAME.NAMESPACE, LDS: …, CDS: …, sent, error, istiod, cluster}`; a type that it leaves out is SYNCED,
and one that is null is a word that nobody knows.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rollout.mesh.synchronization import Connections
from rollout.model.kubernetes import Ref
from rollout.model.synchronization import ProxySync, Sync, Synced
from rollout.world.world import Unreadable

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
TYPES = ("CDS", "LDS", "EDS", "RDS")


def synced(case: dict[str, Any]) -> Connections | Unreadable | None:
    """None where the case has none."""
    told = case.get("synced")
    if told is None:
        return None
    if isinstance(told, str):
        return Unreadable(told)
    return Connections(Synced(AT, tuple(proxy(**entry) for entry in told)))


def proxy(pod: str, sent: str = "", **entry: Any) -> ProxySync:
    """One that is connected."""
    name, _, namespace = pod.rpartition(".")
    words = {kind: entry.pop(kind, "SYNCED") for kind in TYPES}
    return ProxySync(
        pod=Ref("Pod", namespace, name),
        types={kind: Sync(word) for kind, word in words.items() if word is not None},
        sent=dict.fromkeys(TYPES, datetime.fromisoformat(sent)) if sent else {},
        **entry,
    )
