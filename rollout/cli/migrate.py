"""`rollout migrate` and `rollout plan`."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import Any

from rollout.adapters.manifests import Manifests
from rollout.adapters.mirror import state_folder
from rollout.cli.assignment import playbook, spec, targets, terminal
from rollout.cli.history import earlier_of, unfinished
from rollout.cli.matchers import understood
from rollout.cli.output import tell
from rollout.cli.screen import Screen
from rollout.cli.wiring import Ports, ports
from rollout.errors import Outcome, UsageError, worst
from rollout.lifecycle.io import IO
from rollout.lifecycle.loop import drive
from rollout.lifecycle.planning import plans as planned
from rollout.lifecycle.waves import in_order, waves
from rollout.playbook.play import Playbook
from rollout.record.events import Ended, Moved, Resumed, Started
from rollout.record.run import Run, apply, begin
from rollout.record.spec import Spec
from rollout.record.state import State
from rollout.report.endings import recap, result
from rollout.report.exemptions import suggested
from rollout.report.json import batch_json, plan_json
from rollout.report.layout import Style, wrap
from rollout.report.looking import looks_json, told
from rollout.report.overview import overview
from rollout.report.plan import plans
from rollout.report.text import header
from rollout.report.unmatched import unmatched
from rollout.stages.sentences import end
from rollout.stages.verifying import refused

#: With more namespaces than this a plan's text names them in its table only, and leaves out of the details what is ok.
MANY = 10


def migrate(args: Any) -> int:
    """Take namespaces to STRICT, one wave after the other."""
    if args.dry_run:
        return plan(args)
    with ports(args) as p:
        return migrated(args, p)


def migrated(args: Any, p: Ports) -> int:
    """The same on ports that exist."""
    names = targets(p.cluster, args)
    understood(args, names, p.metrics, p.clock.now())
    book = playbook(args.playbook, args.extra_vars, names)
    screen = p.screen(args)
    screen.named = len(names) > 1
    specs = _specs(args, book, p, names, plan=False)
    head = _headed(specs[names[0]], "migrate", names, screen, p)
    screen.lines([*head, *(f"warning: {w}" for w in book.warnings)])
    confirm(args, names)
    done: list[Run] = []
    with p.stopper:
        ordered, said = in_order(names, book.order, book.serial, specs, p.metrics)
        if said:
            screen.say(said)
        for wave in waves(ordered, book.serial):
            runs = [_begun(specs[name], p, screen) for name in wave]
            done += drive(runs, io_of(p, screen))
            warned(p, screen)
            failed = sum(1 for run in done if run.result in _FAILURES)
            if failed > _allowed(book, len(names)) or p.stopper.asked:
                break
    return report(args, done, screen, [n for n in names if n not in {r.spec.namespace for r in done}])


def _headed(spec: Spec, mode: str, names: list[str], screen: Screen, p: Ports) -> list[str]:
    return header(spec, mode, style=screen.style, served=p.served(), names=names)


_FAILURES = (Outcome.ROLLED_BACK, Outcome.ROLLBACK_FAILED, Outcome.BUG, Outcome.OVERRIDDEN)


def _allowed(book: Playbook, total: int) -> int:
    wanted = book.max_failures
    return int(total * int(wanted[:-1]) / 100) if isinstance(wanted, str) else wanted


def io_of(p: Ports, screen: Screen) -> IO:
    """The loop's io over these ports."""
    return IO(
        cluster=p.cluster, metrics=p.metrics, analyzer=p.analyzer, proxies=p.proxies, journal=p.journal,
        lease=p.lease, clock=p.clock, listener=screen, stopped=p.stopped, publisher=Manifests(state_folder()),
        guard=p.guard,
        insisted=p.insisted, announce=screen.looking,
    )  # fmt: skip


def _specs(args: Any, book: Playbook, p: Ports, names: list[str], *, plan: bool) -> dict[str, Spec]:
    earlier = earlier_of(p.journal, names, args.state_namespace or "")
    return {
        name: spec(
            args,
            book,
            namespace=name,
            now=p.clock.now(),
            origin=p.origin,
            mesh=p.mesh,
            earlier=earlier[name],
            plan=plan,
        )
        for name in names
    }


def _begun(wanted: Spec, p: Ports, screen: Screen) -> Run:
    """A new run, or the unfinished one of the namespace with its own spec."""
    first = Started(t=wanted.started, seq=1, spec=wanted)
    old = unfinished(p.journal, wanted.namespace, wanted.record_namespace)
    if old is None and (why := refused(begin(first))):
        return _never(begin(first), why)
    run_id = old.id if old else wanted.run
    if old is not None:
        refuse_others(old.spec, wanted)
    p.lease.acquire(wanted.namespace, run_id, takeover=True)
    if old is not None:
        screen.say(f"Run {old.id} of {wanted.namespace} is not finished: going on with it, with its own assignment")
        return io_of(p, screen).append(old, Resumed(t=p.clock.now(), by=p.identity.user))
    p.journal.create(first)
    warned(p, screen)
    run = begin(first)
    screen.event(run, run, first)
    return run


def _never(run: Run, why: str) -> Run:
    """A namespace that is never touched: its run ends here, and leaves no ConfigMap and no Lease in it."""
    at = run.spec.started
    moved = Moved(t=at, seq=2, from_=run.state, to=State.BLOCKED, why=why, outcome=Outcome.BLOCKED.name)
    blocked = apply(run, moved)
    said = end(blocked)
    return apply(blocked, Ended(t=at, seq=3, outcome=said.outcome.name, sentence=said.sentence, next=said.next))


def warned(p: Ports, screen: Screen) -> None:
    """Say once that this machine cannot keep its copy of the journal."""
    if said := p.journal.mirror.warning():
        screen.say(said)


#: What the command line or the playbook says of a run, and a run that goes on keeps.
ASSIGNED = (
    "tasks", "waivers", "exemptions", "fixed", "until", "on_stop", "max_duration", "permissive_since", "metrics_match",
    "allow_idle", "allow_system", "override_owner", "require_guard",
)  # fmt: skip


def refuse_others(old: Spec, wanted: Spec) -> None:
    """An unfinished run goes on with its own assignment: another one is refused, not mixed in.

    Raises:
        UsageError: with the parts that differ.
    """
    other = [name for name in ASSIGNED if getattr(old, name) != getattr(wanted, name)]
    if other:
        raise UsageError(
            f"{old.run} is not finished, and was begun with other {', '.join(other)}",
            limit="an unfinished run goes on with its own assignment",
            next=f"rollout resume {old.run}, or rollout rollback {old.run}",
        )


def confirm(args: Any, names: list[str]) -> None:
    """Ask for the name, or take a flag for the answer.

    Raises:
        UsageError: not confirmed; nothing was changed.
    """
    if args.confirm is not None and [args.confirm] != names:
        raise UsageError(f"--confirm names {args.confirm!r}, the targets are {', '.join(names)}", where="--confirm",
                         next=f"rollout plan {names[0]}")  # fmt: skip
    if args.yes or args.confirm is not None:
        return
    if not terminal():
        raise UsageError("nobody is there to be asked", where="standard input is no terminal",
                         next="--yes, or --confirm NAMESPACE")  # fmt: skip
    wanted = names[0] if len(names) == 1 else f"{len(names)} namespaces"
    subject = names[0] if len(names) == 1 else ", ".join(names)
    tell(f"{subject} will refuse plaintext. Type {wanted!r} to go on: ")
    if sys.stdin.readline().strip() != wanted:
        raise UsageError("not confirmed; nothing was changed", next=f"rollout plan {names[0]}")


def report(args: Any, runs: list[Run], screen: Screen, left: list[str]) -> int:
    """Print recap and result; give the batch's exit status."""
    end = worst([run.result for run in runs if run.result])
    screen.close()
    if args.output == "json":
        document = {**batch_json(runs, screen.again, not_started=left), **looked(screen)}
        screen.data(json.dumps(document, indent=1) + "\n")
        return end.exit_code
    if args.command == "migrate" and not left:
        screen.lines(_unmatched(runs, screen))
    screen.lines(asked(screen, screen.style))
    screen.lines(recap(runs, screen.style, not_started=left))
    for run in runs:
        screen.lines(result(run, screen.style, named=len(runs) > 1))
    return end.exit_code


def _unmatched(runs: list[Run], screen: Screen) -> list[str]:
    return [line for text in unmatched(runs) for line in wrap(text, screen.style, rest="  ")]


def plan(args: Any) -> int:
    """Report what migrate would do; nothing is written but server dry runs."""
    with ports(args) as p:
        return planned_on(args, p)


def planned_on(args: Any, p: Ports) -> int:
    """The same on ports that exist."""
    from rollout.adapters.memory import MemoryJournal

    names = targets(p.cluster, args)
    understood(args, names, p.metrics, p.clock.now())
    book = playbook(args.playbook, args.extra_vars, names)
    quiet, journal = p.screen(args, quiet=True), MemoryJournal()
    io = IO(
        cluster=p.cluster, metrics=p.metrics, analyzer=p.analyzer, proxies=p.proxies, journal=journal, lease=None,
        clock=p.clock, listener=quiet, blind_deadline=timedelta(minutes=30), announce=quiet.looking,
    )  # fmt: skip
    begun = []
    for wanted in _specs(args, book, p, names, plan=True).values():
        first = Started(t=p.clock.now(), seq=1, spec=wanted)
        journal.create(first)
        begun.append(begin(first))
    runs = planned(begun, io)
    end = worst([run.result for run in runs if run.result])
    if getattr(args, "suggest_exemptions", False):
        quiet.data("".join(f"{line}\n" for line in suggested(runs, p.clock.now())))
        return end.exit_code
    if args.output == "json":
        made = [plan_json(run, quiet.again) for run in runs]
        quiet.data(json.dumps({"format_version": "1", "plans": made, **looked(quiet)}, indent=1) + "\n")
        return end.exit_code
    screen = p.screen(args)
    screen.lines(_headed(runs[0].spec, "plan", names, screen, p))
    screen.lines(_unmatched(runs, screen))
    screen.lines(overview(runs, screen.style) if len(runs) > 2 else [])
    screen.lines(asked(quiet, screen.style))
    screen.lines(plans(runs, screen.style, short=len(runs) > MANY))
    return end.exit_code


def asked(heard: Screen, style: Style) -> list[str]:
    """How Prometheus labels its scrapes and what the look-backs took, where that is worth a line."""
    return [line for said in told(heard.looking.looks) for line in wrap(said, style, rest="  ")]


def looked(heard: Screen) -> dict[str, Any]:
    """The same for programs; nothing where no look-back was made."""
    looks = looks_json(heard.looking.looks)
    return {"look_backs": looks} if looks else {}
