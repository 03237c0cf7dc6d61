"""What can I type? The composition root: one thin file a command, loaded only when it is typed."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rollout.cli.parser import parser
from rollout.errors import Outcome, RolloutError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit status; never a traceback on the screen."""
    args = parser().parse_args(argv)
    try:
        command = import_module(f"rollout.cli.{args.module}")
        code: int = getattr(command, args.function)(args)
    except RolloutError as error:
        first, *rest = error.lines()
        sys.stderr.write("\n".join(_wrapped([f"rollout: {first}", *rest], args)) + "\n")
        return error.outcome.exit_code
    except KeyboardInterrupt:
        return Outcome.INTERRUPTED.exit_code
    except BrokenPipeError:  # of a command that only tells; whoever reads its code must not take it for a yes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Outcome.INTERRUPTED.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence and a file instead of a traceback
        return _bug(error)
    return code


def _wrapped(lines: list[str], args: Any) -> list[str]:
    from rollout.cli.again import again
    from rollout.cli.screen import style
    from rollout.report.text import problem

    return problem(lines, style(sys.stderr, again(args)))


def state_home() -> Path:
    """Where this machine keeps its mirrors and debug files."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "rollout"


def _bug(error: Exception) -> int:
    folder = state_home()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"debug-{os.getpid()}.txt"
    path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    sys.stderr.write(f"rollout: unexpected error: {type(error).__name__}: {error}\n    details {path}\n")
    return Outcome.BUG.exit_code
