"""`rollout demo`: three acts on the embedded lab, through the same code and the same sockets as on a cluster."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

from rollout.adapters.mirror import state_folder
from rollout.cli.migrate import migrated, planned_on
from rollout.cli.output import complain, tell
from rollout.cli.parser import parser
from rollout.cli.screen import style
from rollout.cli.wiring import connected
from rollout.errors import Outcome

#: (scenario, namespace) of the namespaces that the acts play in.
NOT_READY = ("legacy-caller", "production")
REGRESSES = ("regression-after-flip", "payments")


def demo(args: Any) -> int:
    """A namespace that is not ready, its migration after the fix, and one that is taken back."""
    from rollout.lab.lab import Lab

    if args.state:
        os.environ["XDG_STATE_HOME"] = args.state
    wanted = []
    with Lab.start(NOT_READY[0]) as lab:
        _act(1, f"is {NOT_READY[1]} ready?", f"rollout plan {NOT_READY[1]}")
        wanted.append((_run(lab, NOT_READY[0], ["plan", NOT_READY[1]]), Outcome.BLOCKED))
        lab.fire("fix")
        lab.advance(timedelta(days=9))
        _act(2, "the caller got a sidecar; nine days later", f"rollout migrate {NOT_READY[1]} --yes")
        wanted.append((_run(lab, NOT_READY[0], ["migrate", NOT_READY[1], "--yes"]), Outcome.ENFORCED))
    with Lab.start(REGRESSES[0]) as lab:
        _act(3, "a namespace that regresses after the flip", f"rollout migrate {REGRESSES[1]} --yes")
        wanted.append((_run(lab, REGRESSES[0], ["migrate", REGRESSES[1], "--yes"]), Outcome.ROLLED_BACK))
    tell(f"\nThe records lie in {state_folder()}, one folder a run.\n")
    surprises = [(code, end) for code, end in wanted if code != end.exit_code]
    for code, end in surprises:
        complain(f"rollout: an act ended with exit {code} instead of {end.exit_code} ({end.label})\n")
    return Outcome.BUG.exit_code if surprises else Outcome.DONE.exit_code


def _act(number: int, title: str, command: str) -> None:
    rule = style(sys.stdout).clean_cell("─" * 72)
    tell(f"\n{rule}\nAct {number}: {title}\n$ {command}\n")


def _run(lab: Any, scenario: str, argv: list[str]) -> int:
    """On the lab that runs; a next command names its scenario."""
    args = parser().parse_args([*argv, "--lab", scenario])
    with ExitStack() as stack:
        p = connected(args, lab, stack)
        code = planned_on(args, p) if args.command == "plan" else migrated(args, p)
    tell(f"(exit {code})\n")
    return code
