"""What can I type? The composition root: one thin file a command, loaded only when it is typed."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rollout.cli.output import complain, flushed, opened, tell
from rollout.cli.parser import Wrong, parser, together
from rollout.errors import Outcome, RolloutError

#: The flag as argparse reads it, in a command line that it could not read to its end.
_JSON = re.compile(r"(?:^| )(?:-o[ =]?|--output[ =])json(?: |$)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit status; never a traceback on the screen, whoever reads it."""
    opened()
    try:
        return _done(argv)
    finally:
        flushed()


def _done(argv: Sequence[str] | None) -> int:
    try:
        args = parser().parse_args(argv)
    except Wrong as wrong:
        if _JSON.search(" ".join(sys.argv[1:] if argv is None else argv)):
            _print_json(wrong.error, None)
        raise
    try:
        together(args)
        command = import_module(f"rollout.cli.{args.module}")
        code: int = getattr(command, args.function)(args)
    except RolloutError as error:
        first, *rest = error.lines()
        complain("\n".join(_wrapped([f"rollout: {first}", *rest], args)) + "\n")
        if getattr(args, "output", "") == "json":
            _print_json(error, args)
        return error.outcome.exit_code
    except KeyboardInterrupt:
        return Outcome.INTERRUPTED.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence and a file instead of a traceback
        code = _bug(error)
        if getattr(args, "output", "") == "json":
            _print_json(RolloutError(f"unexpected error: {type(error).__name__}: {error}"), args)
    return code


def _print_json(error: RolloutError, args: Any) -> None:
    """A program that asked for a document gets one; the sentence for people stands on stderr."""
    import json

    from rollout.cli.again import again
    from rollout.report.json import error_json

    document = error_json(error, again(args) if args is not None else None)
    tell(json.dumps(document, indent=1) + "\n")


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
    complain(f"rollout: unexpected error: {type(error).__name__}: {error}\n    details {path}\n")
    return Outcome.BUG.exit_code
