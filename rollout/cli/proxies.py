"""The proxies of a cluster for a command: asked by exec, their loggers raised on request and put back in every case."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from rollout.adapters.kubernetes import KubernetesCluster
from rollout.adapters.levels import LevelsOnDisk
from rollout.adapters.proxies import PilotAgents
from rollout.checks.words import many
from rollout.cli.following import Listening
from rollout.diagnosis.levels import LOGGERS, RAISED, finish, raised
from rollout.diagnosis.telling import Seen, ask_proxies
from rollout.errors import RolloutError
from rollout.model.kubernetes import Pod, Ref

if TYPE_CHECKING:
    from rollout.cli.wiring import Ports

T = TypeVar("T")

_STOPPED = "broken off by {signal} before it was read"


def istioctl_argv(binary: str, kubeconfig: str | None, context: str | None) -> tuple[str, ...]:
    """The binary with its options, () where there is none."""
    if shutil.which(binary) is None:
        return ()
    options = [("--kubeconfig", kubeconfig), ("--context", context)]
    return (binary, *(word for name, value in options if value for word in (name, value)))


def pilot_agents(cluster: KubernetesCluster, istioctl: Sequence[str]) -> PilotAgents:
    """`ports.Proxies` and `ports.Loggers` of a cluster."""
    return PilotAgents(cluster.execute, istioctl=istioctl)


def undo_left(levels: LevelsOnDisk, proxies: PilotAgents) -> None:
    """Put back what a diagnosis raised that was killed; what fails does not keep this command from its work."""
    try:
        left = levels.left()
        if left:
            before = {each.ref: each.levels for each in left}
            done = finish(before, proxies, levels, say)
            say(f"the log levels of {many(done, 'proxy', 'proxies')} were raised by a diagnosis that was killed: "
                 "put back")  # fmt: skip
    except RolloutError as error:
        say(f"{error.problem} ({error.where}); {error.next}")


def seen(
    pods: Sequence[Pod], p: Ports, seconds: float | None, *, meanwhile: Callable[[], None], quiet: bool = False
) -> Seen:
    """What the proxies of these pods tell; with `seconds`, their debug logs of so long, too.

    Args:
        pods: those with a proxy.
        p: the ports; their stopper hears.
        seconds: None where nobody asked for logs.
        meanwhile: what else is to be done while the logs are read.
        quiet: show no line while they come.
    """
    if seconds is None or not pods:
        meanwhile()
        return ask_proxies(pods, p.proxies)
    refs = [pod.ref for pod in pods]

    def keep(before: Mapping[Ref, Mapping[str, str]]) -> LevelsOnDisk:
        p.levels.keep(before, p.clock.now())
        return p.levels

    say(f"{', '.join(LOGGERS)} of {many(len(pods), 'proxy', 'proxies')} to {RAISED} for {seconds:g} s, "
         "and then back to what they were")  # fmt: skip
    with raised(refs, p.proxies, keep, say) as unraised:
        listening = Listening(refs, p, quiet=quiet)
        try:
            until = p.clock.now() + timedelta(seconds=seconds)
            listening.start()
            meanwhile()
            unless_stopped(p, lambda: listening.follow(until))
            told = unless_stopped(p, lambda: ask_proxies(pods, p.proxies))
            followed = unless_stopped(p, listening.finish)
        finally:
            listening.stop()
            p.stopper.acknowledge()
    if told is None or followed is None:
        why = _STOPPED.format(signal=p.stopper.asked.name if p.stopper.asked else "a stop")
        return Seen(_all(pods, why), _all(pods, why)) if told is None else replace(told, logs=_all(pods, why))
    return replace(told, logs={**followed.logs, **unraised.why}, cut=followed.cut)


def unless_stopped(p: Ports, work: Callable[[], T]) -> T | None:
    """Do something that a stop may break off, unless one came before; None when it did."""
    return None if p.stopper.asked is not None else p.guard(work)


def _all(pods: Iterable[Pod], why: str) -> dict[Ref, str]:
    return {pod.ref: why for pod in pods}


def say(text: str) -> None:
    """Beside the diagnosis, which may be JSON."""
    sys.stderr.write(f"rollout: {text}\n")
    sys.stderr.flush()
