"""What the levels of proxies were before they were raised, on this machine's disk: for whoever runs here next.

One file per API server in the state folder, written and synced before any proxy is asked to change. A lock that the
process holds tells a diagnosis that runs from one that was killed: the kernel lets go of it in every case.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import IO

import msgspec

from rollout.errors import NotOurs, RolloutError
from rollout.model.kubernetes import Ref

VERSION = 1


class Before(msgspec.Struct, frozen=True):
    """The levels of one pod's loggers."""

    namespace: str
    pod: str
    levels: dict[str, str]

    @property
    def ref(self) -> Ref:
        """The pod."""
        return Ref("Pod", self.namespace, self.pod)


class _File(msgspec.Struct, frozen=True):
    v: int
    server: str
    at: datetime
    proxies: tuple[Before, ...]


class LevelsOnDisk:
    """The raised levels on one API server.

    Args:
        folder: where the file and its lock are.
        server: the address; levels of another server stay where they are.
    """

    def __init__(self, folder: Path, server: str) -> None:
        """Nothing is read or written yet."""
        name = hashlib.sha256(server.encode()).hexdigest()[:16]
        self._path = folder / f"levels-{name}.json"
        self._lock = folder / f"levels-{name}.lock"
        self._server = server
        self._held: IO[bytes] | None = None

    def left(self) -> tuple[Before, ...]:
        """What a process that is no more left raised; () while one runs, and where nothing is left.

        After a non-empty answer the lock is ours until `clear`.

        Raises:
            RolloutError: the file cannot be read.
        """
        if not self._path.exists() or not self._take():
            return ()
        try:
            found = self._read()
        except FileNotFoundError:
            self.release()
            return ()
        except (OSError, msgspec.MsgspecError) as error:
            self.release()
            raise RolloutError(
                f"what the levels of proxies were cannot be read: {error}",
                where=str(self._path),
                next="pilot-agent request POST 'logging?level=warning' in each istio-proxy, then delete the file",
            ) from error
        return found.proxies

    def keep(self, proxies: Mapping[Ref, Mapping[str, str]], at: datetime) -> None:
        """Write down what the levels are, before they are raised; what could not be put back earlier stays, too.

        Raises:
            NotOurs: another process has them raised.
            RolloutError: nothing can be written here, so nothing may be raised.
        """
        before = tuple(Before(ref.namespace, ref.name, dict(levels)) for ref, levels in proxies.items())
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._held is None and not self._take():
                raise NotOurs("another `rollout diagnose --logs` has levels raised here", where=str(self._lock))
            earlier = self._read().proxies if self._path.exists() else ()
            self._write((*(each for each in earlier if each.ref not in proxies), *before), at)
        except OSError as error:
            self.release()
            raise RolloutError(
                f"the levels cannot be written down, so none is raised: {error.strerror}", where=str(self._path)
            ) from error

    def clear(self, done: Collection[Ref]) -> None:
        """These are put back; whoever comes next has the others."""
        found = self._read()
        rest = tuple(each for each in found.proxies if each.ref not in done)
        if rest:
            self._write(rest, found.at)
        else:
            self._path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Let the next run have them."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def _read(self) -> _File:
        return msgspec.json.decode(self._path.read_bytes(), type=_File)

    def _write(self, proxies: tuple[Before, ...], at: datetime) -> None:
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(_File(VERSION, self._server, at, proxies)))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)

    def _take(self) -> bool:
        held = self._lock.open("ab")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            return False
        self._held = held
        return True
