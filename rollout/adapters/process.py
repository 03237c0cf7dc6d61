"""Run another program for at most so long.

Its output goes to files, not pipes: a grandchild that keeps a pipe open would keep us waiting after the kill.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO

import msgspec


class Finished(msgspec.Struct, frozen=True):
    """Exit status and what was printed; `code` None when it was killed at the time limit."""

    code: int | None
    out: bytes
    err: str


def run(
    argv: Sequence[str],
    *,
    limit: float,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    terminal: bool = False,
) -> Finished:
    """Run it without a shell.

    Args:
        argv: the program and its arguments.
        limit: seconds until it is killed.
        env: its whole environment, ours when None.
        cwd: its folder.
        terminal: it may talk to the user: stdin and stderr are ours.

    Raises:
        OSError: it cannot be started.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(  # noqa: S603 - the caller's program, without a shell
            list(argv),
            stdin=None if terminal else subprocess.DEVNULL,
            stdout=out,
            stderr=None if terminal else err,
            env=None if env is None else dict(env),
            cwd=cwd,
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return Finished(code, _all(out), _all(err).decode(errors="replace").strip())


def _all(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()
