"""istioctl analyze shows no errors.

Why: Istio's own analyzers find broken references, invalid schemas and misplaced annotations, which a flip makes harder
to tell from its own harm. They know no conflict between DestinationRules and PeerAuthentication: other checks do that.
Without an istioctl this is skipped. Of what it finds, other checks know pods without a proxy and namespaces without
injection (IST0103, IST0102: `injection`) and proxies of several versions (IST0158: `proxy-versions`).

Fix: read the message's page, named with each finding, and repair the object.
"""

from __future__ import annotations

from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.checks.words import many
from rollout.model.finding import Finding, Severity
from rollout.model.kubernetes import Ref
from rollout.ports import AnalyzerMessage
from rollout.record.state import State

META = Meta("istioctl-analyze", State.CHECKING, __doc__)
READS = (AnalyzerMessage,)

_SEVERITY = {"error": Severity.BLOCKING, "warning": Severity.WARNING}


def check(view: View) -> Findings:
    """One finding per message."""
    messages = view.analysis
    for message in messages:
        yield Finding(
            ref=message.ref or Ref("Namespace", "", view.target),
            field=message.code,
            measured=message.message,
            limit="no message",
            where=(message.origin,) if message.origin else (),
            fix=f"see {message.url}" if message.url else f"istioctl analyze -n {view.target}",
            severity=_SEVERITY.get(message.level.lower(), Severity.INFO),
        )
    return many(len(messages), "message")
