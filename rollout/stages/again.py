"""What the watch asks again and again besides its ticks: rules that came after the flip, and edges that are slow.

Every five minutes and at the end, because a long window costs Prometheus more than a short one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from rollout.checks.words import many
from rollout.judge.addresses import beside as reset_beside
from rollout.judge.baseline import place
from rollout.judge.callers import lost_at_the_end
from rollout.judge.signals import SURVIVAL
from rollout.judge.slow import lost, unproven
from rollout.mesh.destination_rules import Rules, TLSSetting, ports_of
from rollout.mesh.injection import live, proxy_container
from rollout.mesh.peer_authentication import Policies
from rollout.mesh.services import Backends, host
from rollout.mesh.strict import strict_services
from rollout.mesh.workloads import workload
from rollout.model.istio import ClientTLSMode, DestinationRule, PeerAuthentication
from rollout.model.judgement import Observation, Signal, Verdict
from rollout.model.kubernetes import Pod, Service
from rollout.model.traffic import Party
from rollout.record.run import Run
from rollout.stages.rechecked import rechecked
from rollout.world.reads import Objects, Observed
from rollout.world.world import KindUnreadable, Unreadable, World

#: How often, how far back at most, and how long the last part of a watch is.
EVERY = timedelta(minutes=5)
LONGEST = timedelta(hours=2)
LATE = timedelta(minutes=15)
KINDS = (DestinationRule, Service, Pod, PeerAuthentication)
SHOWN = 3


class Again(msgspec.Struct, frozen=True):
    """What was found: harm, pods that accept plaintext, and the rest that the end's sentence tells."""

    harm: tuple[Signal, ...] = ()
    beside: tuple[str, ...] = ()
    open: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The worst of the harm, as the judge says it; only where there is some."""
        worst, more = self.harm[0], len(self.harm) - 1
        return f"{worst.name} of {worst.where}: {worst.measured}, limit {worst.limit}" + (
            f" (and {more} more)" if more else ""
        )


def on_the_way(run: Run, world: World, now: datetime) -> Again:
    """At every fifth minute of the watch; nothing before the first.

    Raises:
        Needs: the world lacks the answers of the last fifth minute.
    """
    began = run.watch.began
    if began is None or now - began < EVERY:
        return Again()
    span = EVERY * ((now - began) // EVERY)
    return _asked(run, world, began + span, span, over=False)


def at_the_end(run: Run, world: World) -> Again:
    """When the watch has seen enough: up to its last tick.

    Raises:
        Needs: the world lacks the answers.
    """
    began, due = run.watch.began, run.watch.due
    if began is None or due is None or due <= began:
        return Again()
    return _asked(run, world, due, due - began, over=True)


def _asked(run: Run, world: World, since: datetime, span: timedelta, *, over: bool) -> Again:
    spans = dict.fromkeys((min(span, LONGEST), min(span, LATE)))
    questions = [Observed(run.spec.namespace, s.total_seconds(), run.spec.metrics_match) for s in spans]
    world.need(*(Objects(kind) for kind in KINDS), *questions, since=since)
    if run.baseline is None:
        return Again()
    harm, beside = _rules(run, world)
    checks = rechecked(run, world, since, over=over)
    harm += checks.harm
    answers: list[Observation | Unreadable] = [world.get(question) for question in questions]
    seen = [answer for answer in answers if isinstance(answer, Observation)]
    for observation in reversed(seen):
        known = {signal.key for signal in harm}
        harm += [signal for signal in lost(run.baseline, observation) if signal.key not in known]
    if over:
        beside += _unproven(run, answers)
        beside += reset_beside(run.baseline, seen[0]) if seen else ()
        beside += lost_at_the_end(run.baseline, world)
        beside += checks.beside
    return Again(tuple(harm), tuple(beside), checks.open)


def _unproven(run: Run, answers: list[Observation | Unreadable]) -> list[str]:
    whole, late = answers[0], answers[-1]
    if isinstance(whole, Unreadable) or isinstance(late, Unreadable):
        why = next(answer.reason for answer in answers if isinstance(answer, Unreadable))
        return [f"which edges stayed quiet could not be asked: {why}"]
    assert run.baseline is not None
    quiet = unproven(run.baseline, whole, late)
    if not quiet:
        return []
    more = f" and {len(quiet) - SHOWN} more" if len(quiet) > SHOWN else ""
    return [f"{many(len(quiet), 'edge')} too quiet or silent to be proven: {', '.join(quiet[:SHOWN])}{more}"]


def _rules(run: Run, world: World) -> tuple[list[Signal], list[str]]:
    """Rules that no check showed before the flip, and that turn mesh TLS off towards a STRICT port."""
    shown = {(str(f.ref), f.field) for r in run.checks if r.check == "destination-rules" for f in r.findings}
    harm: dict[str, Signal] = {}
    beside: dict[str, None] = {}
    try:
        for client, service, setting in _off(run, world):
            if (str(setting.rule), setting.field) in shown:
                continue
            hit = [] if setting.subset or setting.some_clients else _edges(run, world, client, service)
            for where in hit:
                harm.setdefault(where, _signal(where, setting))
            if not hit:
                beside[f"{setting.rule} came after the flip and turns mesh TLS off for {service.name}"] = None
    except KindUnreadable as error:
        return [], [f"rules that came after the flip could not be read: {error}"]
    used = {signal.measured.partition(" came ")[0] for signal in harm.values()}
    return list(harm.values()), [said for said in beside if said.partition(" came ")[0] not in used][:SHOWN]


def _off(run: Run, world: World) -> Iterator[tuple[str, Service, TLSSetting]]:
    """Client namespace with sidecars, Service, and what turns mesh TLS off between them.

    Each tick asks, and hardly ever is there such a rule: the ports are looked at where there is one.
    """
    root, config, target = run.spec.root_namespace, run.spec.mesh, run.spec.namespace
    rules = world.derived(DestinationRule, Rules, root, config.default_destination_rule_export_to)
    clients = world.derived(Pod, _clients)
    policies = Policies(world.policies(target, root), root)
    for service in world.of(Service, target):
        for alike in rules.alike(clients, host(service)):
            settings = rules.settings(alike[0], service.namespace, host(service))
            off = [setting for setting in settings if setting.mode is not ClientTLSMode.ISTIO_MUTUAL]
            found = strict_services((service,), world.derived(Pod, Backends), policies) if off else ()
            for _, ports in found:
                for setting in off:
                    if ports_of(setting, settings, ports):
                        yield from ((client, service, setting) for client in alike)


def _clients(pods: tuple[Pod, ...]) -> tuple[str, ...]:
    return tuple(sorted({party.namespace for party in _proxied(pods)}))


def _proxied(pods: tuple[Pod, ...]) -> frozenset[Party]:
    return frozenset(Party(p.namespace, workload(p).name) for p in pods if live(p) and proxy_container(p))


def _edges(run: Run, world: World, client: str, service: Service) -> list[str]:
    """The baseline's edges from a namespace to a Service whose callers have a sidecar, which the rule governs."""
    proxied = world.derived(Pod, _proxied)
    known = run.baseline.edges if run.baseline else ()
    return [
        place(edge, edge)
        for edge in known
        if edge.source.namespace == client and edge.service == host(service) and edge.source in proxied
    ]


def _signal(where: str, setting: TLSSetting) -> Signal:
    return Signal(
        name=SURVIVAL,
        where=where,
        measured=f"{setting.rule} came after the flip, and its {setting.field} is {setting.mode.value}",
        limit="ISTIO_MUTUAL, or no tls at all: STRICT refuses what this edge sends now",
        verdict=Verdict.REGRESSED,
        breached=True,
    )
