"""`rollout lab`: the scenarios of the embedded lab, and one of them as a server to play with."""

from __future__ import annotations

import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from rollout.cli import knowledge
from rollout.cli.output import tell
from rollout.cli.screen import style
from rollout.errors import Outcome, UsageError

#: What is served when nothing is named: a namespace that is ready.
DEFAULT = "healthy"


def lab(args: Any) -> int:
    """`list` prints the scenarios, `up` serves one until it is stopped."""
    if args.action == "up":
        return _up(args)
    if args.scenario:
        raise UsageError("`rollout lab list` takes no scenario", next=f"rollout lab up {args.scenario}")
    return knowledge.lab(args)


def _up(args: Any) -> int:
    from rollout.lab.lab import Lab

    with _stopped() as stop, _kubeconfig(args.kubeconfig_out) as path:
        scenario = args.scenario or DEFAULT
        # What a real server stamps is the real time, and the history comes after it; else the present is the real one.
        present = None if args.prometheus or args.api else datetime.now(UTC)
        with Lab.start(scenario, start=present, port=args.port, prometheus=args.prometheus, api=args.api) as running:
            path.write_text(running.kubeconfig, encoding="utf-8")
            painted = style(sys.stdout)
            tell("\n".join(painted.clean_cell(line) for line in _lines(running, path)) + "\n")
            stop.wait()
    return Outcome.DONE.exit_code


def _lines(running: Any, path: Path) -> list[str]:
    scenario = running.scenario
    command = shlex.join(["rollout", "plan", *scenario.target, "--lab", running.api_url, *scenario.flags])
    alone = f"; its user {scenario.user} is for --lab: kubectl sends no token over plain HTTP" if scenario.user else ""
    return [
        f"{scenario.name}: {scenario.title}",
        "",
        f"  kubectl     export KUBECONFIG={shlex.quote(str(path))}",
        f"              (the API of {running.cluster_url}{alone})",
        f"  Prometheus  {running.prometheus_url}",
        "              (the HTTP API; a browser gets a query box)",
        f"  rollout     {command}",
        f"  time        {running.clock.now():%Y-%m-%d %H:%M} UTC, 1:1; it jumps while `rollout … --lab` waits",
        "",
        "Ctrl-C ends it, and takes the kubeconfig away.",
    ]


@contextmanager
def _stopped() -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM and a lost terminal set, each as often as it comes."""
    stop = threading.Event()

    def heard(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _kubeconfig(wanted: str) -> Iterator[Path]:
    """Where the kubeconfig goes: an empty file that only its owner reads, and that goes with the lab.

    Raises:
        UsageError: there is one already, or none can be made.
    """
    with tempfile.TemporaryDirectory(prefix="rollout-lab-") as folder:
        path = Path(wanted).absolute() if wanted else Path(folder) / "kubeconfig"
        try:
            path.touch(mode=0o600, exist_ok=False)
        except FileExistsError as error:
            raise UsageError(
                "there is such a file already, and it is not overwritten", where=str(path), next="name a new file"
            ) from error
        except OSError as error:
            raise UsageError(f"the kubeconfig cannot be written: {error.strerror}", where=str(path)) from error
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
