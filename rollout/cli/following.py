"""`--logs`: the proxies' logs while they are written, each new pattern as it comes, and the counts at the end."""

from __future__ import annotations

import queue
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from rollout.adapters.following import Follower
from rollout.adapters.proxies import CONTAINER
from rollout.cli.output import complain
from rollout.cli.screen import style
from rollout.diagnosis.patterns import Recogniser
from rollout.model.diagnosis import Recognition
from rollout.model.kubernetes import Ref

if TYPE_CHECKING:
    from rollout.cli.wiring import Ports

#: Between two looks at what came in.
_LOOK = timedelta(seconds=1)


class Followed(msgspec.Struct, frozen=True):
    """What each log showed, or why it could not be read; `cut`: whose newest part was too much."""

    logs: dict[Ref, Recognition | str]
    cut: frozenset[Ref]


class Listening:
    """The logs of these pods, followed for a while.

    Args:
        pods: whose istio-proxy.
        p: the ports.
        quiet: say nothing while it goes on.
    """

    def __init__(self, pods: Sequence[Ref], p: Ports, *, quiet: bool) -> None:
        """Read nothing yet."""
        self._clock, self._quiet = p.clock, quiet
        self._counted = {pod: Recogniser() for pod in pods}
        self._fresh: queue.SimpleQueue[tuple[Ref, datetime, str]] = queue.SimpleQueue()
        self._follower = Follower(
            lambda pod, query, wait: p.cluster.follow(pod.namespace, pod.name, CONTAINER, query, wait),
            self._heard,
        )

    def start(self) -> None:
        """Read from here on."""
        self._follower.start(self._counted)

    def follow(self, until: datetime) -> None:
        """Show what comes in until then."""
        while (now := self._clock.now()) < until:
            self._clock.sleep_until(min(until, now + _LOOK))
            self._show()

    def finish(self) -> Followed:
        """What came in, with what the streams have not given yet."""
        self._follower.stop()
        rests = self._follower.rests()
        logs: dict[Ref, Recognition | str] = {}
        for pod, counted in self._counted.items():
            whole = rests[pod]
            logs[pod] = whole if isinstance(whole, str) else counted.result()
        cut = {pod for pod, whole in rests.items() if whole is False}
        self._show()
        return Followed(logs, frozenset(cut))

    def stop(self) -> None:
        """Whatever happened: nobody reads any more."""
        self._follower.stop()

    def _heard(self, pod: Ref, at: datetime, line: str) -> None:
        """On a reader's thread; each has a pod of its own."""
        fresh = self._counted[pod].add(line)
        if fresh is not None:
            self._fresh.put((pod, at, f"{fresh.id}: {fresh.example}"))

    def _show(self) -> None:
        while not self._fresh.empty():
            pod, at, what = self._fresh.get()
            if not self._quiet:
                self._line(f"{at:%H:%M:%S} {pod.namespace}/{pod.name} {what}")

    def _line(self, text: str) -> None:
        """One line, beside the diagnosis that comes at the end; a log may hold anything."""
        text = "".join(each if each.isprintable() else " " for each in text)
        width = style(sys.stderr).width
        if sys.stderr.isatty() and len(text) > width:
            text = f"{text[: width - 1]}{'~' if style(sys.stderr).ascii else '…'}"
        complain(f"{text}\n")
