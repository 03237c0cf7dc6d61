"""Certificates are valid and know each other's root, on both sides.

Why: connections in a pool go on with a certificate that has expired, names somebody else or is of another root; only
new handshakes fail. The flip forces every handshake anew, and what was hidden comes out then: it looks exactly like
refused plaintext.

Fix: restart the pods whose certificate is wrong, and see in their istio-proxy's log why the agent did not renew it.
"""

from __future__ import annotations

import msgspec

from rollout.checks.meta import Meta
from rollout.checks.view import CannotTell, Findings, NotChecked, View
from rollout.checks.words import many
from rollout.mesh.certificates import judged
from rollout.mesh.workloads import workload
from rollout.mesh.x509 import PIP, available
from rollout.record.state import State
from rollout.world.certificates import Certified

META = Meta("certificates", State.CHECKING, __doc__)
READS = (Certified,)


def check(view: View) -> Findings:
    """One finding per workload and thing that is wrong with what one of its pods holds."""
    told = view.certificates
    if not told.sides:
        return "no pod with a sidecar"
    silent = [side for side in told.sides if isinstance(side.held, str)]
    if len(silent) == len(told.sides):
        raise NotChecked(f"no proxy could be asked, {silent[0].pod.ref}: {silent[0].held}")
    if not available():
        raise NotChecked(f"the package `cryptography` is not installed: {PIP}")
    asked = [side for side in told.sides if not isinstance(side.held, str)]
    found = judged(asked, view.mesh_config, told.at)
    owners = {side.pod.ref: workload(side.pod) for side in asked}
    for finding in found.findings:
        where = (*finding.where, f"at {finding.ref}")
        yield msgspec.structs.replace(finding, ref=owners[finding.ref], where=where)
    if found.unread:
        pod, why = next(iter(found.unread.items()))
        raise CannotTell(f"{pod}: {why}")
    left = f", {told.left} more pods or workloads not asked" if told.left else ""
    out = f", {many(len(silent), 'proxy', 'proxies')} could not be asked: {silent[0].held}" if silent else ""
    return f"{many(len(asked), 'proxy', 'proxies')}{left}{out}"
