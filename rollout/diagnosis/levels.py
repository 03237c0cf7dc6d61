"""Raise the levels of proxies' loggers for a while, and put them back: written down before, in every case taken back.

Envoy has no logger called `tls`: handshakes are `connection`'s, what no chain takes `conn_handler`'s, and one unknown
name would refuse the whole set (istio.md 8.2).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import msgspec

from rollout.errors import NotFound, RolloutError
from rollout.model.kubernetes import Ref
from rollout.ports import Loggers

LOGGERS = ("connection", "conn_handler", "rbac")
RAISED = "debug"
#: Levels that write debug lines already.
_LOUD = frozenset({"debug", "trace"})

Levels = Mapping[Ref, Mapping[str, str]]


class Kept(Protocol):
    """Where the levels are written down; see `rollout.adapters.levels`."""

    def clear(self, done: Collection[Ref]) -> None:
        """These are put back; the next run has the others."""
        ...


class Quiet(msgspec.Struct, frozen=True):
    """The proxies whose levels could not be raised, and why."""

    why: Mapping[Ref, str]


@contextmanager
def raised(
    pods: Iterable[Ref], loggers: Loggers, keep: Callable[[Levels], Kept], say: Callable[[str], None]
) -> Iterator[Quiet]:
    """Inside, these loggers write debug lines.

    Args:
        pods: whose proxies.
        loggers: the proxies.
        keep: writes the present levels down; called before the first is changed.
        say: takes a sentence about what could not be put back.

    Raises:
        RolloutError: the levels could not be written down; nothing was changed.
    """
    before: dict[Ref, dict[str, str]] = {}
    why: dict[Ref, str] = {}
    for pod in pods:
        try:
            present = loggers.levels(pod)
        except RolloutError as error:
            why[pod] = error.problem
            continue
        before[pod] = {name: present[name] for name in LOGGERS if name in present and present[name] not in _LOUD}
    change = {pod: levels for pod, levels in before.items() if levels}
    kept = keep(change) if change else None
    try:
        for pod, levels in change.items():
            try:
                loggers.set_levels(pod, dict.fromkeys(levels, RAISED))
            except RolloutError as error:
                why[pod] = error.problem
        yield Quiet(why)
    finally:
        if kept is not None:
            finish(change, loggers, kept, say)


def finish(levels: Levels, loggers: Loggers, kept: Kept, say: Callable[[str], None]) -> int:
    """Put levels back; what fails stays written down, and is said with the command that does it by hand.

    Returns:
        How many proxies are as before.
    """
    failed = put_back(levels, loggers)
    for pod, why in failed.items():
        paths = ",".join(f"{name}:{level}" for name, level in sorted(levels[pod].items()))
        command = f"kubectl exec -n {pod.namespace} {pod.name} -c istio-proxy -- pilot-agent request POST"
        say(f"the log levels of {pod} are not put back: {why}; the next run tries again, or: {command} "
            f"'logging?paths={paths}'")  # fmt: skip
    done = levels.keys() - failed.keys()
    kept.clear(done)
    return len(done)


def put_back(levels: Levels, loggers: Loggers) -> Mapping[Ref, str]:
    """Those that are still as we set them get their level of before; returns what failed.

    A pod that is gone needs nothing, and a level that somebody else set since stays.
    """
    failed: dict[Ref, str] = {}
    for pod, before in levels.items():
        try:
            present = loggers.levels(pod)
            ours = {name: level for name, level in before.items() if present.get(name) == RAISED}
            if ours:
                loggers.set_levels(pod, ours)
        except NotFound:
            continue
        except RolloutError as error:
            failed[pod] = error.problem
    return failed
