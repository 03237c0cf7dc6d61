"""Which probes of this machine still run: a lock per run that its process holds, and that the kernel always lets go.

As with raised levels (`levels`): whoever comes next tells a probe that runs from one that was killed.
"""

from __future__ import annotations

import fcntl
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rollout.errors import RolloutError

#: Seconds after which nothing is left of a probe but its lock.
_OLD = 3600.0
#: A label is data: nothing else becomes part of a path.
_RUN = re.compile(r"[a-z0-9]{1,40}")


class ProbesHere:
    """The probes of this machine.

    Args:
        folder: where their locks are.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing is read or written yet."""
        self._folder = folder

    @contextmanager
    def running(self, run: str) -> Iterator[None]:
        """Inside, this process makes that probe.

        Raises:
            RolloutError: nothing can be written here, so that nobody could tell later.
        """
        path = self._path(run)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._tidy()
            held = path.open("ab")
        except OSError as error:
            raise RolloutError(
                f"the probe cannot be written down, so none is made: {error.strerror}", where=str(path)
            ) from error
        with held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield
        path.unlink(missing_ok=True)

    def alive(self, run: str) -> bool | None:
        """Whether the process of that probe runs; None: it is none of this machine's."""
        if not _RUN.fullmatch(run) or not self._path(run).exists():
            return None
        return not _free(self._path(run))

    def forget(self, run: str) -> None:
        """Its pod is gone."""
        if _RUN.fullmatch(run):
            self._path(run).unlink(missing_ok=True)

    def _path(self, run: str) -> Path:
        return self._folder / f"probe-{run}.lock"

    def _tidy(self) -> None:
        """Locks of probes whose pods ended long ago by themselves."""
        for path in self._folder.glob("probe-*.lock"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _OLD and _free(path):
                    path.unlink(missing_ok=True)


def _free(path: Path) -> bool:
    """Nobody holds it."""
    try:
        with path.open("ab") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
