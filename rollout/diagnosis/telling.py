"""What proxies tell, read through the port; whatever fails becomes a sentence in that pod's place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from rollout.diagnosis.inforce import modes
from rollout.errors import RolloutError
from rollout.mesh.secrets import Held, Summary
from rollout.mesh.synchronization import Connections
from rollout.model.diagnosis import Recognition
from rollout.model.istio import Mode
from rollout.model.kubernetes import Pod, Ref
from rollout.model.synchronization import Difference
from rollout.ports import Proxies
from rollout.world.certificates import Asking
from rollout.world.world import Unreadable

NOBODY = "not readable: no exec adapter"
NOT_ASKED = "needs --logs TIME, such as 60s"


class Seen(msgspec.Struct, frozen=True):
    """Certificates, what logs show and the modes in force by pod; a sentence where one could not be read.

    `cut`: pods whose log came faster than it could be read. `sync` is what istiod knows of all its proxies, None where
    it was not asked; `differences` is what a pod has against what istiod would send it.
    """

    certificates: Mapping[Ref, Held | Summary | str] = {}
    logs: Mapping[Ref, Recognition | str] = {}
    modes: Mapping[Ref, Mapping[int, Mode] | str] = {}
    sync: Connections | Unreadable | None = None
    differences: Mapping[Ref, tuple[Difference, ...] | str] = {}
    cut: frozenset[Ref] = frozenset()


def ask_proxies(pods: Iterable[Pod], proxies: Proxies | None) -> Seen:
    """Ask each pod's proxy; its log is another matter (`rollout.cli.following`).

    Args:
        pods: those with a proxy.
        proxies: None where nothing can be asked.
    """
    asked = [pod.ref for pod in pods]
    if proxies is None:
        return Seen(dict.fromkeys(asked, NOBODY), dict.fromkeys(asked, NOBODY))
    ask = Asking(proxies)
    held = {ref: ask(ref) for ref in asked}
    silent = {ref: why for ref, why in held.items() if isinstance(why, str)}
    found = {ref: silent.get(ref) or _modes(ref, proxies) for ref in asked}
    return Seen(held, dict.fromkeys(asked, NOT_ASKED), found)


def _modes(ref: Ref, proxies: Proxies) -> Mapping[int, Mode] | str:
    try:
        return modes(proxies.inbound(ref))
    except RolloutError as error:
        return error.problem
