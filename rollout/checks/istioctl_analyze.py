"""istioctl analyze shows no errors.

Why: Istio's own analyzers find broken references, invalid schemas and misplaced annotations, which a flip makes harder
to tell from its own harm. They know no conflict between DestinationRules and PeerAuthentication: other checks do that.

Fix: read the message's page, named with each finding, and repair the object.
"""

from __future__ import annotations

import re

from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.checks.words import many
from rollout.model.finding import Finding, Severity
from rollout.model.kubernetes import Ref
from rollout.ports import AnalyzerMessage
from rollout.record.state import State

META = Meta("istioctl-analyze", State.CHECKING, __doc__)
READS = (AnalyzerMessage,)

#: `Pod production/orders-1`, `Deployment orders.production`, `Namespace production`; a file and line may follow.
_ORIGIN = re.compile(r"(?P<kind>[A-Za-z]+) (?:(?P<namespace>[^/\s]+)/)?(?P<name>\S+)")
_SEVERITY = {"error": Severity.BLOCKING, "warning": Severity.WARNING}


def check(view: View) -> Findings:
    """One finding per message."""
    messages = view.analysis
    for message in messages:
        yield Finding(
            ref=_ref(message.origin, view.target),
            field=message.code,
            measured=message.message,
            limit="no message",
            where=(message.origin,) if message.origin else (),
            fix=f"see {message.url}" if message.url else f"istioctl analyze -n {view.target}",
            severity=_SEVERITY.get(message.level.lower(), Severity.INFO),
        )
    return many(len(messages), "message")


def _ref(origin: str, target: str) -> Ref:
    match = _ORIGIN.match(origin)
    if match is None:
        return Ref("Namespace", "", target)
    kind, namespace, name = match["kind"], match["namespace"] or "", match["name"]
    if not namespace and "." in name and kind != "CustomResourceDefinition":
        name, _, namespace = name.rpartition(".")
    return Ref(kind, namespace, name)
