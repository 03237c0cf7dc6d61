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
from rollout.cli.output import complain
from rollout.cli.screen import style
from rollout.diagnosis.levels import LOGGERS, RAISED, finish, raised
from rollout.diagnosis.telling import Seen, ask_proxies
from rollout.errors import RolloutError
from rollout.model.kubernetes import Pod, Ref
from rollout.report.layout import wrap

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
    pods: Sequence[Pod],
    p: Ports,
    seconds: float | None,
    *,
    meanwhile: Callable[[], None] | None = None,
    quiet: bool = False,
) -> Seen:
    """What the proxies of these pods tell; with `seconds`, their debug logs of so long, too.

    Args:
        pods: those with a proxy.
        p: the ports.
        seconds: None where nobody asked for logs.
        meanwhile: what else is to be done while the logs are read, and taken back when a stop is asked for.
        quiet: show no line while they come.
    """
    if meanwhile is None and (seconds is None or not pods):
        return ask_proxies(pods, p.proxies)
    other = meanwhile or (lambda: None)
    with p.stopper:
        if seconds is not None and pods:
            return _listened(pods, p, seconds, other, quiet=quiet)
        other()
        told = unless_stopped(p, lambda: ask_proxies(pods, p.proxies))
        return told or _broken_off(pods, p)


def _listened(pods: Sequence[Pod], p: Ports, seconds: float, other: Callable[[], None], *, quiet: bool) -> Seen:
    refs = [pod.ref for pod in pods]

    def keep(before: Mapping[Ref, Mapping[str, str]]) -> LevelsOnDisk:
        p.levels.keep(before, p.clock.now())
        return p.levels

    say(f"{', '.join(LOGGERS)} of {many(len(pods), 'proxy', 'proxies')} to {RAISED} for {seconds:g} s, "
        "and then back to what they were (Envoy has no logger tls: that name would refuse all of them)")  # fmt: skip
    listening = Listening(refs, p, quiet=quiet)
    try:
        unless_stopped(p, listening.start)
        with raised(refs, p.proxies, keep, say) as unraised:
            until = p.clock.now() + timedelta(seconds=seconds)
            other()
            unless_stopped(p, lambda: listening.follow(until))
            told = unless_stopped(p, lambda: ask_proxies(pods, p.proxies))
            followed = unless_stopped(p, listening.finish)
            p.stopper.acknowledge()  # the levels are to be put back undisturbed
    finally:
        listening.stop()
    if told is None:
        return _broken_off(pods, p)
    if followed is None:
        return replace(told, logs=_broken_off(pods, p).logs)
    return replace(told, logs={**followed.logs, **unraised.why}, cut=followed.cut)


def _broken_off(pods: Iterable[Pod], p: Ports) -> Seen:
    why = _STOPPED.format(signal=p.stopper.asked.name if p.stopper.asked else "a stop")
    return Seen({pod.ref: why for pod in pods}, {pod.ref: why for pod in pods})


def unless_stopped(p: Ports, work: Callable[[], T]) -> T | None:
    """Do something that a stop may break off, unless one came before; None when it did."""
    return None if p.stopper.asked is not None else p.guard(work)


def say(text: str) -> None:
    """Beside the diagnosis, which may be JSON; a log gets one line."""
    lines = wrap(f"rollout: {text}", style(sys.stderr), rest="  ") if sys.stderr.isatty() else [f"rollout: {text}"]
    complain("".join(f"{line}\n" for line in lines))
