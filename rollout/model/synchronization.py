"""What istiod knows of a proxy: which configuration it sent, and what came back (istio.md 8.2)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from rollout.model.kubernetes import Ref


class Sync(StrEnum):
    """One kind of configuration of one proxy: ERROR was rejected, NOT_SENT never sent, IGNORED not asked for."""

    SYNCED = "SYNCED"
    STALE = "STALE"
    NOT_SENT = "NOT SENT"
    ERROR = "ERROR"
    IGNORED = "IGNORED"


class ProxySync(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy that is connected.

    Args:
        pod: whose.
        types: by CDS, LDS, EDS, RDS and so on; a word of istioctl's that is none of `Sync` is left out.
        sent: when that kind was sent last, where istioctl tells.
        cluster: the cluster's name in the mesh.
        istiod: the pod that it is connected to.
        version: Istio's, of the proxy or (older istioctls) of that istiod.
        error: istiod's words on what the proxy rejected.
    """

    pod: Ref
    types: dict[str, Sync] = {}
    sent: dict[str, datetime] = {}
    cluster: str = ""
    istiod: str = ""
    version: str = ""
    error: str = ""


class Synced(msgspec.Struct, frozen=True):
    """All proxies that were connected at a time; one that is not among them had no connection to an istiod."""

    at: datetime
    proxies: tuple[ProxySync, ...] = ()


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One part of what istiod would send a proxy, against what it has.

    Args:
        part: Clusters, Listeners or Routes.
        matches: they are the same.
        missing: lines that istiod would send and the proxy lacks.
        extra: lines that only the proxy has.
        examples: some of both, with their sign.
    """

    part: str
    matches: bool
    missing: int = 0
    extra: int = 0
    examples: tuple[str, ...] = ()


class ProxyState(msgspec.Struct, frozen=True, kw_only=True):
    """What is made of it, for one pod: `state` is synced, stale, not sent, rejected, not connected or unknown."""

    pod: Ref
    state: str
    sentence: str = ""
    types: dict[str, Sync] = {}
    istiod: str = ""
    version: str = ""
    differences: tuple[Difference, ...] = ()
