"""The proxies of a cluster for a command: asked by exec, their loggers raised on request and put back in every case."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rollout.adapters.kubernetes import KubernetesCluster
from rollout.adapters.levels import LevelsOnDisk
from rollout.adapters.proxies import BYTES, CONTAINER, LINES, PilotAgents
from rollout.checks.words import many
from rollout.cli.output import complain
from rollout.diagnosis.levels import LOGGERS, RAISED, finish, raised
from rollout.diagnosis.telling import Seen, ask_proxies
from rollout.errors import RolloutError
from rollout.model.kubernetes import Pod, Ref
from rollout.ports import LogPart

if TYPE_CHECKING:
    from rollout.cli.wiring import Ports

_STOPPED = "broken off by {signal} before it was read"
#: The API counts whole seconds.
_MORE = 1


def istioctl_argv(binary: str, kubeconfig: str | None, context: str | None) -> tuple[str, ...]:
    """The binary with its options, () where there is none."""
    if shutil.which(binary) is None:
        return ()
    options = [("--kubeconfig", kubeconfig), ("--context", context)]
    return (binary, *(word for name, value in options if value for word in (name, value)))


def pilot_agents(cluster: KubernetesCluster, istioctl: Sequence[str]) -> PilotAgents:
    """`ports.Proxies` and `ports.Loggers` of a cluster."""

    def read_log(pod: Ref, since: float) -> LogPart:
        return cluster.logs(pod.namespace, pod.name, CONTAINER, since=since, lines=LINES, limit=BYTES)

    return PilotAgents(cluster.execute, read_log, istioctl=istioctl)


def undo_left(levels: LevelsOnDisk, proxies: PilotAgents) -> None:
    """Put back what a diagnosis raised that was killed; what fails does not keep this command from its work."""
    try:
        left = levels.left()
        if left:
            before = {each.ref: each.levels for each in left}
            done = finish(before, proxies, levels, _say)
            _say(f"the log levels of {many(done, 'proxy', 'proxies')} were raised by a diagnosis that was killed: "
                 "put back")  # fmt: skip
    except RolloutError as error:
        _say(f"{error.problem} ({error.where}); {error.next}")


def seen(pods: Sequence[Pod], p: Ports, seconds: float | None) -> Seen:
    """What the proxies of these pods tell; with `seconds`, their debug logs of so long, too."""
    if seconds is None or not pods:
        return ask_proxies(pods, p.proxies)

    def keep(before: Mapping[Ref, Mapping[str, str]]) -> LevelsOnDisk:
        p.levels.keep(before, p.clock.now())
        return p.levels

    _say(f"{', '.join(LOGGERS)} of {many(len(pods), 'proxy', 'proxies')} to {RAISED} for {seconds:g} s, "
         "and then back to what they were")  # fmt: skip
    with p.stopper, raised((pod.ref for pod in pods), p.proxies, keep, _say) as quiet:
        p.guard(lambda: p.clock.sleep_until(p.clock.now() + timedelta(seconds=seconds)))
        told = p.guard(lambda: ask_proxies(pods, p.proxies, since=seconds + _MORE))
        p.stopper.acknowledge()
    if told is None or p.stopper.asked is not None:
        why = _STOPPED.format(signal=p.stopper.asked.name if p.stopper.asked else "a stop")
        return Seen(_all(pods, why), _all(pods, why)) if told is None else replace(told, logs=_all(pods, why))
    return replace(told, logs={**told.logs, **quiet.why})


def _all(pods: Iterable[Pod], why: str) -> dict[Ref, str]:
    return {pod.ref: why for pod in pods}


def _say(text: str) -> None:
    """Beside the diagnosis, which may be JSON."""
    complain(f"rollout: {text}\n")
