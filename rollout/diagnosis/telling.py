"""What proxies tell, read through the port; whatever fails becomes a sentence in that pod's place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from rollout.diagnosis.inforce import modes
from rollout.errors import RolloutError
from rollout.mesh.secrets import Held, Summary
from rollout.mesh.synchronization import Connections
from rollout.model.istio import Mode
from rollout.model.kubernetes import Pod, Ref
from rollout.model.synchronization import Difference
from rollout.ports import Proxies
from rollout.world.certificates import Asking
from rollout.world.world import Unreadable

NOBODY = "not readable: no exec adapter"
NOT_ASKED = "needs --logs TIME, such as 60s"


class Seen(msgspec.Struct, frozen=True):
    """Certificates, log lines and the modes in force by pod; a sentence where one could not be read.

    `sync` is what istiod knows of all its proxies, None where it was not asked; `differences` is what a pod has against
    what istiod would send it.
    """

    certificates: Mapping[Ref, Held | Summary | str] = {}
    logs: Mapping[Ref, Iterable[str] | str] = {}
    modes: Mapping[Ref, Mapping[int, Mode] | str] = {}
    sync: Connections | Unreadable | None = None
    differences: Mapping[Ref, tuple[Difference, ...] | str] = {}


def ask_proxies(pods: Iterable[Pod], proxies: Proxies | None, since: float | None = None) -> Seen:
    """Ask each pod's proxy.

    Args:
        pods: those with a proxy.
        proxies: None where nothing can be asked.
        since: seconds of log; None: nobody asked for logs.
    """
    asked = [pod.ref for pod in pods]
    if proxies is None:
        return Seen(dict.fromkeys(asked, NOBODY), dict.fromkeys(asked, NOBODY))
    ask = Asking(proxies)
    held = {ref: ask(ref) for ref in asked}
    silent = {ref: why for ref, why in held.items() if isinstance(why, str)}
    found = {ref: silent.get(ref) or _modes(ref, proxies) for ref in asked}
    return Seen(held, {ref: _logs(ref, proxies, since) for ref in asked}, found)


def _modes(ref: Ref, proxies: Proxies) -> Mapping[int, Mode] | str:
    try:
        return modes(proxies.inbound(ref))
    except RolloutError as error:
        return error.problem


def _logs(ref: Ref, proxies: Proxies, since: float | None) -> Iterable[str] | str:
    if since is None:
        return NOT_ASKED
    try:
        return proxies.logs(ref, since)
    except RolloutError as error:
        return error.problem
