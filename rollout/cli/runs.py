"""`rollout status`, `resume`, `rollback`, and the requests `approve`, `hold`, `stop`."""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec

from rollout.cli.again import again
from rollout.cli.history import find, readable_runs, runs_of
from rollout.cli.migrate import io_of, report
from rollout.cli.wiring import Ports, me, ports
from rollout.errors import ClusterError, NotOurs, Outcome, RolloutError, UsageError, worst
from rollout.lifecycle.loop import drive
from rollout.record.events import Requested, RequestKind, Resumed
from rollout.record.run import Run
from rollout.report.json import batch_json
from rollout.report.status import status as table
from rollout.stages.orphans import left_alone


def status(args: Any) -> int:
    """Where every run stands, from the cluster's journals."""
    with ports(args) as p:
        runs = [find(p.journal, args.run, args.state_namespace)] if args.run else _all(args, p)
        if args.output == "json":
            sys.stdout.write(json.dumps(batch_json(runs, again(args)), indent=1) + "\n")
        else:
            screen = p.screen(args)
            screen.lines(table(runs, p.clock.now(), screen.style))
    return Outcome.DONE.exit_code


def _all(args: Any, p: Ports) -> list[Run]:
    return runs_of(p.journal, "", args.state_namespace)


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
        return _driven(args, p, [find(p.journal, args.run, args.state_namespace)], None)


def _all_resumed(args: Any, p: Ports) -> int:
    """Every run that nobody works on; what cannot be read or taken is said, and decides the exit code at the end."""
    screen = p.screen(args)
    runs, problems = readable_runs(p.journal, args.namespace, args.state_namespace)
    for problem in problems:
        screen.lines(problem.lines())
    orphans = [run for run in runs if not left_alone(run)]
    for run in runs:
        if not run.finished and (why := left_alone(run)):
            screen.say(f"{run.id} is left alone: {why}. Next: rollout resume {run.id}")
    if not orphans:
        screen.say("no run is waiting to be taken up")
    code = _driven(args, p, orphans, None, problems)
    return code or worst([problem.outcome for problem in problems]).exit_code


def rollback(args: Any) -> int:
    """Take a namespace back to PERMISSIVE; a run that is alive does it itself."""
    if not args.run:
        raise UsageError("no run or namespace is named", next="rollout rollback NAMESPACE")
    with ports(args) as p:
        run = find(p.journal, args.run, args.state_namespace)
        request = Requested(t=p.clock.now(), kind=RequestKind.ROLL_BACK, by=me(), to_start=args.to_start)
        holder = p.lease.holder(run.spec.namespace)
        if holder is not None and not run.ended:
            p.journal.request(run.id, run.spec.record_namespace, request)
            p.screen(args).say(f"asked {holder[0]} to roll back; its lease runs until {holder[1]:%H:%M:%S}")
            return Outcome.DONE.exit_code
        return _driven(args, p, [run], request)


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
        done = drive(taken, io)
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
