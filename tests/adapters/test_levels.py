"""The levels of before, on disk: written first, and found by whoever comes after a kill."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rollout.adapters.levels import Before, LevelsOnDisk
from rollout.errors import NotOurs, RolloutError
from rollout.model.kubernetes import Ref

AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
SERVER = "https://10.0.0.1:6443"
ORDERS, WEB = Ref("Pod", "production", "orders-1"), Ref("Pod", "production", "web-1")
QUIET = {"connection": "warning", "rbac": "info"}


def disk(folder: Path, server: str = SERVER) -> LevelsOnDisk:
    return LevelsOnDisk(folder, server)


def test_what_is_kept_is_found_when_its_owner_is_gone(tmp_path: Path) -> None:
    """Not while it lives; only for the same API server."""
    folder = tmp_path / "state"
    assert () == disk(folder).left()
    mine = disk(folder)
    mine.keep({ORDERS: QUIET}, AT)
    assert () == disk(folder).left()
    mine.release()
    assert () == disk(folder, "https://elsewhere").left()
    after = disk(folder)
    (found,) = after.left()
    assert (ORDERS, QUIET) == (found.ref, found.levels)
    after.clear({ORDERS})
    assert () == disk(folder).left()


def test_a_killed_process_leaves_its_file_and_no_lock(tmp_path: Path) -> None:
    """The kernel lets go of the lock, however the process ends."""
    code = f"""
import os, signal
from datetime import UTC, datetime
from pathlib import Path
from rollout.adapters.levels import LevelsOnDisk
from rollout.model.kubernetes import Ref
LevelsOnDisk(Path({str(tmp_path)!r}), {SERVER!r}).keep(
    {{Ref("Pod", "production", "orders-1"): {QUIET!r}}}, datetime(2026, 3, 2, tzinfo=UTC)
)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert -9 == subprocess.run([sys.executable, "-c", code], timeout=60).returncode
    after = disk(tmp_path)
    assert (Before("production", "orders-1", QUIET),) == after.left()
    after.release()


def test_two_at_a_time_are_one_too_many(tmp_path: Path) -> None:
    """The second would take `debug` for the level of before."""
    first = disk(tmp_path)
    first.keep({ORDERS: QUIET}, AT)
    with pytest.raises(NotOurs, match="has levels raised here"):
        disk(tmp_path).keep({WEB: QUIET}, AT)
    first.clear({ORDERS})
    second = disk(tmp_path)
    second.keep({WEB: QUIET}, AT)
    second.release()


def test_what_could_not_be_put_back_stays_beside_what_is_raised_next(tmp_path: Path) -> None:
    """Until it is."""
    first = disk(tmp_path)
    first.keep({ORDERS: QUIET}, AT)
    first.clear(set())
    second = disk(tmp_path)
    second.keep({WEB: QUIET}, AT)
    second.clear({WEB})
    third = disk(tmp_path)
    assert [ORDERS] == [each.ref for each in third.left()]
    third.clear({ORDERS})
    assert () == disk(tmp_path).left()


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    """With what can be done by hand; the lock is free again."""
    first = disk(tmp_path)
    first.keep({ORDERS: QUIET}, AT)
    first.release()
    (path,) = tmp_path.glob("levels-*.json")
    path.write_text("half a")
    for _ in range(2):
        with pytest.raises(RolloutError, match="cannot be read") as caught:
            disk(tmp_path).left()
        assert (str(path), True) == (caught.value.where, "delete the file" in caught.value.next)


def test_where_nothing_can_be_written_nothing_is_raised(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    blocked = tmp_path / "state"
    blocked.write_text("")
    with pytest.raises(RolloutError, match="so none is raised"):
        disk(blocked / "inner").keep({ORDERS: QUIET}, AT)
