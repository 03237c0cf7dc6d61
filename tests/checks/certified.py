"""What proxies hold, of a case: a sentence for all of them, or one entry per pod.

An entry is `{pod, uri, until, root, held}`: `until` is hours after the present (a certificate lives for 24), `root` one
that is not the mesh's, `held` a sentence, or `junk` for what does not parse.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from rollout.lab import x509
from rollout.mesh.certificates import Side
from rollout.mesh.secrets import Held
from rollout.model.kubernetes import Pod
from rollout.world.certificates import Certified
from rollout.world.world import Unreadable, World

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


@cache
def _root(seed: str) -> x509.Certificate:
    return x509.authority("cluster.local", seed, AT - timedelta(days=100), AT + timedelta(days=3650))


def certified(case: dict[str, Any], world: World) -> Certified | Unreadable | None:
    """None where the case has none."""
    told = case.get("certificates")
    if told is None:
        return None
    if isinstance(told, str):
        return Unreadable(told)
    pods = {pod.name: pod for pod in world.of(Pod)}
    return Certified(AT, tuple(_side(pods[entry["pod"]], entry) for entry in told), case.get("left", 0))


def _side(pod: Pod, entry: dict[str, Any]) -> Side:
    mesh = (_root("mesh").pem,)
    if "held" in entry:
        held: Held | str = entry["held"]
        if held == "junk":
            block = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
            held = Held(chain=(block,), roots=mesh)
        return Side(pod=pod, held=held, mesh_root=mesh)
    root = _root(entry.get("root", "mesh"))
    until = AT + timedelta(hours=entry.get("until", 20))
    leaf = x509.leaf(root, entry["uri"], f"{pod.name}/{entry['uri']}", until - timedelta(hours=24), until)
    return Side(pod=pod, held=Held(chain=(leaf.pem, root.pem), roots=(root.pem,)), mesh_root=mesh)
