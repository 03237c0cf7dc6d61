"""`rollout diagnose`: why mutual TLS does not work here. Reads only, but for `--logs` and `--probe`."""

from __future__ import annotations

import difflib
import json
import signal
import sys
from datetime import datetime
from typing import Any

from rollout.checks.registry import checks
from rollout.cli.assignment import duration
from rollout.cli.output import tell
from rollout.cli.probe import Wanted, planned, sweep, wanted
from rollout.cli.proxies import seen
from rollout.cli.screen import style
from rollout.cli.synchronization import synchronized
from rollout.cli.wiring import Ports, ports
from rollout.diagnosis.conclusion import outcome
from rollout.diagnosis.diagnose import of_call, of_namespace, proxies
from rollout.diagnosis.patterns import lines, recognise
from rollout.diagnosis.probing import Probed
from rollout.diagnosis.question import OfNamespace, OfPod, Pair, Question, question
from rollout.diagnosis.reading import read
from rollout.errors import ClusterError, NotFound, Outcome, RolloutError, UsageError
from rollout.model.diagnosis import Diagnosis
from rollout.model.istio import AuthorizationPolicy, PeerAuthentication
from rollout.model.kubernetes import ConfigMap, Namespace, Object, Pod
from rollout.ports import AnalyzerMessage
from rollout.report.diagnosis import diagnosis, diagnosis_json, recognition, recognition_json
from rollout.world.certificates import ROOT_CERT
from rollout.world.collector import collect
from rollout.world.reads import Analysis, Objects, Read
from rollout.world.sources import unreadable
from rollout.world.world import Reading, Unreadable, World


def diagnose(args: Any) -> int:
    """A namespace, a pod, a pair, or a log on standard input."""
    if args.target == "-":
        return _log(args)
    asked = question(args.target, args.source, args.to, method=args.method, path=args.path)
    seconds, probe = _seconds(args), wanted(args, asked)
    with ports(args) as p:
        found = diagnosed(asked, p, seconds, probe, quiet=args.output == "json")
        stopped = p.stopper.asked
        where = f"context {p.identity.context or 'in-cluster'}" + (f" · Istio {p.istio}" if p.istio else "")
    if args.output == "json":
        _print([json.dumps(diagnosis_json(found), indent=1)])
    else:
        _print(diagnosis(found, style(sys.stdout), where=where))
    if stopped is not None:
        return (Outcome.TERMINATED if stopped is signal.SIGTERM else Outcome.INTERRUPTED).exit_code
    return outcome(found).exit_code


def diagnosed(
    asked: Question, p: Ports, seconds: float | None, probe: Wanted | None = None, *, quiet: bool = False
) -> Diagnosis:
    """The question on ports that exist.

    Args:
        asked: the question.
        p: the ports.
        seconds: for so long the proxies write debug lines; None: not at all.
        probe: a test call, of a pair.
        quiet: show nothing of the logs while they come.
    """
    now = p.clock.now()
    if isinstance(asked, OfNamespace):
        return _of_namespace(asked, p, seconds, now, quiet=quiet)
    namespace = asked.server.namespace if isinstance(asked, Pair) else asked.pod.namespace
    sweep(p, (asked.client.namespace, namespace) if isinstance(asked, Pair) else (namespace,))
    found = read(asked, p.cluster, p.mesh, now)
    pods = (*((found.client,) if found.client else ()), *found.servers)
    attempt = planned(asked, found, p, probe) if isinstance(asked, Pair) and probe is not None else None
    tried: list[Probed] = []

    def meanwhile() -> None:
        if attempt is not None:
            tried.append(attempt())

    told = seen(proxies(pods), p, seconds, meanwhile=meanwhile if attempt is not None else None, quiet=quiet)
    told = synchronized(told, p, compare=proxies(pods) if isinstance(asked, OfPod) else ())
    return of_call(asked, found, told, p.mesh, _analysis(p, asked), now, next(iter(tried), None))


def _of_namespace(asked: OfNamespace, p: Ports, seconds: float | None, now: datetime, *, quiet: bool) -> Diagnosis:
    sweep(p, (asked.namespace,))
    world = _whole(asked.namespace, p, now)
    pods = world.of(Pod, asked.namespace) if not isinstance(world.get(Objects(Pod)), Unreadable) else ()
    told = synchronized(seen(proxies(pods), p, seconds, quiet=quiet), p)
    return of_namespace(asked, world, told, p.mesh, world.get(Analysis(asked.namespace)), now)


def _seconds(args: Any) -> float | None:
    return duration(args.logs, "--logs").total_seconds() if args.logs else None


def _analysis(p: Ports, asked: OfPod | Pair) -> tuple[AnalyzerMessage, ...] | Unreadable:
    """Of both ends' namespaces: rules of the client's decide what it sends."""
    names = (asked.server.namespace, asked.client.namespace) if isinstance(asked, Pair) else (asked.pod.namespace,)
    try:
        found = p.analyzer.analyze(names)
    except RolloutError as error:
        return unreadable(error)
    return tuple(dict.fromkeys(message for name in names for message in found[name]))


def _whole(namespace: str, p: Ports, now: datetime) -> World:
    """Every kind that a check reads, as for a plan."""
    _exists(namespace, p)
    kinds: dict[type[Object], None] = dict.fromkeys([Pod, PeerAuthentication, AuthorizationPolicy])
    kinds |= {kind: None for check in checks() for kind in check.reads if issubclass(kind, Object)}
    wanted: list[Read] = [*(Objects(kind) for kind in kinds), Analysis(namespace)]
    world = World().plus(collect(wanted, p.cluster, p.metrics, p.analyzer, World(), now))
    return world if ConfigMap in kinds else world.plus({Objects(ConfigMap): Reading(now, _root(namespace, p))})


def _root(namespace: str, p: Ports) -> tuple[ConfigMap, ...] | Unreadable:
    try:
        return (p.cluster.get(ConfigMap, namespace, ROOT_CERT),)
    except ClusterError as error:
        return unreadable(error)


def _exists(namespace: str, p: Ports) -> None:
    try:
        p.cluster.get(Namespace, "", namespace)
    except NotFound as error:
        near = difflib.get_close_matches(namespace, [found.name for found in p.cluster.list(Namespace)], n=3)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(
            f"there is no namespace {namespace}{meant}",
            next=f"rollout diagnose {near[0]}" if near else "kubectl get namespaces",
        ) from error


def _log(args: Any) -> int:
    """Recognise patterns in what is piped in: `kubectl logs POD -c istio-proxy | rollout diagnose -`."""
    if args.source or args.to or args.probe:
        raise UsageError("a log on standard input is diagnosed by itself", where="--from, --to, --probe")
    if sys.stdin.isatty():
        raise UsageError(
            "nothing is piped in", next="kubectl logs POD -n NAMESPACE -c istio-proxy | rollout diagnose -"
        )
    found = recognise(lines(sys.stdin.buffer))
    if args.output == "json":
        _print([json.dumps(recognition_json(found), indent=1)])
    else:
        _print(recognition(found, style(sys.stdout)))
    return (Outcome.BLOCKED if found.patterns else Outcome.DONE).exit_code


def _print(shown: list[str]) -> None:
    tell("\n".join(shown) + "\n")
