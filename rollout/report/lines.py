"""A run as it happens: one line a change, and the line of the wait in between."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from rollout.model.finding import CheckResult, Status
from rollout.model.judgement import Verdict
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
from rollout.report.layout import MARKS, Style, clock, count, cut, labelled, span, wrap

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
    before: Run | None, after: Run, happened: Fact | Note, style: Style | None = None, *, named: bool = False
) -> list[str]:
    """The lines of one event; none where nothing changed for a reader.

    Args:
        before: the run until then, None for the first event.
        after: the run with the event.
        happened: the event.
        style: how lines are set.
        named: begin with the namespace, for several runs in one log.
    """
    style = style or Style()
    words, details = _words(before, after, happened, style)
    if isinstance(happened, Ended):
        return result(after, style)
    if not words:
        return details
    who = f"{after.spec.namespace} " if named else ""
    head = f"{clock(happened.t, style)} {style.clean(who)}{after.state:<{_STATE}} "
    if len(head) > style.columns // 2:
        words, head = f"{head.strip()}: {words}", ""
    lines = wrap(words, style, first=head, rest=" " * len(head) if head else "    ")
    tone = _LOUD.get(after.state, "") if isinstance(happened, Moved) else ""
    return [*(style.paint(line, tone) for line in lines), *details]


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
            return f"asked{f' by {happened.by}' if happened.by else ''}: {happened.kind}{task}" + _after(
                happened.reason
            )
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
    """Only a change is worth a line; the heartbeat is `progress`."""
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
    wanted = lifecycle.argument(run, "watch", "for")
    of = f"{span(watch.sight)}/{span(wanted)} of sight" if wanted else f"{span(watch.sight)} of sight"
    scrape = timedelta(seconds=run.baseline.sight.interval if run.baseline else 0)
    interval = max(lifecycle.argument(run, "watch", "interval") or scrape, scrape)
    due = f"/{-(-wanted // interval)}" if wanted and interval else ""
    verdict = str(watch.verdict).replace("_", " ") if watch.verdict else "no sample yet"
    return f"{verdict}: {of}, tick {watch.ticks}{due}"


def progress(
    run: Run, now: datetime, style: Style | None = None, *, last: Ticked | None = None, detail: str = ""
) -> str:
    """The waiting line: what for, elapsed and limit, the last tick's worst number, and `detail`; one line at most."""
    style = style or Style()
    head = f"{run.state:<{_STATE}} "
    return head + cut(
        f"{_waiting(run, now)}{_numbers(last)}{f' · {detail}' if detail else ''}", style.columns - len(head), style
    )


def _waiting(run: Run, now: datetime) -> str:
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


def _numbers(last: Ticked | None) -> str:
    if last is None or not last.signals:
        return ""
    worst = min(last.signals, key=lambda s: (s.verdict is not Verdict.REGRESSED, not s.breached))
    return f" · {worst.name} {worst.measured} (limit {worst.limit})"
