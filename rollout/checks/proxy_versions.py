"""No proxy is known to be too old, or too far from its control plane.

Why: a pod keeps the proxy that it was created with until it is restarted. Old ones follow other rules: before 1.9 a
headless Service under STRICT loses its mutual TLS, and modes of single ports are not honoured. A proxy that is newer
than istiod, or more than one minor older, runs a combination that nobody tests.

Fix: restart the workload, so that it gets the proxy of its revision.
"""

from __future__ import annotations

from collections.abc import Iterator

from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.checks.words import many, some
from rollout.mesh.injection import injected, live
from rollout.mesh.versions import Version, control_planes, proxy_version, revision
from rollout.mesh.workloads import restart, workload
from rollout.model.finding import Finding, Severity
from rollout.model.kubernetes import Pod, Ref
from rollout.record.state import State

META = Meta("proxy-versions", State.VERIFYING, __doc__)
READS = (Pod,)

#: incidents.md 2, headless-version-bugs: STRICT itself goes wrong before it.
_OLDEST = Version(1, 9)
_MINORS = 1


def check(view: View) -> Findings:
    """One finding per workload and version; what no tag tells is counted, never guessed."""
    planes = view.then.derived(Pod, control_planes)
    mine = [pod for pod in view.then.of(Pod, view.target) if live(pod) and injected(pod)]
    versions: dict[Version, int] = {}
    groups: dict[tuple[Ref, Version, str], list[Pod]] = {}
    unknown = 0
    for pod in mine:
        found = proxy_version(pod)
        if found is None:
            unknown += 1
            continue
        versions[found] = versions.get(found, 0) + 1
        groups.setdefault((workload(pod), found, revision(pod)), []).append(pod)
    for (owner, found, name), same in groups.items():
        yield from _judged(owner, found, planes.get(name), same)
    return _seen(versions, unknown, planes)


def _judged(owner: Ref, found: Version, plane: Version | None, pods: list[Pod]) -> Iterator[Finding]:
    limit, severity = "", Severity.WARNING
    if found < _OLDEST:
        limit, severity = f"{_OLDEST} or newer", Severity.BLOCKING
    elif plane is not None and not 0 <= found.behind(plane) <= _MINORS:
        limit = f"istiod's {plane.major}.{plane.minor}, or one minor older"
    if limit:
        yield Finding(
            ref=owner,
            field="spec.containers[istio-proxy].image",
            measured=f"Istio {found}, {many(len(pods), 'pod')}",
            limit=limit,
            where=(f"for example {pods[0].ref}",),
            fix=f"upgrade istiod, then {restart(owner)}" if plane is not None and plane < _OLDEST else restart(owner),
            severity=severity,
        )


def _seen(versions: dict[Version, int], unknown: int, planes: dict[str, Version]) -> str:
    counted = [f"{many(count, 'proxy', 'proxies')} of {found}" for found, count in sorted(versions.items())]
    if unknown:
        counted.append(f"{unknown} of a version that no tag tells")
    istiod = f"istiod {some(str(plane) for plane in planes.values())}" if planes else "no istiod to compare with"
    return f"{', '.join(counted) or 'no proxies'}; {istiod}"
