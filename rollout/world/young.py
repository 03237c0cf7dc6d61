"""Why a look-back is too short: since when plaintext is accepted, and which workload is too young for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

#: So many names are shown.
SHOWN = 3


def spell(seconds: float) -> str:
    """`2.1 days`, or `26.0 hours` below two days."""
    return f"{seconds / 86400:.1f} days" if seconds >= 2 * 86400 else f"{seconds / 3600:.1f} hours"


def too_short(
    since: datetime | None, workloads: Mapping[str, datetime], plain: Collection[str], end: datetime, needed: float
) -> str:
    """The reason, to stand behind what was measured; '' when only gaps are to blame.

    Args:
        since: plaintext is accepted since then, where that is known.
        workloads: `Deployment production/orders` -> when it was created; a new ReplicaSet of it changes nothing.
        plain: `production/orders` of the workloads that receive plaintext.
        end: of the look-back.
        needed: seconds that must count.
    """
    young = {ref: born for ref, born in workloads.items() if (end - born).total_seconds() < needed}
    newest = max(young, key=lambda ref: young[ref], default=None)
    if since is not None and (newest is None or since >= young[newest]):
        return f": plaintext is accepted only since {since:%Y-%m-%d %H:%M}"
    if newest is None:
        return ""
    age = spell((end - young[newest]).total_seconds())
    said = f": {newest} exists only since {young[newest]:%Y-%m-%d %H:%M} UTC ({age})"
    if others := sorted(young.keys() - {newest}):
        said += f", and so are too young: {_some(others)}"
    clean = sorted(ref for ref in workloads if ref not in young and ref.partition(" ")[2] not in plain)
    return said + (f"; clean already: {_some(clean)}" if clean else "")


def _some(refs: list[str]) -> str:
    more = f" and {len(refs) - SHOWN} more" if len(refs) > SHOWN else ""
    return ", ".join(refs[:SHOWN]) + more
