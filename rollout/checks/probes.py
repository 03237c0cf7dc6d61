"""Kubernetes probes survive STRICT.

Why: the kubelet has no mesh certificate. Istio's injector rewrites probes so that the agent in the pod calls the app;
one that was not rewritten is refused under STRICT, and the kubelet restarts the container or takes it out of service.
A TCP probe that was not rewritten always succeeds, even when the app is dead, in every mode.

Fix: let the injector rewrite probes (annotation sidecar.istio.io/rewriteAppHTTPProbers), and restart the workload.
"""

from __future__ import annotations

from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.checks.words import many
from rollout.mesh.injection import captured_port, live
from rollout.mesh.probes import ProbeView, probes
from rollout.mesh.workloads import patch_template, restart, workload
from rollout.model.finding import Finding, Severity
from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.kubernetes import Pod, Ref
from rollout.record.state import State

META = Meta("probes", State.CHECKING, __doc__)
READS = (Pod, PeerAuthentication)

_REWRITE = "sidecar.istio.io/rewriteAppHTTPProbers"


def check(view: View) -> Findings:
    """One finding per workload and probe that reaches a STRICT port in plaintext."""
    policies = view.then.policies()
    pods = [pod for pod in view.then.of(Pod, view.target) if live(pod)]
    looked = 0
    broken: dict[tuple[Ref, str], tuple[Pod, ProbeView, int]] = {}
    for pod in pods:
        for probe in probes(pod, view.mesh_config.status_port):
            looked += 1
            if probe.rewritten or probe.port is None or not captured_port(pod, probe.port):
                continue
            if policies.effective(pod, probe.port).mode is Mode.STRICT:
                key = (workload(pod), probe.field)
                _, _, count = broken.get(key, (pod, probe, 0))
                broken[key] = (pod, probe, count + 1)
    for (owner, field), (pod, probe, count) in broken.items():
        yield _finding(owner, field, pod, probe, count, rewrites=view.mesh_config.rewrite_probes)
    return f"{looked} probes and hooks of {many(len(pods), 'pod')}"


def _finding(owner: Ref, field: str, pod: Pod, probe: ProbeView, count: int, *, rewrites: bool) -> Finding:
    blind = probe.handler == "tcpSocket"
    sees = "always succeeds: the proxy accepts every connection" if blind else "refused under STRICT"
    return Finding(
        ref=owner,
        field=field,
        measured=f"{probe.handler} to port {probe.port} is not rewritten, {many(count, 'pod')}",
        limit="rewritten to Istio's agent",
        where=(sees, f"for example {pod.ref}"),
        fix=_fix(owner, pod, rewrites=rewrites),
        severity=Severity.WARNING if blind else None,
    )


def _fix(owner: Ref, pod: Pod, *, rewrites: bool) -> str:
    """A pod that opted out must opt in; one that was injected before the switch was on is only made anew."""
    if _REWRITE in pod.annotations or not rewrites:
        return patch_template(owner, "annotations", _REWRITE, "true")
    return restart(owner)
