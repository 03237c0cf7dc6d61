"""`rollout evidence`: who speaks to the namespaces and how; with `--access-logs`, who the nameless callers are."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec

from rollout.cli.assignment import duration, strict_spans, targets
from rollout.cli.history import earlier
from rollout.cli.matchers import understood
from rollout.cli.migrate import asked, looked
from rollout.cli.output import complain
from rollout.cli.screen import Screen, style
from rollout.cli.wiring import Ports, ports
from rollout.errors import Outcome, RolloutError, UsageError, worst
from rollout.model.kubernetes import Node, Object, Pod, Service
from rollout.model.traffic import Evidence, EvidenceVerdict
from rollout.report.evidence import Shown, evidence_csv, evidence_json, evidence_lines, head
from rollout.world.addresses import Addresses
from rollout.world.callers import fitting, nameless
from rollout.world.collector import collect
from rollout.world.log_reading import Bounds, chosen, read_access_logs
from rollout.world.reads import Objects, Traffic
from rollout.world.world import Unreadable, World

_ENDS = {
    EvidenceVerdict.CLEAN: Outcome.DONE,
    EvidenceVerdict.IDLE: Outcome.DONE,
    EvidenceVerdict.PLAINTEXT: Outcome.BLOCKED,
    EvidenceVerdict.NO_DATA: Outcome.CANNOT_SEE,
}
_UNITS = {"": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_KINDS: tuple[type[Object], ...] = (Pod, Node, Service)


def evidence(args: Any) -> int:
    """Exit 0: clean or idle, 3: plaintext, 4: no data."""
    look_back = duration(args.look_back, "--look-back")
    bounds = _bounds(args)
    with ports(args) as p:
        screen = p.screen(args, quiet=True)
        found = _evidence(args, p, look_back, screen)
        read = _objects(p) if args.access_logs else None
        shown = [_shown(one, p, bounds, read) for one in found]
        _print(args, screen, shown)
    return worst([_ENDS[one.evidence.verdict] for one in shown]).exit_code


def _bounds(args: Any) -> Bounds:
    if args.max_pods < 1:
        raise UsageError(f"--max-pods is {args.max_pods}", limit="1 or more", where="--max-pods")
    return Bounds(since=duration(args.since, "--since"), pods=args.max_pods, size=size(args.max_bytes, "--max-bytes"))


def size(text: str, flag: str) -> int:
    """`10MB`, `512KiB`, `100000`: bytes.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    number = int(float(found[1]) * _UNITS[found[2]]) if found is not None and found[2] in _UNITS else 0
    if number < 1:
        raise UsageError(f"{text!r} is no number of bytes", limit="such as 10MB or 512KiB", where=flag)
    return number


def _evidence(args: Any, p: Ports, look_back: timedelta, screen: Screen) -> list[Evidence]:
    """Of each namespace.

    Raises:
        RolloutError: of one of them nothing can be read.
    """
    reads = {}
    names = targets(p.cluster, args)
    understood(args, names, p.metrics, p.clock.now())
    for name in names:
        holes = strict_spans(earlier(p.journal, name, args.state_namespace or name), p.clock.now())
        reads[name] = Traffic(name, look_back.total_seconds(), args.metrics_match, holes, periods=True)
    now = p.clock.now()
    answers = collect(reads.values(), p.cluster, p.metrics, p.analyzer, World(), now, announce=screen.looking)
    found: list[Evidence] = []
    for name, read in reads.items():
        answer = answers[read].value
        if isinstance(answer, Unreadable):
            raise RolloutError(answer.reason, where=f"namespace {name}", next=answer.next, outcome=answer.outcome)
        found.append(answer)
    return found


class _Cluster(msgspec.Struct):
    """What addresses resolve to; `lacking` says what could not be read, so that addresses stay bare."""

    pods: tuple[Pod, ...]
    nodes: tuple[Node, ...]
    services: tuple[Service, ...]
    lacking: tuple[str, ...]


def _objects(p: Ports) -> _Cluster:
    answers = collect([Objects(kind) for kind in _KINDS], p.cluster, p.metrics, p.analyzer, World(), p.clock.now())
    values = [answers[Objects(kind)].value for kind in _KINDS]
    lacking = tuple(
        f"the cluster's {kind.RESOURCE.plural}, whose addresses stay bare: {value.reason}"
        for kind, value in zip(_KINDS, values, strict=True)
        if isinstance(value, Unreadable)
    )
    pods, nodes, services = (() if isinstance(value, Unreadable) else value for value in values)
    return _Cluster(pods, nodes, services, lacking)


def _shown(found: Evidence, p: Ports, bounds: Bounds, read: _Cluster | None) -> Shown:
    edges = [edge for edge in found.edges if nameless(edge)]
    if read is None:
        return Shown(found, None, tuple((edge, ()) for edge in edges))
    pods = read.pods or p.cluster.list(Pod, namespace=found.namespace)
    mine = chosen(pods, found.namespace, edges)
    addresses = Addresses(pods, read.nodes, read.services)
    log = read_access_logs(found.namespace, mine, edges, addresses, p.cluster, bounds, p.clock.now())
    log = msgspec.structs.replace(log, unread=(*log.unread, *read.lacking))
    named = tuple((edge, fitting(edge, log.callers, pods, read.services)) for edge in edges)
    return Shown(found, log, named)


def _print(args: Any, screen: Screen, shown: Sequence[Shown]) -> None:
    if args.output == "json":
        screen.data(json.dumps({**evidence_json(shown), **looked(screen)}, indent=1) + "\n")
        return
    if args.output == "csv":
        complain("".join(f"{line}\n" for one in shown for line in head(one.evidence, style(sys.stderr))))
        screen.data(evidence_csv(shown))
        return
    for number, one in enumerate(shown):
        screen.lines([""] if number else [])
        screen.lines(evidence_lines(one, style(sys.stdout, screen.again), whole=not sys.stdout.isatty()))
    screen.lines(asked(screen, screen.style))
