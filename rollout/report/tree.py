"""What a terminal shows while runs go on: a block of two lines for one run, for several one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import msgspec

from rollout.model.finding import Status
from rollout.record.events import (
    Baselined,
    Checked,
    Confirmed,
    Ended,
    Fact,
    Intended,
    Moved,
    Note,
    Proven,
    Started,
    Ticked,
)
from rollout.record.run import Run
from rollout.record.state import ENDS, State
from rollout.report import lifecycle
from rollout.report.layout import Style, beginning, cut, width_of
from rollout.report.lines import edges, failures, waiting
from rollout.report.redact import redact

_BAR = 10
#: Narrower terminals have no room for a bar.
_ROOMY = 60
_TROUBLED = (State.ROLLBACK_FAILED, State.ROLLING_BACK, State.OVERRIDDEN, State.BLOCKED, State.ROLLED_BACK)
_QUIET = (Started, Intended, Baselined, Confirmed)


class Shown(msgspec.Struct, frozen=True):
    """A run with its last tick, and why it waits."""

    run: Run
    tick: Ticked | None = None
    why: str = ""


def block(shown: Sequence[Shown], now: datetime, style: Style, *, height: int) -> list[str]:
    """The lines below everything that was printed; never more than `height`, never wider than the terminal.

    Args:
        shown: the runs of a wave, those that ended too.
        now: the time.
        style: how lines are set; its `width` is the terminal's, and the last column stays free.
        height: how many lines the block may have.
    """
    if height < 1 or not shown:
        return []
    width = style.width - 1
    if len(shown) == 1:
        return [_cut(line, width, style) for line in _alone(shown[0], now, style)[:height]]
    ordered = sorted(shown, key=lambda one: (lifecycle.rank(one.run), one.run.spec.namespace))
    lines = [counted([one.run for one in shown])]
    room = height - 1
    rows, left = (ordered, []) if len(ordered) <= room else (ordered[: max(room - 1, 0)], ordered[max(room - 1, 0) :])
    names = min(max((width_of(one.run.spec.namespace) for one in rows), default=0), max(width // 3, 8))
    states = max((len(one.run.state) for one in rows), default=0)
    lines += [_row(one, now, style, names, states) for one in rows]
    if left and room:
        lines.append(f"  +{len(left)} more: {_states([one.run for one in left])}")
    return [_painted(line, width, style) for line in lines]


def minor(after: Run, event: Fact | Note) -> bool:
    """An event that a tree of several runs shows by itself, so that it needs no line that stays."""
    match event:
        case Moved():
            return after.state not in ENDS and after.state is not State.ROLLING_BACK
        case Checked():
            return not any(result.blocks for result in event.results)
        case Proven():
            return event.ok
        case Ended():
            return False
        case _:
            return isinstance(event, _QUIET)


def _alone(one: Shown, now: datetime, style: Style) -> list[str]:
    run = one.run
    head = f"{run.state:<11} "
    if run.finished:
        return [head + run.why]
    if run.state is not State.WATCHING or run.held:
        return [head + waiting(run, now) + (f" · {one.why}" if one.why and not run.held else "")]
    proxies = one.tick.sight if one.tick else None
    below = [
        f"proxies {len(proxies.seen)}/{len(proxies.expected)}" if proxies else "",
        waiting(run, now).partition(" · ")[2] if run.watch.blind else "",
        _over(one.tick) if one.tick else "",
        (failures(one.tick) or "errors: not judged on this sample") if one.tick else "",
    ]
    first = [f"{_bar(run, _BAR)} {_verdict(run)} {lifecycle.seen(run)} of sight", _sampled(run)]
    first += [edges(run, one.tick)] if one.tick else []
    width = style.width - 1 - len(head)
    return [head + _fitted(first, width), " " * len(head) + (_fitted(below, width) or "waiting for the first sample")]


def _row(one: Shown, now: datetime, style: Style, names: int, states: int) -> str:
    run = one.run
    name = cut(run.spec.namespace, names, style)
    head = f"{_mark(run)} {name}{' ' * (names - width_of(name))}  {run.state:<{states}}  "
    if run.ended or run.finished:
        words = [text for text in (lifecycle.standing(run), run.why) if text and text != run.state]
        return head + ": ".join(words)
    if run.state is State.WATCHING and not run.held:
        bar = f"{_bar(run, 5)} " if style.width >= _ROOMY else ""
        first = f"{bar}{_verdict(run)} {lifecycle.seen(run)}"
        blind = waiting(run, now).partition(" · ")[2] if run.watch.blind else ""
        if trouble := [text for text in (blind, _over(one.tick) if one.tick else "") if text]:
            return head + " · ".join([first, *trouble])
        parts = [first, _sampled(run), edges(run, one.tick) if one.tick else ""]
        return head + _fitted(parts, style.width - 1 - width_of(head))
    return head + waiting(run, now) + (f" · {one.why}" if one.why and not run.held else "")


def _verdict(run: Run) -> str:
    return str(run.watch.verdict).replace("_", " ") if run.watch.verdict else "no sample yet"


def _sampled(run: Run) -> str:
    ticks, due = lifecycle.samples(run)
    return f"{ticks}{f'/{due}' if due else ''} samples"


def _over(tick: Ticked) -> str:
    worst = next((signal for signal in tick.signals if signal.breached), None)
    return f"{worst.name} {worst.measured} (limit {worst.limit}) at {worst.where}" if worst else ""


def _fitted(parts: Sequence[str], width: int) -> str:
    """As many parts as fit; the first one always."""
    line = ""
    for part in parts:
        joined = f"{line} · {part}" if line and part else line or part
        if line and width_of(joined) > width:
            continue
        line = joined
    return line


def _bar(run: Run, length: int) -> str:
    wanted = lifecycle.argument(run, "watch", "for")
    part = min(run.watch.sight / wanted.total_seconds(), 1.0) if wanted else 0.0
    full = int(part * length)
    return "█" * full + "░" * (length - full)


def counted(runs: Sequence[Run]) -> str:
    """`5 namespaces, 1 ended: 1 blocked, 4 watching`."""
    ended = sum(run.ended or run.finished for run in runs)
    return f"{len(runs)} namespaces, {ended} ended: {_states(runs)}"


def _states(runs: Sequence[Run]) -> str:
    """`1 blocked, 2 held, 3 watching`, the loudest first."""
    ordered = sorted(runs, key=lifecycle.rank)
    counts = Counter(lifecycle.ending(run) if run.ended or not run.held else "held" for run in ordered)
    return ", ".join(f"{number} {word}" for word, number in counts.items())


def _mark(run: Run) -> str:
    if run.state in _TROUBLED:
        return "×"
    if run.ended or run.finished:
        return "√" if run.state is State.ENFORCED else "–"
    return "‼" if run.held or run.watch.blind or run.watch.breached else " "


_TONES = {"×": Status.FAILED, "√": Status.OK, "‼": Status.WARNING, "–": Status.SKIPPED}


def _painted(line: str, width: int, style: Style) -> str:
    status = _TONES.get(line[:1])
    shown = _cut(line, width, style)
    return style.paint(shown, style.tone(status)) if status else shown


def _cut(line: str, width: int, style: Style) -> str:
    """Cut with the spaces kept, which make the columns."""
    line = style.clean_cell(redact(line))
    if width_of(line) <= width:
        return line.rstrip()
    dots = style.clean("…")
    return (beginning(line, width - len(dots)).rstrip() + dots)[: max(width, 0)]
