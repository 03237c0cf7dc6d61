"""`rollout status`, `resume`, `rollback`, and the requests `approve`, `hold`, `stop`."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from rollout.cli.again import again
from rollout.cli.history import Damaged, find, is_named, newest, readable_runs, searched
from rollout.cli.migrate import io_of, report, warned
from rollout.cli.present import Present, answering, look, not_ours, to_take_back
from rollout.cli.screen import whole
from rollout.cli.wiring import Ports, me, ports
from rollout.errors import ClusterError, NotFound, NotOurs, Outcome, RecordError, RolloutError, UsageError, worst
from rollout.lifecycle.loop import drive
from rollout.record.events import Requested, RequestKind, Resumed
from rollout.record.run import Run
from rollout.record.state import State
from rollout.report.json import batch_json
from rollout.report.status import status as table
from rollout.report.text import problem
from rollout.stages.orphans import left_alone

#: Between two looks at a lease that somebody else holds.
_POLL = timedelta(seconds=5)
#: Between two lines that say so.
_SAID = timedelta(minutes=1)


def status(args: Any) -> int:
    """Where every run stands, from the cluster's journals; what cannot be read is said, and decides the exit code."""
    with ports(args) as p:
        runs, damaged = _asked_for(args, p)
        if args.output == "json":
            p.screen(args).data(json.dumps(batch_json(runs, again(args)), indent=1) + "\n")
        else:
            screen = p.screen(args)
            idle = frozenset(run.id for run in runs if _unattended(p, run))
            lost = [(one.namespace, one.run) for one in damaged if one.run]
            screen.lines(table(runs, p.clock.now(), whole(sys.stdout, screen.again), unattended=idle, damaged=lost))
        for one in damaged:
            p.screen(args).lines(problem(one.error.lines(), p.screen(args).style))
    return worst([one.error.outcome for one in damaged]).exit_code


def _asked_for(args: Any, p: Ports) -> tuple[list[Run], list[Damaged]]:
    if not args.run:
        return readable_runs(p.journal, (), args.state_namespace)
    runs, damaged = readable_runs(p.journal, searched(args.run, args.state_namespace), args.state_namespace)
    run = newest(runs, args.run)
    if run is not None and run.id == args.run:
        return [run], []
    mine = [one for one in damaged if is_named(one, args.run) or not one.run]
    if run is None and not mine:
        return [find(p.journal, args.run, args.state_namespace)], []
    return [run] if run else [], mine


def _unattended(p: Ports, run: Run) -> bool:
    """It has not ended, and nobody holds its lease; where leases cannot be read nothing is claimed."""
    if run.ended or run.spec.plan:
        return False
    try:
        holder = p.lease.holder(run.spec.namespace, run.spec.record_namespace)
    except ClusterError:
        return False
    return holder is None or holder[0] != run.id


def resume(args: Any) -> int:
    """Go on with a run: what is recorded, compared with what is there."""
    if not (args.run or args.all):
        raise UsageError("no run is named", next="rollout resume RUN, or rollout resume --all")
    if args.run and (args.all or args.namespace):
        raise UsageError(f"{args.run} is named, and --all or --namespace with it", where="rollout resume",
                         next=f"rollout resume {args.run}, or rollout resume --all --namespace NAMESPACE")  # fmt: skip
    with ports(args) as p:
        if args.all:
            return _all_resumed(args, p)
        return _driven(args, p, [_resumable(args, p)], None)


def _resumable(args: Any, p: Ports) -> Run:
    """The run to go on with. One that ended is compared with what is there first: it may be long out of date."""
    place = args.state_namespace or ""
    try:
        run = find(p.journal, args.run, place)
    except (UsageError, RecordError):
        now = look(p, args.run, place)
        if not now.ours or now.covering is not None:
            raise
        return answering(p, now, args.run, place) or find(p.journal, args.run, place)
    if not run.finished or run.state is State.ROLLBACK_FAILED:
        return run
    return answering(p, look(p, args.run, place), args.run, place) or run


def _all_resumed(args: Any, p: Ports) -> int:
    """Every run that nobody works on; what cannot be read or taken is said, and decides the exit code at the end."""
    screen = p.screen(args)
    runs, damaged = readable_runs(p.journal, args.namespace, args.state_namespace)
    problems = [one.error for one in damaged]
    for error in problems:
        screen.lines(error.lines())
    orphans = [run for run in runs if not left_alone(run)]
    for run in runs:
        if not run.finished and (why := left_alone(run)):
            screen.say(f"{run.id} is left alone: {why}. Next: rollout resume {run.id}")
    if not orphans:
        screen.say("no run is waiting to be taken up")
    code = _driven(args, p, orphans, None, problems)
    return code or worst([error.outcome for error in problems]).exit_code


def rollback(args: Any) -> int:
    """Take a namespace back to PERMISSIVE; a run that is alive does it itself, and is waited for."""
    if not args.run:
        raise UsageError("no run or namespace is named", next="rollout rollback NAMESPACE")
    place = args.state_namespace or ""
    with ports(args) as p:
        asked = Requested(t=p.clock.now(), kind=RequestKind.ROLL_BACK, by=me(), to_start=args.to_start)
        now = look(p, args.run, place)
        if not (now.runs or now.damaged or now.ours):
            find(p.journal, args.run, place)
        if p.lease.holder(now.namespace) is not None:
            waited = _waited(args, p, now, asked)
            if p.stopper.asked is not None:
                return _broken_off(p, args, now)
            now = look(p, args.run, place)
            obeyed = next((run for run in now.runs if run.id == waited), None)
            if obeyed is not None and _obeyed(obeyed, asked):
                return report(args, [obeyed], p.screen(args), [])
        return _taken_back(args, p, now, asked)


def _obeyed(run: Run, asked: Requested) -> bool:
    """It ended after it was asked, and with nothing left to take back."""
    return run.ended and run.updated >= asked.t and run.state in (State.ROLLED_BACK, State.ROLLBACK_FAILED)


def _taken_back(args: Any, p: Ports, now: Present, asked: Requested) -> int:
    run = to_take_back(now, args.run, to_start=args.to_start)
    if run is None:
        ended = newest(now.runs, args.run)
        if not now.refuses and (ended is None or ended.state in (State.ENFORCED, State.BLOCKED)):
            return _nothing(args, p, now)
        run = answering(p, now, args.run, args.state_namespace or "")
        if run is None or (now.refuses and not now.covered_by(run)):
            raise not_ours(now)
    return _driven(args, p, [run], msgspec.structs.replace(asked, t=p.clock.now()))


def _nothing(args: Any, p: Ports, now: Present) -> int:
    """It accepts plaintext; a journal that cannot be read is needed no more, and would block the next migration."""
    screen = p.screen(args)
    screen.say(f"{now.said()}: there is nothing of ours to take back", f"rollout plan {now.namespace}")
    for one in now.damaged:
        screen.say(f"{one.error.problem} (ConfigMap {one.place}/rollout-{one.run}): nothing hangs on it any more",
                   f"kubectl delete configmap rollout-{one.run} -n {one.place}")  # fmt: skip
    return Outcome.DONE.exit_code


def _waited(args: Any, p: Ports, now: Present, asked: Requested) -> str:
    """Ask whoever holds the lease, until he has given it back or it has run out; the run that held it."""
    screen, asked_of, first, due = p.screen(args), "", "", p.clock.now()
    with p.stopper:
        while p.stopper.asked is None and (holder := p.lease.holder(now.namespace)) is not None:
            run, until = holder
            first = first or run
            if run != asked_of:
                with suppress(NotFound, RecordError):  # no journal to write into: its holder may create it anew
                    p.journal.request(run, args.state_namespace or now.namespace, asked)
                    asked_of = run
            if p.clock.now() >= due:
                due = p.clock.now() + _SAID
                screen.say(f"asked {run} to roll back; waiting for it, or for the end of its lease {until:%H:%M:%S}")
            pause = min(until + timedelta(seconds=1), p.clock.now() + _POLL)
            p.guard(partial(p.clock.sleep_until, pause))
    return first


def _broken_off(p: Ports, args: Any, now: Present) -> int:
    p.screen(args).say(f"stopped waiting; {now.namespace} was asked to roll back", f"rollout status {now.namespace}")
    return (Outcome.TERMINATED if p.stopper.asked is signal.SIGTERM else Outcome.INTERRUPTED).exit_code


def _driven(
    args: Any, p: Ports, runs: list[Run], request: Requested | None, problems: list[RolloutError] | None = None
) -> int:
    """Take runs up and drive them; with `problems` (`--all`) one that cannot be taken keeps no other from it."""
    screen = p.screen(args)
    screen.named = len(runs) > 1
    io = io_of(p, screen)
    taken: list[Run] = []
    with p.stopper:
        for run in runs:
            p.metrics.default(run.spec.origin.prometheus, run.spec.origin.history)
            onward = request is None if problems is None else run.onward
            try:
                p.lease.acquire(run.spec.namespace, run.id, takeover=True)
                known = io.append(run, Resumed(t=p.clock.now(), by=p.identity.user, onward=onward))
                if request is not None:
                    known = io.append(known, msgspec.structs.replace(request))
            except (NotOurs, ClusterError) as error:
                if problems is None:
                    raise
                screen.lines(error.lines())
                if not isinstance(error, NotOurs):  # a run whose process lives is in good hands
                    problems.append(error)
                continue
            taken.append(known)
        warned(p, screen)
        done = drive(taken, io)
        warned(p, screen)
    return report(args, done, screen, [])


def request(args: Any) -> int:
    """Write a request into a run's journal."""
    kinds = {"approve": RequestKind.APPROVE, "hold": RequestKind.HOLD, "stop": RequestKind.STOP}
    with ports(args) as p:
        run = find(p.journal, args.run, args.state_namespace)
        task = args.task or next((t.name for t in run.spec.tasks if t.keyword == "approve"), "")
        p.journal.request(
            run.id,
            run.spec.record_namespace,
            Requested(t=p.clock.now(), kind=kinds[args.command], by=me(), task=task, reason=args.reason),
        )
        said = f"{args.command}: written into {run.id}. If nobody works on it:"
        p.screen(args).say(said, f"rollout resume {run.id}")
    return Outcome.DONE.exit_code
