"""What a check says."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from rollout.model.kubernetes import Ref


class Severity(StrEnum):
    """What a finding does: BLOCKING stops the run unless waived or exempted."""

    BLOCKING = "blocking"
    WARNING = "warning"
    INFO = "info"


class Status(StrEnum):
    """A check's result. UNKNOWN blocks: a check that cannot read its data has not passed."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, with what was measured and one precise fix.

    Args:
        ref: the object; printed as its kind, namespace and name.
        field: the place in the object, such as `spec.trafficPolicy.tls.mode`.
        measured: what was found.
        limit: what is allowed.
        window: the time that the measurement covers ('' for an object).
        query: the PromQL that shows it ('' for an object).
        where: further lines of evidence, likeliest first.
        fix: one command, manifest or deed.
        check: the check's id; filled in by the runner.
        severity: filled in by the runner from the check's META unless the check says otherwise.
        waived: the reason, when somebody accepted it.
        new: the flip would cause it; False means that it is wrong already.
        exemption: `NAMESPACE/WORKLOAD:PORT` that could stay PERMISSIVE instead, '' where that helps nothing.
    """

    ref: Ref
    field: str = ""
    measured: str = ""
    limit: str = ""
    window: str = ""
    query: str = ""
    where: tuple[str, ...] = ()
    fix: str = ""
    check: str = ""
    severity: Severity | None = None
    waived: str = ""
    new: bool = True
    exemption: str = ""

    @property
    def blocks(self) -> bool:
        """It stops the run."""
        return self.severity is Severity.BLOCKING and not self.waived


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """A check's answer at one moment; `state` is the lifecycle state whose exit it guards.

    `reason` says why the check is unknown or skipped, or what was looked at when it passed.
    """

    check: str
    title: str
    state: str
    status: Status
    findings: tuple[Finding, ...] = ()
    reason: str = ""

    @property
    def blocks(self) -> bool:
        """The state may not be left."""
        return self.status is Status.UNKNOWN or any(finding.blocks for finding in self.findings)
