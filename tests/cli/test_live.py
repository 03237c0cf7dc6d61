"""The block at the end of a terminal: what a person sees after each redraw."""

import os
import signal
from collections.abc import Callable
from typing import Any

from rollout.cli.live import FRAME, Live

Terminals = Callable[..., Any]


class Clock:
    """Seconds that stand still."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def lines(*texts: str) -> Callable[[int, int], list[str]]:
    """A block of these texts, cut to the terminal as every block is."""
    return lambda columns, rows: [text[: columns - 1] for text in texts][: rows - 2]


def test_a_block_is_replaced_in_place(terminal: Terminals) -> None:
    """Longer, shorter, fewer lines: nothing of the old one is left."""
    seen, clock = terminal(), Clock()
    with seen.stream() as stream:
        live = Live(stream, monotonic=clock)
        live.print(["printed"])
        seen.look()
        assert b"printed\r\n" == seen.raw  # no escape sequence where there is no block
        live.draw(lines("one, quite long", "two", "three"))
        assert ["printed", "one, quite long", "two", "three"] == seen.look()
        clock.at += FRAME
        live.draw(lines("uno"))
        assert ["printed", "uno"] == seen.look()
        live.close()
        assert ["printed"] == seen.look()


def test_lines_that_stay_go_above_it(terminal: Terminals) -> None:
    """Also when the screen has to scroll for them; and each is one write."""
    seen = terminal(30, 6)
    with seen.stream() as stream:
        live = Live(stream)
        live.draw(lines("waiting", "still"))
        for number in range(10):
            live.print([f"line {number}"])
        assert ["line 7", "line 8", "line 9", "waiting", "still"] == seen.look()
        assert all(frame[-2:] == ["waiting", "still"] for frame in seen.frames)
        live.close()
        assert ["line 7", "line 8", "line 9"] == seen.look()


def test_nothing_is_erased_before_it_is_replaced(terminal: Terminals) -> None:
    """A terminal that shows every byte at once shows no gap: each row is overwritten, then its rest erased."""
    seen, clock = terminal(), Clock()
    with seen.stream() as stream:
        live = Live(stream, monotonic=clock)
        live.draw(lines("a", "b"))
        seen.look()
        before = len(seen.raw)
        clock.at += FRAME
        live.draw(lines("c", "d"))
        seen.look()
        assert b"\x1b[2A\rc\x1b[K\r\nd\x1b[K\r\n\x1b[J" == seen.raw[before:]
        live.close()


def test_frames_that_come_too_soon_are_left_out(terminal: Terminals) -> None:
    """At most one every 200 ms; what was left out is shown with the next line that stays."""
    seen, clock = terminal(), Clock()
    with seen.stream() as stream:
        live = Live(stream, monotonic=clock)
        for number in range(50):
            live.draw(lines(f"frame {number}"))
            clock.at += FRAME / 10
        seen.look()
        assert 5 == len(seen.frames)
        live.print(["a line"])
        assert ["a line", "frame 49"] == seen.look()
        live.close()


def test_a_resize_redraws_at_once_and_keeps_what_was_printed(terminal: Terminals) -> None:
    """Narrower, lower, and back."""
    seen = terminal(60, 12)
    with seen.stream() as stream:
        live = Live(stream)
        live.print(["printed"])
        live.draw(lines("x" * 100, "y" * 100, "z"))
        assert ["printed", "x" * 59, "y" * 59, "z"] == seen.look()
        seen.resize(20, 12)
        os.kill(os.getpid(), signal.SIGWINCH)
        assert ["printed", "x" * 19, "y" * 19, "z"] == seen.look()
        seen.resize(60, 12)
        os.kill(os.getpid(), signal.SIGWINCH)
        assert ["printed", "x" * 59, "y" * 59, "z"] == seen.look()
        live.close()
        assert ["printed"] == seen.look()


def test_after_its_end_no_resize_is_heard(terminal: Terminals) -> None:
    """The handler from before is back."""
    before = signal.getsignal(signal.SIGWINCH)
    seen = terminal()
    with seen.stream() as stream:
        live = Live(stream)
        assert before != signal.getsignal(signal.SIGWINCH)
        live.draw(lines("a"))
        live.close()
        live.close()
        assert before == signal.getsignal(signal.SIGWINCH)
        assert [] == seen.look()


def test_a_terminal_of_two_lines_has_no_room_for_a_block(terminal: Terminals) -> None:
    """What is printed stays readable."""
    seen = terminal(20, 2)
    with seen.stream() as stream:
        live = Live(stream)
        live.draw(lines("waiting"))
        live.print(["printed"])
        assert ["printed"] == seen.look()
        live.close()
