"""A run as it happens: one line a change, and the line of the wait in between."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from rollout.model.finding import CheckResult, Status
from rollout.model.judgement import Signal, Verdict
from rollout.record.events import (
    Baselined,
    Checked,
    Confirmed,
    Done,
    Ended,
    Fact,
    Failed,
    Held,
    Intended,
    Moved,
    Note,
    Noted,
    ProofKind,
    Proven,
    Requested,
    Resumed,
    Started,
    Ticked,
    Ticks,
)
from rollout.record.run import Run
from rollout.record.state import State
from rollout.report import findings, lifecycle
from rollout.report.endings import result, signals
from rollout.report.layout import MARKS, Style, clock, command, count, labelled, span, wrap

#: Two of the watch's signals, by their ids.
_SILENCE, _ERRORS = "silence", "edge-errors"
_STATE = max(len(state) for state in State)
_LOUD = {
    State.BLOCKED: "red",
    State.ROLLING_BACK: "yellow",
    State.ROLLED_BACK: "yellow",
    State.ROLLBACK_FAILED: "alarm",
    State.OVERRIDDEN: "red",
    State.ENFORCED: "green",
}


def event(
    before: Run | None, after: Run, happened: Fact | Note, style: Style | None = None, *, named: int = 0
) -> list[str]:
    """The lines of one event; none where nothing changed for a reader.

    Args:
        before: the run until then, None for the first event.
        after: the run with the event.
        happened: the event.
        style: how lines are set.
        named: begin with the namespace in at least so many columns, for several runs in one log.
    """
    style = style or Style()
    words, details = _words(before, after, happened, style)
    if isinstance(happened, Ended):
        return result(after, style)
    if not words:
        return details
    lines = _told_at(happened.t, after, words, style, named)
    tone = _LOUD.get(after.state, "") if isinstance(happened, Moved) else ""
    return [*(style.paint(line, tone) for line in lines), *details]


def _told_at(at: datetime, run: Run, words: str, style: Style, named: int) -> list[str]:
    who = f"{run.spec.namespace.ljust(named)} " if named else ""
    head = f"{clock(at, style)} {style.clean_cell(who)}{run.state:<{_STATE}} "
    if len(head) > style.columns // 2:
        words, head = f"{' '.join(head.split())}: {words}", ""
    return wrap(words, style, first=head, rest=" " * len(head) if head else "    ")


def heartbeat(
    run: Run, now: datetime, style: Style, *, last: Ticked | None = None, detail: str = "", named: int = 0
) -> list[str]:
    """The waiting line as a log has it: with the time, and as long as it is."""
    said = f"{waiting(run, now)}{_numbers(run, last)}{f' · {detail}' if detail else ''}"
    return _told_at(now, run, said, style, named)


def _words(before: Run | None, after: Run, happened: Fact | Note, style: Style) -> tuple[str, list[str]]:
    match happened:
        case Started():
            return f"run {after.id} begins, playbook {after.spec.playbook_name}", []
        case Moved():
            why = happened.why or "begins"
            return why, signals(after, style) if happened.signals else []
        case Checked():
            known = before.checks if before else ()
            news = [r for r in happened.results if r.status is not Status.OK and not _told(r, known)]
            return _checked(happened), [line for r in news for line in findings.check(r, style)]
        case Confirmed():
            return findings.headline(happened.evidence), []
        case Baselined():
            base = happened.baseline
            return f"baseline: {count(len(base.edges), 'edge')}, {count(len(base.workloads), 'workload')}", []
        case Proven() if before and before.proven(happened.of) and happened.ok and after.state is State.WATCHING:
            return "", []
        case Proven():
            mark = MARKS[Status.OK if happened.ok else Status.FAILED]
            verb = "proven" if happened.ok else "not proven"
            return f"{mark} {happened.of.replace('_', ' ')} {verb}" + _after(happened.detail), []
        case Ticks():
            return _ticks(before, after, happened), []
        case Ticked():
            return "", _ticked(happened, style)
        case Noted():
            return happened.text, []
        case Held(on=True, why=why) if why.startswith("approval ") and not style.again.ephemeral:
            return _deeds(happened), command(f"rollout approve {after.id}", style, first="    next      ")
        case _:
            return _deeds(happened), []


def _deeds(happened: Fact | Note) -> str:
    match happened:
        case Intended():
            return f"writing: {happened.change}"
        case Done():
            return f"changed{' back' if happened.undo else ''}: {happened.change}"
        case Failed():
            what = "the undo" if happened.undo else "the change"
            owner = f" (owner: {happened.owner})" if happened.owner else ""
            known = "is not known to be written" if happened.kind == "unsure" else "was not written"
            return f"{what} {known}, {happened.kind}: {happened.reason}{owner}"
        case Requested():
            task = f" {happened.task}" if happened.task else ""
            why = f", {happened.reason}" if happened.reason else ""
            return f"asked{f' by {happened.by}' if happened.by else ''}: {happened.kind}{task}{why}"
        case Held():
            return f"held{_after(happened.why)}" if happened.on else "no longer held"
        case Resumed():
            gap = f", judging the gap since {happened.gap_from:%H:%M:%S} UTC" if happened.gap_from else ""
            return f"taken up by {happened.by or 'another process'}{gap}"
        case _:
            return ""


def _after(text: str) -> str:
    return f": {text}" if text else ""


def _told(result: CheckResult, known: Iterable[CheckResult]) -> bool:
    """A check that is asked again, at the gate, and says the same."""
    said = (result.check, result.status, result.findings, result.reason)
    return any(said == (old.check, old.status, old.findings, old.reason) for old in known)


def _checked(happened: Checked) -> str:
    shown = [(status, [r.status for r in happened.results].count(status)) for status in Status]
    parts = ", ".join(f"{number} {MARKS[status]}" for status, number in shown if number)
    return f"{count(len(happened.results), 'check')}: {parts}" if parts else "no checks"


def _ticks(before: Run | None, after: Run, happened: Ticks) -> str:
    """Only a change is worth a line; the rest is the heartbeat's."""
    old = before.watch if before else None
    if old and (old.verdict, old.breached) == (happened.verdict, happened.breached):
        return ""
    return _watch(after) + (f"; over the limit: {', '.join(happened.breached)}" if happened.breached else "")


def _ticked(happened: Ticked, style: Style) -> list[str]:
    """The numbers under the line of the tick; a regression's come with the move that it leads to."""
    if happened.verdict is Verdict.REGRESSED:
        return []
    over = [f"{s.name} at {s.where}: {s.measured} (limit {s.limit})" for s in happened.signals if s.breached]
    return labelled("over", over, style)


def _watch(run: Run) -> str:
    watch = run.watch
    if run.state is State.ENFORCING:
        return f"{str(watch.verdict).replace('_', ' ')} while the flip spreads"
    of = lifecycle.seen(run) or f"{span(watch.sight)}{_of_watch(run)}"
    ticks, due = lifecycle.samples(run)
    verdict = str(watch.verdict).replace("_", " ") if watch.verdict else "no sample yet"
    return f"{verdict}: {of} of sight, tick {ticks}{f'/{due}' if due else ''}"


def _of_watch(run: Run) -> str:
    wanted = lifecycle.argument(run, "watch", "for")
    return f"/{span(wanted)}" if wanted else ""


def waiting(run: Run, now: datetime) -> str:
    """What for, elapsed and limit."""
    spent = max(now - run.entered, timedelta(0))
    if run.held:
        return f"held {span(spent)}: {run.held}"
    match run.state:
        case State.WATCHING:
            return _watch(run) + _blind(run, now)
        case State.ENFORCING | State.PERMISSIVE:
            keyword = "strict" if run.state is State.ENFORCING else "permissive"
            standing = [w.done for w in run.writes if w.standing and w.done]
            if not standing:
                return f"{span(spent)}"
            since = max(now - max(standing), timedelta(0))
            if run.state is State.ENFORCING and run.proven(ProofKind.PROPAGATION, max(standing)):
                return f"waiting for the drain's end {span(since)}"
            return f"waiting for the proxies' proof {_of(since, lifecycle.argument(run, keyword, 'propagation'))}"
        case State.ROLLING_BACK:
            limit = lifecycle.argument(run, "watch", "rollback_timeout")
            return f"waiting for the proxies' proof of the way back {_of(spent, limit)}"
        case _:
            return f"{span(spent)}"


def _of(spent: timedelta, limit: timedelta | None) -> str:
    return f"{span(spent)}/{span(limit)}" if limit else span(spent)


def _blind(run: Run, now: datetime) -> str:
    if run.watch.blind is None:
        return ""
    blind = max(now - run.watch.blind, timedelta(0))
    return f" · blind {_of(blind, lifecycle.argument(run, 'watch', 'blind_deadline'))}, then back"


def _numbers(run: Run, last: Ticked | None) -> str:
    """What is over its limit; where nothing is, how many edges are alive, and the errors."""
    if last is None or not last.signals:
        return ""
    worst = min(last.signals, key=lambda s: (s.verdict is not Verdict.REGRESSED, not s.breached))
    if worst.breached or worst.verdict is Verdict.REGRESSED:
        return f" · {worst.name} {worst.measured} (limit {worst.limit})"
    return "".join(f" · {text}" for text in (edges(run, last), failures(last)) if text)


def edges(run: Run, last: Ticked) -> str:
    """`edges 36/38`: of the baseline's edges those that were judged on the last sample and are alive."""
    known = {(edge.key, str(edge.family)) for edge in run.baseline.edges} if run.baseline else set()
    bad = {_edge(signal) for signal in last.signals if signal.breached}
    alive = {_edge(signal) for signal in last.signals if signal.name != _SILENCE} & known - bad
    return f"edges {len(alive)}/{len(known)}" if known else ""


def _edge(signal: Signal) -> tuple[str, str]:
    """The edge that a signal is about, and its family: `web/shop -> payments/ledger (http)`."""
    key, _, rest = signal.where.partition(" (")
    return key, rest.partition(")")[0]


def failures(last: Ticked) -> str:
    """The highest failed share that callers see, with its limit; '' where too few calls were made to tell."""
    shares = {
        signal: float(found[1])
        for signal in last.signals
        if signal.name == _ERRORS and (found := re.match(r"([\d.]+)%", signal.measured))
    }
    if not shares:
        return ""
    worst = max(shares, key=lambda signal: shares[signal])
    limit = worst.limit.partition(",")[0]
    return f"errors at callers {shares[worst]:g}% (limit {limit})"
