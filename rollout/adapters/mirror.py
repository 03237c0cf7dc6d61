"""The local copy of the journals: what a report is made of, and what is left when the cluster is gone.

`FOLDER/RUN/journal.jsonl`, one event a line, folders readable by their owner only. It is never needed to go on: when
this machine cannot write it, that is remembered (`error`) and the run does not stop. Lines are not synced to the disk
one by one: a killed process loses none, a machine that loses power has the ConfigMap.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rollout.errors import RecordError
from rollout.record.codec import decode, encode
from rollout.record.events import NOTES, Fact, Note


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_STATE_HOME/rollout/runs`, `~/.local/state` without the variable (a relative one does not count)."""
    base = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):  # noqa: PTH117 - an empty Path would be the working folder
        base = str(Path(environ.get("HOME") or "~").expanduser() / ".local" / "state")
    return Path(base) / "rollout" / "runs"


class Mirror:
    """The journals under one folder."""

    def __init__(self, folder: Path) -> None:
        """Nothing is written yet."""
        self._folder = folder
        self._mended: set[str] = set()
        self._told = False
        self.error = ""

    def warning(self) -> str:
        """Why this machine keeps no copy, said once; '' when it does, or when that was said."""
        if not self.error or self._told:
            return ""
        self._told = True
        return f"warning: {self.error}; the cluster's journal alone has this run"

    def runs(self) -> tuple[str, ...]:
        """The runs that have a journal here."""
        try:
            return tuple(sorted(path.parent.name for path in self._folder.glob("*/journal.jsonl")))
        except OSError:
            return ()

    def folder(self, run: str) -> Path:
        """Where the run's files are; what a user typed as a run does not lead out of the folder."""
        return self._folder / run.replace("/", "_").replace("..", "__")

    def append(self, run: str, line: str) -> int:
        """Add a line; return the size before it, to which `cut` goes back."""
        try:
            path = self._ready(run)
            with path.open("ab") as file:
                size = file.tell()
                file.write(line.encode() + b"\n")
        except OSError as error:
            self._failed(error)
            return -1
        return size

    def cut(self, run: str, size: int) -> None:
        """Take back what was added since the file had this size: it never came into the journal."""
        if size < 0:
            return
        try:
            os.truncate(self._path(run), size)
        except OSError as error:
            self._failed(error)

    def read(self, run: str) -> tuple[Fact | Note, ...]:
        """All events; a torn last line (the process was killed, the disk was full) is passed over.

        Raises:
            RecordError: another line is no event, or one of a newer version.
        """
        path = self._path(run)
        try:
            lines = path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise RecordError(f"the local journal cannot be read: {error.strerror}", where=str(path)) from error
        whole = [(number, line) for number, line in enumerate(lines[:-1], 1) if line.strip()]
        return tuple(decode(line, f"{path}:{number}") for number, line in whole)

    def follow(self, run: str, facts: Sequence[tuple[Fact, str]]) -> None:
        """Make the facts those of the cluster and keep the notes, each behind the facts that are older than it.

        Args:
            run: its id.
            facts: of the cluster, with their lines.
        """
        try:
            here = self.read(run)
        except RecordError as error:
            self.error = str(error)
            return
        if [event for event in here if not isinstance(event, NOTES)] == [fact for fact, _ in facts]:
            return
        notes = [event for event in here if isinstance(event, NOTES)]
        lines: list[str] = []
        for fact, line in facts:
            while notes and notes[0].t < fact.t:
                lines.append(encode(notes.pop(0)))
            lines.append(line)
        lines += [encode(note) for note in notes]
        try:
            path = self._ready(run)
            new = path.with_suffix(".new")
            new.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            new.chmod(0o600)
            new.replace(path)
        except OSError as error:
            self._failed(error)

    def _path(self, run: str) -> Path:
        return self.folder(run) / "journal.jsonl"

    def _ready(self, run: str) -> Path:
        """The file, private, and ending with a whole line."""
        path = self._path(run)
        if run not in self._mended:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.chmod(0o700)
            path.touch(mode=0o600)
            data = path.read_bytes()
            if data and not data.endswith(b"\n"):
                os.truncate(path, data.rfind(b"\n") + 1)
            self._mended.add(run)
        return path

    def _failed(self, error: OSError) -> None:
        self.error = f"the local journal cannot be written: {error.strerror or error} ({self._folder})"
