"""Every proxy is connected to istiod, and has what it was sent.

Why: a proxy that istiod does not reach, or that rejects what it is sent, goes on as before. After the flip it would
take plaintext where others refuse it, and never prove the change: the run would be taken back for one pod. What was
sent and acknowledged only istiod knows; istioctl proxy-status asks it, and where no istioctl can, this is skipped.

Fix: see the istio-proxy log of the pod and istiod's own (a full disk, an expired certificate, a NetworkPolicy between
them, a configuration that Envoy rejects), then restart the workload.
"""

from __future__ import annotations

from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.checks.words import many
from rollout.mesh.injection import injected, live
from rollout.mesh.synchronization import SYNCED, Connections
from rollout.mesh.workloads import restart, workload
from rollout.model.finding import Finding, Severity
from rollout.model.kubernetes import Pod, Ref
from rollout.model.synchronization import ProxyState
from rollout.record.state import State

META = Meta("proxies-in-sync", State.VERIFYING, __doc__)
READS = (Pod, Connections)


def check(view: View) -> Findings:
    """One finding per workload and state; what may pass by itself is a warning."""
    known = view.synced
    groups: dict[tuple[Ref, str, bool], list[ProxyState]] = {}
    for pod in view.now.of(Pod, view.target):
        if live(pod) and injected(pod):
            judged = known.judged(pod)
            groups.setdefault((workload(pod), judged.state.state, judged.wrong), []).append(judged.state)
    good = 0
    for (owner, state, wrong), same in groups.items():
        if state == SYNCED:
            good += len(same)
            continue
        yield Finding(
            ref=owner,
            field="istioctl proxy-status",
            measured=f"{state}, {many(len(same), 'pod')}",
            limit=SYNCED,
            where=(f"for example {same[0].pod}: {same[0].sentence}",),
            fix=f"see its istio-proxy log, then {restart(owner)}" if wrong else "wait some seconds, and ask again",
            severity=Severity.BLOCKING if wrong else Severity.WARNING,
        )
    return f"{good} of {many(sum(map(len, groups.values())), 'proxy', 'proxies')} in sync with istiod"
