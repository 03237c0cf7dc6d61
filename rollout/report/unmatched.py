"""Waivers and exemptions that nothing needed: a misspelt one would otherwise pass without a word."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from rollout.model.finding import CheckResult, Finding, Status
from rollout.record.run import Run
from rollout.record.spec import Exemption, Waiver

#: The check whose findings are exceptions to STRICT.
_EXCEPTIONS = "effective-mode"


def unmatched(runs: Sequence[Run]) -> list[str]:
    """A warning for each that matches nothing in any of the runs; none where its check did not look.

    One that somebody wrote for a finding that is gone is warned of as well: it can be taken out. A playbook serves
    other namespaces too, so of its own only those are told that name one of these.
    """
    names = {run.spec.namespace for run in runs}
    waivers = dict.fromkeys(item for run in runs for item in run.spec.waivers if _about(item, names))
    exemptions = dict.fromkeys(item for run in runs for item in run.spec.exemptions if _about(item, names))
    return [
        *(_waiver(waiver) for waiver in waivers if not _used(waiver, runs)),
        *(_exemption(e) for e in exemptions if not _needed(e, runs)),
    ]


def _about(item: Waiver | Exemption, names: set[str]) -> bool:
    """Those of the command line have no owner."""
    return not item.owner or any(f"{name}/" in item.object for name in names)


def _looked(runs: Sequence[Run], check: str) -> list[CheckResult]:
    """The check's answers, none where one of the runs has none, or could not see."""
    found = [result for run in runs for result in run.checks if result.check == check]
    blind = any(result.status in (Status.UNKNOWN, Status.SKIPPED) for result in found)
    return [] if blind or len(found) < len(runs) else found


def _used(waiver: Waiver, runs: Sequence[Run]) -> bool:
    looked = _looked(runs, waiver.check)
    return not looked or any(_waives(waiver, finding) for result in looked for finding in result.findings)


def _waives(waiver: Waiver, finding: Finding) -> bool:
    """As the check decides it, void ones included: they are told of where they stand."""
    texts = (str(finding.ref), finding.measured.partition(",")[0])
    return finding.waived == waiver.reason or any(fnmatchcase(text, waiver.object) for text in texts)


def _needed(exemption: Exemption, runs: Sequence[Run]) -> bool:
    """A port's exemption is written by its run, which is blocked where there is no such port."""
    if exemption.workload:
        return exemption.workload.partition("/")[0] in {run.spec.namespace for run in runs}
    looked = _looked(runs, _EXCEPTIONS)
    matching = [f for result in looked for f in result.findings if fnmatchcase(str(f.ref), exemption.object)]
    return not looked or bool(matching)


def _waiver(waiver: Waiver) -> str:
    return f"warning: the waiver {waiver.check}={waiver.object} matches nothing that was found"


def _exemption(exemption: Exemption) -> str:
    what = "is of another namespace" if exemption.workload else "matches no exception that was found"
    return f"warning: the exemption of {exemption.object} {what}"
