"""Logs of several pods as they are written: each line once, whatever the API server does to the streams.

Where a log stands at first is told by its newest line, so no clock but the nodes' counts. A thread per pod reads;
whoever started them hears of each line on that thread, and ends them all. What a stream left out is read at the end by
a request that does not follow.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from rollout.adapters.stream import Stream
from rollout.errors import RolloutError, Unreachable
from rollout.model.kubernetes import Ref

#: Characters of a line that are kept: its time, and what patterns are looked for in.
LONGEST = 16_384 + 64
#: Bytes that are read at the end, beyond what was followed.
REST = 64 << 20
#: Seconds without a byte after which a stream is opened anew: it may be dead.
QUIET = 30.0
#: Seconds between two tries, and the longest pause.
PAUSE, LONGEST_PAUSE = 1.0, 10.0
#: Seconds that all logs together may take to tell where they stand, and at the end to give what is left.
BOUND = 10.0
_FOLLOW = ("follow", "true")
_NONE = -1
_STAMP = re.compile(r"(?P<second>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(?P<rest>\d{1,9})\d*)?(?P<zone>Z|[+-]\d\d:\d\d) ")

Open = Callable[[Ref, Sequence[tuple[str, str]], float], Stream]
Heard = Callable[[Ref, datetime, str], None]


class Follower:
    """The logs of some pods.

    Args:
        open_: asks for a pod's log with this query, and waits for a byte so long; each line behind its time.
        heard: gets each line with its time, on a reader's thread.
        pause: seconds before a stream that ended is opened anew.
        bound: seconds that the beginning takes at most, and the end.
    """

    def __init__(self, open_: Open, heard: Heard, *, pause: float = PAUSE, bound: float = BOUND) -> None:
        """Read nothing yet."""
        self._open, self._heard, self._pause, self._bound = open_, heard, pause, bound
        self._places: dict[Ref, _Place] = {}
        self._over = threading.Event()

    def start(self, pods: Iterable[Ref]) -> None:
        """Follow these from now on, each on a thread that does not keep the process from its end."""
        self._places.update((pod, _Place()) for pod in pods)
        _together(self._look, self._places, self._bound)
        for pod, place in self._places.items():
            place.settle()
            _daemon(self._follow, pod, place).start()

    def _look(self, pod: Ref) -> None:
        with suppress(RolloutError):  # the rest tells, if it lasts
            self._places[pod].behind(self._newest(pod))

    def stop(self) -> None:
        """No stream is opened any more, and no line of one is heard."""
        self._over.set()
        for place in self._places.values():
            place.leave()

    def rests(self) -> Mapping[Ref, bool | str]:
        """After `stop`: hear what the streams have not given yet, of all pods at once.

        Returns:
            True for a log that was heard to its end, False where it was more than `REST` bytes, else why it was not
            read. One that hangs is left: its reader is not heard any more.
        """
        found: dict[Ref, bool | str] = {}

        def read(pod: Ref) -> None:
            try:
                found[pod] = self.rest(pod)
            except RolloutError as error:
                found[pod] = error.problem

        _together(read, self._places, self._bound)
        ended = dict(found)
        late = f"its end was not read: the API server did not give it within {self._bound:g} s"
        for pod in self._places.keys() - ended.keys():
            self._places[pod].leave()
        return {pod: ended.get(pod, late) for pod in self._places}

    def rest(self, pod: Ref) -> bool:
        """One pod's, however long it takes.

        Raises:
            RolloutError: the log cannot be read.
        """
        place = self._places[pod]
        with place.lock:
            turn = place.turn()
            query = [*place.since(), ("limitBytes", str(REST))]
        stream, size = self._open(pod, query, QUIET * 2), 0
        try:
            for line, length in _lines(stream) if place.enter(turn, stream) else ():
                size += length
                if not place.hear(turn, line, lambda at, text: self._heard(pod, at, text)):
                    break
        finally:
            stream.close()
        return size < REST - LONGEST

    def _newest(self, pod: Ref) -> int:
        """The time of a log's last line; -1 where there is none."""
        stream = self._open(pod, [("tailLines", "1")], QUIET)
        try:
            return max((at for line, _ in _lines(stream) if (at := _stamped(line)[0]) is not None), default=_NONE)
        finally:
            stream.close()

    def _follow(self, pod: Ref, place: _Place) -> None:
        pause = self._pause
        while not self._over.is_set():
            try:
                if self._read(pod, place):
                    pause = self._pause
            except Unreachable:
                pass  # the rest tells, if it lasts
            except RolloutError:
                return
            self._over.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _read(self, pod: Ref, place: _Place) -> bool:
        """One stream, to its end; True where a new line came."""
        with place.lock:
            turn, before = place.turn(), place.lines
            query = [*place.since(), _FOLLOW]
        stream = self._open(pod, query, QUIET)
        if place.enter(turn, stream):
            try:
                for line, _ in _lines(stream):
                    if not place.hear(turn, line, lambda at, text: self._heard(pod, at, text)):
                        break
            finally:
                stream.close()
        else:
            stream.close()
        return place.lines > before


class _Place:
    """How far a pod's log was heard: the newest time, and how many lines have it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lines = 0
        self._turn = 0
        self._before: int | None = None
        self._newest, self._same = _NONE, 0
        self._at = datetime.fromtimestamp(0, UTC)
        self._cursor = 0
        self._skip: int | None = None
        self._stream: Stream | None = None
        self._settled = False

    def behind(self, newest: int) -> None:
        """What is not younger than this is not ours; told too late, it would hide what is."""
        with self.lock:
            if not self._settled:
                self._before = self._newest = newest

    def settle(self) -> None:
        """Reading begins."""
        with self.lock:
            self._settled = True

    def turn(self) -> int:
        """Whoever reads now; who read before is not heard any more. To be asked under the lock."""
        self._turn += 1
        self._cursor = 0
        self._skip = self._same if self.lines else None
        return self._turn

    def since(self) -> list[tuple[str, str]]:
        """From where the log goes on: the API counts whole seconds, so that what was heard comes again."""
        if self._newest == _NONE:
            return [] if self._before is not None else [("sinceSeconds", "1")]
        whole = datetime.fromtimestamp(self._newest // 10**9, UTC)
        return [("sinceTime", f"{whole:%Y-%m-%dT%H:%M:%SZ}")]

    def enter(self, turn: int, stream: Stream) -> bool:
        """A stream is open; False where nobody wants it any more."""
        with self.lock:
            if turn == self._turn:
                self._stream = stream
            return turn == self._turn

    def leave(self) -> None:
        """Its reader goes."""
        with self.lock:
            self._turn += 1
            stream, self._stream = self._stream, None
        if stream is not None:
            stream.stop()

    def hear(self, turn: int, line: str, heard: Callable[[datetime, str], None]) -> bool:
        """Take a line unless it was heard; False where somebody else reads by now."""
        with self.lock:
            if turn != self._turn:
                return False
            at, text = _stamped(line)
            when = self._cursor = self._cursor if at is None else at
            if self._repeated(when):
                return True
            self.lines += 1
            if when > self._newest:
                self._newest, self._same = when, 1
                self._at = datetime.fromtimestamp(when / 10**9, UTC)
            else:
                self._same += when == self._newest
            heard(self._at, text)
            return True

    def _repeated(self, when: int) -> bool:
        """Of a stream that goes on where another ended: lines up to the newest time are those that were heard."""
        if self._before not in (None, _NONE) and when <= self._before:
            return True
        if self._skip is None:
            return False
        if when == self._newest and self._skip:
            self._skip -= 1
            return True
        if when >= self._newest:
            self._skip = None
            return False
        return True


def _daemon(work: Callable[..., None], pod: Ref, *more: object) -> threading.Thread:
    """A thread that does not keep the process from its end."""
    return threading.Thread(target=work, args=(pod, *more), name=f"log of {pod}", daemon=True)


def _together(work: Callable[[Ref], None], pods: Iterable[Ref], seconds: float) -> None:
    """For all pods at once; what is not done after so long goes on by itself."""
    threads = [_daemon(work, pod) for pod in pods]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0.0))


def _lines(stream: Iterable[bytes]) -> Iterator[tuple[str, int]]:
    """Whole lines with their length, long ones cut; what has no end yet is left out, the next stream has it again."""
    left, long = b"", False
    for piece in stream:
        *whole, left = (left + piece).split(b"\n")
        for line in whole:
            if not long:
                yield line[:LONGEST].decode(errors="replace").rstrip("\r"), len(line) + 1
            long = False
        if len(left) > LONGEST:
            if not long:
                yield left[:LONGEST].decode(errors="replace"), len(left)
            left, long = b"", True


def _stamped(line: str) -> tuple[int | None, str]:
    """The time of a line in nanoseconds, and its text; None where the node wrote no time before it."""
    found = _STAMP.match(line)
    if found is None:
        return None, line
    with suppress(ValueError):
        whole = datetime.fromisoformat(found["second"] + found["zone"].replace("Z", "+00:00"))
        rest = int((found["rest"] or "0").ljust(9, "0"))
        return int(whole.timestamp()) * 10**9 + rest, line[found.end() :]
    return None, line
