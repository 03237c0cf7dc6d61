"""From flags and a playbook to a run's spec."""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from rollout.checks.registry import checks
from rollout.errors import Outcome, Rejected, RolloutError, UsageError
from rollout.model.istio import MeshConfig
from rollout.model.kubernetes import Namespace
from rollout.playbook.loader import load
from rollout.playbook.play import Playbook
from rollout.ports import Cluster
from rollout.record.run import Run
from rollout.record.spec import Exemption, Fixed, OnStop, Origin, Spec, Task, Waiver
from rollout.record.state import State
from rollout.stages.arguments import KEYWORDS, Watch

#: Flags that are the Spec's fields of the same name.
_AS_GIVEN = (
    "allow_idle", "allow_system", "override_owner", "until", "metrics_match", "state_namespace", "repo",
    "accept_slow_rollback",
)  # fmt: skip
#: `production/orders:8443`, as against `PeerAuthentication production/orders`.
_PORT_OF = re.compile(r"([a-z0-9-]+/[a-z0-9.-]+):(\d{1,5})")


def terminal() -> bool:
    """A human sits at it."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


#: The keyword in whose state a check belongs; `verify` and `check` alone may name theirs.
_KEYWORD_OF = {
    State.VERIFYING: "verify",
    State.PERMISSIVE: "permissive",
    State.CONFIRMING: "confirm_mtls",
    State.CHECKING: "check",
}


def naming() -> dict[str, str]:
    """Every check, and which keyword is about it."""
    return {check.meta.id: _KEYWORD_OF[check.meta.state] for check in checks()}


def playbook(path: str | None, extra: list[str], namespaces: list[str], *, now: datetime | None = None) -> Playbook:
    """The playbook with the command line's variables; with `now` nothing in it may have expired.

    A file of variables may serve several playbooks; a single one that this playbook does not have is a mistake.
    """
    typed: list[str] = []
    variables = {"namespaces": ",".join(namespaces)}
    for text in extra:
        if text.startswith("@"):
            lines = Path(text[1:]).read_text(encoding="utf-8").splitlines()
            pairs = [line.partition(":") for line in lines if ":" in line]
            variables.update({name.strip(): value.strip() for name, _, value in pairs})
            continue
        name, sign, value = text.partition("=")
        if not sign:
            raise UsageError(f"{text!r} has no '='", limit="-e NAME=VALUE or -e @FILE", where="-e")
        variables[name] = value
        typed.append(name)
    book = load(Path(path) if path else None, keywords=KEYWORDS, checks=naming(), variables=variables, now=now)
    for name in typed:
        _used(name, book)
    return book


def _used(name: str, book: Playbook) -> None:
    """What looks like one of the playbook's variables the loader has refused already."""

    def stands(word: str) -> bool:
        return re.search(rf"\b{re.escape(word)}\b", book.text) is not None

    if stands(name):
        return
    known = sorted(word for word in book.variables if word != "namespaces" and stands(word))
    raise UsageError(
        f"the playbook {book.name} has no variable {name!r}",
        limit=f"it has {', '.join(known) or 'none'}",
        where="-e",
        next=f"rollout playbook show {book.path}",
    )


def targets(cluster: Cluster, args: Any) -> list[str]:
    """The namespaces that names, globs and the selector mean, in the order given."""
    if not (args.namespaces or args.selector or args.all_namespaces):
        raise UsageError("no namespace is named", next=f"rollout {args.command} NAMESPACE, or -l SELECTOR")
    if args.command != "job":  # whose manifests may make it
        kept_in(cluster, args)
    try:
        known = cluster.list(Namespace, selector=args.selector)
    except Rejected as error:
        raise UsageError(f"{args.selector!r} is no label selector: {error.problem}", where="-l") from error
    names = [ns.name for ns in known]
    chosen: list[str] = []
    for pattern in args.namespaces:
        found = fnmatch.filter(names, pattern)
        if not found:
            raise _unselected(cluster, args, pattern) or _unknown(args, pattern, known)
        chosen += sorted(found)
    if not args.namespaces:
        chosen = sorted(ns.name for ns in known if args.selector or _meshed(ns))
    for ns in known:
        if ns.name in chosen and (ns.status.phase == "Terminating" or ns.metadata.deletion_timestamp):
            raise RolloutError(f"namespace {ns.name} is being deleted", outcome=Outcome.BLOCKED,
                               next=f"kubectl get namespace {ns.name} -o yaml")  # fmt: skip
    if not chosen:
        raise UsageError("no namespace matches", where=f"-l {args.selector}" if args.selector else "--all-namespaces",
                         next="kubectl get namespaces --show-labels")  # fmt: skip
    return list(dict.fromkeys(chosen))


def kept_in(cluster: Cluster, args: Any) -> None:
    """Where the record is to be kept is there: a run finds out only when it begins to write.

    Raises:
        UsageError: no such namespace.
    """
    place = args.state_namespace
    if not place:
        return
    names = [ns.name for ns in cluster.list(Namespace)]
    if place in names:
        return
    near = next(iter(difflib.get_close_matches(place, names, n=1)), "")
    better = f"rollout {args.command} {targeted(args)} --state-namespace={near}"
    raise UsageError(f"there is no namespace {place!r}" + (f"; did you mean {near}?" if near else ""),
                     where="--state-namespace",
                     next=better if near else f"kubectl create namespace {place}")  # fmt: skip


def targeted(args: Any) -> str:
    """The targets of a command as they were given, for one that follows it."""
    labels = f"--selector={shlex.quote(args.selector)}" if args.selector else ""
    everything = "--all-namespaces" if args.all_namespaces else ""
    return " ".join(part for part in (*args.namespaces, labels, everything) if part)


def _unselected(cluster: Cluster, args: Any, pattern: str) -> UsageError | None:
    """It is there, and the labels leave it out."""
    if not args.selector:
        return None
    found = fnmatch.filter([ns.name for ns in cluster.list(Namespace)], pattern)
    if not found:
        return None
    problem = f"{found[0]} has no labels that match" if len(found) == 1 else f"none of {', '.join(found[:8])} matches"
    return UsageError(f"{problem} {args.selector!r}", where="-l", next=f"rollout {args.command} {' '.join(found)}")


def _unknown(args: Any, pattern: str, known: Sequence[Namespace]) -> UsageError:
    """A namespace that is not there: the near one, else those that could be meant."""
    near = difflib.get_close_matches(pattern, [ns.name for ns in known], n=3)
    meshed = sorted(ns.name for ns in known if _meshed(ns))
    others = f"with sidecar injection: {', '.join(meshed[:8]) or 'none'}"
    guess = f"did you mean {' or '.join(near)}?" if near else others
    target = next(iter((*near, *_of_scenario(args), *meshed)), "")
    following = f"rollout {args.command} {target}" if target else "kubectl get namespaces --show-labels"
    return UsageError(f"no namespace matches {pattern!r}; {guess}", next=following)


def _of_scenario(args: Any) -> tuple[str, ...]:
    """What the lab's scenario is about; nothing on a cluster, and on a lab of another process."""
    if not args.lab or args.lab.startswith("http://"):
        return ()
    from rollout.lab.scenario import load_scenario

    return load_scenario(args.lab).target


def _meshed(namespace: Namespace) -> bool:
    labels = namespace.metadata.labels
    return labels.get("istio-injection") == "enabled" or "istio.io/rev" in labels


def spec(
    args: Any,
    book: Playbook,
    *,
    namespace: str,
    now: datetime,
    origin: Origin,
    mesh: MeshConfig,
    earlier: Sequence[Run],
    plan: bool,
) -> Spec:
    """The assignment of one run."""
    since = args.permissive_since
    return Spec(
        run=f"{namespace[:40]}-{now:%Y%m%d-%H%M}-{os.urandom(2).hex()}",
        namespace=namespace,
        tasks=_longer(book.tasks) if args.short_evidence else book.tasks,
        started=now,
        playbook=book.text,
        playbook_sha=book.sha,
        playbook_name=book.name,
        origin=origin,
        waivers=(*book.waivers, *_waivers(args)),
        exemptions=(*book.exemptions, *_exemptions(args)),
        fixed=_fixed(args, now),
        terminal=terminal(),
        require_guard=book.require_guard or args.require_guard,
        on_stop=OnStop(args.on_stop),
        max_duration=duration(args.max_duration, "--max-duration") if args.max_duration else None,
        permissive_since=moment(since, now, "--permissive-since", _written(namespace)) if since else None,
        permissive_reason=_reason(args, "--permissive-since") if since else "",
        mesh=mesh,
        enforced_before=bool(earlier) and earlier[-1].state is State.ENFORCED,
        holes=strict_spans(earlier, now),
        plan=plan,
        short_evidence=_reason(args, "--short-evidence") if args.short_evidence else "",
        **{flag: getattr(args, flag) for flag in _AS_GIVEN},
    )


def _longer(tasks: tuple[Task, ...]) -> tuple[Task, ...]:
    """What the evidence cannot show, the watch must: four times as long."""
    watch = next(task for task in tasks if task.keyword == "watch")
    usual = msgspec.convert(watch.args, Watch).for_
    longer = msgspec.structs.replace(watch, args={**watch.args, "for": f"PT{4 * usual.total_seconds():.0f}S"})
    return tuple(longer if task is watch else task for task in tasks)


def strict_spans(runs: Sequence[Run], now: datetime) -> tuple[tuple[datetime, datetime], ...]:
    """When earlier runs kept the namespace STRICT; one whose end nobody recorded lasts until now."""
    return tuple(
        (write.done, write.undone or now)
        for run in runs
        for write in run.writes
        if write.change.strict and write.done is not None
    )


def _reason(args: Any, flag: str) -> str:
    if not args.reason:
        raise UsageError(f"{flag} needs --reason", where=flag, next=f"{flag} … --reason 'why'")
    return str(args.reason)


def _waivers(args: Any) -> tuple[Waiver, ...]:
    made = []
    for text in args.waive:
        check, sign, obj = text.partition("=")
        if not sign or not obj:
            raise UsageError(f"{text!r} is no waiver", limit="--waive CHECK=OBJECT", where="--waive",
                             next="rollout checks list")  # fmt: skip
        if check not in {c.meta.id for c in checks()}:
            near = difflib.get_close_matches(check, [c.meta.id for c in checks()], n=1)
            raise UsageError(f"there is no check {check!r}", where="--waive",
                             next=f"did you mean {near[0]}?" if near else "rollout checks list")  # fmt: skip
        made.append(Waiver(check=check, object=obj, reason=_reason(args, "--waive"), max_rate=args.max_rate))
    return tuple(made)


def _exemptions(args: Any) -> tuple[Exemption, ...]:
    made = []
    for text in args.exempt:
        port = _PORT_OF.fullmatch(text)
        workload, number = (port[1], int(port[2])) if port else ("", 0)
        reason = _reason(args, "--exempt")
        made.append(Exemption(object=text, reason=reason, workload=workload, port=number, max_rate=args.max_rate))
    return tuple(made)


def _fixed(args: Any, now: datetime) -> tuple[Fixed, ...]:
    made = []
    for text in args.fixed:
        edge, sign, at = text.rpartition("@")
        if not sign:
            raise UsageError(f"{text!r} has no '@'", limit="--fixed 'EDGE@TIME'", where="--fixed",
                             next=f"rollout evidence {targeted(args)}")  # fmt: skip
        repaired = moment(at, now, "--fixed", f"rollout evidence {targeted(args)}")
        made.append(Fixed(edge=edge, at=repaired, reason=_reason(args, "--fixed")))
    return tuple(made)


def _written(namespace: str) -> str:
    """Where a policy's mode says since when it stands."""
    return f"kubectl get peerauthentications -n {namespace} -o yaml --show-managed-fields"


def moment(text: str, now: datetime, flag: str, source: str) -> datetime:
    """An ISO date or time that has happened already; without a zone, UTC.

    Raises:
        UsageError: it is none, or nobody can know it yet; `source` is the command that shows the right one.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is no date", limit="2026-03-02 or 2026-03-02T10:00Z", where=flag, next=source
        ) from None
    at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    if at > now:
        until = f"before now, {now:%Y-%m-%d %H:%M} UTC"
        raise UsageError(f"{at:%Y-%m-%d %H:%M} UTC is to come", limit=until, where=flag, next=source)
    return at


def duration(text: str, flag: str) -> timedelta:
    """`55m`, `1h30m`, `8d`."""
    from rollout.playbook.arguments import duration as parsed

    found = parsed(text)
    if found is None:
        raise UsageError(f"{text!r} is no duration", limit="such as 45s, 30m, 1h30m, 8d", where=flag)
    return found
