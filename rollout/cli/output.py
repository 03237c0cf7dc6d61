"""Where lines and documents go: a stream that nobody reads, or that is closed, ends no work and changes no exit code.

What was found out is true all the same, and whoever reads the exit code reads the same one whatever the format; that
the output is lost is said on stderr, once. A pager or `head` that has seen enough is no news.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

GOES_ON = "; the work goes on"


def opened() -> None:
    """Put the null device where the process was started without a stdin, stdout or stderr (`>&-`).

    Otherwise the next file or socket would get that descriptor, and a child would write into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: in their order, each one's own
            os.set_inheritable(number, number <= 2)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def tell(text: str) -> None:
    """What a command is there to tell, on stdout."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        unheard(error, sys.stdout)


def complain(text: str) -> None:
    """What is said besides, on stderr."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError as error:
        unheard(error, sys.stderr)


def flushed() -> None:
    """Nothing is left for the end of the process, where a failure would be a traceback's last line and exit 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            unheard(error, stream)


def unheard(error: OSError, stream: TextIO, *, more: str = "") -> None:
    """Say on stderr that what goes to this stream is lost, and let the rest of it vanish.

    Args:
        error: of the write; a reader that left is no news unless there is `more` to say.
        stream: is led to the null device: what is still buffered must not fail at the end of the process.
        more: such as GOES_ON.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    if isinstance(error, BrokenPipeError) and not more:
        return
    with suppress(OSError, ValueError):
        sys.stderr.write(f"rollout: the output cannot be written ({error.strerror or error}){more}\n")
        sys.stderr.flush()
