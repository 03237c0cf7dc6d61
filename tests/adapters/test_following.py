"""Logs that are followed: each line once, in little memory, whatever becomes of the streams."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from rollout.adapters import following
from rollout.adapters.following import LONGEST, Follower
from rollout.adapters.stream import Stream
from rollout.errors import Forbidden, NotFound, RolloutError, Unreachable
from rollout.model.kubernetes import Ref

POD, OTHER = Ref("Pod", "production", "orders-1"), Ref("Pod", "production", "orders-2")


class Fed(Stream):
    """A stream of these pieces; without an end it waits until it is stopped."""

    def __init__(self, pieces: Iterable[bytes], *, ends: bool = True, breaks: bool = False) -> None:
        self.pieces, self.ends, self.breaks = pieces, ends, breaks
        self.stopped = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces
        if self.breaks:
            raise Unreachable("the connection broke")
        if not self.ends:
            self.stopped.wait(30)

    def stop(self) -> None:
        self.stopped.set()

    def close(self) -> None:
        pass


class Server:
    """Gives one stream after the other, then for ever empty ones; what it was asked stays."""

    def __init__(self, *answers: Stream | RolloutError, last: bytes | RolloutError = b"") -> None:
        self.answers, self.last = list(answers), last
        self.asked: list[dict[str, str]] = []
        self.served = threading.Event()

    def open(self, pod: Ref, query: Sequence[tuple[str, str]], quiet: float) -> Stream:
        if ("tailLines", "1") in query:
            if isinstance(self.last, RolloutError):
                raise self.last
            return Fed([self.last])
        self.asked.append(dict(query))
        if not self.answers:
            self.served.set()
            return Fed([])
        answer = self.answers.pop(0)
        if isinstance(answer, RolloutError):
            raise answer
        return answer


def line(second: float, text: str) -> bytes:
    """As the node writes it."""
    at = datetime.fromtimestamp(1_772_445_600 + second, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}000Z {text}\n".encode()


def heard(server: Server, *, pods: Sequence[Ref] = (POD,), wait: bool = True) -> list[str]:
    """Follow until the streams are used up, then read the rest."""
    found: list[str] = []
    follower = Follower(server.open, lambda _pod, at, text: found.append(f"{at:%S.%f} {text}"), pause=0.001)
    follower.start(pods)
    try:
        assert server.served.wait(30) or not wait
    finally:
        follower.stop()
    for pod in pods:
        assert follower.rest(pod)
    return found


def test_each_line_once() -> None:
    """A server that closes the stream is asked again from the second where it stood; what comes again is left out."""
    ones = [line(1, "a"), line(1.5, "b"), line(1.5, "b")]
    server = Server(
        Fed(ones),
        Fed([*ones, line(1.5, "b"), line(2, "c")], breaks=True),
        Unreachable("silence"),
        Fed([line(2, "c"), line(2, "d")]),
    )
    assert ["01.000000 a", "01.500000 b", "01.500000 b", "01.500000 b", "02.000000 c", "02.000000 d"] == heard(server)
    first, second, third, *_ = server.asked
    assert {"follow": "true"} == first
    assert {"sinceTime": "2026-03-02T10:00:01Z", "follow": "true"} == second
    assert "2026-03-02T10:00:02Z" == third["sinceTime"]
    assert {"sinceTime": "2026-03-02T10:00:02Z", "limitBytes": str(following.REST)} == server.asked[-1]


def test_what_stood_there_before_is_not_heard() -> None:
    """The log's last line tells from where on, by the node's own clock; where it cannot be told, one second back."""
    old, new = [line(1, "old"), line(1.5, "old too")], [line(1.75, "new"), line(2, "newer")]
    server = Server(Fed([*old, *new]), Fed([*old, *new]), last=line(1.5, "old too"))
    assert ["01.750000 new", "02.000000 newer"] == heard(server)
    assert {"sinceTime": "2026-03-02T10:00:01Z", "follow": "true"} == server.asked[0]
    blind = Server(Fed(new), last=Unreachable("silence"))
    assert ["01.750000 new", "02.000000 newer"] == heard(blind)
    assert {"sinceSeconds": "1", "follow": "true"} == blind.asked[0]


def test_pieces_are_no_lines() -> None:
    """A line that was cut in the middle comes whole with the next stream; a carriage return is no part of it."""
    whole = line(1, "first").replace(b"\n", b"\r\n") + line(2, "second")
    server = Server(Fed([whole[:7], whole[7:40], whole[40:-4]]), Fed([whole]))
    assert ["01.000000 first", "02.000000 second"] == heard(server)


def test_what_has_no_time_belongs_to_the_line_before() -> None:
    """A text of several lines, and again after the stream was cut; a node's own zone."""
    whole = [line(1, "Traceback"), b"  at x\n", b"2026-03-02T12:00:02+02:00 two\n", b"2026-13-45T99:00:00Z no time\n"]
    server = Server(Fed(whole), Fed(whole), Fed(whole))
    assert [
        "01.000000 Traceback",
        "01.000000   at x",
        "02.000000 two",
        "02.000000 2026-13-45T99:00:00Z no time",
    ] == heard(server)


def test_the_rest_is_read_at_the_end() -> None:
    """What a stream has not given when time is over; the reader of the stream is not heard any more."""
    endless = Fed([line(1, "a")], ends=False)
    server = Server(endless, Fed([line(1, "a"), line(3, "late")]))
    found: list[str] = []
    here = threading.Event()

    def hear(_pod: Ref, _at: datetime, text: str) -> None:
        found.append(text)
        here.set()

    follower = Follower(server.open, hear, pause=0.001)
    follower.start([POD])
    assert here.wait(30)
    follower.stop()
    assert endless.stopped.is_set()
    assert follower.rest(POD)
    assert ["a", "late"] == found


def test_a_log_that_may_not_be_read() -> None:
    """It is not asked for again and again; the end says why."""
    server = Server(Forbidden("no"), NotFound("gone"))
    follower = Follower(server.open, lambda *_: None, pause=0.001)
    follower.start([POD])
    end = time.monotonic() + 30
    while len(server.asked) < 1:
        assert time.monotonic() < end
        time.sleep(0.001)
    follower.stop()
    with pytest.raises(NotFound):
        follower.rest(POD)
    assert 2 == len(server.asked)


def test_two_pods_at_once() -> None:
    """Each from where it stands itself."""
    ends = {POD: Fed([line(1, "a")], ends=False), OTHER: Fed([line(2, "b")], ends=False)}
    found: dict[Ref, list[str]] = {POD: [], OTHER: []}
    both = threading.Barrier(3)

    def open_(pod: Ref, query: Sequence[tuple[str, str]], quiet: float) -> Stream:
        if ("tailLines", "1") in query:
            return Fed([])
        return ends[pod] if ("follow", "true") in query else Fed([line(1, "a"), line(2, "b")])

    def hear(pod: Ref, _at: datetime, text: str) -> None:
        found[pod].append(text)
        if len(found[pod]) == 1:
            both.wait(30)

    follower = Follower(open_, hear, pause=0.001)
    follower.start([POD, OTHER])
    both.wait(30)
    follower.stop()
    assert [True, True] == [follower.rest(POD), follower.rest(OTHER)]
    assert {POD: ["a", "b"], OTHER: ["b"]} == found


class Much(Stream):
    """So many bytes of one line, made as they are read."""

    def __init__(self, piece: bytes, size: int) -> None:
        self.piece, self.left = piece, size

    def __iter__(self) -> Iterator[bytes]:
        while self.left > 0:
            self.left -= len(self.piece)
            yield self.piece

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "piece", [line(1, "x" * 1000) * 60, b"2026-03-02T10:00:01Z " + b"no line end" * 6000], ids=["lines", "one line"]
)
def test_a_hundred_megabytes_need_little_memory(piece: bytes) -> None:
    """Under four, whatever the lines are."""
    server = Server(Much(piece, 100 << 20))
    counted: Any = {"lines": 0, "longest": 0}

    def hear(_pod: Ref, _at: datetime, text: str) -> None:
        counted["lines"] += 1
        counted["longest"] = max(counted["longest"], len(text))

    follower = Follower(server.open, hear, pause=0.001)
    tracemalloc.start()
    try:
        follower.start([POD])
        assert server.served.wait(60)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        follower.stop()
    assert peak < 4 << 20
    assert counted["lines"] in (1, 104_880) or counted["lines"] > 90_000
    assert counted["longest"] <= LONGEST


def test_a_rest_that_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said that the newest is missing."""
    monkeypatch.setattr(following, "REST", 64 * 1024)
    follower = Follower(Server(Fed([line(1, "x" * 1000) * 70])).open, lambda *_: None, pause=0.001)
    follower.start([])
    follower._places[POD] = following._Place()
    assert not follower.rest(POD)


class Hanging(Server):
    """Answers the others, and never about one pod until it is let go."""

    def __init__(self, stuck: Ref, *, whole: bool = False) -> None:
        super().__init__()
        self.stuck, self.whole, self.release = stuck, whole, threading.Event()

    def open(self, pod: Ref, query: Sequence[tuple[str, str]], quiet: float) -> Stream:
        following = ("follow", "true") in query
        if pod == self.stuck and (self.whole or not following):
            assert self.release.wait(30)
        if following:
            return Fed([], ends=False)
        return Fed([line(1, "old")] if ("tailLines", "1") in query else [line(2, f"last of {pod.name}")])


@pytest.mark.parametrize("whole", [False, True])
def test_a_log_that_hangs_is_left(*, whole: bool) -> None:
    """At the beginning and at the end: the others are heard, the time is kept, and what comes late is nobody's."""
    found: list[str] = []
    server = Hanging(OTHER, whole=whole)
    follower = Follower(server.open, lambda _pod, _at, text: found.append(text), pause=0.001, bound=0.2)
    begun = time.monotonic()
    follower.start((POD, OTHER))
    follower.stop()
    told = follower.rests()
    assert 5 > time.monotonic() - begun
    server.release.set()
    for thread in threading.enumerate():
        if thread.name == f"log of {OTHER}":
            thread.join(30)
    assert {POD: True, OTHER: "its end was not read: the API server did not give it within 0.2 s"} == told
    assert ["last of orders-1"] == found


def test_why_a_rest_was_not_read() -> None:
    """The sentence of the API server's answer."""
    server = Server(last=NotFound("it is gone"))
    follower = Follower(server.open, lambda *_: None, pause=0.001)
    follower.start((POD,))
    assert server.served.wait(30)
    follower.stop()
    server.answers = [NotFound("it is gone")]
    assert {POD: "it is gone"} == follower.rests()
