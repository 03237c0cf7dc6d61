"""The checks once more in the watch: what came after the flip, and would have kept the gate shut.

Pods that are made anew are other pods: one without a sidecar accepts plaintext whatever the policy says, and one whose
probes are not rewritten never becomes Ready under STRICT, so that a deployment stands still.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import msgspec

from rollout.checks.run import ids, reads
from rollout.judge.signals import PROBES
from rollout.mesh.injection import captured, captured_port, injected, live
from rollout.mesh.peer_authentication import Policies
from rollout.mesh.workloads import workload
from rollout.model.finding import CheckResult
from rollout.model.judgement import Signal, Verdict
from rollout.model.kubernetes import Pod, Ref
from rollout.record.run import Run
from rollout.stages.context import checked
from rollout.world.reads import Objects
from rollout.world.world import World

INJECTION, PROBED = "injection", "probes"
#: At every look. At the end all are asked, but for those that a rule of its own asks again, that only traffic can
#: answer, and that ask programs or proxies.
ALWAYS = frozenset({INJECTION, PROBED})
LEFT_OUT = frozenset(
    {"destination-rules", "plaintext-callers", "effective-mode", "certificates", "istioctl-analyze", "proxies-in-sync"}
)
#: A younger pod is starting.
START_UP = timedelta(minutes=2)


class Rechecked(msgspec.Struct, frozen=True):
    """Harm, pods that accept plaintext, and what else a check would refuse now."""

    harm: tuple[Signal, ...] = ()
    open: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


def rechecked(run: Run, world: World, since: datetime, *, over: bool) -> Rechecked:
    """What the checks say of the objects as they are at `since` or later.

    Raises:
        Needs: the world lacks a kind that they read.
    """
    names = ids() - LEFT_OUT if over else ALWAYS
    world.need(*(Objects(kind) for kind in reads(None, names)), since=since)
    results = checked(run, world, since, None, only=names)
    opened = bare(run, world, results)
    refused = ((r.check, f) for r in results for f in r.findings if f.blocks and f.ref not in opened)
    first = dict(reversed([*refused]))
    return Rechecked(
        harm=tuple(_stuck(next(r for r in results if r.check == PROBED), world, run.spec.namespace, since)),
        open=tuple(f"{ref}: {measured}" for ref, measured in opened.items()),
        beside=tuple(f"{check} would refuse the flip now: {f.ref}, {f.measured}" for check, f in sorted(first.items())),
    )


def bare(run: Run, world: World, results: Iterable[CheckResult]) -> dict[Ref, str]:
    """The pods that accept plaintext whatever the policy says: without the sidecar, or on ports that pass it by."""
    pods = {pod.ref: pod for pod in world.of(Pod, run.spec.namespace) if live(pod)}
    found = (f for r in results if r.check == INJECTION for f in r.findings if f.blocks)
    past = {f.ref: f.measured for f in found if f.ref in pods and not _captured(pods[f.ref])}
    policies = Policies(world.policies(run.spec.namespace, run.spec.root_namespace), run.spec.root_namespace)
    for ref, pod in pods.items():
        ports = [str(p) for p in policies.ports(pod) if _captured(pod) and not captured_port(pod, p)]
        if ports:
            past[ref] = f"port {', '.join(ports)} passes the sidecar by"
    return past


def _captured(pod: Pod) -> bool:
    return injected(pod) and captured(pod)


def _stuck(result: CheckResult, world: World, namespace: str, at: datetime) -> Iterator[Signal]:
    """One signal per workload whose probes STRICT refuses, and whose pods wait for them."""
    for finding in {finding.ref: finding for finding in result.findings if finding.blocks}.values():
        waiting = [
            pod
            for pod in world.of(Pod, namespace)
            if live(pod) and workload(pod) == finding.ref and not pod.ready and _older(pod, at - START_UP)
        ]
        if waiting:
            yield Signal(
                name=PROBES,
                where=str(finding.ref),
                measured=f"{finding.field}: {finding.measured}; {len(waiting)} not Ready, {waiting[0].name} first",
                limit="rewritten, as before the flip: STRICT refuses what the kubelet sends",
                verdict=Verdict.REGRESSED,
                breached=True,
            )


def _older(pod: Pod, than: datetime) -> bool:
    born = pod.metadata.creation_timestamp
    return born is None or born <= than
